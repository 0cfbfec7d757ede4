//! The two volumes of a card image's slot a, copied to files of their own, and what is known of their files.

use std::fs::{self, File as Disk};
use std::io::{self, Write};
use std::ops::Range;
use std::path::{Path, PathBuf};

use fruit_delta::{File, Volume};
use fruit_image::disk::{Disk as _, DiskFile, Window};
use fruit_image::erofs::{FileType, Reader};
use fruit_image::storage::{Extent, ReadAt};
use fruit_image::{fat, inspect};

/// A volume in a file.
pub struct Stored {
    pub path: PathBuf,
    pub len: u64,
    disk: Disk,
    files: Vec<File>,
}

impl Stored {
    pub fn volume(&self) -> Volume<'_> {
        Volume { data: &self.disk, len: self.len, files: self.files.clone() }
    }

    pub fn bytes(&self) -> Vec<u8> {
        fs::read(&self.path).expect("a volume")
    }
}

fn ranges(extents: Vec<Extent>) -> Vec<Range<u64>> {
    extents.into_iter().map(|e| e.offset..e.offset + e.len).collect()
}

fn store(from: &Window<'_, DiskFile>, len: u64, path: PathBuf, files: Vec<File>) -> io::Result<Stored> {
    let mut disk = Disk::options().read(true).write(true).create(true).truncate(true).open(&path)?;
    let mut buf = vec![0; 1 << 20];
    let mut at = 0;
    while at < len {
        let now = &mut buf[..(len - at).min(1 << 20) as usize];
        from.read_exact_at(now, at)?;
        disk.write_all(now)?;
        at += now.len() as u64;
    }
    Ok(Stored { path, len, disk, files })
}

/// Stores boot and root of the image's slot a as `NAME-boot` and `NAME-root` in `folder`, and all their files below
/// `NAME-tree`.
pub fn open(image: &Path, folder: &Path, name: &str) -> [Stored; 2] {
    let disk = DiskFile::open(image).unwrap_or_else(|e| panic!("{}: {e}", image.display()));
    let tree = folder.join(format!("{name}-tree"));
    let boot = inspect::partition(&disk, "boot-a").expect("a partition boot-a");
    let volume = fat::Volume::open(&boot).expect("a FAT filesystem");
    let mut files = Vec::new();
    for entry in volume.list().expect("a directory").iter().filter(|e| !e.is_dir) {
        put(&tree.join("boot").join(&entry.path), &volume.content(entry, 1 << 30).expect("a file"));
        let extents = ranges(volume.extents(entry).expect("a chain of clusters"));
        files.push(File { path: entry.path.clone(), extents });
    }
    let boot = store(&boot, volume.size(), folder.join(format!("{name}-boot")), files).expect("room for a volume");
    let root = inspect::partition(&disk, "root-a").expect("a partition root-a");
    let reader = Reader::open(&root, root.size()).expect("an EROFS filesystem");
    let mut files = Vec::new();
    let mut todo = vec![(String::new(), reader.root().expect("a root directory"))];
    while let Some((path, dir)) = todo.pop() {
        for entry in reader.list(&dir).expect("a directory") {
            let inode = reader.inode(entry.nid).expect("an inode");
            let path = format!("{path}/{}", String::from_utf8_lossy(&entry.name));
            let place = tree.join(path.trim_start_matches('/'));
            match inode.file_type {
                FileType::Dir => todo.push((path, inode)),
                FileType::File => {
                    let mut bytes = vec![0; inode.size as usize];
                    reader.read(&inode, 0, &mut bytes).expect("a file");
                    put(&place, &bytes);
                    files.push(File { path, extents: ranges(reader.extents(&inode).expect("extents")) });
                }
                FileType::Symlink => {
                    fs::create_dir_all(place.parent().expect("a folder")).expect("a folder");
                    std::os::unix::fs::symlink(reader.target(&inode).expect("a target"), place).expect("a link");
                }
                _ => {}
            }
        }
    }
    let root = store(&root, reader.image_len(), folder.join(format!("{name}-root")), files).expect("room for a volume");
    [boot, root]
}

fn put(path: &Path, bytes: &[u8]) {
    fs::create_dir_all(path.parent().expect("a folder")).expect("a folder");
    fs::write(path, bytes).expect("room for a file");
}
