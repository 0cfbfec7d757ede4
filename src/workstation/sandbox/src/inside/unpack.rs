//! Filling a root from a tar stream.
//!
//! The root is all that this process sees, so that no name and no link leads out of it; names that try are refused all the same,
//! because the archive is wrong then.

use std::ffi::CString;
use std::fs::File;
use std::io::{self, Read, Write};
use std::os::fd::OwnedFd;

use rustix::fs::{
    AtFlags, FileType, Gid, Mode, OFlags, ResolveFlags, Timespec, Timestamps, Uid, XattrFlags, chmodat, chownat,
    fchmod, fchown, fsetxattr, fstatvfs, futimens, linkat, mkdirat, openat, openat2, statat, symlinkat, unlinkat,
    utimensat,
};
use rustix::io::Errno;
use rustix::process::{Resource, Rlimit, setrlimit};
use tar::EntryType;

use crate::protocol::{During, Failure, IDS, Outcome, SPARE, Step, Unpacked};

/// More entries than any distribution's root has.
const MOST_ENTRIES: u64 = 5_000_000;
/// Device nodes that are remembered.
const MOST_DEVICES: usize = 10_000;
/// Memory for headers that are longer than any sensible one.
const MEMORY: u64 = 256 << 20;
/// Room on the disk is looked at each time that so much has been written.
const LOOK: u64 = 32 << 20;
/// Longest path of Linux.
const PATH_MAX: usize = 4096;

const FOLDER: OFlags = OFlags::PATH.union(OFlags::DIRECTORY).union(OFlags::CLOEXEC);
const INSIDE: ResolveFlags = ResolveFlags::IN_ROOT.union(ResolveFlags::NO_MAGICLINKS);

/// Unpacks all of `input` into the root.
pub fn unpack(input: impl Read) -> Outcome<Unpacked> {
    let bound = Rlimit { current: Some(MEMORY), maximum: Some(MEMORY) };
    setrlimit(Resource::Data, bound).during(Step::Tree, "bounding memory")?;
    // The modes that entries have are what counts.
    rustix::process::umask(Mode::empty());
    let root = rustix::fs::open("/", FOLDER, Mode::empty()).during(Step::Tree, "opening the root")?;
    let mut place =
        Placing { root, parent: None, done: Unpacked::default(), folders: Vec::new(), unlooked: 0, stale: false };
    let mut archive = tar::Archive::new(input);
    for entry in archive.entries().during(Step::Entry, "reading")? {
        place.entry(&mut entry.during(Step::Entry, "reading the next entry")?)?;
    }
    // What came into a folder has changed its time.
    for (name, time) in place.folders.iter().rev() {
        let folder = openat2(&place.root, name.as_slice(), FOLDER, Mode::empty(), INSIDE);
        let touched = folder.and_then(|folder| utimensat(&folder, c"", &times(*time), AtFlags::EMPTY_PATH));
        match touched {
            // Replaced by a later entry.
            Err(Errno::NOENT | Errno::NOTDIR) | Ok(()) => {}
            Err(error) => return Err(error).during(Step::Entry, &shown(name)),
        }
    }
    Ok(place.done)
}

struct Placing {
    root: OwnedFd,
    /// The folder of the last entry, by its name.
    parent: Option<(Vec<u8>, OwnedFd)>,
    done: Unpacked,
    /// Folders and their times.
    folders: Vec<(Vec<u8>, i64)>,
    /// Bytes since anything looked at the room on the disk.
    unlooked: u64,
    /// Something was taken away that the parent's name may have led through.
    stale: bool,
}

/// What an entry says of a file, contents aside.
struct Attributes {
    uid: Uid,
    gid: Gid,
    mode: Mode,
    time: i64,
    xattrs: Vec<(CString, Vec<u8>)>,
}

impl Default for Attributes {
    fn default() -> Attributes {
        Attributes { uid: Uid::ROOT, gid: Gid::ROOT, mode: Mode::empty(), time: 0, xattrs: Vec::new() }
    }
}

type Entry<'a, R> = tar::Entry<'a, R>;

