//! What stands on the FAT partitions of a card: firmware, loader and `fruit.yaml` on the first; kernel, initramfs and
//! device trees in a slot's.

use fruit_contract::{Guid, NODE_CONFIG_NAME, fruit_yaml_template};
use fruit_image::tree::Tree;
use fruit_image::verity;
use fruit_recipe::{Board, FirmwarePartition};

use crate::boot_files::{BootPackages, matching, no_such_file, put};
use crate::error::Error;
use crate::flows::{self, SlotFiles};

/// `fruit.disk=… fruit.verity=…` and the board's and the recipe's words.
pub fn command_line(disk: Guid, verity: &verity::Params, words: &[String]) -> String {
    let mut line = format!("fruit.disk={disk} fruit.verity={verity}");
    for word in words {
        line.push(' ');
        line.push_str(word);
    }
    line
}

/// The firmware partition. `copies`: sectors on the disk of the two copies of the boot-control block.
///
/// # Errors
/// A package that the board names is not in `packages`, or has no such file; names that a partition cannot have.
pub fn firmware(board: &Board, packages: &BootPackages, copies: [u64; 2], time: i64) -> Result<Tree, Error> {
    let mut tree = Tree::new(time);
    put_firmware_files(&mut tree, board, packages, FirmwarePartition::Firmware, time)?;
    put(&mut tree, NODE_CONFIG_NAME, fruit_yaml_template().as_str(), time)?;
    flows::put_on_firmware(&mut tree, board, packages, copies, time)?;
    Ok(tree)
}

/// A slot's boot partition.
///
/// # Errors
/// As [`firmware`].
pub fn boot(board: &Board, packages: &BootPackages, slot: &SlotFiles, time: i64) -> Result<Tree, Error> {
    let mut tree = Tree::new(time);
    put_firmware_files(&mut tree, board, packages, FirmwarePartition::Boot, time)?;
    for (path, content) in &slot.device_trees {
        put(&mut tree, path, content.clone(), time)?;
    }
    flows::put_into_slot(&mut tree, board, slot, time)?;
    Ok(tree)
}

fn put_firmware_files(
    tree: &mut Tree,
    board: &Board,
    packages: &BootPackages,
    partition: FirmwarePartition,
    time: i64,
) -> Result<(), Error> {
    for files in board.firmware.iter().filter(|files| files.partition.value == partition) {
        let package = files.package.value.to_string();
        for pattern in &files.files {
            let mut found = false;
            for (path, content) in matching(packages, &package, &pattern.value)? {
                let name = path.rsplit('/').next().unwrap_or(path);
                put(tree, name, content.clone(), time)?;
                found = true;
            }
            if !found {
                return Err(no_such_file(&package, &pattern.value));
            }
        }
    }
    Ok(())
}
