use std::collections::BTreeSet;
use std::fmt;
use std::fs;
use std::io;
use std::path::{Path, PathBuf};

use fruit_base::{AtPath, PathError};

/// The kernel's unit in `size` files, whatever the disk's sectors are (Documentation/ABI/stable/sysfs-block).
const SECTOR: u64 = 512;
/// Block devices stacked on one another at most (LVM on LUKS on RAID is three).
const MAX_STACK: usize = 8;
/// Mounted here, a disk is the one this system runs from.
const SYSTEM_MOUNTS: [&str; 7] = ["/", "/usr", "/boot", "/boot/efi", "/boot/firmware", "/var", "/home"];

/// Where the kernel tells about disks; tests have their own.
#[derive(Clone, Debug)]
pub struct System {
    pub sys: PathBuf,
    pub proc: PathBuf,
    pub dev: PathBuf,
}

impl Default for System {
    fn default() -> System {
        System { sys: "/sys".into(), proc: "/proc".into(), dev: "/dev".into() }
    }
}

#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Transport {
    Usb,
    /// An SD card in a slot of its own.
    Sd,
    Other,
}

/// Why a disk is not written to.
#[derive(Clone, PartialEq, Eq, Debug)]
pub enum Objection {
    System {
        mount: String,
    },
    Mounted {
        mount: String,
    },
    Swap {
        device: String,
    },
    InUse {
        device: String,
        holder: String,
    },
    NotRemovable,
    ReadOnly,
    /// Bytes of its logical sectors.
    SectorSize(u64),
    Empty,
}

impl fmt::Display for Objection {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Objection::System { mount } => write!(f, "this system runs from it (mounted at {mount})"),
            Objection::Mounted { mount } => write!(f, "is mounted at {mount}; unmount it first"),
            Objection::Swap { device } => write!(f, "{device} is used as swap space; swapoff it first"),
            Objection::InUse { device, holder } => write!(f, "{device} is in use by {holder}"),
            Objection::NotRemovable => f.write_str("is neither removable, nor on USB, nor an SD card"),
            Objection::ReadOnly => f.write_str("is write-protected; look for the switch on the card or adapter"),
            Objection::SectorSize(bytes) => write!(
                f,
                "has sectors of {bytes} bytes; the partition table of an image counts sectors of {SECTOR}, so nothing would \
                 boot from it; use another card or reader"
            ),
            Objection::Empty => f.write_str("has no card in it"),
        }
    }
}

/// A whole disk.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct BlockDevice {
    /// As in `/sys/block`.
    pub name: String,
    /// Its node in `/dev`.
    pub path: PathBuf,
    /// Bytes.
    pub size: u64,
    /// Vendor and model, as far as known.
    pub model: String,
    pub transport: Transport,
    /// Can be taken out: says so itself, is on USB, or is an SD card.
    pub removable: bool,
    pub objection: Option<Objection>,
}

/// Disks that can be taken out, those that must not be written to with the reason. Empty card readers are left out.
///
/// # Errors
/// What is read in `/sys` and `/proc` cannot be.
pub fn list(system: &System) -> io::Result<Vec<BlockDevice>> {
    let folder = system.sys.join("block");
    let mut names = Vec::new();
    for entry in fs::read_dir(&folder).at(&folder)? {
        names.extend(entry.at(&folder)?.file_name().into_string());
    }
    names.sort_unstable();
    let mut found = names.iter().map(|name| inspect(system, name)).collect::<io::Result<Vec<_>>>()?;
    found.retain(|d| d.removable && d.objection != Some(Objection::Empty));
    Ok(found)
}

/// What is known about the disk `name` (as in `/sys/block`).
///
/// # Errors
/// No such disk; what is read in `/sys` and `/proc` cannot be.
pub fn inspect(system: &System, name: &str) -> io::Result<BlockDevice> {
    let folder = system.sys.join("block").join(name);
    let size = read(&folder.join("size"))?.parse::<u64>().ok().and_then(|n| n.checked_mul(SECTOR));
    let size = size.ok_or_else(|| PathError::new(folder.join("size"), io::ErrorKind::InvalidData))?;
    let flag = |file: &str| read(&folder.join(file)).is_ok_and(|v| v == "1");
    let text = |file: &str| read(&folder.join("device").join(file)).unwrap_or_default();
    let bus = fs::canonicalize(&folder).unwrap_or_default();
    let on_usb = bus.components().any(|c| c.as_os_str().to_string_lossy().starts_with("usb"));
    // An eMMC chip says MMC here and does not come out.
    let transport = match (on_usb, text("type").as_str()) {
        (true, _) => Transport::Usb,
        (_, "SD") => Transport::Sd,
        _ => Transport::Other,
    };
    let model = [text("vendor"), text("model"), text("name")].into_iter().filter(|t| !t.is_empty());
    let model = model.collect::<Vec<_>>().join(" ");
    let removable = flag("removable") || transport != Transport::Other;
    let objection = match in_use(system, name, &folder)? {
        // First what would be the worst mistake.
        Some(system @ Objection::System { .. }) => Some(system),
        _ if !removable => Some(Objection::NotRemovable),
        _ if size == 0 => Some(Objection::Empty),
        Some(used) => Some(used),
        None if flag("ro") => Some(Objection::ReadOnly),
        None => {
            let sectors = read(&folder.join("queue/logical_block_size")).ok().and_then(|text| text.parse().ok());
            sectors.filter(|bytes| *bytes != SECTOR).map(Objection::SectorSize)
        }
    };
    Ok(BlockDevice { name: name.to_owned(), path: system.dev.join(name), size, model, transport, removable, objection })
}