impl Placing {
    fn entry<R: Read>(&mut self, entry: &mut Entry<'_, R>) -> Outcome<()> {
        let kind = entry.header().entry_type();
        if kind == EntryType::XGlobalHeader {
            return Ok(());
        }
        let raw = entry.path_bytes().into_owned();
        let wrong = |why: &str| Failure::new(Step::Entry, shown(&raw), why);
        self.done.entries += 1;
        if self.done.entries > MOST_ENTRIES {
            return Err(wrong("there are more entries than a root has"));
        }
        let name = clean(&raw).map_err(&wrong)?;
        // Of a hard link it is those of the file, whatever its header says.
        let attributes = if kind == EntryType::Link { Attributes::default() } else { attributes(entry, &raw)? };
        if name.is_empty() {
            return match kind {
                EntryType::Directory => {
                    self.decorate_folder(b"".to_vec(), &attributes).during(Step::Entry, "the root folder")
                }
                _ => Err(wrong("has no name")),
            };
        }
        let (parent, last) = match name.iter().rposition(|byte| *byte == b'/') {
            Some(at) => (&name[..at], &name[at + 1..]),
            None => (&b""[..], &name[..]),
        };
        self.go_to(parent).during(Step::Entry, &shown(&raw))?;
        match kind {
            EntryType::Regular | EntryType::Continuous => self.file(last, &attributes, entry)?,
            EntryType::Directory => self.folder(last, name.clone(), &attributes).during(Step::Entry, &shown(&raw))?,
            EntryType::Symlink => {
                let target = entry.link_name_bytes().ok_or_else(|| wrong("a link without a target"))?.into_owned();
                self.symlink(last, &target, &attributes).during(Step::Entry, &shown(&raw))?;
            }
            EntryType::Link => {
                let target = entry.link_name_bytes().ok_or_else(|| wrong("a link without a target"))?.into_owned();
                let target = clean(&target)
                    .map_err(|why| wrong(&format!("a hard link to `{}`, which {why}", shown(&target))))?;
                self.hard_link(last, &target)
                    .during(Step::Entry, &format!("{}, a hard link to {}", shown(&raw), shown(&target)))?;
            }
            EntryType::Fifo => self.fifo(last, &attributes).during(Step::Entry, &shown(&raw))?,
            EntryType::Char | EntryType::Block => {
                if self.done.devices.len() == MOST_DEVICES {
                    return Err(wrong("there are more device nodes than a root has"));
                }
                self.done.devices.push(String::from_utf8_lossy(&name).into_owned());
            }
            other => {
                return Err(wrong(&format!("is of a kind that is not known here ({:?})", other.as_byte() as char)));
            }
        }
        Ok(())
    }

    /// The folder that entries of a name are placed in. Its links are followed, within the root.
    fn go_to(&mut self, name: &[u8]) -> rustix::io::Result<()> {
        let stale = std::mem::take(&mut self.stale);
        if !stale && self.parent.as_ref().is_some_and(|(last, _)| last == name) {
            return Ok(());
        }
        let here = if name.is_empty() { &b"."[..] } else { name };
        let folder = match openat2(&self.root, here, FOLDER, Mode::empty(), INSIDE) {
            Err(Errno::NOENT) => {
                let (above, last) = match name.iter().rposition(|byte| *byte == b'/') {
                    Some(at) => (&name[..at], &name[at + 1..]),
                    None => (&b""[..], name),
                };
                // Names have a length that bounds how deep this goes.
                self.go_to(above)?;
                let parent = self.here()?;
                mkdirat(parent, last, Mode::from_raw_mode(0o755))?;
                // Not the group of the folder above, which one with its bit hands on.
                chownat(parent, last, Some(Uid::ROOT), Some(Gid::ROOT), AtFlags::SYMLINK_NOFOLLOW)?;
                chmodat(parent, last, Mode::from_raw_mode(0o755), AtFlags::empty())?;
                openat2(&self.root, here, FOLDER, Mode::empty(), INSIDE)?
            }
            found => found?,
        };
        self.parent = Some((name.to_owned(), folder));
        Ok(())
    }

    fn here(&self) -> rustix::io::Result<&OwnedFd> {
        self.parent.as_ref().map(|(_, folder)| folder).ok_or(Errno::BADF)
    }

    /// Makes room for a file: what was there goes, a folder only when it is empty.
    fn clear(&mut self, last: &[u8]) -> rustix::io::Result<()> {
        let here = self.here()?;
        match unlinkat(here, last, AtFlags::empty()) {
            Err(Errno::NOENT) => return Ok(()),
            Err(Errno::ISDIR) => unlinkat(here, last, AtFlags::REMOVEDIR)?,
            other => other?,
        }
        self.stale = true;
        Ok(())
    }

