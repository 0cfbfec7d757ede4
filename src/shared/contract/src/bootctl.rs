//! The boot-control block: which slot boots, which one is on trial, how many tries it has left.
//!
//! Two copies, each exactly one 512-byte sector, at byte 0 and 4096 of the `state` partition. The boot loader reads
//! and writes them too, with a script: the format is what `crc32`, `itest`, `mw` and `cp` of U-Boot can do. A write goes
//! to the copy that is *not* the newest valid one, so a torn write costs the new state only, never the old.
//!
//! ```text
//!   0 "FBC1"    4 format = 1   8 sequence   12 active slot   16 trial slot (2 = none)
//!  20 tries left              24 failed slot (2 = none)      28..508 zero      508 CRC-32 of bytes 0..508
//! ```
//! Numbers are u32, little-endian, except the CRC, which is big-endian as `crc32 <address> <size> <destination>` of
//! U-Boot stores it (cmd/mem.c, lib/crc32.c).

use std::fs::File;
use std::io;
use std::os::unix::fs::FileExt;

use serde::{Deserialize, Serialize};

/// Bytes of one copy: the unit that a disk writes whole.
pub const COPY_SIZE: usize = 512;
/// Where the copies are, in bytes from the start of the `state` partition: a flash page apart.
pub const COPY_OFFSETS: [u64; 2] = [0, 4096];
/// Bytes of the state partition that are read to know the state.
pub const BLOCK_SIZE: usize = COPY_OFFSETS[1] as usize + COPY_SIZE;
/// Most tries that a trial may have: the loader's script counts them by cases.
pub const MAX_TRIES: u32 = 7;

/// Version of what starts a slot's kernel, which a card keeps from the day it is flashed: U-Boot's script, or the
/// arrangement that the Pi's own loader follows. It stands on the kernel's command line as `fruit.loader`; a release that
/// needs what older ones cannot do asks for a higher one.
pub const LOADER: u32 = 1;

const MAGIC: [u8; 4] = *b"FBC1";
const FORMAT: u32 = 1;
const NONE: u32 = 2;
const CRC_AT: usize = 508;

/// One of the two halves of the card that take turns.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Debug, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Slot {
    A,
    B,
}

impl Slot {
    pub const ALL: [Slot; 2] = [Slot::A, Slot::B];

    #[must_use]
    pub const fn other(self) -> Slot {
        match self {
            Slot::A => Slot::B,
            Slot::B => Slot::A,
        }
    }

    /// `a` or `b`.
    pub const fn letter(self) -> char {
        match self {
            Slot::A => 'a',
            Slot::B => 'b',
        }
    }

    pub fn from_letter(text: &str) -> Option<Slot> {
        match text {
            "a" => Some(Slot::A),
            "b" => Some(Slot::B),
            _ => None,
        }
    }

    /// Number of the slot's FAT partition with kernel and initramfs.
    pub const fn boot_partition(self) -> u8 {
        match self {
            Slot::A => 2,
            Slot::B => 3,
        }
    }

    /// Number of the slot's root partition.
    pub const fn root_partition(self) -> u8 {
        match self {
            Slot::A => 4,
            Slot::B => 5,
        }
    }

    const fn number(self) -> u32 {
        self as u32
    }

    const fn from_number(n: u32) -> Option<Slot> {
        match n {
            0 => Some(Slot::A),
            1 => Some(Slot::B),
            _ => None,
        }
    }
}

impl std::fmt::Display for Slot {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "{}", self.letter())
    }
}

/// A slot that has to prove itself before it becomes the active one.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug, Serialize, Deserialize)]
pub struct Trial {
    pub slot: Slot,
    /// Boots that the loader will still give it.
    pub tries_left: u32,
}

/// What one valid copy says.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug, Serialize, Deserialize)]
pub struct BootControl {
    /// Goes 1, 2, 3, 1, … with each write: of two valid copies the newer is the one that follows the other. A loader's
    /// script without arithmetic can tell and step it.
    pub sequence: u32,
    pub active: Slot,
    pub trial: Option<Trial>,
    /// The slot whose tries ran out, or that was given up; cleared when it is armed again or committed.
    pub failed: Option<Slot>,
}

/// What the loader boots from a given state.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct BootChoice {
    pub slot: Slot,
    /// Whether the slot is on trial (`fruit.trial=1`).
    pub trial: bool,
}

/// Why a copy is not valid.
#[derive(Clone, Copy, PartialEq, Eq, Debug, thiserror::Error)]
pub enum Invalid {
    #[error("{0} bytes, expected 512")]
    Short(usize),
    #[error("no FBC1 magic")]
    Magic,
    #[error("CRC {found:08x}, expected {expected:08x}")]
    Crc { found: u32, expected: u32 },
    #[error("format {0}, expected 1")]
    Format(u32),
    #[error("sequence number {0}, expected 1, 2 or 3")]
    Sequence(u32),
    #[error("slot number {0}, expected 0 or 1 (or 2 where none is allowed)")]
    SlotNumber(u32),
    #[error("{0} tries left, at most 7 are possible")]
    Tries(u32),
    #[error("the active slot is on trial itself")]
    ActiveOnTrial,
}

