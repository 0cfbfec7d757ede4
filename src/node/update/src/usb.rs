//! USB storage that is plugged in, mounted for as long as it is read.

use std::fs;
use std::io;
use std::path::{Path, PathBuf};

use fruit_device::block::{self, BlockDevice};
use rustix::mount::{MountFlags, UnmountFlags, mount, unmount};

/// Where a stick is mounted.
const MOUNT_POINT: &str = "/run/fruit/update/usb";
/// What sticks are formatted with, as far as the kernel of an image knows it.
const FORMATS: [&str; 3] = ["vfat", "exfat", "ext4"];

/// A partition of USB storage, or the whole of it where there are no partitions.
#[derive(Clone, PartialEq, Eq, PartialOrd, Ord, Debug)]
pub struct Stick {
    /// Such as `/dev/sda1`.
    pub device: PathBuf,
}

/// All USB storage, without the disk `own`, which the node runs from. `root`: `/`.
pub fn sticks(root: &Path, own: &str) -> Vec<Stick> {
    let own = own.trim_start_matches("/dev/");
    let is_stick = |device: &BlockDevice| {
        // A disk is below its USB device, a partition below its disk.
        let Ok(place) = fs::canonicalize(&device.folder) else { return false };
        let usb = place.components().any(|part| part.as_os_str().to_string_lossy().starts_with("usb"));
        let of_own = place.components().any(|part| part.as_os_str() == own);
        usb && !of_own && is_leaf(device)
    };
    let found = block::all(&root.join("sys")).into_iter().filter(is_stick);
    found.map(|device| Stick { device: device.device() }).collect()
}

/// A partition, or a disk without any.
fn is_leaf(device: &BlockDevice) -> bool {
    device.is_partition() || device.partitions().is_empty()
}

/// A stick that can be read, until this is dropped.
pub struct Mounted {
    point: PathBuf,
}

impl Mounted {
    pub fn folder(&self) -> &Path {
        &self.point
    }
}

impl Drop for Mounted {
    fn drop(&mut self) {
        // The stick may have been pulled out; what is still open goes with its last user.
        let _ = unmount(&self.point, UnmountFlags::DETACH);
    }
}

/// Mounts a stick, for reading only, in whatever known format it has.
///
/// # Errors
/// The kernel knows no format that fits.
pub fn mount_stick(stick: &Stick) -> io::Result<Mounted> {
    let point = PathBuf::from(MOUNT_POINT);
    fs::create_dir_all(&point)?;
    let flags = MountFlags::RDONLY | MountFlags::NOSUID | MountFlags::NODEV | MountFlags::NOEXEC;
    let mut last = io::Error::other("no format was tried");
    for format in FORMATS {
        match mount(&stick.device, &point, format, flags, None) {
            Ok(()) => return Ok(Mounted { point }),
            Err(error) => last = error.into(),
        }
    }
    Err(io::Error::new(last.kind(), format!("{}: {last}", stick.device.display())))
}

#[cfg(test)]
mod tests {
    use std::os::unix::fs::symlink;

    use super::*;

    /// A block device as the kernel shows it.
    fn device(root: &Path, place: &str, partition: bool) {
        let folder = root.join("sys/devices").join(place);
        fs::create_dir_all(&folder).unwrap();
        if partition {
            fs::write(folder.join("partition"), "1\n").unwrap();
        }
        let class = root.join("sys/class/block");
        fs::create_dir_all(&class).unwrap();
        symlink(&folder, class.join(folder.file_name().unwrap())).unwrap();
    }

    #[test]
    fn sticks_are_usb_partitions_and_bare_usb_disks_but_not_the_own_disk() {
        let root = tempfile::tempdir().unwrap();
        let usb = "platform/soc/3f980000.usb/usb1/1-1/host0/target/block";
        device(root.path(), &format!("{usb}/sda"), false);
        device(root.path(), &format!("{usb}/sda/sda1"), true);
        device(root.path(), &format!("{usb}/sdb"), false);
        device(root.path(), &format!("{usb}/sdc"), false);
        device(root.path(), &format!("{usb}/sdc/sdc2"), true);
        device(root.path(), "platform/soc/mmc/block/mmcblk0", false);
        device(root.path(), "platform/soc/mmc/block/mmcblk0/mmcblk0p1", true);
        let names = |own: &str| -> Vec<String> {
            sticks(root.path(), own).iter().map(|stick| stick.device.display().to_string()).collect()
        };
        assert_eq!(names("/dev/mmcblk0"), ["/dev/sda1", "/dev/sdb", "/dev/sdc2"]);
        assert_eq!(names("/dev/sdc"), ["/dev/sda1", "/dev/sdb"]);
        assert!(sticks(&root.path().join("none"), "/dev/sda").is_empty());
    }
}
