//! U-Boot: a script on the firmware partition reads the boot-control block, chooses the slot and starts its kernel.

mod script;

use std::collections::BTreeMap;

use fruit_image::gpt::LINUX_DATA;
use fruit_image::tree::Tree;
use fruit_image::uboot;
use fruit_recipe::{Architecture, Board, BootCommand, UBoot};
use uuid::Uuid;

use super::SlotFiles;
use crate::boot_files::{BootPackages, package_file, put};
use crate::error::Error;
use script::{Machine, Start};

/// A PC need not show these partitions.
pub const BOOT_TYPE: Uuid = LINUX_DATA;

/// Files that the script loads from a slot's boot partition.
const KERNEL: &str = "kernel";
const INITRAMFS: &str = "initramfs";

/// The loader, its script and its variables.
pub fn put_on_firmware(
    tree: &mut Tree,
    board: &Board,
    loader: &UBoot,
    packages: &BootPackages,
    copies: [u64; 2],
    time: i64,
) -> Result<(), Error> {
    if let Some(name) = &loader.install_as {
        let content = package_file(packages, loader.package.as_str(), &loader.file.value)?;
        put(tree, name.as_str(), content, time)?;
    }
    if let Some(text) = &board.config_txt {
        put(tree, "config.txt", text.value.as_str(), time)?;
    }
    put(tree, "boot.scr", uboot_script(board, loader, copies, time)?, time)?;
    if let Some(size) = &loader.environment_size {
        put(tree, "uboot.env", uboot_environment(loader, size.value.bytes())?, time)?;
    }
    Ok(())
}

/// Kernel, initramfs, and what the script puts on the kernel's command line.
pub fn put_into_slot(tree: &mut Tree, slot: &SlotFiles, time: i64) -> Result<(), Error> {
    put(tree, KERNEL, slot.kernel.clone(), time)?;
    put(tree, INITRAMFS, slot.initramfs.clone(), time)?;
    put(tree, "slot.env", format!("args={}\n", slot.command_line).as_str(), time)?;
    Ok(())
}

fn uboot_script(board: &Board, loader: &UBoot, copies: [u64; 2], time: i64) -> Result<Vec<u8>, Error> {
    let console = |own: Option<String>| match own {
        Some(own) => format!("console={own}"),
        None => board.console.iter().map(|c| format!("console={}", c.value)).collect::<Vec<_>>().join(" "),
    };
    let machines: Vec<Machine> = loader
        .machines
        .iter()
        .map(|(name, machine)| Machine {
            board: name.to_string(),
            disk: machine.disk.value.to_string(),
            scratch: machine.scratch.get(),
            kernel: machine.kernel.get(),
            initramfs: machine.initramfs.get(),
            device_tree: machine.device_tree.map(fruit_recipe::Address::get),
            device_tree_file: machine.device_tree_file.as_ref().map(|file| file.value.to_string()),
            unpack: machine.unpack.map(fruit_recipe::Address::get),
            console: console(machine.console.as_ref().map(|c| c.value.to_string())),
        })
        .collect();
    let start = match loader.command.value {
        BootCommand::Booti => Start::Arm64Image,
        BootCommand::Bootz => Start::ArmZimage,
        BootCommand::Zboot => Start::Bzimage,
    };
    let architecture = match board.architecture.value {
        Architecture::Arm64 => uboot::Architecture::Arm64,
        Architecture::Armhf => uboot::Architecture::Arm,
        Architecture::Amd64 => uboot::Architecture::X86_64,
    };
    let time = u32::try_from(time).unwrap_or(0);
    uboot::script(architecture, "fruitbuild", time, &script::text(&machines, start, copies))
        .map_err(|error| Error::other(format!("boot.scr: {error}")))
}

fn uboot_environment(loader: &UBoot, size: u64) -> Result<Vec<u8>, Error> {
    // This file replaces U-Boot's built-in variables, `board` among them, by which our script knows where it is.
    let board = loader.machines.iter().next().map_or(String::new(), |(name, _)| name.to_string());
    let mut variables: BTreeMap<String, String> = script::environment(&board).into_iter().collect();
    variables.extend(loader.environment.iter().map(|(name, value)| (name.to_string(), value.clone())));
    let size = usize::try_from(size).map_err(|error| Error::input(format!("uboot.env: {error}")))?;
    uboot::environment(size, variables.iter().map(|(name, value)| (name.as_str(), value.as_str())))
        .map_err(|error| Error::input(format!("uboot.env: {error}")))
}
