use super::geometry::{COPIES, Geometry};
use super::name::{self, ShortName, ShortNames};
use super::{ATTR_ARCHIVE, ATTR_DIRECTORY, ATTR_VOLUME, FatError, Kind, MAX_DIRECTORY, SECTOR, SLOT};
use crate::storage::WriteAt;
use crate::tree::{self, Content, Inode, Tree};
use fruit_base::calendar::Date;
use std::collections::{BTreeMap, BTreeSet};

/// Bytes copied at a time.
const CHUNK: u64 = 1 << 20;
/// Sectors of FAT32's FSInfo and of the copy of the first sectors, where mkfs.fat and Windows put them.
const INFO_SECTOR: u16 = 1;
const BACKUP_SECTOR: u16 = 6;
/// FAT32's root directory begins in the first cluster.
const ROOT_CLUSTER: u32 = 2;
const SECONDS_PER_DAY: i64 = 86_400;

/// What a FAT filesystem is besides its files.
#[derive(Clone, Debug)]
pub struct Options {
    pub kind: Kind,
    /// Bytes.
    pub size: u64,
    /// Up to 11 upper-case characters.
    pub label: String,
    /// Serial number of the volume.
    pub volume_id: u32,
    /// The time on every file, in seconds since 1970-01-01 UTC; FAT knows 1980 to 2107.
    pub time: i64,
}

/// A filesystem that was written.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Written {
    /// Bytes per cluster.
    pub cluster_size: u64,
    /// Bytes in use by files and directories, whole clusters.
    pub used: u64,
    /// Bytes free for more.
    pub free: u64,
}

/// Writes a filesystem with the directories and regular files of `tree` to `out`. Only free clusters are left unwritten:
/// whatever they hold does not matter. The same arguments give the same bytes.
///
/// # Errors
/// Files, names or sizes that FAT cannot hold; read errors of the contents, write errors of `out`.
pub fn write(tree: &Tree, options: &Options, out: &impl WriteAt) -> Result<Written, FatError> {
    let label = label(&options.label)?;
    let geometry = Geometry::new(options.kind, options.size)?;
    let plan = Plan::new(tree, &geometry)?;
    let available = geometry.clusters * geometry.cluster_size();
    let needed = plan.clusters * geometry.cluster_size();
    if needed > available {
        return Err(FatError::Full { needed, available });
    }
    let stamp = Stamp::new(options.time);
    write_boot_sectors(&geometry, options, &label, plan.clusters, out)?;
    write_tables(&geometry, &plan, out)?;
    for directory in &plan.directories {
        out.write_all_at(&directory.bytes(&plan, &geometry, &label, stamp), directory.place(&geometry))?;
    }
    for file in &plan.files {
        copy(file.content, geometry.cluster_start(file.first.max(ROOT_CLUSTER)), out)?;
    }
    Ok(Written { cluster_size: geometry.cluster_size(), used: needed, free: available - needed })
}

/// The least size, in whole MiB, of a filesystem that holds `tree` with `free` bytes to spare. In bytes.
///
/// # Errors
/// Files or names that FAT cannot hold, or more than the kind can hold.
pub fn least_size(tree: &Tree, kind: Kind, free: u64) -> Result<u64, FatError> {
    const STEP: u64 = 1 << 20;
    /// A size from here on that the kind cannot have is too large, not too small.
    const LARGE: u64 = 1 << 30;
    let length = |inode: &Inode| if let tree::Kind::File(content) = &inode.kind { content.len() } else { 0 };
    let content: u64 = tree.iter().map(|(.., inode)| length(inode)).sum();
    let mut size = content.saturating_add(free).max(1).checked_next_multiple_of(STEP).unwrap_or(u64::MAX);
    loop {
        match Geometry::new(kind, size) {
            Ok(geometry) => {
                let used = Plan::new(tree, &geometry)?.clusters;
                let room = geometry.clusters.checked_sub(used).map(|n| n * geometry.cluster_size());
                if room.is_some_and(|room| room >= free) {
                    return Ok(size);
                }
            }
            Err(e) if size >= LARGE => return Err(e),
            Err(_) => {}
        }
        size += STEP;
    }
}

