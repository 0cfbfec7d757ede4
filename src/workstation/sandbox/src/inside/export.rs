//! Writing a root as a tar stream that depends on the tree alone.

use std::collections::BTreeMap;
use std::ffi::{CStr, CString};
use std::fs::File;
use std::io::{Read, Write};
use std::os::fd::OwnedFd;

use rustix::fs::{AtFlags, Dir, FileType, Mode, OFlags, Stat, fgetxattr, flistxattr, openat, readlinkat, statat};
use rustix::io::Errno;
use tar::{EntryType, Header};

use super::usage::{DEEPEST, READ, is_dot};
use crate::protocol::{During, Failure, Outcome, Step};

/// Room of the kernel for names of xattrs, and for the value of one (`XATTR_LIST_MAX`, `XATTR_SIZE_MAX`).
const XATTRS: usize = 65_536;
/// Longest name in a header without a record.
const NAME: usize = 100;
/// Largest size in a header without a record: eleven octal digits.
const SIZE: u64 = 0o77_777_777_777;

/// What files may have in holes, in bytes: a hostile one is all hole.
const HOLES: u64 = 1 << 30;

/// Writes all of the root, and the end of the archive.
pub fn export(to: &mut impl Write) -> Outcome<()> {
    let root = rustix::fs::open("/", READ, Mode::empty()).during(Step::Tree, "opening the root")?;
    let mut export = Export { to, links: BTreeMap::new(), holes: 0 };
    let stat = rustix::fs::fstat(&root).during(Step::Tree, "/")?;
    let xattrs = xattrs(&root).during(Step::Tree, "/")?;
    export.head(b"./", &stat, EntryType::Directory, b"", xattrs)?;
    export.below(&root, b"", DEEPEST)?;
    export.write(&[0; 1024])
}

struct Export<'a, W> {
    to: &'a mut W,
    /// First names of files that have several, by inode.
    links: BTreeMap<u64, Vec<u8>>,
    /// Bytes that files have and the disk has not.
    holes: u64,
}

impl<W: Write> Export<'_, W> {
    fn below(&mut self, folder: &OwnedFd, path: &[u8], deeper: usize) -> Outcome<()> {
        let names: Result<Vec<CString>, _> = Dir::read_from(folder)
            .and_then(|entries| entries.map(|entry| entry.map(|entry| entry.file_name().to_owned())).collect());
        let mut names = names.during(Step::Tree, &shown(path))?;
        names.retain(|name| !is_dot(name));
        names.sort_unstable();
        for name in names {
            let path = if path.is_empty() { name.to_bytes().to_vec() } else { [path, b"/", name.to_bytes()].concat() };
            self.one(folder, &name, path, deeper)?;
        }
        Ok(())
    }

    fn one(&mut self, folder: &OwnedFd, name: &CStr, path: Vec<u8>, deeper: usize) -> Outcome<()> {
        let at = || shown(&path);
        let stat = statat(folder, name, AtFlags::SYMLINK_NOFOLLOW).during(Step::Tree, &at())?;
        let kind = FileType::from_raw_mode(stat.st_mode);
        if kind == FileType::Directory {
            let deeper = deeper.checked_sub(1).ok_or_else(|| Failure::new(Step::Tree, at(), "is nested too deep"))?;
            let below = openat(folder, name, READ, Mode::empty()).during(Step::Tree, &at())?;
            let xattrs = xattrs(&below).during(Step::Tree, &at())?;
            self.head(&[&path[..], b"/"].concat(), &stat, EntryType::Directory, b"", xattrs)?;
            return self.below(&below, &path, deeper);
        }
        if kind == FileType::Socket {
            return Ok(());
        }
        if stat.st_nlink > 1 {
            if let Some(first) = self.links.get(&stat.st_ino) {
                let first = first.clone();
                return self.head(&path, &stat, EntryType::Link, &first, Vec::new());
            }
            self.links.insert(stat.st_ino, path.clone());
        }
        match kind {
            FileType::RegularFile => self.file(folder, name, &path, &stat),
            FileType::Symlink => {
                let target = readlinkat(folder, name, Vec::new()).during(Step::Tree, &at())?;
                self.head(&path, &stat, EntryType::Symlink, target.to_bytes(), Vec::new())
            }
            FileType::Fifo => self.head(&path, &stat, EntryType::Fifo, b"", Vec::new()),
            // The kernel lets anybody make one device: that of overlays for what is removed. It is nothing here.
            _ => Ok(()),
        }
    }

    fn file(&mut self, folder: &OwnedFd, name: &CStr, path: &[u8], stat: &Stat) -> Outcome<()> {
        let read = OFlags::RDONLY | OFlags::NOFOLLOW | OFlags::NONBLOCK | OFlags::CLOEXEC;
        let file = openat(folder, name, read, Mode::empty()).during(Step::Tree, &shown(path))?;
        let xattrs = xattrs(&file).during(Step::Tree, &shown(path))?;
        let size = u64::try_from(stat.st_size).unwrap_or(0);
        let stored = u64::try_from(stat.st_blocks).unwrap_or(0).saturating_mul(512);
        self.holes = self.holes.saturating_add(size.saturating_sub(stored));
        if self.holes > HOLES {
            return Err(Failure::new(Step::Tree, shown(path), "it and files before it have more than 1 GiB of holes"));
        }
        self.head(path, stat, EntryType::Regular, b"", xattrs)?;
        let mut content = File::from(file).take(size);
        let mut piece = vec![0; 1 << 18];
        let mut left = size;
        while left > 0 {
            let length = content.read(&mut piece).during(Step::Tree, &shown(path))?;
            if length == 0 {
                return Err(Failure::new(Step::Tree, shown(path), "got shorter while it was read"));
            }
            self.write(&piece[..length])?;
            left -= length as u64;
        }
        self.fill(size)
    }

    /// Writes a header, with a pax header before it for what has no room in one.
    fn head(
        &mut self,
        path: &[u8],
        stat: &Stat,
        kind: EntryType,
        target: &[u8],
        xattrs: Vec<(Vec<u8>, Vec<u8>)>,
    ) -> Outcome<()> {
        let size = if kind == EntryType::Regular { u64::try_from(stat.st_size).unwrap_or(0) } else { 0 };
        let mut records = Vec::new();
        if path.len() > NAME {
            record(&mut records, b"path", path);
        }
        if target.len() > NAME {
            record(&mut records, b"linkpath", target);
        }
        if size > SIZE {
            record(&mut records, b"size", size.to_string().as_bytes());
        }
        for (name, value) in xattrs {
            record(&mut records, &[b"SCHILY.xattr.", &name[..]].concat(), &value);
        }
        if !records.is_empty() {
            let mut pax = Header::new_ustar();
            put(&mut pax.as_old_mut().name, b"./PaxHeaders/next");
            pax.set_entry_type(EntryType::XHeader);
            pax.set_mode(0o644);
            pax.set_uid(0);
            pax.set_gid(0);
            pax.set_mtime(0);
            pax.set_size(records.len() as u64);
            pax.set_cksum();
            self.write(pax.as_bytes())?;
            self.write(&records)?;
            self.fill(records.len() as u64)?;
        }
        let mut header = Header::new_ustar();
        put(&mut header.as_old_mut().name, path);
        put(&mut header.as_old_mut().linkname, target);
        header.set_entry_type(kind);
        header.set_mode(stat.st_mode & 0o7777);
        header.set_uid(stat.st_uid.into());
        header.set_gid(stat.st_gid.into());
        header.set_mtime(u64::try_from(stat.st_mtime).unwrap_or(0).min(SIZE));
        header.set_size(size.min(SIZE));
        header.set_cksum();
        self.write(header.as_bytes())
    }

    /// Fills the last block of something of `size` bytes.
    fn fill(&mut self, size: u64) -> Outcome<()> {
        let over = (size % 512) as usize;
        if over == 0 { Ok(()) } else { self.write(&[0; 512][over..]) }
    }

    fn write(&mut self, bytes: &[u8]) -> Outcome<()> {
        self.to.write_all(bytes).during(Step::Tree, "writing the archive")
    }
}

