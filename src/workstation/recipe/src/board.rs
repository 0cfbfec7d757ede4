//! What a board file may say.

use schemars::{JsonSchema, Schema, SchemaGenerator};
use serde::Serialize;

use crate::declare::{keyword, mapping, text};
use crate::decode::{Decode, Flaw, Named, Whole};
use crate::diagnostic::{Diagnostic, Diagnostics};
use crate::loader::Bootloader;
use crate::node::{Node, shorten};
use crate::size::{OverlayCap, Size};
use crate::source::At;
use crate::words::{Console, FatPath, KernelWord, Machine, ModuleName, PackageName, PackagePath};

mapping! {
    /// A board: what hardware (or emulated machine) needs to boot, and how it chooses between slot A and slot B.
    "a board"
    pub struct Board {
        /// One line about the board.
        description: String,
        /// Debian architecture of its programs.
        architecture: At<Architecture>,
        /// `compatible` texts of its device tree, most exact first. An update for another board is refused by these.
        compatible: Vec<At<Compatible>>,
        /// Packages that every image for this board needs in its root.
        packages: Vec<At<PackageName>>,
        /// Kernel package and form of the image.
        kernel: BoardKernel,
        /// Device trees from the kernel package, put into each slot's boot partition.
        device_trees: DeviceTrees,
        /// Modules the board needs.
        modules: BoardModules,
        /// Files for the boot ROM or the SoC's firmware, from packages.
        firmware: Vec<FirmwareFiles>,
        /// Loader, and with it how a slot is chosen.
        bootloader: At<Bootloader>,
        /// Text of `config.txt` for the Raspberry Pi's firmware.
        config_txt: Option<At<String>>,
        /// Linux consoles, `DEVICE,SPEED`; the last one is `/dev/console`.
        console: Vec<At<Console>>,
        /// Words of the kernel's command line.
        command_line: Vec<At<KernelWord>>,
        /// Form of the partition table.
        partition_table: At<PartitionTable> = At::default_value(PartitionTable::Gpt),
        /// Partitions begin at multiples of this; a power of two.
        alignment: At<Alignment> = At::default_value(Alignment(Size::mib(1))),
        /// Most that the RAM overlay may hold where the recipe does not say.
        overlay: At<OverlayCap> = At::default_value(OverlayCap::Percent(50)),
        /// Emulated machines to try an image on, by QEMU's name of the machine; the first one is used if none is asked for.
        qemu: Named<Machine, Qemu>,
    }
}

keyword! {
    /// A Debian architecture.
    "an architecture"
    pub enum Architecture {
        /// 64-bit ARM.
        Arm64 = "arm64",
        /// 32-bit ARM with hardware floating point, ARMv7.
        Armhf = "armhf",
        /// 64-bit x86.
        Amd64 = "amd64",
    }
}

impl Architecture {
    /// Debian's name of the multi-arch folder in `/usr/lib`.
    pub const fn multiarch(self) -> &'static str {
        match self {
            Self::Arm64 => "aarch64-linux-gnu",
            Self::Armhf => "arm-linux-gnueabihf",
            Self::Amd64 => "x86_64-linux-gnu",
        }
    }

    /// Suffix of the name of QEMU's system emulator: `qemu-system-…`.
    pub const fn qemu(self) -> &'static str {
        match self {
            Self::Arm64 => "aarch64",
            Self::Armhf => "arm",
            Self::Amd64 => "x86_64",
        }
    }
}

text! {
    /// A `compatible` text of a device tree: `vendor,model`.
    "a compatible text such as `raspberrypi,3-model-b`"
    pub struct Compatible = |text| {
        let parts = text.split_once(',').filter(|(vendor, model)| !vendor.is_empty() && !model.is_empty());
        if parts.is_some() && text.len() <= 64 && text.chars().all(|c| c.is_ascii_alphanumeric() || ",.+-_".contains(c)) {
            Ok(())
        } else {
            // Within brackets YAML takes the comma for the end of an entry.
            Err(Flaw::new(format!("`{}` is not `vendor,model`; write it in quotes", shorten(text))))
        }
    };
}

mapping! {
    /// Kernel package and form of the image.
    "the kernel of the board"
    pub struct BoardKernel {
        /// Package, or a metapackage such as `linux-image-arm64` that depends on it.
        package: At<PackageName>,
        /// How the image lies in the boot partition.
        form: At<KernelForm> = At::default_value(KernelForm::Plain),
    }
}

keyword! {
    /// How the kernel image lies in the boot partition.
    "a form of the kernel image"
    pub enum KernelForm {
        /// As it is in the package, or unpacked if it is compressed there: the smallest deltas.
        Plain = "plain",
        /// Compressed with gzip: fewer bytes to read where the loader reads slowly and can unpack.
        Gzip = "gzip",
    }
}