    fn file<R: Read>(&mut self, last: &[u8], attributes: &Attributes, entry: &mut Entry<'_, R>) -> Outcome<()> {
        let name = shown(&entry.path_bytes());
        let make = OFlags::CREATE | OFlags::EXCL | OFlags::WRONLY | OFlags::NOFOLLOW | OFlags::CLOEXEC;
        let made = self.clear(last).and_then(|()| openat(self.here()?, last, make, Mode::from_raw_mode(0o600)));
        let mut file = File::from(made.during(Step::Entry, &name)?);
        let mut piece = vec![0; 1 << 18];
        let mut size = 0;
        loop {
            let length = entry.read(&mut piece).during(Step::Entry, &format!("{name}: reading its content"))?;
            if length == 0 {
                break;
            }
            self.room(length as u64, &file, &name)?;
            file.write_all(&piece[..length]).during(Step::Entry, &name)?;
            size += length as u64;
        }
        if size != entry.size() {
            return Err(Failure::new(Step::Entry, name, format!("ends after {size} of {} bytes", entry.size())));
        }
        self.done.bytes = self.done.bytes.saturating_add(size);
        decorate(&file.into(), attributes).during(Step::Entry, &name)
    }

    /// The workstation keeps some room on its disk.
    fn room(&mut self, length: u64, file: &File, name: &str) -> Outcome<()> {
        self.unlooked += length;
        if self.unlooked < LOOK {
            return Ok(());
        }
        self.unlooked = 0;
        let disk = fstatvfs(file).during(Step::Entry, name)?;
        if disk.f_bavail.saturating_mul(disk.f_frsize) < SPARE {
            return Err(Failure::new(Step::Full, name, "the disk has less than 256 MiB left"));
        }
        Ok(())
    }

    fn folder(&mut self, last: &[u8], name: Vec<u8>, attributes: &Attributes) -> rustix::io::Result<()> {
        if let Err(error) = mkdirat(self.here()?, last, Mode::from_raw_mode(0o755)) {
            if error != Errno::EXIST {
                return Err(error);
            }
            let there = statat(self.here()?, last, AtFlags::SYMLINK_NOFOLLOW)?;
            match FileType::from_raw_mode(there.st_mode) {
                FileType::Directory => {}
                // A merged /usr: `lib` of one package is a folder, and a link in another.
                FileType::Symlink if openat2(&self.root, name.as_slice(), FOLDER, Mode::empty(), INSIDE).is_ok() => {
                    return Ok(());
                }
                _ => {
                    self.clear(last)?;
                    mkdirat(self.here()?, last, Mode::from_raw_mode(0o755))?;
                }
            }
        }
        self.decorate_folder(name, attributes)
    }

    fn decorate_folder(&mut self, name: Vec<u8>, attributes: &Attributes) -> rustix::io::Result<()> {
        let here = if name.is_empty() { &b"."[..] } else { &name };
        let read = OFlags::RDONLY | OFlags::DIRECTORY | OFlags::CLOEXEC;
        decorate(&openat2(&self.root, here, read, Mode::empty(), INSIDE)?, attributes)?;
        self.folders.push((here.to_owned(), attributes.time));
        Ok(())
    }

    fn symlink(&mut self, last: &[u8], target: &[u8], attributes: &Attributes) -> rustix::io::Result<()> {
        self.clear(last)?;
        let here = self.here()?;
        symlinkat(target, here, last)?;
        let this = AtFlags::SYMLINK_NOFOLLOW;
        chownat(here, last, Some(attributes.uid), Some(attributes.gid), this)?;
        utimensat(here, last, &times(attributes.time), this)?;
        Ok(())
    }

    fn hard_link(&mut self, last: &[u8], target: &[u8]) -> rustix::io::Result<()> {
        let (above, name) = match target.iter().rposition(|byte| *byte == b'/') {
            Some(at) => (&target[..at], &target[at + 1..]),
            None => (&b"."[..], target),
        };
        let from = openat2(&self.root, above, FOLDER, Mode::empty(), INSIDE)?;
        let here = self.here()?;
        let there = statat(here, last, AtFlags::SYMLINK_NOFOLLOW);
        let source = statat(&from, name, AtFlags::SYMLINK_NOFOLLOW)?;
        // Two names of one file already, perhaps the same one: nothing is to be cleared away.
        if there.is_ok_and(|there| there.st_ino == source.st_ino) {
            return Ok(());
        }
        self.clear(last)?;
        linkat(&from, name, self.here()?, last, AtFlags::empty())
    }