/// Why a change of state is refused.
#[derive(Clone, Copy, PartialEq, Eq, Debug, thiserror::Error)]
pub enum Refused {
    #[error("slot {0} is the active one: only the other slot can go on trial")]
    ArmActive(Slot),
    #[error("a trial needs 1 to 7 tries, not {0}")]
    Tries(u32),
    #[error("slot {slot} can't be committed: slot {active} is active and {}", describe_trial(.trial))]
    NotOnTrial { slot: Slot, active: Slot, trial: Option<Trial> },
}

fn describe_trial(trial: &Option<Trial>) -> String {
    match trial {
        Some(t) => format!("slot {} is on trial", t.slot),
        None => "no slot is on trial".into(),
    }
}

impl Default for BootControl {
    /// The state of a fresh image, and what a loader assumes without a valid copy: slot a, no trial.
    fn default() -> BootControl {
        BootControl { sequence: 0, active: Slot::A, trial: None, failed: None }
    }
}

impl BootControl {
    pub fn encode(&self) -> [u8; COPY_SIZE] {
        let mut copy = [0u8; COPY_SIZE];
        let (trial, tries) = self.trial.map_or((NONE, 0), |t| (t.slot.number(), t.tries_left));
        let failed = self.failed.map_or(NONE, Slot::number);
        copy[..4].copy_from_slice(&MAGIC);
        for (i, word) in [FORMAT, self.sequence, self.active.number(), trial, tries, failed].into_iter().enumerate() {
            copy[4 + 4 * i..8 + 4 * i].copy_from_slice(&word.to_le_bytes());
        }
        let crc = crate::crc32::crc32(&copy[..CRC_AT]);
        copy[CRC_AT..].copy_from_slice(&crc.to_be_bytes());
        copy
    }

    /// # Errors
    /// Anything but a whole, consistent copy: the loader treats it the same way, as not there.
    pub fn decode(copy: &[u8]) -> Result<BootControl, Invalid> {
        let copy: &[u8; COPY_SIZE] =
            copy.get(..COPY_SIZE).and_then(|c| c.try_into().ok()).ok_or(Invalid::Short(copy.len()))?;
        let word = |at: usize| u32::from_le_bytes([copy[at], copy[at + 1], copy[at + 2], copy[at + 3]]);
        if copy[..4] != MAGIC {
            return Err(Invalid::Magic);
        }
        let found = word(CRC_AT).swap_bytes();
        let expected = crate::crc32::crc32(&copy[..CRC_AT]);
        if found != expected {
            return Err(Invalid::Crc { found, expected });
        }
        if word(4) != FORMAT {
            return Err(Invalid::Format(word(4)));
        }
        if !(1..=3).contains(&word(8)) {
            return Err(Invalid::Sequence(word(8)));
        }
        let optional = |n: u32| match n {
            NONE => Ok(None),
            n => Slot::from_number(n).map(Some).ok_or(Invalid::SlotNumber(n)),
        };
        let active = Slot::from_number(word(12)).ok_or(Invalid::SlotNumber(word(12)))?;
        let tries_left = word(20);
        if tries_left > MAX_TRIES {
            return Err(Invalid::Tries(tries_left));
        }
        let trial = optional(word(16))?.map(|slot| Trial { slot, tries_left });
        if trial.is_some_and(|t| t.slot == active) {
            return Err(Invalid::ActiveOnTrial);
        }
        Ok(BootControl { sequence: word(8), active, trial, failed: optional(word(24))? })
    }

    /// What the loader does at each boot: the choice, and the state that it writes before it starts the kernel
    /// (`None`: nothing to write).
    pub fn boot(&self) -> (BootChoice, Option<BootControl>) {
        match self.trial {
            Some(Trial { slot, tries_left: 0 }) => {
                let next = BootControl { trial: None, failed: Some(slot), ..*self };
                (BootChoice { slot: self.active, trial: false }, Some(next))
            }
            Some(Trial { slot, tries_left }) => {
                let next = BootControl { trial: Some(Trial { slot, tries_left: tries_left - 1 }), ..*self };
                (BootChoice { slot, trial: true }, Some(next))
            }
            None => (BootChoice { slot: self.active, trial: false }, None),
        }
    }

    /// Puts `slot`, freshly written, on trial for `tries` boots.
    ///
    /// # Errors
    /// [`Refused::ArmActive`], [`Refused::Tries`].
    pub fn arm(&self, slot: Slot, tries: u32) -> Result<BootControl, Refused> {
        if slot == self.active {
            return Err(Refused::ArmActive(slot));
        }
        if tries == 0 || tries > MAX_TRIES {
            return Err(Refused::Tries(tries));
        }
        let failed = self.failed.filter(|&f| f != slot);
        Ok(BootControl { trial: Some(Trial { slot, tries_left: tries }), failed, ..*self })
    }

