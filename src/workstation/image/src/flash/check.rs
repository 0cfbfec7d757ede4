//! Whether a source is the whole image of a card, found out before the target loses what it has.

use super::source::Stream;
use super::{CHUNK, FlashError, Progress, Source, Stage};
use crate::sums::Sum;
use fruit_gpt::SECTOR;
use sha2::{Digest, Sha256};
use std::io;

/// Disks of any size: what a table says is compared with the image's own size where that is known.
const ANY_DISK: u64 = u64::MAX / SECTOR;
/// Bytes at the end of a table's disk that the backup is within: a header and 256 entries are 33,280.
const BACKUP: u64 = 64 << 10;
/// Offset of the records of an MBR, and bytes of one.
const RECORDS: usize = 446;
const RECORD: usize = 16;
const SIGNATURE: [u8; 2] = [0x55, 0xAA];
const PROTECTIVE: u8 = 0xEE;

/// The partition table at the start of an image.
#[derive(Debug)]
pub(super) enum Table {
    Gpt(fruit_gpt::Table),
    /// An MBR alone, as images of other makers have it; the first sector behind its last partition.
    Mbr {
        end: u64,
    },
}

impl Table {
    /// Finds the table in the first bytes of an image. The error says what is wrong with them.
    pub fn read(head: &[u8]) -> Result<Table, String> {
        let records = head.get(RECORDS..512).filter(|end| end.ends_with(&SIGNATURE));
        let records = records.map_or(&[][..], |end| &end[..64]);
        let used = || records.chunks_exact(RECORD).filter(|record| record[4] != 0);
        let read = |bytes: &mut [u8], at: u64| read_from(head, 0, bytes, at);
        let found = fruit_gpt::Table::read(&read, 1, ANY_DISK);
        let protected = used().any(|record| record[4] == PROTECTIVE);
        let why = match found {
            Ok(Ok(table)) => match table.partitions(ANY_DISK) {
                Ok(_) => return Ok(Table::Gpt(table)),
                Err(damage) => damage.to_string(),
            },
            Ok(Err(damage)) => damage.to_string(),
            Err(_) => "it ends within it".to_owned(),
        };
        if protected {
            return Err(format!("its partition table is damaged ({why}); get the image again"));
        }
        let plausible = used().count() > 0 && used().all(|record| record[0] & 0x7F == 0 && le32(record, 12) > 0);
        if !plausible {
            return Err("has no partition table; it is not the image of a card".to_owned());
        }
        let ends = used().map(|record| u64::from(le32(record, 8)) + u64::from(le32(record, 12)));
        Ok(Table::Mbr { end: ends.max().unwrap_or(0) })
    }

    /// Bytes of the disk that a GPT is for: its backup is in the last sector.
    pub fn size(&self) -> Option<u64> {
        match self {
            Table::Gpt(table) => table.other.checked_add(1)?.checked_mul(SECTOR),
            Table::Mbr { .. } => None,
        }
    }

    /// Names of the partitions; an MBR has none.
    pub fn names(&self) -> Vec<String> {
        match self {
            Table::Gpt(table) => table.partitions(ANY_DISK).unwrap_or_default().into_iter().map(|p| p.name).collect(),
            Table::Mbr { .. } => Vec::new(),
        }
    }

    /// Compares the table with the `size` of the image in bytes. The error says what does not fit.
    pub fn fits(&self, size: u64) -> Result<(), String> {
        let needed = match self {
            Table::Gpt(_) => self.size(),
            Table::Mbr { end } => end.checked_mul(SECTOR),
        };
        match needed {
            Some(needed) if needed <= size => Ok(()),
            Some(needed) => Err(format!("has {size} bytes, its partition table is for {needed}")),
            None => Err("its partition table is for a disk that cannot be".to_owned()),
        }
    }
}

