//! The loaders that boards start with.

use schemars::{JsonSchema, Schema, SchemaGenerator, json_schema};
use serde::Serialize;

use crate::declare::{keyword, mapping, text};
use crate::decode::{Decode, Flaw, Named, scalar, wrong_type};
use crate::diagnostic::{Diagnostic, Diagnostics, similar};
use crate::node::{Kind, Node, shorten};
use crate::size::Size;
use crate::source::At;
use crate::words::{Console, FatPath, Machine, PackageName, PackagePath};

/// The loader, and with it how a slot is chosen.
#[derive(Debug, Clone, PartialEq, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum Bootloader {
    /// U-Boot with a script that reads the boot-control block, counts the tries of a slot down and falls back.
    UBoot(UBoot),
    /// The Raspberry Pi's own loader: `autoboot.txt` names the boot partition, `tryboot` tries the other one once.
    Tryboot(Tryboot),
}

impl Bootloader {
    const KINDS: &[&str] = &["u_boot", "tryboot"];
}

impl Decode for Bootloader {
    fn what() -> String {
        "a mapping with one key, `u_boot` or `tryboot`".into()
    }
    fn decode(node: &Node, found: &mut Diagnostics) -> Option<Self> {
        let (key, value) = match &node.kind {
            Kind::Map(entries) if entries.len() == 1 => (&entries[0].0, &entries[0].1),
            Kind::Scalar { text, .. } if Self::KINDS.contains(&text.as_str()) => {
                found.push(
                    Diagnostic::error(format!("`{text}` needs its settings"))
                        .place(node.place.clone())
                        .did_you_mean(format!("{{{text}: {{}}}}")),
                );
                return None;
            }
            _ => {
                wrong_type::<Self>(node, found);
                return None;
            }
        };
        match key.as_str() {
            "u_boot" => UBoot::decode(value, found).map(Self::UBoot),
            "tryboot" => Tryboot::decode(value, found).map(Self::Tryboot),
            other => {
                let made =
                    Diagnostic::error(format!("`{}` is not a loader", shorten(other))).maybe_place(key.place.clone());
                let made = made.note("known: `u_boot`, `tryboot`");
                found.push(match similar(other, Self::KINDS) {
                    Some(best) => made.did_you_mean(best),
                    None => made,
                });
                None
            }
        }
    }
}

impl JsonSchema for Bootloader {
    fn schema_name() -> std::borrow::Cow<'static, str> {
        "Bootloader".into()
    }
    fn json_schema(generator: &mut SchemaGenerator) -> Schema {
        let (u_boot, tryboot) = (generator.subschema_for::<UBoot>(), generator.subschema_for::<Tryboot>());
        let only = |name: &str, schema: Schema| {
            serde_json::json!({
                "type": "object", "properties": {name: schema}, "required": [name], "additionalProperties": false,
            })
        };
        json_schema!({"oneOf": [only("u_boot", u_boot), only("tryboot", tryboot)]})
    }
}

mapping! {
    /// U-Boot from a package.
    "the settings of U-Boot"
    pub struct UBoot {
        /// Package.
        package: At<PackageName>,
        /// The loader's file in it.
        file: At<PackagePath>,
        /// Name on the firmware partition. Not given: it is not on the card (QEMU gets it as `bios`).
        install_as: Option<At<FatPath>>,
        /// Command that starts the kernel.
        command: At<BootCommand>,
        /// Machines that this loader may find itself on, by its variable `board`; the first one is assumed for an unknown one.
        machines: Named<Machine, UBootMachine>,
        /// Size of the file `uboot.env` on the firmware partition that this build of U-Boot reads its variables from. Not
        /// given: it reads none from there.
        environment_size: Option<At<Size>>,
        /// Variables of U-Boot, written to `uboot.env`.
        environment: Named<Variable, String>,
    }
}

text! {
    /// The name of a variable of U-Boot.
    "the name of a variable"
    pub struct Variable = |text| {
        if !text.is_empty() && text.len() <= 64 && text.chars().all(|c| c.is_ascii_alphanumeric() || c == '_') {
            Ok(())
        } else {
            Err(Flaw::new(format!("`{}` is not the name of a variable", shorten(text))))
        }
    };
}