/// As much of a name as a field has room for: the rest is in a record.
fn put(field: &mut [u8; NAME], bytes: &[u8]) {
    for (to, from) in field.iter_mut().zip(bytes) {
        *to = *from;
    }
}

/// Adds a record of a pax header: its length, which counts its own digits too, a key and a value (POSIX, pax).
fn record(records: &mut Vec<u8>, key: &[u8], value: &[u8]) {
    let rest = key.len() + value.len() + 3;
    let mut length = rest + 1;
    while rest + length.to_string().len() != length {
        length = rest + length.to_string().len();
    }
    records.extend_from_slice(length.to_string().as_bytes());
    records.extend_from_slice(b" ");
    records.extend_from_slice(key);
    records.extend_from_slice(b"=");
    records.extend_from_slice(value);
    records.extend_from_slice(b"\n");
}

/// Xattrs that belong to the tree and not to the machine it is on, sorted by name.
fn xattrs(file: &OwnedFd) -> rustix::io::Result<Vec<(Vec<u8>, Vec<u8>)>> {
    let mut names = vec![0; 1024];
    let names = loop {
        match flistxattr(file, &mut names[..]) {
            Ok(length) => break &names[..length],
            Err(Errno::RANGE) if names.len() < XATTRS => names.resize(XATTRS, 0),
            Err(Errno::NOTSUP) => return Ok(Vec::new()),
            Err(error) => return Err(error),
        }
    };
    let ours = |name: &&[u8]| {
        name.starts_with(b"user.")
            || matches!(*name, b"security.capability" | b"system.posix_acl_access" | b"system.posix_acl_default")
    };
    let mut found = Vec::new();
    for name in names.split(|byte| *byte == 0).filter(ours) {
        let mut value = vec![0; XATTRS];
        let length = fgetxattr(file, name, &mut value[..])?;
        value.truncate(length);
        found.push((name.to_vec(), value));
    }
    found.sort_unstable();
    Ok(found)
}

fn shown(path: &[u8]) -> String {
    format!("`/{}`", String::from_utf8_lossy(path).escape_debug())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_record_counts_the_digits_of_its_own_length() {
        for (value, length) in [(1, "9 "), (85, "93 "), (90, "98 "), (91, "99 "), (92, "101 ")] {
            let mut records = Vec::new();
            record(&mut records, b"path", &vec![b'x'; value]);
            let text = String::from_utf8(records.clone()).unwrap();
            let said: usize = text.split(' ').next().unwrap().parse().unwrap();
            assert_eq!(said, records.len(), "{length}");
        }
    }
}
