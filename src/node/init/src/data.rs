//! The data partition: grown to the end of the card, given a filesystem if it is blank, mounted.

use std::fs::File;
use std::io;
use std::path::Path;

use fruit_contract::Guid;
use fruit_contract::init::Data;
use fruit_contract::report::DataReport;
use fruit_device::disk::{Disk, Partition};
use fruit_device::gpt::{Extent, SECTOR, Table};
use rustix::mount::{MountFlags, mount};

use crate::ext4::{self, Content};
use crate::ioctl;
use crate::log::Log;

/// Number of the data partition; the last one on the disk.
pub const DATA_PARTITION: u8 = fruit_contract::guid::PARTITION_COUNT;
/// Growth of a filesystem that is not worth the writes.
const LEAST_GROWTH: u64 = 1 << 20;

/// Makes the data partition usable and mounts it on `mount_point`, an empty folder. Without a usable one the report says
/// why, and nothing is mounted: the node works from RAM.
pub fn open(disk: &Disk, settings: &Data, mount_point: &Path, log: &mut Log) -> DataReport {
    match try_open(disk, settings, mount_point, log) {
        Ok(report) => report,
        Err(reason) => {
            log.warn(format!("no data partition, state is kept in RAM only: {reason}"));
            DataReport::Ram { reason }
        }
    }
}

fn try_open(disk: &Disk, settings: &Data, mount_point: &Path, log: &mut Log) -> Result<DataReport, String> {
    let number = disk.number_of(disk.table.disk.partition(DATA_PARTITION))?;
    if settings.grow {
        grow_partition(disk, number).unwrap_or_else(|e| log.warn(format!("can't grow partition {number}: {e}")));
    }
    let partition = disk.partition(number)?;
    let size = device_size(&partition).map_err(|e| at(&partition, e))?;
    let formatted = make_if_blank(&partition, size, settings, disk.table.disk, log)?;
    let flags = MountFlags::NODEV | MountFlags::NOSUID | MountFlags::NOATIME;
    mount(&partition.device, mount_point, c"ext4", flags, c"errors=remount-ro")
        .map_err(|e| at(&partition, format!("can't mount it: {}", io::Error::from(e))))?;

    let mut report_size = 0;
    let mut grown_from = None;
    // The superblock as it is after the journal was replayed.
    match File::open(&partition.device).and_then(|device| ext4::identify(&device)) {
        Ok(Content::Ext4(ext4)) => {
            report_size = ext4.bytes();
            if ext4.has_errors {
                log.warn(format!("{} has errors; let e2fsck repair it", partition.device.display()));
            }
            if settings.grow && size.saturating_sub(ext4.bytes()) >= LEAST_GROWTH {
                match grow_filesystem(mount_point, size / ext4.block_size) {
                    Ok(()) => {
                        report_size = size / ext4.block_size * ext4.block_size;
                        grown_from = (!formatted).then_some(ext4.bytes());
                    }
                    Err(e) => log.warn(format!("can't grow the filesystem of {}: {e}", partition.device.display())),
                }
            }
        }
        Ok(_) => {}
        Err(e) => log.warn(format!("{}: {e}", partition.device.display())),
    }
    let device = partition.device.display().to_string();
    Ok(DataReport::Persistent { device, size: report_size, formatted, grown_from })
}

fn at(partition: &Partition, reason: impl std::fmt::Display) -> String {
    format!("{}: {reason}", partition.device.display())
}

/// Size in bytes.
fn device_size(partition: &Partition) -> io::Result<u64> {
    use std::io::Seek;
    File::open(&partition.device)?.seek(io::SeekFrom::End(0))
}

