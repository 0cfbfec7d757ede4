//! How much a root holds.

use std::ffi::CStr;
use std::os::fd::{AsFd, OwnedFd};

use rustix::fs::{AtFlags, Dir, FileType, Mode, OFlags, openat, statat};
use rustix::io::Errno;

use crate::protocol::Usage;

/// No distribution nests folders deeper; each level is an open file.
pub const DEEPEST: usize = 200;

/// For reading a folder that must not be a link.
pub const READ: OFlags = OFlags::RDONLY.union(OFlags::DIRECTORY).union(OFlags::NOFOLLOW).union(OFlags::CLOEXEC);

/// Counts what is below a folder on its own file system, while it may change.
pub fn usage(root: &OwnedFd) -> rustix::io::Result<Usage> {
    let device = rustix::fs::fstat(root)?.st_dev;
    let mut sum = Usage::default();
    below(root, device, DEEPEST, &mut sum)?;
    Ok(sum)
}

fn below(folder: &OwnedFd, device: u64, deeper: usize, sum: &mut Usage) -> rustix::io::Result<()> {
    for entry in Dir::read_from(folder)? {
        let entry = entry?;
        if is_dot(entry.file_name()) {
            continue;
        }
        let found = match statat(folder, entry.file_name(), AtFlags::SYMLINK_NOFOLLOW) {
            // It was removed meanwhile.
            Err(Errno::NOENT) => continue,
            found => found?,
        };
        if found.st_dev != device {
            continue;
        }
        let is_folder = FileType::from_raw_mode(found.st_mode) == FileType::Directory;
        // A folder's links are those of its folders.
        // It has 32 bits on some architectures.
        #[allow(clippy::useless_conversion)]
        let links = if is_folder { 1 } else { u64::from(found.st_nlink).max(1) };
        sum.files = sum.files.saturating_add(1);
        // Blocks of stat(2) have 512 bytes.
        let bytes = u64::try_from(found.st_blocks).unwrap_or(0).saturating_mul(512);
        sum.bytes = sum.bytes.saturating_add(bytes / links);
        if !is_folder {
            continue;
        }
        let deeper = deeper.checked_sub(1).ok_or(Errno::NAMETOOLONG)?;
        match openat(folder.as_fd(), entry.file_name(), READ, Mode::empty()) {
            Err(Errno::NOENT | Errno::NOTDIR | Errno::LOOP) => {}
            opened => below(&opened?, device, deeper, sum)?,
        }
    }
    Ok(())
}

/// The folder itself or the one above, among its names.
pub fn is_dot(name: &CStr) -> bool {
    matches!(name.to_bytes(), b"." | b"..")
}