    fn fifo(&mut self, last: &[u8], attributes: &Attributes) -> rustix::io::Result<()> {
        self.clear(last)?;
        let here = self.here()?;
        rustix::fs::mknodat(here, last, FileType::Fifo, Mode::from_raw_mode(0o600), 0)?;
        chownat(here, last, Some(attributes.uid), Some(attributes.gid), AtFlags::SYMLINK_NOFOLLOW)?;
        chmodat(here, last, attributes.mode, AtFlags::empty())?;
        utimensat(here, last, &times(attributes.time), AtFlags::SYMLINK_NOFOLLOW)
    }
}

/// Owner first, as a change of it takes away the bits and capabilities that come after; time last.
fn decorate(file: &OwnedFd, attributes: &Attributes) -> rustix::io::Result<()> {
    fchown(file, Some(attributes.uid), Some(attributes.gid))?;
    fchmod(file, attributes.mode)?;
    for (name, value) in &attributes.xattrs {
        fsetxattr(file, name.as_c_str(), value, XattrFlags::empty())?;
    }
    futimens(file, &times(attributes.time))
}

fn attributes<R: Read>(entry: &mut Entry<'_, R>, raw: &[u8]) -> Outcome<Attributes> {
    let wrong = |why: String| Failure::new(Step::Entry, shown(raw), why);
    let mut xattrs = Vec::new();
    let (mut pax_uid, mut pax_gid, mut pax_time) = (None, None, None);
    if let Some(records) = entry.pax_extensions().during(Step::Entry, &shown(raw))? {
        for record in records {
            let record = record.during(Step::Entry, &shown(raw))?;
            let number = || record.value().ok().and_then(|text| text.split('.').next()?.parse::<i64>().ok());
            match record.key_bytes() {
                b"uid" => pax_uid = number().and_then(|number| u64::try_from(number).ok()),
                b"gid" => pax_gid = number().and_then(|number| u64::try_from(number).ok()),
                b"mtime" => pax_time = number(),
                key if key.starts_with(b"GNU.sparse.") => {
                    return Err(wrong("is a sparse file, which is not known here".into()));
                }
                key => {
                    let Some(name) = key.strip_prefix(b"SCHILY.xattr.") else { continue };
                    let name = CString::new(name).map_err(|_| wrong("the name of an xattr has a NUL in it".into()))?;
                    xattrs.push((name, record.value_bytes().to_vec()));
                }
            }
        }
    }
    let header = entry.header();
    let broken = |error: io::Error| wrong(format!("its header: {error}"));
    let id = |id: u64| {
        let id = u32::try_from(id).ok().filter(|id| *id < IDS);
        id.ok_or_else(|| wrong(format!("its owner is none of 0 to {}", IDS - 1)))
    };
    let uid = id(pax_uid.map_or_else(|| header.uid(), Ok).map_err(broken)?)?;
    let gid = id(pax_gid.map_or_else(|| header.gid(), Ok).map_err(broken)?)?;
    let mode = header.mode().map_err(broken)? & 0o7777;
    let time = match pax_time {
        Some(time) => time,
        None => i64::try_from(header.mtime().map_err(broken)?).unwrap_or(0),
    };
    Ok(Attributes { uid: Uid::from_raw(uid), gid: Gid::from_raw(gid), mode: Mode::from_raw_mode(mode), time, xattrs })
}

/// A name of an entry as components with `/` between, without `.`; empty for the root itself.
fn clean(name: &[u8]) -> Result<Vec<u8>, &'static str> {
    if name.starts_with(b"/") {
        return Err("is absolute");
    }
    if name.len() >= PATH_MAX {
        return Err("is longer than a path may be");
    }
    if name.contains(&0) {
        return Err("has a NUL in it");
    }
    let parts: Vec<&[u8]> = name.split(|byte| *byte == b'/').filter(|part| !matches!(*part, b"" | b".")).collect();
    if parts.contains(&&b".."[..]) {
        return Err("leads out of the root");
    }
    Ok(parts.join(&b'/'))
}

fn times(seconds: i64) -> Timestamps {
    let time = Timespec { tv_sec: seconds, tv_nsec: 0 };
    Timestamps { last_access: time, last_modification: time }
}

/// A name from an archive, for a message.
fn shown(name: &[u8]) -> String {
    let name: String = String::from_utf8_lossy(name).chars().take(300).collect();
    format!("`{}`", name.escape_debug())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_name_is_relative_and_stays_inside() {
        assert_eq!(clean(b"./usr//bin/./sh").unwrap(), b"usr/bin/sh");
        assert_eq!(clean(b"./").unwrap(), b"");
        for name in [&b"/etc/passwd"[..], b"..", b"a/../../b", b"a\0b", &[b'a'; 5000]] {
            assert!(clean(name).is_err());
        }
    }
}
