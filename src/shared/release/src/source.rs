//! Where the pieces of a release come from: a folder, a bundle, an HTTP server, a peer.

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
}
