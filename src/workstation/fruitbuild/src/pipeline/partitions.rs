//! What stands on the FAT partitions of a card: firmware, loader and `fruit.yaml` on the first; kernel, initramfs and
//! device trees in a slot's.

use std::collections::BTreeMap;

use fruit_contract::bootctl::LOADER;
use fruit_contract::{Guid, NODE_CONFIG_NAME, fruit_yaml_template};
use fruit_image::tree::{Content, Inode, Kind, Tree, TreeError};
use fruit_image::uboot;
use fruit_image::verity;
use fruit_recipe::{Architecture, Board, BootCommand, Bootloader, FirmwarePartition, PackagePath, UBoot};
use fruit_root::glob::Glob;

use crate::boot::script::{self, Machine, Start};
use crate::failure::Failure;

/// Files that U-Boot's script loads from a slot's boot partition.
const UBOOT_KERNEL: &str = "kernel";
const UBOOT_INITRAMFS: &str = "initramfs";

/// What a slot starts with.
pub struct SlotFiles {
    pub kernel: Content,
    pub initramfs: Content,
    /// Path in the boot partition to content.
    pub device_trees: BTreeMap<String, Content>,
    /// Words of the kernel's command line of this image, without what the loader adds.
    pub command_line: String,
}

/// Packages that are read but not installed in the root, each unpacked into a tree of its own.
pub type BootPackages = BTreeMap<String, Tree>;

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
pub fn firmware(board: &Board, packages: &BootPackages, copies: [u64; 2], time: i64) -> Result<Tree, Failure> {
    let mut tree = Tree::new(time);
    put_firmware_files(&mut tree, board, packages, FirmwarePartition::Firmware, time)?;
    put(&mut tree, NODE_CONFIG_NAME, fruit_yaml_template().as_str(), time)?;
    match &board.bootloader.value {
        Bootloader::UBoot(loader) => {
            if let Some(name) = &loader.install_as {
                let content = package_file(packages, loader.package.as_str(), &loader.file.value)?;
                put(&mut tree, name.as_str(), content, time)?;
            }
            if let Some(text) = &board.config_txt {
                put(&mut tree, "config.txt", text.value.as_str(), time)?;
            }
            put(&mut tree, "boot.scr", uboot_script(board, loader, copies, time)?, time)?;
            if let Some(size) = &loader.environment_size {
                put(&mut tree, "uboot.env", uboot_environment(loader, size.value.bytes())?, time)?;
            }
        }
        // The EEPROM's loader reads which boot partition to start, and which one to try, from here.
        Bootloader::Tryboot(_) => {
            let text = "[all]\ntryboot_a_b=1\nboot_partition=2\n[tryboot]\nboot_partition=3\n";
            put(&mut tree, "autoboot.txt", text, time)?;
        }
    }
    Ok(tree)
}

/// A slot's boot partition.
pub fn boot(board: &Board, packages: &BootPackages, slot: &SlotFiles, time: i64) -> Result<Tree, Failure> {
    let mut tree = Tree::new(time);
    put_firmware_files(&mut tree, board, packages, FirmwarePartition::Boot, time)?;
    for (path, content) in &slot.device_trees {
        put(&mut tree, path, content.clone(), time)?;
    }
    match &board.bootloader.value {
        Bootloader::UBoot(_) => {
            put(&mut tree, UBOOT_KERNEL, slot.kernel.clone(), time)?;
            put(&mut tree, UBOOT_INITRAMFS, slot.initramfs.clone(), time)?;
            put(&mut tree, "slot.env", format!("args={}\n", slot.command_line).as_str(), time)?;
        }
        Bootloader::Tryboot(loader) => {
            put(&mut tree, loader.kernel_as.as_str(), slot.kernel.clone(), time)?;
            put(&mut tree, loader.initramfs_as.as_str(), slot.initramfs.clone(), time)?;
            let consoles: String = board.console.iter().map(|c| format!("console={} ", c.value)).collect();
            let line = format!("{consoles}{} fruit.loader={LOADER}\n", slot.command_line);
            put(&mut tree, "cmdline.txt", line.as_str(), time)?;
            if let Some(text) = &board.config_txt {
                put(&mut tree, "config.txt", text.value.as_str(), time)?;
            }
        }
    }
    Ok(tree)
}

fn put_firmware_files(
    tree: &mut Tree,
    board: &Board,
    packages: &BootPackages,
    partition: FirmwarePartition,
    time: i64,
) -> Result<(), Failure> {
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

/// Files of a package by a pattern.
pub fn matching<'p>(
    packages: &'p BootPackages,
    package: &str,
    pattern: &PackagePath,
) -> Result<Vec<(&'p str, &'p Content)>, Failure> {
    let tree = packages
        .get(package)
        .ok_or_else(|| Failure::general(format!("package {package} was not unpacked, though the board needs it")))?;
    let glob = Glob::new(pattern.as_str()).map_err(Failure::input)?;
    Ok(tree
        .iter()
        .filter_map(|(path, _, inode)| match &inode.kind {
            Kind::File(content) if glob.matches(path) => Some((path, content)),
            _ => None,
        })
        .collect())
}

/// The one file of a package that the board names.
pub fn package_file(packages: &BootPackages, package: &str, file: &PackagePath) -> Result<Content, Failure> {
    let found = matching(packages, package, file)?;
    found.first().map(|(_, content)| (*content).clone()).ok_or_else(|| no_such_file(package, file))
}

fn no_such_file(package: &str, file: &PackagePath) -> Failure {
    Failure::input(format!("package {package} has no file {file}, which the board asks for"))
}

fn put(tree: &mut Tree, path: &str, content: impl Into<Content>, time: i64) -> Result<(), Failure> {
    let into_failure = |error: TreeError| Failure::input(error.to_string());
    if let Some((folder, _)) = path.rsplit_once('/') {
        tree.make_dirs(folder, 0o755, time).map_err(into_failure)?;
    }
    tree.insert(path, Inode::file(content, 0o644, time)).map_err(into_failure)?;
    Ok(())
}

fn uboot_script(board: &Board, loader: &UBoot, copies: [u64; 2], time: i64) -> Result<Vec<u8>, Failure> {
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
        .map_err(|error| Failure::general(format!("boot.scr: {error}")))
}

fn uboot_environment(loader: &UBoot, size: u64) -> Result<Vec<u8>, Failure> {
    // This file replaces U-Boot's built-in variables, `board` among them, by which our script knows where it is.
    let board = loader.machines.iter().next().map_or(String::new(), |(name, _)| name.to_string());
    let mut variables: BTreeMap<String, String> = script::environment(&board).into_iter().collect();
    variables.extend(loader.environment.iter().map(|(name, value)| (name.to_string(), value.clone())));
    let size = usize::try_from(size).map_err(|error| Failure::input(format!("uboot.env: {error}")))?;
    uboot::environment(size, variables.iter().map(|(name, value)| (name.as_str(), value.as_str())))
        .map_err(|error| Failure::input(format!("uboot.env: {error}")))
}