keyword! {
    /// Command of U-Boot that starts a kernel.
    "a boot command"
    pub enum BootCommand {
        /// `Image` of arm64, plain or gzip.
        Booti = "booti",
        /// `zImage` of 32-bit ARM.
        Bootz = "bootz",
        /// `bzImage` of x86.
        Zboot = "zboot",
    }
}

mapping! {
    /// Where U-Boot finds its disk and puts what it loads on one machine.
    "the settings of a machine"
    pub struct UBootMachine {
        /// Disk in U-Boot's terms, kind and number.
        disk: At<UBootDisk>,
        /// Memory address of the kernel.
        kernel: Address,
        /// Memory address of the initramfs.
        initramfs: Address,
        /// Memory address of the device tree. Not given: the one that U-Boot was started with is used.
        device_tree: Option<Address>,
        /// Device tree to load from the boot partition. Not given: the one U-Boot names in `fdtfile`, if `device_tree` is given.
        device_tree_file: Option<At<FatPath>>,
        /// Memory address for unpacking a compressed kernel.
        unpack: Option<Address>,
        /// Memory address for small reads: the boot-control block, the slot's settings.
        scratch: Address,
        /// Console on this machine, where it differs from the board's.
        console: Option<At<Console>>,
    }
}

text! {
    /// A disk in U-Boot's terms: `mmc 0`, `virtio 0`.
    "a disk such as `mmc 0`"
    pub struct UBootDisk = |text| match text.split_once(' ') {
        Some(("mmc" | "virtio" | "usb" | "nvme" | "scsi" | "ide" | "sata", number)) if number.parse::<u8>().is_ok() => Ok(()),
        _ => Err(Flaw::new(format!("`{}` is not a disk of U-Boot", shorten(text)))
            .help("write its kind (`mmc`, `virtio`, `usb`, `nvme`, `scsi`, `ide`, `sata`) and its number")),
    };
}

/// A physical memory address, written in hexadecimal: `0x00200000`.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub struct Address(u64);

impl Address {
    /// The address.
    pub fn get(self) -> u64 {
        self.0
    }
}

impl std::fmt::Display for Address {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "0x{:08x}", self.0)
    }
}

impl Serialize for Address {
    fn serialize<S: serde::Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_str(self)
    }
}

impl Decode for Address {
    fn what() -> String {
        "an address such as `0x00200000`".into()
    }
    fn decode(node: &Node, found: &mut Diagnostics) -> Option<Self> {
        scalar(node, found, |text| {
            let digits = text.strip_prefix("0x").filter(|d| !d.starts_with('+'));
            match digits.map(|d| u64::from_str_radix(d, 16)) {
                Some(Ok(address)) => Ok(Self(address)),
                Some(Err(_)) => Err(Flaw::new(format!("`{}` is not an address", shorten(text)))),
                None => Err(Flaw::new(format!("`{}` is not an address", shorten(text))).help("begin with `0x`")),
            }
        })
    }
}

impl JsonSchema for Address {
    fn schema_name() -> std::borrow::Cow<'static, str> {
        "Address".into()
    }
    fn json_schema(_: &mut SchemaGenerator) -> Schema {
        json_schema!({"description": "A memory address in hexadecimal.", "type": ["string", "integer"], "pattern": "^0x[0-9a-fA-F]+$"})
    }
}

mapping! {
    /// The Raspberry Pi's own loader in its EEPROM (Pi 4 and newer), which reads `autoboot.txt`.
    "the settings of tryboot"
    pub struct Tryboot {
        /// Name of the kernel in the boot partition.
        kernel_as: At<FatPath> = At::default_value(FatPath::new("kernel8.img").unwrap_or_else(|_| unreachable!("a default by its own rule"))),
        /// Name of the initramfs in the boot partition.
        initramfs_as: At<FatPath> = At::default_value(FatPath::new("initramfs").unwrap_or_else(|_| unreachable!("a default by its own rule"))),
    }
}
