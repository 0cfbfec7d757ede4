//! The two volumes of a card image's slot a, with their files.

use std::path::Path;

use fruit_delta::{File, Volume};
use fruit_image::disk::DiskFile;
use fruit_image::erofs::{FileType, Inode, Reader};
use fruit_image::{fat, inspect};

/// A volume in memory.
pub struct Loaded {
    pub bytes: Vec<u8>,
    pub files: Vec<File>,
}

impl Loaded {
    pub fn volume(&self) -> Volume<'_> {
        Volume { data: &self.bytes, len: self.bytes.len() as u64, files: self.files.clone() }
    }
}

/// Boot and root of slot a.
pub fn load(image: &Path) -> [Loaded; 2] {
    let disk = DiskFile::open(image).unwrap_or_else(|e| panic!("{}: {e}", image.display()));
    let boot = inspect::partition(&disk, "boot-a").expect("a partition boot-a");
    let volume = fat::Volume::open(&boot).expect("a FAT filesystem");
    let mut files = Vec::new();
    for entry in volume.list().expect("a directory").iter().filter(|e| !e.is_dir) {
        let extents = volume.extents(entry).expect("a chain of clusters");
        files.push(File { path: entry.path.clone(), extents: extents.iter().map(range).collect() });
    }
    let boot = Loaded { bytes: read(&boot, volume.size()), files };
    let root = inspect::partition(&disk, "root-a").expect("a partition root-a");
    let reader = Reader::open(&root, fruit_image::disk::Disk::size(&root)).expect("an EROFS filesystem");
    let mut files = Vec::new();
    let mut todo = vec![(String::new(), reader.root().expect("a root directory"))];
    while let Some((path, dir)) = todo.pop() {
        for entry in reader.list(&dir).expect("a directory") {
            let inode: Inode = reader.inode(entry.nid).expect("an inode");
            let path = format!("{path}/{}", String::from_utf8_lossy(&entry.name));
            match inode.file_type {
                FileType::Dir => todo.push((path, inode)),
                FileType::File => {
                    let extents = reader.extents(&inode).expect("extents");
                    files.push(File { path, extents: extents.iter().map(range).collect() });
                }
                _ => {}
            }
        }
    }
    let root = Loaded { bytes: read(&root, reader.image_len()), files };
    [boot, root]
}

fn range(extent: &fruit_image::storage::Extent) -> std::ops::Range<u64> {
    extent.offset..extent.offset + extent.len
}

fn read(window: &fruit_image::disk::Window<'_, DiskFile>, len: u64) -> Vec<u8> {
    let mut bytes = vec![0; len as usize];
    fruit_image::storage::ReadAt::read_exact_at(window, &mut bytes, 0).expect("the volume's bytes");
    bytes
}