/// How the disk, its partitions, or what is stacked on them is used.
fn in_use(system: &System, name: &str, folder: &Path) -> io::Result<Option<Objection>> {
    // Device names with what they belong to: itself, partitions, device-mapper and RAID devices on top.
    let mut devices = vec![(name.to_owned(), folder.to_owned())];
    for part in names(folder)? {
        let part_folder = folder.join(&part);
        if part_folder.join("partition").exists() {
            devices.push((part, part_folder));
        }
    }
    let mut holder = None;
    let mut seen: BTreeSet<String> = devices.iter().map(|(name, _)| name.clone()).collect();
    let mut next = devices.clone();
    for _ in 0..MAX_STACK {
        let mut above = Vec::new();
        for (device, folder) in &next {
            for name in names(&folder.join("holders")).unwrap_or_default() {
                holder.get_or_insert_with(|| Objection::InUse { device: device.clone(), holder: name.clone() });
                if seen.insert(name.clone()) {
                    above.push((name.clone(), system.sys.join("block").join(&name)));
                }
            }
        }
        devices.extend(above.iter().cloned());
        next = above;
    }
    let numbers: BTreeSet<String> = devices.iter().filter_map(|(_, f)| read(&f.join("dev")).ok()).collect();
    let mounts = mounts(system, &numbers, &seen)?;
    if let Some(mount) = mounts.iter().find(|m| SYSTEM_MOUNTS.contains(&m.as_str())) {
        return Ok(Some(Objection::System { mount: mount.clone() }));
    }
    if let Some(mount) = mounts.into_iter().next() {
        return Ok(Some(Objection::Mounted { mount }));
    }
    // A kernel without swap has no such file.
    let swaps = fs::read_to_string(system.proc.join("swaps")).unwrap_or_default();
    let swap =
        swaps.lines().filter_map(|l| l.split_whitespace().next()?.strip_prefix("/dev/")).find(|d| seen.contains(*d));
    Ok(swap.map(|device| Objection::Swap { device: device.to_owned() }).or(holder))
}

/// Where filesystems of these devices are mounted (proc_pid_mountinfo(5)). btrfs shows device numbers of its own, so the
/// name of the source is looked at too.
fn mounts(system: &System, numbers: &BTreeSet<String>, devices: &BTreeSet<String>) -> io::Result<Vec<String>> {
    let path = system.proc.join("self/mountinfo");
    let text = fs::read_to_string(&path).at(&path)?;
    let at = |line: &str| {
        let (before, after) = line.split_once(" - ")?;
        let fields: Vec<&str> = before.split(' ').collect();
        let source = after.split(' ').nth(1)?;
        let ours = numbers.contains(*fields.get(2)?)
            || source.strip_prefix("/dev/").is_some_and(|name| devices.contains(name));
        ours.then(|| unescape(fields.get(4).copied().unwrap_or_default()))
    };
    Ok(text.lines().filter_map(at).collect())
}

/// mountinfo writes space, tab, line feed and backslash as three octal digits.
fn unescape(text: &str) -> String {
    [("\\040", " "), ("\\011", "\t"), ("\\012", "\n"), ("\\134", "\\")]
        .iter()
        .fold(text.to_owned(), |text, (from, to)| text.replace(from, to))
}

fn names(folder: &Path) -> io::Result<Vec<String>> {
    let mut names = Vec::new();
    for entry in fs::read_dir(folder).at(folder)? {
        names.extend(entry.at(folder)?.file_name().into_string());
    }
    names.sort_unstable();
    Ok(names)
}

fn read(path: &Path) -> io::Result<String> {
    Ok(fs::read_to_string(path).map(|text| text.trim().to_owned()).at(path)?)
}
