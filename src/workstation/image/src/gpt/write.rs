use super::{GptError, HEAD_SECTORS, Layout, MAX_PARTITIONS, Mbr, Partition, SECTOR, TAIL_SECTORS};
use fruit_gpt::{ENTRY, Entry, Hybrid, entry_sectors, mbr};

/// The two ends of a disk, ready to be written.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Table {
    /// Goes to byte 0: MBR, primary header, entries.
    pub head: Vec<u8>,
    /// Goes to the last bytes of the disk: entries, backup header.
    pub tail: Vec<u8>,
}

/// The bytes of both copies of the table and of the MBR; the same layout gives the same bytes.
///
/// # Errors
/// A layout that was not made by [`super::plan`] and does not fit the disk.
pub fn encode(layout: &Layout) -> Result<Table, GptError> {
    let needed = (HEAD_SECTORS + TAIL_SECTORS) * SECTOR;
    if layout.disk_size < needed {
        return Err(GptError::TooSmall { needed, available: layout.disk_size });
    }
    let sectors = layout.disk_size / SECTOR;
    let entries = entry_sectors(MAX_PARTITIONS as u32);
    let mut table = fruit_gpt::Table {
        disk: layout.disk_guid.to_bytes_le(),
        other: sectors - 1,
        entries_at: 2,
        first_usable: HEAD_SECTORS,
        last_usable: sectors - TAIL_SECTORS - 1,
        entries: vec![0; MAX_PARTITIONS * ENTRY],
    };
    for partition in &layout.partitions {
        table.set(&entry(partition, &table)?);
    }
    let hybrid = match layout.mbr {
        Mbr::Protective => None,
        Mbr::Hybrid { partition } => Some(hybrid(layout, partition).ok_or(GptError::Hybrid(partition))?),
    };
    let backup = sectors - 1;
    let head = [&mbr(sectors, hybrid)[..], &table.header(1, backup, 2), &table.entries].concat();
    let tail = [&table.entries[..], &table.header(backup, 1, backup - entries)].concat();
    Ok(Table { head, tail })
}

fn entry(partition: &Partition, table: &fruit_gpt::Table) -> Result<Entry, GptError> {
    let bad = || GptError::Size { name: partition.name.clone(), size: partition.sectors.saturating_mul(SECTOR) };
    let last = partition.first_sector.checked_add(partition.sectors).and_then(|end| end.checked_sub(1));
    let last = last.filter(|last| (partition.first_sector..=table.last_usable).contains(last)).ok_or_else(bad)?;
    if partition.number == 0 || partition.number as usize > MAX_PARTITIONS || partition.first_sector < HEAD_SECTORS {
        return Err(bad());
    }
    Ok(Entry {
        number: partition.number,
        type_guid: partition.type_guid.to_bytes_le(),
        guid: partition.guid.to_bytes_le(),
        first: partition.first_sector,
        last,
        name: partition.name.clone(),
    })
}

fn hybrid(layout: &Layout, number: u32) -> Option<Hybrid> {
    let partition = layout.partitions.iter().find(|p| p.number == number)?;
    let (first, sectors) = (partition.first_sector.try_into().ok()?, partition.sectors.try_into().ok()?);
    Some(Hybrid { first, sectors })
}
