//! Where the pieces of a release are: a folder, a bundle, an HTTP server, a peer, a slot. Each kind has a file of its own, and
//! as many of these traits as it can have: most can only be read.

use std::io;

use crate::name::Name;

/// Why a piece could not be had.
#[derive(Debug, thiserror::Error)]
pub enum SourceError {
    /// It may come another time, or from another place: the network is down, a stick was pulled out.
    #[error("{place}: {why}")]
    Unreachable { place: String, why: String },
    /// What is there is not what was to be there: truncated, altered, larger than allowed.
    #[error("{place}: {why}")]
    Broken { place: String, why: String },
    /// The operator or the system asked to stop.
    #[error("stopped")]
    Stopped,
}

/// Hands out pieces by name. Nothing it hands out is trusted: the caller verifies every byte.
pub trait Source {
    /// The piece, or `None` where there is none of that name. At most `limit` bytes, which is never more than
    /// [`Name::limit`]; a larger piece is [`SourceError::Broken`].
    ///
    /// A stream can only go forward: there, a piece that has gone by counts as not there.
    ///
    /// # Errors
    /// See [`SourceError`].
    fn get(&mut self, name: &Name, limit: u64) -> Result<Option<Vec<u8>>, SourceError>;

    /// What to call it in messages.
    fn place(&self) -> String;

    /// Whether everything that its metadata lists is to be there. A bundle has one release of those that are listed.
    fn is_whole(&self) -> bool {
        true
    }

    /// The piece that came last is not what it should be. Whether it can be had from another place: then ask again.
    fn distrust(&mut self) -> bool {
        false
    }

    /// The piece that came last is what it should be, so it may be passed on.
    fn verified(&mut self, _name: &Name, _bytes: &[u8]) {}
}

/// Takes pieces in.
pub trait Sink {
    /// Puts a piece in, which is there under its name only when it is whole.
    ///
    /// # Errors
    /// Write errors; a piece over its limit.
    fn put(&mut self, name: &Name, bytes: &[u8]) -> io::Result<()>;
}

/// Something in a store that can be cleared away.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Held {
    /// Its place in the store.
    pub path: String,
    /// Of a piece; none of what was left of a piece that was never finished.
    pub name: Option<Name>,
    /// Bytes.
    pub size: u64,
}

/// Knows all that it has, and lets go of it.
pub trait Prune {
    /// Everything that is a piece or was to become one; what others put there is none of it.
    ///
    /// # Errors
    /// Read errors.
    fn held(&self) -> io::Result<Vec<Held>>;

    /// # Errors
    /// It cannot be removed.
    fn remove(&mut self, held: &Held) -> io::Result<()>;
}

impl<S: Source + ?Sized> Source for Box<S> {
    fn get(&mut self, name: &Name, limit: u64) -> Result<Option<Vec<u8>>, SourceError> {
        (**self).get(name, limit)
    }

    fn place(&self) -> String {
        (**self).place()
    }

    fn is_whole(&self) -> bool {
        (**self).is_whole()
    }

    fn distrust(&mut self) -> bool {
        (**self).distrust()
    }

    fn verified(&mut self, name: &Name, bytes: &[u8]) {
        (**self).verified(name, bytes);
    }
}

impl<S: Source + ?Sized> Source for &mut S {
    fn get(&mut self, name: &Name, limit: u64) -> Result<Option<Vec<u8>>, SourceError> {
        (**self).get(name, limit)
    }

    fn place(&self) -> String {
        (**self).place()
    }

    fn is_whole(&self) -> bool {
        (**self).is_whole()
    }

    fn distrust(&mut self) -> bool {
        (**self).distrust()
    }

    fn verified(&mut self, name: &Name, bytes: &[u8]) {
        (**self).verified(name, bytes);
    }
}