/// Reads what the image can be checked by: all that will be written where a block map has sums for it or the image is
/// packed, else the second copy of the partition table.
pub(super) fn check(source: &Source, progress: &mut dyn FnMut(Progress)) -> Result<(), FlashError> {
    let end = source.table().size().unwrap_or(source.size());
    let backup_at = end.saturating_sub(BACKUP);
    let whole = source.is_packed() || source.bmap().is_some();
    let ranges = if whole { source.ranges() } else { vec![(backup_at, end - backup_at)] };
    let total = ranges.iter().map(|(_, len)| len).sum();
    // What no range covers reaches the target as zeros.
    let mut backup = vec![0; (end - backup_at) as usize];
    let mut stream = source.read()?;
    let mut buf = vec![0; CHUNK as usize];
    let mut done = 0;
    for (index, (start, len)) in ranges.into_iter().enumerate() {
        let mut sum = Sha256::new();
        let mut at = start;
        while at < start + len {
            let bytes = &mut buf[..(start + len - at).min(CHUNK) as usize];
            fill(source, &mut stream, bytes, at)?;
            if source.bmap().is_some() {
                sum.update(&*bytes);
            }
            keep(&mut backup, backup_at, bytes, at);
            at += bytes.len() as u64;
            done += bytes.len() as u64;
            progress(Progress { stage: Stage::Check, done, total });
        }
        source.compare(index, Sum(sum.finalize().into()))?;
    }
    // Behind the last range too: what is cut there is not what was made.
    if source.is_packed() && !stream.ends_at(source.size()).map_err(|e| unpacking(source, &e))? {
        return Err(FlashError::Longer { path: source.path().to_owned(), size: source.size() });
    }
    match source.table() {
        Table::Gpt(primary) => compare_backup(primary, &backup, backup_at).map_err(|why| incomplete(source, why)),
        Table::Mbr { .. } => Ok(()),
    }
}

fn fill(source: &Source, stream: &mut Stream, bytes: &mut [u8], at: u64) -> Result<(), FlashError> {
    let read = stream.read_exact_at(bytes, at);
    read.map_err(|e| if source.is_packed() { unpacking(source, &e) } else { e.into() })
}

fn unpacking(source: &Source, e: &io::Error) -> FlashError {
    // The stream's errors have the path in front, as this one gets it.
    let (why, path) = (e.to_string(), format!("{}: ", source.path().display()));
    incomplete(source, format!("cannot be unpacked to its end ({})", why.strip_prefix(&path).unwrap_or(&why)))
}

/// Copies into `backup`, which starts at `backup_at`, what `bytes`, which start at `at`, have of it.
fn keep(backup: &mut [u8], backup_at: u64, bytes: &[u8], at: u64) {
    let (from, to) = (at.max(backup_at), (at + bytes.len() as u64).min(backup_at + backup.len() as u64));
    if from < to {
        let (into, of) = ((from - backup_at) as usize, (from - at) as usize);
        let len = (to - from) as usize;
        backup[into..into + len].copy_from_slice(&bytes[of..of + len]);
    }
}

fn compare_backup(primary: &fruit_gpt::Table, backup: &[u8], backup_at: u64) -> Result<(), String> {
    let read = |bytes: &mut [u8], at: u64| read_from(backup, backup_at, bytes, at);
    let why = match fruit_gpt::Table::read(&read, primary.other, ANY_DISK) {
        Ok(Ok(found)) if found.disk == primary.disk && found.entries == primary.entries => return Ok(()),
        Ok(Ok(_)) => "differs from the first".to_owned(),
        Ok(Err(damage)) => damage.to_string(),
        Err(_) => "its entries are not in front of it".to_owned(),
    };
    Err(format!("the second copy of its partition table is missing or damaged ({why})"))
}

/// Reads from `all`, which starts at byte `start` of an image.
fn read_from(all: &[u8], start: u64, bytes: &mut [u8], at: u64) -> io::Result<()> {
    let from = at.checked_sub(start).and_then(|from| usize::try_from(from).ok());
    let part = from.and_then(|from| all.get(from..from.checked_add(bytes.len())?));
    bytes.copy_from_slice(part.ok_or(io::ErrorKind::UnexpectedEof)?);
    Ok(())
}

fn incomplete(source: &Source, what: String) -> FlashError {
    FlashError::Incomplete { path: source.path().to_owned(), what }
}

fn le32(raw: &[u8], at: usize) -> u32 {
    u32::from_le_bytes([raw[at], raw[at + 1], raw[at + 2], raw[at + 3]])
}
