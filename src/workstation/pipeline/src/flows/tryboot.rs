//! The Raspberry Pi's own loader: the EEPROM starts the boot partition that `autoboot.txt` names, and the other one once
//! after a restart with "tryboot".

use fruit_contract::bootctl::LOADER;
use fruit_contract::{Slot, autoboot};
use fruit_image::gpt::BASIC_DATA;
use fruit_image::tree::Tree;
use fruit_recipe::{Board, Tryboot};
use uuid::Uuid;

use super::SlotFiles;
use crate::boot_files::put;
use crate::error::Error;

/// The loader looks for its boot partitions among the basic data partitions.
pub const BOOT_TYPE: Uuid = BASIC_DATA;

/// Which boot partition to start, and which one to try.
pub fn put_on_firmware(tree: &mut Tree, time: i64) -> Result<(), Error> {
    put(tree, autoboot::NAME, autoboot::text(Slot::A).as_str(), time)?;
    Ok(())
}

/// Kernel and initramfs under the loader's names, the command line, the loader's settings.
pub fn put_into_slot(
    tree: &mut Tree,
    board: &Board,
    loader: &Tryboot,
    slot: &SlotFiles,
    time: i64,
) -> Result<(), Error> {
    put(tree, loader.kernel_as.as_str(), slot.kernel.clone(), time)?;
    put(tree, loader.initramfs_as.as_str(), slot.initramfs.clone(), time)?;
    let consoles: String = board.console.iter().map(|c| format!("console={} ", c.value)).collect();
    let line = format!("{consoles}{} fruit.loader={LOADER}\n", slot.command_line);
    put(tree, "cmdline.txt", line.as_str(), time)?;
    if let Some(text) = &board.config_txt {
        put(tree, "config.txt", text.value.as_str(), time)?;
    }
    Ok(())
}
