use super::{GptError, HEAD_SECTORS, Layout, Mbr, Partition, SECTOR, TAIL_SECTORS};
use gpt::GptConfig;
use gpt::disk::LogicalBlockSize;
use gpt::mbr::{PartRecord, ProtectiveMBR};
use std::collections::BTreeMap;
use std::io::{self, Read, Seek, SeekFrom, Write};

/// MBR type of a partition that a GPT protects.
const PROTECTIVE: u8 = 0xEE;
/// MBR type of FAT32 addressed by LBA.
const FAT32_LBA: u8 = 0x0C;
/// MBR flag of the partition to boot from.
const ACTIVE: u8 = 0x80;

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
    let failed = |e: &dyn std::fmt::Display| GptError::Write(e.to_string());
    let needed = (HEAD_SECTORS + TAIL_SECTORS) * SECTOR;
    if layout.disk_size < needed {
        return Err(GptError::TooSmall { needed, available: layout.disk_size });
    }
    let mut disk = GptConfig::new()
        .writable(true)
        .logical_block_size(LogicalBlockSize::Lb512)
        .create_from_device(Ends::new(layout.disk_size), Some(layout.disk_guid))
        .map_err(|e| failed(&e))?;
    let entries: BTreeMap<u32, gpt::partition::Partition> =
        layout.partitions.iter().map(|p| (p.number, entry(p))).collect();
    disk.update_partitions(entries).map_err(|e| failed(&e))?;
    let mut ends = disk.write().map_err(|e| failed(&e))?;
    mbr(layout)?.overwrite_lba0(&mut ends).map_err(|e| failed(&e))?;
    Ok(Table { head: ends.head, tail: ends.tail })
}

fn entry(p: &Partition) -> gpt::partition::Partition {
    gpt::partition::Partition {
        part_type_guid: p.type_guid.into(),
        part_guid: p.guid,
        first_lba: p.first_sector,
        last_lba: p.first_sector + p.sectors - 1,
        flags: 0,
        name: p.name.clone(),
    }
}

fn mbr(layout: &Layout) -> Result<ProtectiveMBR, GptError> {
    let mut mbr = ProtectiveMBR::new();
    let sectors = layout.disk_size / SECTOR;
    match layout.mbr {
        Mbr::Protective => {
            // UEFI 5.2.3: the size of the disk minus one, or all ones when that does not fit.
            let size = u32::try_from(sectors - 1).unwrap_or(u32::MAX);
            mbr.set_partition(0, PartRecord::new_protective(Some(size)));
        }
        Mbr::Hybrid { partition } => {
            let missing = || GptError::Hybrid(partition);
            let p = layout.partitions.iter().find(|p| p.number == partition).ok_or_else(missing)?;
            let first = u32::try_from(p.first_sector).map_err(|_| missing())?;
            let size = u32::try_from(p.sectors).map_err(|_| missing())?;
            // 0xEE must come first: U-Boot and Linux take the disk for GPT then, and the boot ROM of the Pi looks
            // through all four entries. It ends where the other begins, so that the two do not overlap.
            mbr.set_partition(0, record(0, PROTECTIVE, 1, first - 1));
            mbr.set_partition(1, record(ACTIVE, FAT32_LBA, first, size));
        }
    }
    Ok(mbr)
}

fn record(boot_indicator: u8, os_type: u8, lb_start: u32, lb_size: u32) -> PartRecord {
    let (start_head, start_sector, start_track) = chs(lb_start);
    let (end_head, end_sector, end_track) = chs(lb_start.saturating_add(lb_size.saturating_sub(1)));
    PartRecord {
        boot_indicator,
        start_head,
        start_sector,
        start_track,
        os_type,
        end_head,
        end_sector,
        end_track,
        lb_start,
        lb_size,
    }
}

/// Cylinder address of a sector with the usual 255 heads and 63 sectors, as (head, sector and high cylinder bits, low
/// cylinder bits); the largest address when it lies beyond cylinder 1023.
fn chs(lba: u32) -> (u8, u8, u8) {
    const HEADS: u32 = 255;
    const SECTORS: u32 = 63;
    let cylinder = lba / (HEADS * SECTORS);
    if cylinder > 1023 {
        return (0xFE, 0xFF, 0xFF);
    }
    let head = lba / SECTORS % HEADS;
    let sector = lba % SECTORS + 1;
    (head as u8, (sector | (cylinder >> 8) << 6) as u8, cylinder as u8)
}

/// A disk of which only the ends exist, all that a partition table touches.
#[derive(Debug)]
struct Ends {
    size: u64,
    position: u64,
    head: Vec<u8>,
    tail: Vec<u8>,
}

impl Ends {
    fn new(size: u64) -> Ends {
        let bytes = |sectors: u64| vec![0; (sectors * SECTOR) as usize];
        Ends { size, position: 0, head: bytes(HEAD_SECTORS), tail: bytes(TAIL_SECTORS) }
    }

    /// What is stored at the position, up to the end of its half of the disk's ends.
    fn here(&mut self) -> io::Result<&mut [u8]> {
        let (half, start) = if self.position < self.head.len() as u64 {
            (&mut self.head, 0)
        } else {
            let start = self.size - self.tail.len() as u64;
            (&mut self.tail, start)
        };
        let outside = || io::Error::new(io::ErrorKind::InvalidInput, "the partition table reaches into the partitions");
        let at = self.position.checked_sub(start).ok_or_else(outside)?;
        half.get_mut(at as usize..).ok_or_else(outside)
    }
}

impl Read for Ends {
    fn read(&mut self, buf: &mut [u8]) -> io::Result<usize> {
        let here = self.here()?;
        let n = here.len().min(buf.len());
        buf[..n].copy_from_slice(&here[..n]);
        self.position += n as u64;
        Ok(n)
    }
}

impl Write for Ends {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        let here = self.here()?;
        let n = here.len().min(bytes.len());
        here[..n].copy_from_slice(&bytes[..n]);
        self.position += n as u64;
        Ok(n)
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

impl Seek for Ends {
    fn seek(&mut self, to: SeekFrom) -> io::Result<u64> {
        let target = match to {
            SeekFrom::Start(n) => Some(n),
            SeekFrom::End(n) => self.size.checked_add_signed(n),
            SeekFrom::Current(n) => self.position.checked_add_signed(n),
        };
        self.position = target.filter(|n| *n <= self.size).ok_or(io::ErrorKind::InvalidInput)?;
        Ok(self.position)
    }
}
