//! A built image, taken apart by the tools of others.

#![allow(dead_code)] // each test program uses its own part

use std::fs::{self, File};
use std::io::{Read, Seek, SeekFrom};
use std::path::{Path, PathBuf};

use serde_json::Value;

use super::harness::{image_of, succeed, tool};

/// One image with what stands beside it.
pub struct Built {
    pub image: PathBuf,
    pub manifest: Value,
    /// Where partitions are taken apart.
    pub folder: tempfile::TempDir,
}

impl Built {
    /// That of one of the repository's recipes.
    pub fn of(recipe: &str) -> Built {
        Built::at(&image_of(recipe))
    }

    pub fn at(image: &Path) -> Built {
        let manifest = serde_json::from_slice(&fs::read(image.with_extension("manifest.json")).unwrap()).unwrap();
        Built { image: image.to_owned(), manifest, folder: tempfile::tempdir().unwrap() }
    }

    /// Where a partition begins, and its size, in bytes.
    pub fn partition(&self, name: &str) -> (u64, u64) {
        let all = self.manifest["partitions"].as_array().unwrap();
        let found = all.iter().find(|p| p["name"] == name).unwrap_or_else(|| panic!("no partition {name}"));
        (found["start"].as_u64().unwrap(), found["size"].as_u64().unwrap())
    }

    /// A partition as a file of its own.
    pub fn extract(&self, name: &str) -> PathBuf {
        let (start, size) = self.partition(name);
        let path = self.folder.path().join(name);
        let mut image = File::open(&self.image).unwrap();
        image.seek(SeekFrom::Start(start)).unwrap();
        let mut file = File::create(&path).unwrap();
        assert_eq!(std::io::copy(&mut image.take(size), &mut file).unwrap(), size);
        path
    }

    /// A file of a FAT partition, taken out with mtools.
    pub fn file(&self, partition: &str, name: &str) -> PathBuf {
        let (start, _) = self.partition(partition);
        let to = self.folder.path().join(name);
        let drive = format!("{}@@{start}", self.image.display());
        succeed(tool("mcopy", "mtools").arg("-i").arg(drive).arg("-n").arg(format!("::{name}")).arg(&to));
        to
    }

    /// The root as a folder, taken out with erofs-utils.
    pub fn root(&self) -> PathBuf {
        let to = self.folder.path().join("root");
        let root = self.extract("root-a");
        succeed(tool("fsck.erofs", "erofs-utils").arg(format!("--extract={}", to.display())).arg(root));
        to
    }

    /// The initramfs, decompressed.
    pub fn initramfs(&self) -> PathBuf {
        let plain = self.folder.path().join("initramfs.cpio");
        succeed(tool("zstd", "zstd").args(["-q", "-d"]).arg(self.file("boot-a", "initramfs")).arg("-o").arg(&plain));
        plain
    }
}
