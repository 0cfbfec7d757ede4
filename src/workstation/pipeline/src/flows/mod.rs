//! The ways to boot, one file for each: what it needs on the firmware partition and in a slot's boot partition.

mod tryboot;
mod uboot;

use std::collections::BTreeMap;

use fruit_image::tree::{Content, Tree};
use fruit_recipe::{Board, Bootloader};
use uuid::Uuid;

use crate::boot_files::BootPackages;
use crate::error::Error;

/// What a slot starts with.
pub struct SlotFiles {
    pub kernel: Content,
    pub initramfs: Content,
    /// Path in the boot partition to content.
    pub device_trees: BTreeMap<String, Content>,
    /// Words of the kernel's command line of this image, without what the loader adds.
    pub command_line: String,
}

/// Puts loader and loader's settings on the firmware partition. `copies`: sectors on the disk of the two copies of the
/// boot-control block.
///
/// # Errors
/// Files that the board names and its packages lack.
pub fn put_on_firmware(
    tree: &mut Tree,
    board: &Board,
    packages: &BootPackages,
    copies: [u64; 2],
    time: i64,
) -> Result<(), Error> {
    match &board.bootloader.value {
        Bootloader::UBoot(loader) => uboot::put_on_firmware(tree, board, loader, packages, copies, time),
        Bootloader::Tryboot(_) => tryboot::put_on_firmware(tree, time),
    }
}

/// Puts kernel, initramfs and command line into a slot's boot partition, as the loader looks for them.
///
/// # Errors
/// Names that a partition cannot have.
pub fn put_into_slot(tree: &mut Tree, board: &Board, slot: &SlotFiles, time: i64) -> Result<(), Error> {
    match &board.bootloader.value {
        Bootloader::UBoot(_) => uboot::put_into_slot(tree, slot, time),
        Bootloader::Tryboot(loader) => tryboot::put_into_slot(tree, board, loader, slot, time),
    }
}

/// Type of the boot partitions.
pub fn boot_type(board: &Board) -> Uuid {
    match board.bootloader.value {
        Bootloader::UBoot(_) => uboot::BOOT_TYPE,
        Bootloader::Tryboot(_) => tryboot::BOOT_TYPE,
    }
}