    /// The slot on trial has proved itself and becomes the active one. Committing the active slot when nothing is on
    /// trial changes nothing: a repeated commit is no mistake.
    ///
    /// # Errors
    /// [`Refused::NotOnTrial`].
    pub fn commit(&self, slot: Slot) -> Result<BootControl, Refused> {
        match self.trial {
            Some(t) if t.slot == slot => {
                Ok(BootControl { active: slot, trial: None, failed: self.failed.filter(|&f| f != slot), ..*self })
            }
            None if slot == self.active => Ok(*self),
            trial => Err(Refused::NotOnTrial { slot, active: self.active, trial }),
        }
    }

    /// Gives up the trial, if there is one: the next boot is the active slot, and the other one is remembered as
    /// failed.
    #[must_use]
    pub fn fall_back(&self) -> BootControl {
        match self.trial {
            Some(t) => BootControl { trial: None, failed: Some(t.slot), ..*self },
            None => *self,
        }
    }

    /// Whether this state was written after `other`.
    fn is_newer_than(&self, other: &BootControl) -> bool {
        self.sequence == successor(other.sequence)
    }
}

/// What is stored on a disk: the newest valid copy and where it is.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Stored {
    newest: Option<(usize, BootControl)>,
}

/// One write of one sector.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Write {
    /// Bytes from the start of the partition.
    pub offset: u64,
    pub sector: [u8; COPY_SIZE],
}

impl Stored {
    /// Picks the newest valid one of two copies. Two valid copies with one sequence number (never written by us) count
    /// as copy 0.
    pub fn from_copies(copy0: &[u8], copy1: &[u8]) -> Stored {
        let newest = match (BootControl::decode(copy0), BootControl::decode(copy1)) {
            (Ok(a), Ok(b)) if b.is_newer_than(&a) => Some((1, b)),
            (Ok(a), _) => Some((0, a)),
            (Err(_), Ok(b)) => Some((1, b)),
            (Err(_), Err(_)) => None,
        };
        Stored { newest }
    }

    /// From the first [`BLOCK_SIZE`] bytes of the partition; missing bytes are an invalid copy.
    pub fn from_block(block: &[u8]) -> Stored {
        let copy = |i: usize| block.get(COPY_OFFSETS[i] as usize..).unwrap_or_default();
        Stored::from_copies(copy(0), copy(1))
    }

    /// Reads both copies of the partition that starts at byte `start` of `disk`.
    ///
    /// # Errors
    /// Those of `pread(2)`, except for the end of the file.
    pub fn read(disk: &File, start: u64) -> io::Result<Stored> {
        let mut copies = [[0u8; COPY_SIZE]; 2];
        for (copy, offset) in copies.iter_mut().zip(COPY_OFFSETS) {
            match disk.read_exact_at(copy, start + offset) {
                Err(e) if e.kind() == io::ErrorKind::UnexpectedEof => {}
                result => result?,
            }
        }
        Ok(Stored::from_copies(&copies[0], &copies[1]))
    }

    /// The state in force: without a valid copy the default, as the loader sees it.
    pub fn state(&self) -> BootControl {
        self.newest.map_or_else(BootControl::default, |(_, state)| state)
    }

    /// Whether any copy is valid.
    pub fn is_valid(&self) -> bool {
        self.newest.is_some()
    }

    /// The write that puts `next` (whose sequence number is replaced) in force.
    pub fn plan(&self, next: &BootControl) -> Write {
        let (copy, sequence) = match self.newest {
            Some((newest, state)) => (1 - newest, successor(state.sequence)),
            None => (0, 1),
        };
        Write { offset: COPY_OFFSETS[copy], sector: BootControl { sequence, ..*next }.encode() }
    }

    /// Writes `next` to the partition that starts at byte `start` of `disk`, and waits until it is on the disk.
    /// Returns what is stored then.
    ///
    /// # Errors
    /// Those of `pwrite(2)` and `fsync(2)`; the old state is still in force, or the new one.
    pub fn write(&self, disk: &File, start: u64, next: &BootControl) -> io::Result<Stored> {
        let write = self.plan(next);
        disk.write_all_at(&write.sector, start + write.offset)?;
        disk.sync_all()?;
        Stored::read(disk, start)
    }
}

/// The sequence number after `sequence`.
const fn successor(sequence: u32) -> u32 {
    match sequence {
        1 => 2,
        2 => 3,
        _ => 1,
    }
}

/// Both copies of a fresh state, for an image: [`BLOCK_SIZE`] bytes.
pub fn fresh_block() -> Vec<u8> {
    let mut block = vec![0u8; BLOCK_SIZE];
    for (offset, sequence) in COPY_OFFSETS.into_iter().zip([1, 3]) {
        let at = offset as usize;
        block[at..at + COPY_SIZE].copy_from_slice(&BootControl { sequence, ..BootControl::default() }.encode());
    }
    block
}
