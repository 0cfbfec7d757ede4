//! The card that the node runs from, found by its GUID as at boot.

use std::fs::{File, OpenOptions};
use std::io::{Seek, SeekFrom};
use std::path::Path;
use std::time::Duration;

use fruit_contract::report::BootReport;
use fruit_contract::{Guid, Slot};
use fruit_device::disk::{self, Disk};
use fruit_release::manifest::VolumeKind;

use super::{Card, CardError, Control, ControlBlock, FileVolume, Volume};

/// Number of the partition with the boot-control block.
const STATE_PARTITION: u8 = 6;

/// Opens the card of this node. `guid`: of the disk, from the kernel command line; without it the one that follows from
/// the image's name. `control`: what decides which slot boots; without it the boot-control block.
///
/// # Errors
/// No such disk, a partition that is missing, or one that can't be opened.
pub fn open(report: &BootReport, guid: Option<Guid>, control: Option<Box<dyn Control>>) -> Result<Card, CardError> {
    let guid = guid.unwrap_or_else(|| Guid::of_disk(&report.image.name));
    // It is there: the system runs from it.
    let disk = disk::wait(guid, Duration::ZERO).map_err(CardError::Disk)?;
    let volumes = |slot: Slot| -> Result<[Box<dyn Volume>; 2], CardError> {
        let writable = slot != report.slot;
        Ok([
            volume(&disk, number(slot, VolumeKind::Root), writable)?,
            volume(&disk, number(slot, VolumeKind::Boot), writable)?,
        ])
    };
    let control = match control {
        Some(control) => control,
        None => Box::new(ControlBlock::new(partition(&disk, STATE_PARTITION, true)?)),
    };
    Ok(Card::new(report.slot, report.trial, [volumes(Slot::A)?, volumes(Slot::B)?], control))
}

const fn number(slot: Slot, kind: VolumeKind) -> u8 {
    match kind {
        VolumeKind::Root => slot.root_partition(),
        VolumeKind::Boot => slot.boot_partition(),
    }
}

fn volume(disk: &Disk, number: u8, writable: bool) -> Result<Box<dyn Volume>, CardError> {
    let mut file = partition(disk, number, writable)?;
    let len = file.seek(SeekFrom::End(0)).map_err(|source| CardError::Open { device: number.to_string(), source })?;
    Ok(Box::new(FileVolume::new(file, len)))
}

/// The running slot is opened for reading only: nothing here may ever write to it.
fn partition(disk: &Disk, number: u8, writable: bool) -> Result<File, CardError> {
    let in_table = disk.number_of(disk.table.disk.partition(number)).map_err(CardError::Disk)?;
    let device = disk.partition(in_table).map_err(CardError::Disk)?.device;
    let opened = OpenOptions::new().read(true).write(writable).open(Path::new(&device));
    opened.map_err(|source| CardError::Open { device: device.display().to_string(), source })
}
