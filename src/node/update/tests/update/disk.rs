//! A disk whose power can be cut: every write and every sync is logged; from any prefix of the log, what is on the
//! medium then is made, with writes that were not synced reordered, dropped and torn.

use std::cell::RefCell;
use std::collections::BTreeMap;
use std::io;
use std::rc::Rc;

use fruit_contract::bootctl::{BLOCK_SIZE, Stored};
use fruit_contract::{BootControl, Slot};
use fruit_release::manifest::VolumeKind;
use fruit_update::card::{Card, Control, Volume};
use fruit_update::store::Store;

/// Bytes that a disk writes whole.
pub const SECTOR: usize = 512;

/// Where something is: a partition of the card, by slot and kind, or the boot-control block.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Debug)]
pub enum Place {
    Volume(Slot, VolumeKind),
    Control,
}

/// What was done to the disk.
#[derive(Clone, Debug)]
pub enum Op {
    Write {
        place: Place,
        offset: usize,
        bytes: Vec<u8>,
    },
    Sync(Place),
    /// A file written over in place, and then on the medium.
    Overwrite {
        name: String,
        bytes: Vec<u8>,
    },
    SyncFile(String),
    /// A file put in the place of another by a rename, and that rename on the medium.
    Replace {
        name: String,
        bytes: Vec<u8>,
    },
    SyncFolder,
}

/// Partitions and files.
#[derive(Clone, PartialEq, Eq, Debug, Default)]
pub struct Content {
    pub places: BTreeMap<Place, Vec<u8>>,
    pub files: BTreeMap<String, Vec<u8>>,
}

impl Content {
    fn write(&mut self, place: Place, offset: usize, bytes: &[u8]) {
        self.places.get_mut(&place).unwrap()[offset..offset + bytes.len()].copy_from_slice(bytes);
    }

    pub fn control(&self) -> BootControl {
        Stored::from_block(&self.places[&Place::Control]).state()
    }
}

/// Random numbers that a seed repeats.
pub struct Dice(u64);

impl Dice {
    pub fn new(seed: u64) -> Dice {
        Dice(seed.wrapping_mul(0x9E37_79B9_7F4A_7C15) ^ 0x1234_5678_9ABC_DEF1)
    }

    pub fn roll(&mut self, sides: usize) -> usize {
        self.0 ^= self.0 << 13;
        self.0 ^= self.0 >> 7;
        self.0 ^= self.0 << 17;
        (self.0 % sides as u64) as usize
    }
}

#[derive(Default)]
struct Inner {
    now: Content,
    log: Vec<Op>,
    /// Bytes that fit the folder; more is a full disk.
    room: Option<usize>,
}

/// The disk, shared by everything that works on it.
#[derive(Clone, Default)]
pub struct Disk(Rc<RefCell<Inner>>);

impl Disk {
    pub fn new(content: &Content) -> Disk {
        Disk(Rc::new(RefCell::new(Inner { now: content.clone(), log: Vec::new(), room: None })))
    }

    /// The folder of the updater takes no more bytes than these.
    pub fn set_room(&self, bytes: usize) {
        self.0.borrow_mut().room = Some(bytes);
    }

    pub fn content(&self) -> Content {
        self.0.borrow().now.clone()
    }

    pub fn log(&self) -> Vec<Op> {
        self.0.borrow().log.clone()
    }

    pub fn card(&self, running: Slot, trial: bool) -> Card {
        let volume = |slot, kind| -> Box<dyn Volume> { Box::new(At(self.clone(), Place::Volume(slot, kind))) };
        let volumes = Slot::ALL.map(|slot| VolumeKind::ALL.map(|kind| volume(slot, kind)));
        Card::new(running, trial, volumes, Box::new(At(self.clone(), Place::Control)))
    }

    fn put(&self, op: Op) {
        let mut inner = self.0.borrow_mut();
        match &op {
            Op::Write { place, offset, bytes } => inner.now.write(*place, *offset, bytes),
            Op::Overwrite { name, bytes } | Op::Replace { name, bytes } => {
                inner.now.files.insert(name.clone(), bytes.clone());
            }
            Op::Sync(_) | Op::SyncFile(_) | Op::SyncFolder => {}
        }
        inner.log.push(op);
    }

    fn fits(&self, name: &str, bytes: &[u8]) -> io::Result<()> {
        let inner = self.0.borrow();
        let others: usize = inner.now.files.iter().filter(|(n, _)| *n != name).map(|(_, bytes)| bytes.len()).sum();
        match inner.room {
            Some(room) if others + bytes.len() > room => Err(io::ErrorKind::StorageFull.into()),
            _ => Ok(()),
        }
    }
}

struct At(Disk, Place);

impl Volume for At {
    fn len(&self) -> u64 {
        self.0.0.borrow().now.places[&self.1].len() as u64
    }

    fn read_exact_at(&self, buf: &mut [u8], offset: u64) -> io::Result<()> {
        let inner = self.0.0.borrow();
        let found = inner.now.places[&self.1].get(offset as usize..offset as usize + buf.len());
        buf.copy_from_slice(found.ok_or(io::ErrorKind::UnexpectedEof)?);
        Ok(())
    }

