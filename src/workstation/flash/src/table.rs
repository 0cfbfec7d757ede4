//! The partition table of an image, of whichever kind.

use fruit_base::le::u32_at;
use fruit_gpt::SECTOR;
use std::io;

/// Disks of any size: what a table says is compared with the image's own size where that is known.
pub(super) const ANY_DISK: u64 = u64::MAX / SECTOR;
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
        let plausible = used().count() > 0 && used().all(|record| record[0] & 0x7F == 0 && u32_at(record, 12) > 0);
        if !plausible {
            return Err("has no partition table; it is not the image of a card".to_owned());
        }
        let ends = used().map(|record| u64::from(u32_at(record, 8)) + u64::from(u32_at(record, 12)));
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

/// Reads from `all`, which starts at byte `start` of an image.
pub(super) fn read_from(all: &[u8], start: u64, bytes: &mut [u8], at: u64) -> io::Result<()> {
    let from = at.checked_sub(start).and_then(|from| usize::try_from(from).ok());
    let part = from.and_then(|from| all.get(from..from.checked_add(bytes.len())?));
    bytes.copy_from_slice(part.ok_or(io::ErrorKind::UnexpectedEof)?);
    Ok(())
}