struct Plan<'a> {
    /// The root first, a parent always before its children.
    directories: Vec<Directory>,
    files: Vec<File<'a>>,
    /// The files as they lie on the disk: the largest first, so that those stay where they are, and an update finds them
    /// there, when a small one changes its length.
    order: Vec<usize>,
    /// In use, from number 2 without a gap.
    clusters: u64,
}

#[derive(Default)]
struct Directory {
    path: String,
    parent: usize,
    entries: Vec<Child>,
    /// 0 for FAT16's root, which has no clusters.
    first: u32,
    clusters: u64,
}

struct File<'a> {
    content: &'a Content,
    /// 0 for an empty file.
    first: u32,
    clusters: u64,
}

struct Child {
    name: String,
    short: ShortName,
    target: Target,
}

#[derive(Clone, Copy)]
enum Target {
    Directory(usize),
    File(usize),
}

impl<'a> Plan<'a> {
    fn new(tree: &'a Tree, geometry: &Geometry) -> Result<Plan<'a>, FatError> {
        let mut plan =
            Plan { directories: vec![Directory::default()], files: Vec::new(), order: Vec::new(), clusters: 0 };
        plan.collect(tree)?;
        for directory in &mut plan.directories {
            name_entries(directory)?;
        }
        plan.place(geometry)?;
        Ok(plan)
    }

    fn collect(&mut self, tree: &'a Tree) -> Result<(), FatError> {
        let mut index: BTreeMap<&str, usize> = BTreeMap::from([("", 0)]);
        for (path, _, inode) in tree.iter().filter(|(path, ..)| !path.is_empty()) {
            let (parent, name) = path.rsplit_once('/').unwrap_or(("", path));
            // A tree has no path without its parents, and they sort before it.
            let parent = index.get(parent).copied().ok_or_else(|| FatError::NotFound(parent.to_owned()))?;
            if let Some(why) = name::flaw(name) {
                return Err(FatError::Name { path: path.to_owned(), why });
            }
            let target = match &inode.kind {
                tree::Kind::Dir => {
                    index.insert(path, self.directories.len());
                    self.directories.push(Directory { path: path.to_owned(), parent, ..Directory::default() });
                    Target::Directory(self.directories.len() - 1)
                }
                tree::Kind::File(content) if content.len() > u64::from(u32::MAX) => {
                    return Err(FatError::FileTooLarge { path: path.to_owned(), size: content.len() });
                }
                tree::Kind::File(content) => {
                    self.files.push(File { content, first: 0, clusters: 0 });
                    Target::File(self.files.len() - 1)
                }
                _ => return Err(FatError::NotAFile(path.to_owned())),
            };
            self.directories[parent].entries.push(Child { name: name.to_owned(), short: [b' '; 11], target });
        }
        Ok(())
    }

    /// Gives directories, then files, their runs of clusters.
    fn place(&mut self, geometry: &Geometry) -> Result<(), FatError> {
        let mut next = u64::from(ROOT_CLUSTER);
        let mut take = |bytes: u64| {
            let clusters = bytes.div_ceil(geometry.cluster_size());
            // Past 32 bits the filesystem is full, which the caller finds by the count.
            let first = if clusters == 0 { 0 } else { u32::try_from(next).unwrap_or(u32::MAX) };
            next += clusters;
            (first, clusters)
        };
        for (index, directory) in self.directories.iter_mut().enumerate() {
            let bytes = directory.slots() as u64 * SLOT as u64;
            let fixed = index == 0 && geometry.kind == Kind::Fat16;
            let limit = if fixed { geometry.root_sectors * SECTOR } else { MAX_DIRECTORY };
            if bytes > limit {
                return Err(FatError::DirectoryTooLarge(format!("/{}", directory.path)));
            }
            (directory.first, directory.clusters) = if fixed { (0, 0) } else { take(bytes) };
        }
        self.order = (0..self.files.len()).collect();
        // Stable: files of one size in the order of their paths.
        self.order.sort_by_key(|i| std::cmp::Reverse(self.files[*i].content.len()));
        for i in &self.order {
            let file = &mut self.files[*i];
            (file.first, file.clusters) = take(file.content.len());
        }
        self.clusters = next - u64::from(ROOT_CLUSTER);
        Ok(())
    }
}

/// Gives every entry its short name: first those whose name is one, so that no made-up name takes theirs.
fn name_entries(directory: &mut Directory) -> Result<(), FatError> {
    let path = |name: &str| format!("{}/{name}", directory.path);
    let mut seen = BTreeSet::new();
    let mut names = ShortNames::default();
    let mut given = Vec::with_capacity(directory.entries.len());
    for child in &directory.entries {
        if !seen.insert(child.name.to_lowercase()) {
            return Err(FatError::SameName(path(&child.name)));
        }
        given.push(names.exact(&child.name));
    }
    for (short, child) in given.iter_mut().zip(&directory.entries).filter(|(short, _)| short.is_none()) {
        *short = names.numbered(&child.name);
    }
    let full = || FatError::DirectoryTooLarge(directory.path.clone());
    let given: Vec<ShortName> = given.into_iter().collect::<Option<_>>().ok_or_else(full)?;
    directory.entries.iter_mut().zip(given).for_each(|(child, short)| child.short = short);
    Ok(())
}

impl Directory {
    fn is_root(&self) -> bool {
        self.path.is_empty()
    }

