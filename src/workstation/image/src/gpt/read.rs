use super::{GptError, Layout, Mbr, Partition, SECTOR};
use crate::disk::Disk;
use fruit_base::le::u32_at;
use fruit_gpt::{Damage, Entry, Table};
use std::fmt;
use uuid::Uuid;

/// The state of one of the two copies of a table.
#[derive(Clone, PartialEq, Eq, Debug)]
pub enum CopyState {
    Good,
    /// What is wrong with it.
    Damaged(String),
}

impl fmt::Display for CopyState {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            CopyState::Good => f.write_str("good"),
            CopyState::Damaged(why) => write!(f, "damaged ({why})"),
        }
    }
}

/// A table that was read, and the state of its copies.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Found {
    /// From the primary copy if it is good, else from the backup.
    pub layout: Layout,
    pub primary: CopyState,
    pub backup: CopyState,
    /// Whether the backup lies in the last sector; it does not after an image was written to a larger card.
    pub backup_at_end: bool,
}

/// Reads the table of a disk or image, which may be hostile or damaged, by the rules of the node. Partitions that do not
/// lie within the disk make a copy count as damaged.
///
/// # Errors
/// Neither copy is good, or the disk cannot be read.
pub fn read<D: Disk + ?Sized>(disk: &D) -> Result<Found, GptError> {
    let last_sector = (disk.size() / SECTOR).saturating_sub(1);
    let primary = copy(disk, 1)?;
    // The primary says where the backup is; the last sector is where to look when there is no primary.
    let backup_sector = primary.as_ref().map_or(last_sector, |header| header.other_sector);
    let backup = copy(disk, backup_sector)?;
    let state = |c: &Result<Header, Damage>| {
        c.as_ref().err().map_or(CopyState::Good, |why| CopyState::Damaged(why.to_string()))
    };
    let (primary_state, mut backup_state) = (state(&primary), state(&backup));
    if let (Ok(first), Ok(second)) = (&primary, &backup)
        && (first.disk_guid != second.disk_guid || first.partitions != second.partitions)
    {
        backup_state = CopyState::Damaged("differs from the primary".to_owned());
    }
    let header = match (primary, backup) {
        (Ok(header), _) | (_, Ok(header)) => header,
        _ => return Err(GptError::NoTable { primary: primary_state, backup: backup_state }),
    };
    let mbr = mbr(disk, &header.partitions)?;
    Ok(Found {
        layout: Layout { disk_guid: header.disk_guid, disk_size: disk.size(), mbr, partitions: header.partitions },
        primary: primary_state,
        backup: backup_state,
        backup_at_end: backup_sector == last_sector,
    })
}

struct Header {
    disk_guid: Uuid,
    other_sector: u64,
    partitions: Vec<Partition>,
}

/// The copy whose header is at `sector`. The outer error is of reading, the inner says what is wrong with the copy.
fn copy<D: Disk + ?Sized>(disk: &D, sector: u64) -> Result<Result<Header, Damage>, GptError> {
    let sectors = disk.size() / SECTOR;
    let read = |bytes: &mut [u8], offset: u64| disk.read_exact_at(bytes, offset);
    let found = Table::read(&read, sector, sectors)?.and_then(|table| Ok((table.partitions(sectors)?, table)));
    Ok(found.map(|(partitions, table)| Header {
        disk_guid: Uuid::from_bytes_le(table.disk),
        other_sector: table.other,
        partitions: partitions.into_iter().map(partition).collect(),
    }))
}

fn partition(entry: Entry) -> Partition {
    Partition {
        number: entry.number,
        type_guid: Uuid::from_bytes_le(entry.type_guid),
        guid: Uuid::from_bytes_le(entry.guid),
        first_sector: entry.first,
        // It is within the disk, so neither overflows.
        sectors: entry.last - entry.first + 1,
        name: entry.name,
    }
}

/// The kind of MBR: hybrid when an entry besides 0xEE names one of the partitions.
fn mbr<D: Disk + ?Sized>(disk: &D, partitions: &[Partition]) -> Result<Mbr, GptError> {
    let mut raw = [0; SECTOR as usize];
    disk.read_exact_at(&mut raw, 0)?;
    let named = raw[446..510].chunks_exact(16).filter(|e| e[4] != 0 && e[4] != 0xEE).find_map(|e| {
        let place = (u64::from(u32_at(e, 8)), u64::from(u32_at(e, 12)));
        partitions.iter().find(|p| (p.first_sector, p.sectors) == place)
    });
    Ok(named.map_or(Mbr::Protective, |p| Mbr::Hybrid { partition: p.number }))
}