mapping! {
    /// Device trees from the kernel package.
    "the device trees of the board"
    pub struct DeviceTrees {
        /// Files below `usr/lib/linux-image-VERSION/`, with `*` and `?`.
        files: Vec<At<PackagePath>>,
        /// Whether overlays (`overlays/*.dtbo` of the firmware package) are copied too; for the Raspberry Pi's own loader.
        overlays: bool = false,
    }
}

mapping! {
    /// Modules the board needs. What they depend on comes with them.
    "the modules of the board"
    pub struct BoardModules {
        /// Modules in the initramfs, loaded in this order: storage, file systems, watchdog.
        initramfs: Vec<At<ModuleName>>,
        /// Modules in the root, loaded when the hardware is seen: network, sound, buses.
        root: Vec<At<ModuleName>>,
    }
}

mapping! {
    /// Files of a package that the boot ROM or firmware reads.
    "the firmware files of the board"
    pub struct FirmwareFiles {
        /// Package; it is read, not installed in the root.
        package: At<PackageName>,
        /// Files in it, with `*` and `?`. Only their names are kept, not their folders.
        files: Vec<At<PackagePath>>,
        /// Partition they are put on.
        partition: At<FirmwarePartition> = At::default_value(FirmwarePartition::Firmware),
    }
}

keyword! {
    /// Partition that holds a firmware file.
    "a partition"
    pub enum FirmwarePartition {
        /// The firmware partition, shared by both slots and never touched by an update.
        Firmware = "firmware",
        /// Each slot's boot partition, replaced with the slot.
        Boot = "boot",
    }
}

keyword! {
    /// Form of the partition table.
    "a kind of partition table"
    pub enum PartitionTable {
        /// GPT with a protective MBR.
        Gpt = "gpt",
        /// GPT with the firmware partition in the MBR too, for boot ROMs that read only an MBR (Pi 3 and older).
        HybridMbr = "hybrid-mbr",
    }
}

/// A power of two from 4 KiB to 64 MiB.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
pub struct Alignment(Size);

impl Alignment {
    /// Bytes.
    pub fn bytes(self) -> u64 {
        self.0.bytes()
    }
}

impl Decode for Alignment {
    fn what() -> String {
        "a power of two from 4KiB to 64MiB".into()
    }
    fn decode(node: &Node, found: &mut Diagnostics) -> Option<Self> {
        let size = Size::decode(node, found)?;
        if size.bytes().is_power_of_two() && (4096..=64 << 20).contains(&size.bytes()) {
            return Some(Self(size));
        }
        let made = Diagnostic::error(format!("{size} is not {}", Self::what())).place(node.place.clone());
        found.push(made.did_you_mean("1MiB"));
        None
    }
}

impl JsonSchema for Alignment {
    fn inline_schema() -> bool {
        true
    }
    fn schema_name() -> std::borrow::Cow<'static, str> {
        "Alignment".into()
    }
    fn json_schema(generator: &mut SchemaGenerator) -> Schema {
        generator.subschema_for::<Size>()
    }
}

mapping! {
    /// An emulated machine to try an image on.
    "the settings of an emulated machine"
    pub struct Qemu {
        /// Options of the machine, joined to its name with commas: `acpi=off`.
        options: Vec<String>,
        /// CPU model; not given: the machine's own.
        cpu: Option<String>,
        /// Number of cores.
        smp: At<Whole<1, 64>> = At::default_value(Whole::clamped(1)),
        /// Memory.
        memory: At<Size> = At::default_value(Size::mib(1024)),
        /// Firmware to start with: a file of a package.
        bios: Option<FileOfPackage>,
        /// What QEMU loads as its kernel, if not `bios`: a file of a package, for example U-Boot on a Raspberry Pi.
        kernel: Option<FileOfPackage>,
        /// Device tree handed over, one of `device_trees`.
        device_tree: Option<At<FatPath>>,
        /// How the image is attached. The size of an `sd` card must be a power of two: the image is grown in a copy-on-write layer.
        disk: At<QemuDisk>,
        /// Network device: `virtio-net-device`, `usb-net`.
        network: Option<String>,
        /// Watchdog device: `i6300esb`.
        watchdog: Option<String>,
        /// Number of the serial port that is the console, from 0.
        console_port: At<Whole<0, 3>> = At::default_value(Whole::clamped(0)),
        /// Whether all cores are emulated by one thread. Faster where idle cores spin.
        single_thread: bool = false,
        /// Further arguments.
        arguments: Vec<String>,
    }
}

mapping! {
    /// A file of a package.
    "a package and a file in it"
    pub struct FileOfPackage {
        /// Package; it is read, not installed in the root.
        package: At<PackageName>,
        /// File in it.
        file: At<PackagePath>,
    }
}

keyword! {
    /// How the image is attached to the emulated machine.
    "a way to attach the disk"
    pub enum QemuDisk {
        /// SD card of the emulated SoC.
        Sd = "sd",
        /// virtio over memory-mapped I/O (`virtio-blk-device`).
        VirtioMmio = "virtio-mmio",
        /// virtio over PCI (`virtio-blk-pci`).
        VirtioPci = "virtio-pci",
    }
}
