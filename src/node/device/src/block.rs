//! Block devices as the kernel lists them in `/sys/class/block`.

use std::fs;
use std::path::{Path, PathBuf};

/// A disk, a partition, or anything else with blocks.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct BlockDevice {
    /// Kernel name, such as `mmcblk0p4`.
    pub name: String,
    /// Its folder in `/sys`.
    pub folder: PathBuf,
}

/// All of them, by name; none where the kernel lists none. `sys`: `/sys`.
pub fn all(sys: &Path) -> Vec<BlockDevice> {
    listed(&sys.join("class/block"))
}

/// The entries of a folder, by name.
fn listed(folder: &Path) -> Vec<BlockDevice> {
    let entries = fs::read_dir(folder).into_iter().flatten().flatten();
    let named = entries
        .filter_map(|entry| Some(BlockDevice { name: entry.file_name().into_string().ok()?, folder: entry.path() }));
    let mut found: Vec<BlockDevice> = named.collect();
    found.sort_by(|a, b| a.name.cmp(&b.name));
    found
}

impl BlockDevice {
    /// The device `name`, whether it is there or not. `sys`: `/sys`.
    pub fn named(sys: &Path, name: &str) -> BlockDevice {
        BlockDevice { name: name.to_owned(), folder: sys.join("class/block").join(name) }
    }

    /// `/dev/mmcblk0p4`
    pub fn device(&self) -> PathBuf {
        Path::new("/dev").join(&self.name)
    }

    /// Number within its disk; a disk has none.
    pub fn partition_number(&self) -> Option<u32> {
        self.attribute("partition")?.parse().ok()
    }

    pub fn is_partition(&self) -> bool {
        self.folder.join("partition").exists()
    }

    /// The partitions of this disk that the kernel has found.
    pub fn partitions(&self) -> Vec<BlockDevice> {
        listed(&self.folder).into_iter().filter(BlockDevice::is_partition).collect()
    }

    /// One line that the kernel tells of it, such as `dev` or `size`.
    pub fn attribute(&self, name: &str) -> Option<String> {
        fs::read_to_string(self.folder.join(name)).ok().map(|text| text.trim().to_owned())
    }
}

#[cfg(test)]
mod tests {
    use std::os::unix::fs::symlink;

    use super::*;

    #[test]
    fn disks_have_partitions_and_numbers() {
        let root = tempfile::tempdir().unwrap();
        let class = root.path().join("class/block");
        let disk = root.path().join("devices/mmc/block/mmcblk0");
        fs::create_dir_all(&class).unwrap();
        fs::create_dir_all(disk.join("queue")).unwrap();
        symlink(&disk, class.join("mmcblk0")).unwrap();
        for number in [4u32, 1] {
            let folder = disk.join(format!("mmcblk0p{number}"));
            fs::create_dir_all(&folder).unwrap();
            fs::write(folder.join("partition"), format!("{number}\n")).unwrap();
            symlink(&folder, class.join(format!("mmcblk0p{number}"))).unwrap();
        }
        let names = |devices: &[BlockDevice]| devices.iter().map(|d| d.name.clone()).collect::<Vec<_>>();
        let found = all(root.path());
        assert_eq!(names(&found), ["mmcblk0", "mmcblk0p1", "mmcblk0p4"]);
        assert!(!found[0].is_partition() && found[0].partition_number().is_none());
        assert_eq!(names(&found[0].partitions()), ["mmcblk0p1", "mmcblk0p4"]);
        assert_eq!((found[2].partition_number(), found[2].device()), (Some(4), "/dev/mmcblk0p4".into()));
        assert_eq!(BlockDevice::named(root.path(), "mmcblk0"), found[0]);
        assert!(all(&root.path().join("none")).is_empty());
    }
}