    fn write_all_at(&self, buf: &[u8], offset: u64) -> io::Result<()> {
        self.0.put(Op::Write { place: self.1, offset: offset as usize, bytes: buf.to_vec() });
        Ok(())
    }

    fn sync(&self) -> io::Result<()> {
        self.0.put(Op::Sync(self.1));
        Ok(())
    }

    fn forget(&self) -> io::Result<()> {
        Ok(())
    }
}

impl Control for At {
    fn read(&self) -> io::Result<BootControl> {
        let mut block = [0; BLOCK_SIZE];
        self.read_exact_at(&mut block, 0)?;
        Ok(Stored::from_block(&block).state())
    }

    fn write(&self, next: &BootControl) -> io::Result<()> {
        let mut block = [0; BLOCK_SIZE];
        self.read_exact_at(&mut block, 0)?;
        let write = Stored::from_block(&block).plan(next);
        self.write_all_at(&write.sector, write.offset)?;
        self.sync()
    }
}

impl Store for Disk {
    fn read(&self, name: &str, limit: u64) -> io::Result<Option<Vec<u8>>> {
        let file = self.0.borrow().now.files.get(name).cloned();
        match file {
            Some(bytes) if bytes.len() as u64 > limit => Err(io::ErrorKind::InvalidData.into()),
            file => Ok(file),
        }
    }

    fn overwrite(&self, name: &str, bytes: &[u8]) -> io::Result<()> {
        self.fits(name, bytes)?;
        self.put(Op::Overwrite { name: name.into(), bytes: bytes.to_vec() });
        self.put(Op::SyncFile(name.into()));
        Ok(())
    }

    fn replace(&self, name: &str, bytes: &[u8]) -> io::Result<()> {
        self.fits(name, bytes)?;
        self.put(Op::Replace { name: name.into(), bytes: bytes.to_vec() });
        self.put(Op::SyncFolder);
        Ok(())
    }
}

/// What is on the medium when the power is cut after `log` and nothing was written that was not synced.
pub fn medium(start: &Content, log: &[Op]) -> Content {
    settled(start, log).0
}

/// What has surely reached the medium, and what may have.
fn settled<'l>(start: &Content, log: &'l [Op]) -> (Content, Vec<&'l Op>) {
    let mut medium = start.clone();
    let mut pending: Vec<&Op> = Vec::new();
    for op in log {
        let reached = |waiting: &Op| match (waiting, op) {
            (Op::Write { place, .. }, Op::Sync(synced)) => place == synced,
            (Op::Overwrite { name, .. }, Op::SyncFile(synced)) => name == synced,
            (Op::Replace { .. }, Op::SyncFolder) => true,
            _ => false,
        };
        let (done, rest): (Vec<&Op>, Vec<&Op>) = pending.into_iter().partition(|waiting| reached(waiting));
        done.into_iter().for_each(|op| apply(&mut medium, op));
        pending = rest;
        if matches!(op, Op::Write { .. } | Op::Overwrite { .. } | Op::Replace { .. }) {
            pending.push(op);
        }
    }
    (medium, pending)
}

/// What is on the medium when the power is cut after `log`, which began at `start`.
pub fn cut(start: &Content, log: &[Op], dice: &mut Dice) -> Content {
    let (mut medium, mut pending) = settled(start, log);
    // In any order, each whole, not at all, or in parts.
    while !pending.is_empty() {
        let op = pending.swap_remove(dice.roll(pending.len()));
        match dice.roll(4) {
            0 => {}
            1 => apply(&mut medium, op),
            _ => tear(&mut medium, op, dice),
        }
    }
    medium
}

fn apply(medium: &mut Content, op: &Op) {
    match op {
        Op::Write { place, offset, bytes } => medium.write(*place, *offset, bytes),
        Op::Overwrite { name, bytes } | Op::Replace { name, bytes } => {
            medium.files.insert(name.clone(), bytes.clone());
        }
        Op::Sync(_) | Op::SyncFile(_) | Op::SyncFolder => {}
    }
}

/// Some sectors of a write. A rename is whole or not at all.
fn tear(medium: &mut Content, op: &Op, dice: &mut Dice) {
    match op {
        Op::Write { place, offset, bytes } => {
            for (i, sector) in bytes.chunks(SECTOR).enumerate() {
                if dice.roll(2) == 0 {
                    medium.write(*place, offset + i * SECTOR, sector);
                }
            }
        }
        Op::Overwrite { name, bytes } => {
            let file = medium.files.entry(name.clone()).or_default();
            let len = [file.len(), bytes.len(), bytes.len() / SECTOR / 2 * SECTOR][dice.roll(3)];
            file.resize(len, 0);
            for (to, from) in file.chunks_mut(SECTOR).zip(bytes.chunks(SECTOR)) {
                if dice.roll(2) == 0 {
                    let len = to.len().min(from.len());
                    to[..len].copy_from_slice(&from[..len]);
                }
            }
        }
        Op::Replace { .. } if dice.roll(2) == 0 => apply(medium, op),
        _ => {}
    }
}
