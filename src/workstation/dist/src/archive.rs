//! Tar archives with fixed owners, modes, times and order.

use std::collections::BTreeSet;
use std::io::{self, Write};

use flate2::Compression;
use flate2::write::GzEncoder;
use fruitbuild::failure::Failure;
use tar::{Builder, EntryType, Header};

use crate::stage::Files;

/// A compressed tar archive with `files` below the folder `below`; every time is `epoch`, in seconds since 1970.
///
/// # Errors
/// Paths that tar cannot hold.
pub fn tar_gz(below: &str, files: &Files, epoch: u64) -> Result<Vec<u8>, Failure> {
    let made = || -> io::Result<Vec<u8>> {
        let mut builder = Builder::new(GzEncoder::new(Vec::new(), Compression::best()));
        let mut folders = BTreeSet::new();
        for (path, file) in files {
            let path = format!("{below}/{path}");
            let parents = path.match_indices('/').map(|(at, _)| path[..=at].to_owned());
            for folder in parents.filter(|folder| folder != "./") {
                if folders.insert(folder.clone()) {
                    let mut header = header(EntryType::Directory, 0, 0o755, epoch);
                    builder.append_data(&mut header, &folder, io::empty())?;
                }
            }
            let mode = if file.executable { 0o755 } else { 0o644 };
            let mut header = header(EntryType::Regular, file.bytes.len() as u64, mode, epoch);
            builder.append_data(&mut header, &path, &file.bytes[..])?;
        }
        let mut encoder = builder.into_inner()?;
        encoder.flush()?;
        encoder.finish()
    };
    made().map_err(|error| Failure::general(format!("{below}: {error}")))
}

fn header(kind: EntryType, size: u64, mode: u32, epoch: u64) -> Header {
    let mut header = Header::new_gnu();
    header.set_entry_type(kind);
    header.set_size(size);
    header.set_mode(mode);
    header.set_mtime(epoch);
    header.set_uid(0);
    header.set_gid(0);
    header
}