/// Writes the partition table so that the partition reaches the end of the disk, and tells the kernel.
fn grow_partition(disk: &Disk, number: u32) -> Result<(), String> {
    let logical = disk.logical_block();
    if logical != SECTOR {
        return Err(format!("the disk has sectors of {logical} bytes, only {SECTOR} are supported"));
    }
    let mut start = [0u8; 4096];
    std::os::unix::fs::FileExt::read_exact_at(&disk.file, &mut start, 0).map_err(|e| e.to_string())?;
    let plan = disk.table.plan_growth(number, disk.sectors, &start).map_err(|e| e.to_string())?;
    let extent = match plan {
        Some(growth) => {
            let target = disk.open_for_writing().map_err(|e| e.to_string())?;
            apply(&target, &growth.writes).map_err(|e| e.to_string())?;
            growth.extent
        }
        // A power cut may have come between the table and the kernel's view of it; that is gone with the power.
        None => return Ok(()),
    };
    tell_kernel(disk, number, extent)
}

/// Each write is on the disk before the next begins.
fn apply(disk: &File, writes: &[fruit_device::gpt::Write]) -> io::Result<()> {
    use std::os::unix::fs::FileExt;
    for write in writes {
        disk.write_all_at(&write.bytes, write.offset)?;
        disk.sync_all()?;
    }
    Ok(())
}

fn tell_kernel(disk: &Disk, number: u32, extent: Extent) -> Result<(), String> {
    ioctl::resize_partition(&disk.file, number, extent.start(), extent.bytes())
        .map_err(|e| format!("the kernel does not take the new size: {e}"))
}

/// Writes the whole table again from its backup, when the kernel could not read the primary, and makes the kernel look
/// again.
///
/// # Errors
/// A sentence.
pub fn repair_table(disk: &Disk) -> Result<(), String> {
    let mut start = [0u8; 4096];
    std::os::unix::fs::FileExt::read_exact_at(&disk.file, &mut start, 0).map_err(|e| e.to_string())?;
    let number = disk.number_of(disk.table.disk.partition(DATA_PARTITION))?;
    let plan = disk.table.plan_growth(number, disk.sectors, &start).map_err(|e| e.to_string())?;
    let target = disk.open_for_writing().map_err(|e| e.to_string())?;
    if let Some(growth) = plan {
        apply(&target, &growth.writes).map_err(|e| e.to_string())?;
    }
    ioctl::reread_partitions(&target).map_err(|e| format!("the kernel does not read the table again: {e}"))
}

/// The table as it is on the disk now.
///
/// # Errors
/// Those of [`Table::read`].
pub fn reread_table(disk: &mut Disk) -> Result<(), String> {
    disk.table = Table::read(&disk.file, disk.sectors).map_err(|e| e.to_string())?;
    Ok(())
}

/// Whether a filesystem was made. Whatever is not blank and not ours stays untouched.
fn make_if_blank(partition: &Partition, size: u64, settings: &Data, disk: Guid, log: &mut Log) -> Result<bool, String> {
    let open = |write| File::options().read(true).write(write).open(&partition.device).map_err(|e| at(partition, e));
    let content = ext4::identify(&open(false)?).map_err(|e| at(partition, e))?;
    match content {
        Content::Ext4(_) => return Ok(false),
        Content::Blank if !settings.format_blank => return Err(at(partition, "it is blank")),
        Content::Blank | Content::Unfinished => {}
        Content::Unknown { looks_like } => {
            let guess = looks_like.map_or(String::new(), |l| format!(" (it looks like {l})"));
            return Err(at(partition, format!("it holds something that is no ext4{guess}, which is left alone")));
        }
    }
    log.info(&format!("making a filesystem on {}", partition.device.display()));
    // Any unique value will do; the kernel mounts by device.
    let mut uuid = disk.partition(DATA_PARTITION).bytes();
    let _ = rustix::rand::getrandom(&mut uuid, rustix::rand::GetRandomFlags::NONBLOCK);
    uuid[6] = uuid[6] & 0x0f | 0x40;
    uuid[8] = uuid[8] & 0x3f | 0x80;
    let now = rustix::time::clock_gettime(rustix::time::ClockId::Realtime).tv_sec;
    ext4::format(&open(true)?, size, uuid, now.max(0)).map_err(|e| at(partition, e))?;
    Ok(true)
}

fn grow_filesystem(mounted: &Path, blocks: u64) -> io::Result<()> {
    ioctl::resize_ext4(File::open(mounted)?, blocks)
}
