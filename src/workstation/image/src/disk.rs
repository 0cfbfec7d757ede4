//! Disks and their images, opened for reading.

use crate::storage::ReadAt;
use fruit_base::AtPath;
use std::fs::File;
use std::io::{self, Seek, SeekFrom};
use std::os::unix::fs::FileExt;
use std::path::{Path, PathBuf};

/// Bytes by position, of known length: an image file, a card, a partition of either, or a slice.
pub trait Disk: ReadAt {
    /// Length in bytes.
    fn size(&self) -> u64;
}

impl Disk for [u8] {
    fn size(&self) -> u64 {
        self.len() as u64
    }
}

impl<T: Disk + ?Sized> Disk for &T {
    fn size(&self) -> u64 {
        (**self).size()
    }
}

/// An image file or a block device.
#[derive(Debug)]
pub struct DiskFile {
    path: PathBuf,
    file: File,
    size: u64,
}

impl DiskFile {
    /// # Errors
    /// Those of `open(2)` and `lseek(2)`, with the path.
    pub fn open(path: &Path) -> io::Result<DiskFile> {
        let file = File::open(path).at(path)?;
        DiskFile::from_file(path, file)
    }

    /// Takes an open file; `path` is for messages.
    ///
    /// # Errors
    /// Those of `lseek(2)`, with the path.
    pub fn from_file(path: &Path, mut file: File) -> io::Result<DiskFile> {
        // Not metadata(): a block device says 0 there.
        let size = file.seek(SeekFrom::End(0)).at(path)?;
        Ok(DiskFile { path: path.to_owned(), file, size })
    }

    pub fn path(&self) -> &Path {
        &self.path
    }

    pub fn file(&self) -> &File {
        &self.file
    }
}

impl ReadAt for DiskFile {
    fn read_exact_at(&self, buf: &mut [u8], offset: u64) -> io::Result<()> {
        Ok(FileExt::read_exact_at(&self.file, buf, offset).at(&self.path)?)
    }
}

impl Disk for DiskFile {
    fn size(&self) -> u64 {
        self.size
    }
}

/// A part of a disk, such as a partition.
#[derive(Clone, Copy, Debug)]
pub struct Window<'a, D: ?Sized> {
    disk: &'a D,
    start: u64,
    len: u64,
}

impl<'a, D: Disk + ?Sized> Window<'a, D> {
    /// `len` bytes at `start`; what is past the end of the disk is cut off.
    pub fn new(disk: &'a D, start: u64, len: u64) -> Window<'a, D> {
        let start = start.min(disk.size());
        Window { disk, start, len: len.min(disk.size() - start) }
    }
}

impl<D: Disk + ?Sized> ReadAt for Window<'_, D> {
    fn read_exact_at(&self, buf: &mut [u8], offset: u64) -> io::Result<()> {
        offset.checked_add(buf.len() as u64).filter(|end| *end <= self.len).ok_or(io::ErrorKind::UnexpectedEof)?;
        self.disk.read_exact_at(buf, self.start + offset)
    }
}

impl<D: Disk + ?Sized> Disk for Window<'_, D> {
    fn size(&self) -> u64 {
        self.len
    }
}
