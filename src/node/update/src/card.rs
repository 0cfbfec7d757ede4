//! The card of a node as an updater sees it: two slots of two volumes each, and what decides which slot boots.
//!
//! [`open`] finds the one that the node runs from. Anything else that reads and writes by position can stand in: plain
//! files on a workstation, a disk whose power is cut.

mod device;

use std::fs::File;
use std::io;
use std::os::unix::fs::FileExt;

use fruit_contract::bootctl::{BLOCK_SIZE, Stored};
use fruit_contract::{BootControl, Slot};
use fruit_release::manifest::VolumeKind;
use rustix::fs::{Advice, fadvise};

pub use device::open;

/// Bytes of what is written, at least: a page of the kernel's cache, and less than any flash writes at once.
pub const BLOCK: usize = 4096;

/// Why the card can't be used.
#[derive(Debug, thiserror::Error)]
pub enum CardError {
    #[error("the disk of this node: {0}")]
    Disk(String),
    #[error("{device}: {source}")]
    Open { device: String, source: io::Error },
    #[error("{volume}: {source}")]
    Read { volume: String, source: io::Error },
    #[error("{volume}: {source}")]
    Write { volume: String, source: io::Error },
    #[error("the boot choice: {0}")]
    Control(io::Error),
}

/// One partition of a slot.
pub trait Volume {
    /// Bytes.
    fn len(&self) -> u64;

    fn is_empty(&self) -> bool {
        self.len() == 0
    }

    /// Fills `buf` from byte `offset` on.
    ///
    /// # Errors
    /// Read errors, and `UnexpectedEof` past the end.
    fn read_exact_at(&self, buf: &mut [u8], offset: u64) -> io::Result<()>;

    /// # Errors
    /// Write errors.
    fn write_all_at(&self, buf: &[u8], offset: u64) -> io::Result<()>;

    /// Waits until everything that was written is on the medium.
    ///
    /// # Errors
    /// Those of `fsync(2)`.
    fn sync(&self) -> io::Result<()>;

    /// Makes later reads come from the medium, not from memory. Call [`Volume::sync`] before.
    ///
    /// # Errors
    /// Those of `posix_fadvise(2)`.
    fn forget(&self) -> io::Result<()>;
}

/// What decides which slot boots.
pub trait Control {
    /// The state in force.
    ///
    /// # Errors
    /// Read errors.
    fn read(&self) -> io::Result<BootControl>;

    /// Puts `next` in force, whatever its sequence number: after a power cut either it or the old state holds. Done
    /// when it is on the medium.
    ///
    /// # Errors
    /// Write errors.
    fn write(&self, next: &BootControl) -> io::Result<()>;
}

/// A card, and which half of it runs.
pub struct Card {
    /// The slot that this system runs from.
    pub running: Slot,
    /// Whether it runs on trial.
    pub trial: bool,
    /// By slot, by number of the volume.
    volumes: [[Box<dyn Volume>; 2]; 2],
    control: Box<dyn Control>,
}

impl Card {
    /// `volumes`: those of slot a, then those of slot b, each in the order of [`VolumeKind::ALL`].
    pub fn new(running: Slot, trial: bool, volumes: [[Box<dyn Volume>; 2]; 2], control: Box<dyn Control>) -> Card {
        Card { running, trial, volumes, control }
    }

    pub fn volume(&self, slot: Slot, kind: VolumeKind) -> &dyn Volume {
        &*self.volumes[slot as usize][usize::from(kind.number())]
    }

    /// What a message calls it.
    pub fn volume_name(slot: Slot, kind: VolumeKind) -> String {
        format!("{}-{slot}", kind.name())
    }

    /// The boot choice in force.
    ///
    /// # Errors
    /// [`CardError::Control`].
    pub fn control(&self) -> Result<BootControl, CardError> {
        self.control.read().map_err(CardError::Control)
    }

    /// Puts a boot choice in force, if it is another one.
    ///
    /// # Errors
    /// [`CardError::Control`].
    pub fn set_control(&self, next: &BootControl) -> Result<(), CardError> {
        if self.control()? != *next {
            self.control.write(next).map_err(CardError::Control)?;
        }
        Ok(())
    }
}

/// A block device or a plain file as a volume.
pub struct FileVolume {
    file: File,
    len: u64,
}

impl FileVolume {
    /// The first `len` bytes of `file`.
    pub fn new(file: File, len: u64) -> FileVolume {
        FileVolume { file, len }
    }

    fn check(&self, len: usize, offset: u64) -> io::Result<()> {
        match offset.checked_add(len as u64) {
            Some(end) if end <= self.len => Ok(()),
            _ => Err(io::Error::new(io::ErrorKind::UnexpectedEof, "past the end of the partition")),
        }
    }
}

impl Volume for FileVolume {
    fn len(&self) -> u64 {
        self.len
    }

    fn read_exact_at(&self, buf: &mut [u8], offset: u64) -> io::Result<()> {
        self.check(buf.len(), offset)?;
        self.file.read_exact_at(buf, offset)
    }

    fn write_all_at(&self, buf: &[u8], offset: u64) -> io::Result<()> {
        self.check(buf.len(), offset)?;
        self.file.write_all_at(buf, offset)
    }

    fn sync(&self) -> io::Result<()> {
        self.file.sync_data()
    }

    fn forget(&self) -> io::Result<()> {
        Ok(fadvise(&self.file, 0, None, Advice::DontNeed)?)
    }
}

/// The boot-control block, as the boot script of U-Boot reads it.
pub struct ControlBlock {
    file: File,
}

impl ControlBlock {
    /// `file`: the state partition.
    pub fn new(file: File) -> ControlBlock {
        ControlBlock { file }
    }

    /// What is stored now.
    fn stored(&self) -> io::Result<Stored> {
        let mut block = [0; BLOCK_SIZE];
        self.file.read_exact_at(&mut block, 0)?;
        Ok(Stored::from_block(&block))
    }
}

impl Control for ControlBlock {
    fn read(&self) -> io::Result<BootControl> {
        Ok(self.stored()?.state())
    }

    fn write(&self, next: &BootControl) -> io::Result<()> {
        self.stored()?.write(&self.file, 0, next)?;
        Ok(())
    }
}
