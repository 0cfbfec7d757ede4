//! Finds the card: the disk whose partition table has the image's GUID. Never by label or filesystem UUID, since both
//! slots, and the cards of a whole rack, have the same.

use std::fs::{File, OpenOptions};
use std::io;
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

use fruit_contract::Guid;

use crate::block::{self, BlockDevice};
use crate::gpt::{SECTOR, Table};

const SYS: &str = "/sys";
/// Kinds of block devices that are no disk with partitions of ours.
const NOT_DISKS: [&str; 7] = ["loop", "ram", "zram", "dm-", "md", "sr", "mtd"];
const POLL: Duration = Duration::from_millis(50);

/// The card.
pub struct Disk {
    /// Kernel name, such as `mmcblk0`.
    pub name: String,
    /// Opened for reading.
    pub file: File,
    /// Sectors of 512 bytes.
    pub sectors: u64,
    pub table: Table,
}

/// A partition as the kernel sees it.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Partition {
    /// `/dev/mmcblk0p4`
    pub device: PathBuf,
    /// `179:4`
    pub numbers: String,
}

/// Waits until a disk with this GUID is there; a card takes a while after its driver. `seen` of the error lists what was
/// there instead.
///
/// # Errors
/// A sentence after the timeout.
pub fn wait(guid: Guid, timeout: Duration) -> Result<Disk, String> {
    let start = Instant::now();
    loop {
        let mut seen = Vec::new();
        match find(guid, &mut seen) {
            Some(disk) => return Ok(disk),
            None if start.elapsed() >= timeout => {
                let seen = if seen.is_empty() { "no disk at all".into() } else { seen.join(", ") };
                return Err(format!("no disk with GUID {guid} after {} s; there is: {seen}", timeout.as_secs()));
            }
            None => std::thread::sleep(POLL),
        }
    }
}

fn find(guid: Guid, seen: &mut Vec<String>) -> Option<Disk> {
    for device in block::all(Path::new(SYS)) {
        if NOT_DISKS.iter().any(|kind| device.name.starts_with(kind)) || device.is_partition() {
            continue;
        }
        let name = &device.name;
        match open(&device) {
            Ok(disk) if disk.table.disk == guid => return Some(disk),
            Ok(disk) => seen.push(format!("{name} (GUID {})", disk.table.disk)),
            Err(reason) => seen.push(format!("{name} ({reason})")),
        }
    }
    None
}

fn open(device: &BlockDevice) -> Result<Disk, String> {
    let sectors = number(&device.folder.join("size")).map_err(|e| e.to_string())?;
    if sectors == 0 {
        return Err("no medium".into());
    }
    let file = File::open(device.device()).map_err(|e| e.to_string())?;
    let table = Table::read(&file, sectors).map_err(|e| e.to_string())?;
    Ok(Disk { name: device.name.clone(), file, sectors, table })
}

fn number(path: &Path) -> io::Result<u64> {
    std::fs::read_to_string(path)?.trim().parse().map_err(io::Error::other)
}

impl Disk {
    /// `/dev/mmcblk0`
    pub fn device(&self) -> PathBuf {
        self.block().device()
    }

    fn block(&self) -> BlockDevice {
        BlockDevice::named(Path::new(SYS), &self.name)
    }

    /// The partition with this number, as the kernel has found it.
    ///
    /// # Errors
    /// A sentence: the kernel has no such partition.
    pub fn partition(&self, number: u32) -> Result<Partition, String> {
        let missing = || format!("the kernel sees no partition {number} on {}", self.device().display());
        let partitions = self.block().partitions();
        let found = partitions.into_iter().find(|partition| partition.partition_number() == Some(number));
        let found = found.ok_or_else(missing)?;
        let numbers = found.attribute("dev").ok_or_else(missing)?;
        Ok(Partition { device: found.device(), numbers })
    }

    /// Number of the partition that has `guid`.
    ///
    /// # Errors
    /// A sentence.
    pub fn number_of(&self, guid: Guid) -> Result<u32, String> {
        self.table.find(guid).ok_or_else(|| format!("no partition with GUID {guid} on {}", self.device().display()))
    }

    /// Bytes of a sector as the disk counts them; the partition table is in 512-byte sectors only if this is 512.
    pub fn logical_block(&self) -> u64 {
        number(&self.block().folder.join("queue/logical_block_size")).unwrap_or(SECTOR)
    }

    /// # Errors
    /// Those of `open(2)`.
    pub fn open_for_writing(&self) -> io::Result<File> {
        OpenOptions::new().read(true).write(true).open(self.device())
    }
}
