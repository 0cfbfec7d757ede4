//! The MBR in front of a table: protective, or hybrid for boot ROMs that know no GPT.

use crate::SECTOR_BYTES;

/// Offset of the four records.
const RECORDS: usize = 446;
const RECORD: usize = 16;
/// Type of a partition that a GPT protects.
const PROTECTIVE: u8 = 0xEE;
/// Type of FAT32 addressed by LBA.
const FAT32_LBA: u8 = 0x0C;
/// Flag of the partition to boot from.
const ACTIVE: u8 = 0x80;

/// The partition that a hybrid MBR names: first sector and length in sectors.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Hybrid {
    pub first: u32,
    pub sectors: u32,
}

/// Sector 0 of a disk of `disk_sectors`.
#[must_use]
pub fn mbr(disk_sectors: u64, hybrid: Option<Hybrid>) -> [u8; SECTOR_BYTES] {
    let mut sector = [0; SECTOR_BYTES];
    sector[510..].copy_from_slice(&[0x55, 0xAA]);
    let (records, _) = sector[RECORDS..510].as_chunks_mut::<RECORD>();
    match hybrid {
        // UEFI 5.2.3: from 0x000200 to the highest address, whatever the size.
        None => {
            let size = protective_size(disk_sectors).to_le_bytes();
            records[0] = [0, 0, 2, 0, PROTECTIVE, 0xFF, 0xFF, 0xFF, 1, 0, 0, 0, size[0], size[1], size[2], size[3]];
        }
        // 0xEE must come first: U-Boot and Linux take the disk for GPT then, and the boot ROM of the Pi looks through
        // all four entries. It ends where the other begins, so that the two do not overlap.
        Some(Hybrid { first, sectors }) => {
            records[0] = record(0, PROTECTIVE, 1, first.saturating_sub(1));
            records[1] = record(ACTIVE, FAT32_LBA, first, sectors);
        }
    }
    sector
}

/// UEFI 5.2.3: the size of the disk minus one, or all ones when that does not fit.
fn protective_size(disk_sectors: u64) -> u32 {
    u32::try_from(disk_sectors.saturating_sub(1)).unwrap_or(u32::MAX)
}

/// Sets the size in a plain protective MBR (one record, type 0xEE, from sector 1) to that of a disk of `disk_sectors`;
/// a hybrid one stays as it is. `head` starts with sector 0.
pub fn set_protective_size(head: &mut [u8], disk_sectors: u64) {
    let Some(records) = head.get_mut(RECORDS..510) else { return };
    let (records, _) = records.as_chunks_mut::<RECORD>();
    let mut used = records.iter_mut().filter(|record| record[4] != 0);
    if let (Some(record), None) = (used.next(), used.next())
        && record[4] == PROTECTIVE
        && record[8..12] == [1, 0, 0, 0]
    {
        record[12..].copy_from_slice(&protective_size(disk_sectors).to_le_bytes());
    }
}

fn record(flag: u8, kind: u8, first: u32, sectors: u32) -> [u8; RECORD] {
    let mut record = [0; RECORD];
    record[0] = flag;
    record[1..4].copy_from_slice(&chs(first));
    record[4] = kind;
    record[5..8].copy_from_slice(&chs(first.saturating_add(sectors.saturating_sub(1))));
    record[8..12].copy_from_slice(&first.to_le_bytes());
    record[12..].copy_from_slice(&sectors.to_le_bytes());
    record
}

/// Cylinder address of a sector with the usual 255 heads and 63 sectors: head, sector with the high bits of the
/// cylinder, low bits of the cylinder; the largest address when it lies beyond cylinder 1023.
fn chs(lba: u32) -> [u8; 3] {
    const HEADS: u32 = 255;
    const SECTORS: u32 = 63;
    let cylinder = lba / (HEADS * SECTORS);
    if cylinder > 1023 {
        return [0xFE, 0xFF, 0xFF];
    }
    let head = lba / SECTORS % HEADS;
    let sector = lba % SECTORS + 1;
    [head as u8, (sector | (cylinder >> 8) << 6) as u8, cylinder as u8]
}
