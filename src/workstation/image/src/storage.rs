//! Where images are read from and written to: bytes by position, so that several threads may work on one image.

use std::fs::File;
use std::io;
use std::os::unix::fs::FileExt;
use std::sync::Arc;

use fruit_base::AtPath;
use fruit_base::storage::past_the_end;
pub use fruit_base::storage::{Extent, ReadAt, WriteAt};

use crate::tree::{Content, Source};

/// Bytes by position whose parts can be contents of files.
pub trait Contents: ReadAt {
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

impl Contents for [u8] {}
impl Contents for Vec<u8> {}
impl Contents for File {}

impl<T: Contents + ?Sized> Contents for &T {
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
        Ok(FileExt::read_exact_at(self.source.file(), buf, at).at(self.source.path())?)
    }
}

impl Contents for Region {
    fn content(&self, extent: Extent) -> io::Result<Content> {
        let offset = self.place(extent)?;
        Ok(Content::Range { source: self.source.clone(), offset, len: extent.len })
    }
}