    /// Directory entries needed, with the label in the root and `.` and `..` elsewhere.
    fn slots(&self) -> usize {
        let own = if self.is_root() { 1 } else { 2 };
        own + self.entries.iter().map(|c| 1 + c.long().len()).sum::<usize>()
    }

    fn place(&self, geometry: &Geometry) -> u64 {
        if self.first == 0 { geometry.root_start() } else { geometry.cluster_start(self.first) }
    }

    fn bytes(&self, plan: &Plan, geometry: &Geometry, label: &ShortName, stamp: Stamp) -> Vec<u8> {
        let mut bytes = Vec::with_capacity((self.clusters * geometry.cluster_size()) as usize);
        if self.is_root() {
            bytes.extend(slot(label, ATTR_VOLUME, 0, 0, stamp));
        } else {
            // `..` of a child of the root says cluster 0, whatever the root's cluster is (`fatgen103`, p. 25).
            let parent = &plan.directories[self.parent];
            let parent = if parent.is_root() { 0 } else { parent.first };
            bytes.extend(slot(b".          ", ATTR_DIRECTORY, self.first, 0, stamp));
            bytes.extend(slot(b"..         ", ATTR_DIRECTORY, parent, 0, stamp));
        }
        for child in &self.entries {
            bytes.extend(child.long().into_iter().flatten());
            let (attributes, first, size) = match child.target {
                Target::Directory(i) => (ATTR_DIRECTORY, plan.directories[i].first, 0),
                // collect() let no longer file in.
                Target::File(i) => (ATTR_ARCHIVE, plan.files[i].first, plan.files[i].content.len() as u32),
            };
            bytes.extend(slot(&child.short, attributes, first, size, stamp));
        }
        // To the end of its clusters: the next entry made here relies on zeros behind it.
        let fixed = geometry.root_sectors * SECTOR;
        bytes.resize(if self.first == 0 { fixed } else { self.clusters * geometry.cluster_size() } as usize, 0);
        bytes
    }
}

impl Child {
    fn long(&self) -> Vec<[u8; SLOT]> {
        if name::says_all(&self.short, &self.name) { Vec::new() } else { name::long_slots(&self.name, &self.short) }
    }
}

fn slot(short: &ShortName, attributes: u8, first: u32, size: u32, stamp: Stamp) -> [u8; SLOT] {
    let mut slot = [0; SLOT];
    slot[..11].copy_from_slice(short);
    slot[11] = attributes;
    put16(&mut slot, 14, stamp.time); // created
    put16(&mut slot, 16, stamp.date);
    put16(&mut slot, 18, stamp.date); // accessed
    put16(&mut slot, 20, (first >> 16) as u16);
    put16(&mut slot, 22, stamp.time); // modified
    put16(&mut slot, 24, stamp.date);
    put16(&mut slot, 26, first as u16);
    put32(&mut slot, 28, size);
    slot
}

fn write_boot_sectors(
    g: &Geometry,
    options: &Options,
    label: &ShortName,
    used: u64,
    out: &impl WriteAt,
) -> Result<(), FatError> {
    let mut boot = [0; SECTOR as usize];
    boot[..3].copy_from_slice(&[0xEB, if g.kind == Kind::Fat32 { 0x58 } else { 0x3C }, 0x90]);
    boot[3..11].copy_from_slice(b"MSWIN4.1"); // the name that "is least likely to cause trouble" (`fatgen103`, p. 9)
    put16(&mut boot, 11, SECTOR as u16);
    boot[13] = g.cluster_sectors as u8;
    put16(&mut boot, 14, g.reserved as u16);
    boot[16] = COPIES as u8;
    put16(&mut boot, 17, (g.root_sectors * SECTOR / SLOT as u64) as u16);
    boot[21] = 0xF8; // fixed disk
    put16(&mut boot, 24, 63);
    put16(&mut boot, 26, 255);
    // Hidden sectors (28..32) stay 0: the same bytes serve slot A and slot B.
    match u16::try_from(g.sectors) {
        Ok(sectors) if g.kind == Kind::Fat16 => put16(&mut boot, 19, sectors),
        _ => put32(&mut boot, 32, g.sectors as u32),
    }
    let tail = match g.kind {
        Kind::Fat16 => {
            put16(&mut boot, 22, g.fat_sectors as u16);
            36
        }
        Kind::Fat32 => {
            put32(&mut boot, 36, g.fat_sectors as u32);
            put32(&mut boot, 44, ROOT_CLUSTER);
            put16(&mut boot, 48, INFO_SECTOR);
            put16(&mut boot, 50, BACKUP_SECTOR);
            64
        }
    };
    boot[tail] = 0x80; // drive number of a fixed disk
    boot[tail + 2] = 0x29; // the three fields that follow are there
    put32(&mut boot, tail + 3, options.volume_id);
    boot[tail + 7..tail + 18].copy_from_slice(label);
    let kind = if g.kind == Kind::Fat32 { b"FAT32   " } else { b"FAT16   " };
    boot[tail + 18..tail + 26].copy_from_slice(kind);
    boot[510..].copy_from_slice(&[0x55, 0xAA]);
    out.write_all_at(&boot, 0)?;
    if g.kind == Kind::Fat32 {
        let mut info = [0; SECTOR as usize];
        info[..4].copy_from_slice(b"RRaA");
        info[484..488].copy_from_slice(b"rrAa");
        put32(&mut info, 488, (g.clusters - used) as u32);
        put32(&mut info, 492, ROOT_CLUSTER + (used as u32).saturating_sub(1)); // the last one taken
        info[510..].copy_from_slice(&[0x55, 0xAA]);
        for base in [0, BACKUP_SECTOR] {
            out.write_all_at(&boot, u64::from(base) * SECTOR)?;
            out.write_all_at(&info, u64::from(base + INFO_SECTOR) * SECTOR)?;
        }
    }
    Ok(())
}

/// The allocation table in all its copies, free clusters included: stale bytes there would be chains.
fn write_tables(g: &Geometry, plan: &Plan, out: &impl WriteAt) -> Result<(), FatError> {
    let len = (g.fat_sectors * SECTOR) as usize;
    let mut table = Vec::with_capacity(len);
    let mut push = |value: u32| match g.kind {
        Kind::Fat16 => table.extend((value as u16).to_le_bytes()),
        Kind::Fat32 => table.extend((value & 0x0FFF_FFFF).to_le_bytes()),
    };
    push(0xFFFF_FFF8); // the media byte of the boot sector
    push(0xFFFF_FFFF); // cleanly unmounted, no error
    let directories = plan.directories.iter().map(|d| (d.first, d.clusters));
    let files = plan.order.iter().map(|i| (plan.files[*i].first, plan.files[*i].clusters));
    for (first, clusters) in directories.chain(files) {
        for n in 1..=clusters as u32 {
            push(if u64::from(n) == clusters { 0xFFFF_FFFF } else { first + n });
        }
    }
    table.resize(len, 0);
    for copy in 0..COPIES {
        out.write_all_at(&table, g.fat_start(copy))?;
    }
    Ok(())
}

fn copy(content: &Content, to: u64, out: &impl WriteAt) -> Result<(), FatError> {
    let mut buf = vec![0; content.len().min(CHUNK) as usize];
    let mut done = 0;
    while done < content.len() {
        let n = (content.len() - done).min(CHUNK) as usize;
        content.read_at(&mut buf[..n], done)?;
        out.write_all_at(&buf[..n], to + done)?;
        done += n as u64;
    }
    Ok(())
}

fn label(text: &str) -> Result<ShortName, FatError> {
    let ok = |b: u8| b == b' ' || b.is_ascii_uppercase() || b.is_ascii_digit() || b"-_".contains(&b);
    if !(1..=11).contains(&text.len()) || text.starts_with(' ') || !text.bytes().all(ok) {
        return Err(FatError::Label(text.to_owned()));
    }
    let mut label = [b' '; 11];
    label[..text.len()].copy_from_slice(text.as_bytes());
    Ok(label)
}

/// Date and time as FAT stores them (`fatgen103`, p. 25), in UTC.
#[derive(Clone, Copy)]
struct Stamp {
    date: u16,
    time: u16,
}

impl Stamp {
    fn new(seconds: i64) -> Stamp {
        const FIRST: i64 = 315_532_800; // 1980-01-01
        const LAST: i64 = 4_354_819_198; // 2107-12-31 23:59:58
        let seconds = seconds.clamp(FIRST, LAST);
        let (days, second) = (seconds / SECONDS_PER_DAY, seconds % SECONDS_PER_DAY);
        let Date { year, month, day } = Date::from_days(days);
        Stamp {
            date: (((year - 1980) << 9) | (month << 5) | day) as u16,
            time: (((second / 3600) << 11) | ((second / 60 % 60) << 5) | (second % 60 / 2)) as u16,
        }
    }
}

fn put16(bytes: &mut [u8], at: usize, value: u16) {
    bytes[at..at + 2].copy_from_slice(&value.to_le_bytes());
}

fn put32(bytes: &mut [u8], at: usize, value: u32) {
    bytes[at..at + 4].copy_from_slice(&value.to_le_bytes());
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn dates_are_those_of_the_calendar() {
        let show = |t| {
            let s = Stamp::new(t);
            (1980 + (s.date >> 9), s.date >> 5 & 15, s.date & 31, s.time >> 11, s.time >> 5 & 63, (s.time & 31) * 2)
        };
        assert_eq!(show(0), (1980, 1, 1, 0, 0, 0));
        assert_eq!(show(951_782_400), (2000, 2, 29, 0, 0, 0));
        assert_eq!(show(1_735_689_599), (2024, 12, 31, 23, 59, 58));
        assert_eq!(show(i64::MAX), (2107, 12, 31, 23, 59, 58));
    }
}
