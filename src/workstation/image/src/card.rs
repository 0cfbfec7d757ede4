//! The card image: a partition table and what fills the partitions, written sparsely to a temporary name.

use crate::draft::Draft;
use crate::gpt::{self, GptError, Layout};
use crate::sparse::{Blocks, Part};
use crate::storage::WriteAt;
use fruit_base::AtPath;
use std::fs::File;
use std::io;
use std::path::{Path, PathBuf};
use std::sync::{Mutex, PoisonError};

#[derive(thiserror::Error, Debug)]
pub enum CardError {
    #[error(transparent)]
    Gpt(#[from] GptError),
    #[error(transparent)]
    Io(#[from] io::Error),
}

/// A card image being written. Parts may be written from several threads at once.
#[derive(Debug)]
pub struct Card {
    draft: Draft,
    layout: Layout,
    mapped: Mutex<Blocks>,
}

/// A whole card image.
#[derive(Debug)]
pub struct Image {
    /// Where its bytes are: under the final name, or the temporary one of its draft.
    pub path: PathBuf,
    /// Bytes, holes included.
    pub size: u64,
    /// The blocks that must be written to a card, zeros that matter included.
    pub mapped: Blocks,
}

impl Card {
    /// Begins the image that will be `target`, with the partition table already in it.
    ///
    /// # Errors
    /// A layout that cannot be encoded; file system errors with the path.
    pub fn create(target: &Path, layout: Layout) -> Result<Card, CardError> {
        let table = gpt::encode(&layout)?;
        let draft = Draft::create(target)?;
        draft.file().set_len(layout.disk_size).at(draft.temporary()).map_err(io::Error::from)?;
        let card = Card { draft, layout, mapped: Mutex::default() };
        let size = card.layout.disk_size;
        card.fill(0, size, |part| {
            part.write_all_at(&table.head, 0)?;
            part.write_all_at(&table.tail, size - table.tail.len() as u64)
        })?;
        Ok(card)
    }

    pub fn layout(&self) -> &Layout {
        &self.layout
    }

    /// Where the bytes are until [`Card::finish`], to look at what was written.
    pub fn temporary(&self) -> &Path {
        self.draft.temporary()
    }

    /// Lets `write` fill partition `number`; each partition is to be filled once.
    ///
    /// # Errors
    /// Those of `write`, and a number that is not in the layout.
    pub fn partition<T, E: From<io::Error>>(
        &self,
        number: u32,
        write: impl FnOnce(&mut Part<'_>) -> Result<T, E>,
    ) -> Result<T, E> {
        let found = self.layout.partitions.iter().find(|p| p.number == number);
        let missing = || io::Error::new(io::ErrorKind::NotFound, format!("the card has no partition {number}"));
        let p = found.ok_or_else(missing)?;
        self.fill(p.start(), p.size(), write)
    }

    /// For a writer that has threads of its own: says that the first `len` bytes of partition `number` are to be on the
    /// card as they will be, and gives the file and where the partition starts in it, in bytes.
    ///
    /// # Errors
    /// A number that is not in the layout, more bytes than the partition has, no more open files.
    pub fn claim(&self, number: u32, len: u64) -> io::Result<(File, u64)> {
        let mut start = 0;
        self.partition(number, |part| {
            start = part.start();
            part.claim(0, len)
        })?;
        Ok((self.draft.file().try_clone()?, start))
    }

    fn fill<T, E: From<io::Error>>(
        &self,
        start: u64,
        len: u64,
        write: impl FnOnce(&mut Part<'_>) -> Result<T, E>,
    ) -> Result<T, E> {
        let mut part = Part::new(self.draft.file(), self.draft.temporary(), start, len);
        let result = write(&mut part)?;
        self.mapped.lock().unwrap_or_else(PoisonError::into_inner).merge(&part.into_mapped());
        Ok(result)
    }

    /// The image, whole but still under its temporary name, so that it can be read before it is made durable.
    pub fn into_draft(self) -> (Image, Draft) {
        let mapped = self.mapped.into_inner().unwrap_or_else(PoisonError::into_inner);
        let path = self.draft.temporary().to_owned();
        (Image { path, size: self.layout.disk_size, mapped }, self.draft)
    }

    /// Makes the image durable and gives it its final name.
    ///
    /// # Errors
    /// Those of [`Draft::commit`].
    pub fn finish(self) -> io::Result<Image> {
        let (image, draft) = self.into_draft();
        let path = draft.target().to_owned();
        draft.commit()?;
        Ok(Image { path, ..image })
    }
}
