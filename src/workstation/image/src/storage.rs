//! Where images are read from and written to: bytes by position, so that several threads may work on one image.

use std::fs::File;
use std::io;
use std::os::unix::fs::FileExt;
use std::sync::Arc;

pub use fruit_verity::WriteAt;

use crate::tree::{Content, Source};

/// A run of bytes of an image.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Debug)]
pub struct Extent {
    /// Bytes from the start of the image.
    pub offset: u64,
    /// Bytes.
    pub len: u64,
}

/// Bytes that can be read by position.
pub trait ReadAt {
    /// Fills `buf` from byte `offset` on.
    ///
    /// # Errors
    /// Read errors, and `UnexpectedEof` past the end.
    fn read_exact_at(&self, buf: &mut [u8], offset: u64) -> io::Result<()>;

    /// The bytes of `extent` as the content of a file: by reference where the storage can do so, else read now.
    ///
    /// # Errors
    /// As [`ReadAt::read_exact_at`].
    fn content(&self, extent: Extent) -> io::Result<Content> {
        let mut bytes = vec![0; usize::try_from(extent.len).map_err(io::Error::other)?];
        self.read_exact_at(&mut bytes, extent.offset)?;
        Ok(bytes.into())
    }
}

fn past_the_end() -> io::Error {
    io::Error::new(io::ErrorKind::UnexpectedEof, "read past the end of the image")
}

impl ReadAt for [u8] {
    fn read_exact_at(&self, buf: &mut [u8], offset: u64) -> io::Result<()> {
        let start = usize::try_from(offset).map_err(|_| past_the_end())?;
        let end = start.checked_add(buf.len()).ok_or_else(past_the_end)?;
        buf.copy_from_slice(self.get(start..end).ok_or_else(past_the_end)?);
        Ok(())
    }
}

impl ReadAt for Vec<u8> {
    fn read_exact_at(&self, buf: &mut [u8], offset: u64) -> io::Result<()> {
        self.as_slice().read_exact_at(buf, offset)
    }
}

impl ReadAt for File {
    fn read_exact_at(&self, buf: &mut [u8], offset: u64) -> io::Result<()> {
        FileExt::read_exact_at(self, buf, offset)
    }
}

impl<T: ReadAt + ?Sized> ReadAt for &T {
    fn read_exact_at(&self, buf: &mut [u8], offset: u64) -> io::Result<()> {
        (**self).read_exact_at(buf, offset)
    }

    fn content(&self, extent: Extent) -> io::Result<Content> {
        (**self).content(extent)
    }
}

/// Part of a file of the workstation, such as one partition of a card image; contents found in it stay references.
#[derive(Clone, Debug)]
pub struct Region {
    source: Arc<Source>,
    extent: Extent,
}

impl Region {
    pub fn new(source: Arc<Source>, extent: Extent) -> Region {
        Region { source, extent }
    }

    /// # Errors
    /// Those of `stat(2)`.
    pub fn whole(source: Arc<Source>) -> io::Result<Region> {
        let len = source.file().metadata()?.len();
        Ok(Region { source, extent: Extent { offset: 0, len } })
    }

    /// Bytes.
    pub fn len(&self) -> u64 {
        self.extent.len
    }

    pub fn is_empty(&self) -> bool {
        self.extent.len == 0
    }

    fn place(&self, part: Extent) -> io::Result<u64> {
        let end = part.offset.checked_add(part.len).ok_or_else(past_the_end)?;
        if end > self.extent.len {
            return Err(past_the_end());
        }
        self.extent.offset.checked_add(part.offset).ok_or_else(past_the_end)
    }
}

impl ReadAt for Region {
    fn read_exact_at(&self, buf: &mut [u8], offset: u64) -> io::Result<()> {
        let at = self.place(Extent { offset, len: buf.len() as u64 })?;
        let named = |e: io::Error| io::Error::new(e.kind(), format!("{}: {e}", self.source.path().display()));
        FileExt::read_exact_at(self.source.file(), buf, at).map_err(named)
    }

    fn content(&self, extent: Extent) -> io::Result<Content> {
        let offset = self.place(extent)?;
        Ok(Content::Range { source: self.source.clone(), offset, len: extent.len })
    }
}
