use super::geometry::Geometry;
use super::name::{self, LongName, ShortName};
use super::{ATTR_DIRECTORY, ATTR_LONG_NAME, ATTR_VOLUME, FatError, Kind, MAX_DIRECTORY, SECTOR, SLOT};
use crate::disk::{Disk, Window};
use crate::storage::Extent;
use fruit_base::le::{u16_at, u32_at};
use std::collections::BTreeSet;

/// Directories within directories at most, and bytes of all directories together. A boot partition has a handful and a
/// few KiB; whatever a hostile image claims, reading it ends.
const MAX_DEPTH: usize = 32;
const MAX_DIRECTORIES: u64 = 16 << 20;
/// Bytes of the allocation table read at a time.
const CHUNK: u64 = 64 << 10;

/// A FAT16 or FAT32 filesystem opened for reading; it may be damaged or hostile.
#[derive(Debug)]
pub struct Volume<'a, D: ?Sized> {
    disk: Window<'a, D>,
    geometry: Geometry,
    root: u32,
    label: String,
    volume_id: u32,
}

/// A file or directory.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Entry {
    /// From the root, without a leading slash.
    pub path: String,
    pub is_dir: bool,
    /// Bytes; 0 for a directory.
    pub size: u64,
    first: u32,
}

impl<'a, D: Disk + ?Sized> Volume<'a, D> {
    /// # Errors
    /// No FAT16 or FAT32 boot sector, or one that says what cannot be; read errors.
    pub fn open(disk: &'a D) -> Result<Volume<'a, D>, FatError> {
        let not_fat = |why: &str| FatError::NotFat(why.to_owned());
        let disk = Window::new(disk, 0, disk.size());
        if disk.size() < SECTOR {
            return Err(not_fat("it has less than one sector"));
        }
        let mut boot = [0; SECTOR as usize];
        crate::storage::ReadAt::read_exact_at(&disk, &mut boot, 0)?;
        if boot[510..] != [0x55, 0xAA] || !matches!(boot[0], 0xEB | 0xE9) {
            return Err(not_fat("its boot sector has no signature"));
        }
        if u64::from(u16_at(&boot, 11)) != SECTOR {
            return Err(not_fat("its sectors do not have 512 bytes"));
        }
        let non_zero = |a: u32, b: u32| u64::from(if a != 0 { a } else { b });
        let sectors = non_zero(u16_at(&boot, 19).into(), u32_at(&boot, 32));
        let fat_sectors = non_zero(u16_at(&boot, 22).into(), u32_at(&boot, 36));
        let (cluster_sectors, reserved, copies) =
            (u64::from(boot[13]), u64::from(u16_at(&boot, 14)), u64::from(boot[16]));
        let root_sectors = (u64::from(u16_at(&boot, 17)) * SLOT as u64).div_ceil(SECTOR);
        if !cluster_sectors.is_power_of_two() || reserved == 0 || copies != super::geometry::COPIES || fat_sectors == 0
        {
            return Err(not_fat("its boot sector describes no filesystem with two allocation tables"));
        }
        let before_data = reserved + copies * fat_sectors + root_sectors;
        if sectors.checked_mul(SECTOR).is_none_or(|bytes| bytes > disk.size()) {
            return Err(not_fat("it is larger than its partition"));
        }
        let clusters = sectors.checked_sub(before_data).map_or(0, |data| data / cluster_sectors);
        let kind = Geometry::kind_of(clusters).ok_or_else(|| not_fat("it has so few clusters that it is FAT12"))?;
        if (clusters + 2) * kind.entry_size() > fat_sectors * SECTOR {
            return Err(not_fat("its allocation table is too small for its clusters"));
        }
        if (kind == Kind::Fat16) != (root_sectors > 0) {
            return Err(not_fat("its root directory is not where one of its size has it"));
        }
        let (root, tail) = if kind == Kind::Fat16 { (0, 36) } else { (u32_at(&boot, 44), 64) };
        let mut label = [b' '; 11];
        label.copy_from_slice(&boot[tail + 7..tail + 18]);
        let geometry = Geometry { kind, sectors, cluster_sectors, reserved, fat_sectors, root_sectors, clusters };
        let label = String::from_utf8_lossy(&label).trim_end().to_owned();
        Ok(Volume { disk, geometry, root, label, volume_id: u32_at(&boot, tail + 3) })
    }

    pub fn kind(&self) -> Kind {
        self.geometry.kind
    }

    /// As the boot sector has it.
    pub fn label(&self) -> &str {
        &self.label
    }

    pub fn volume_id(&self) -> u32 {
        self.volume_id
    }

    /// Bytes of the whole filesystem.
    pub fn size(&self) -> u64 {
        self.geometry.sectors * SECTOR
    }

    /// Free bytes, counted in the allocation table (FSInfo is a hint only).
    ///
    /// # Errors
    /// Read errors.
    pub fn free(&self) -> Result<u64, FatError> {
        let width = self.geometry.kind.entry_size();
        let (mut at, end) = (2 * width, (self.geometry.clusters + 2) * width);
        let mut free = 0;
        let mut buf = vec![0; CHUNK as usize];
        while at < end {
            let n = (end - at).min(CHUNK) as usize;
            self.read(&mut buf[..n], self.geometry.fat_start(0) + at)?;
            let unused =
                |entry: &&[u8]| entry.iter().enumerate().all(|(i, b)| if i == 3 { b & 0x0F == 0 } else { *b == 0 });
            free += buf[..n].chunks(width as usize).filter(unused).count() as u64;
            at += n as u64;
        }
        Ok(free * self.geometry.cluster_size())
    }

    /// Every file and directory, a directory before what is in it.
    ///
    /// # Errors
    /// A directory structure that is damaged or larger than any real one; read errors.
    pub fn list(&self) -> Result<Vec<Entry>, FatError> {
        let mut found = Vec::new();
        let mut budget = MAX_DIRECTORIES;
        let mut seen = BTreeSet::from([self.root]);
        // Directories whose entries are still to be read.
        let mut todo = vec![(String::new(), self.root, 0)];
        while let Some((path, first, depth)) = todo.pop() {
            let bytes = self.directory(first, &mut budget)?;
            let below = todo.len();
            for entry in entries(&bytes, &path, self.geometry.kind) {
                if entry.is_dir {
                    if !seen.insert(entry.first) {
                        return Err(FatError::Damaged(format!("directory {} is in two places", entry.path)));
                    }
                    if depth == MAX_DEPTH {
                        return Err(FatError::Damaged(format!(
                            "{}: more than {MAX_DEPTH} directories deep",
                            entry.path
                        )));
                    }
                    todo.push((entry.path.clone(), entry.first, depth + 1));
                }
                found.push(entry);
            }
            todo[below..].reverse();
        }
        Ok(found)
    }

    /// The content of the file at `path`, upper and lower case being the same, if it has at most `limit` bytes.
    ///
    /// # Errors
    /// No such file, one that is longer, or a damaged filesystem; read errors.
    pub fn read_file(&self, path: &str, limit: u64) -> Result<Vec<u8>, FatError> {
        let wanted = path.to_lowercase();
        let listing = self.list()?;
        let found = listing.iter().find(|e| !e.is_dir && e.path.to_lowercase() == wanted);
        self.content(found.ok_or_else(|| FatError::NotFound(path.to_owned()))?, limit)
    }

    /// The content of a file that [`Volume::list`] found, if it has at most `limit` bytes.
    ///
    /// # Errors
    /// As [`Volume::read_file`].
    pub fn content(&self, entry: &Entry, limit: u64) -> Result<Vec<u8>, FatError> {
        if entry.size > limit {
            return Err(FatError::OverLimit { path: entry.path.clone(), size: entry.size, limit });
        }
        // The size is a claim: room is made only as clusters really come.
        let mut bytes = Vec::new();
        let mut cluster = entry.first;
        while (bytes.len() as u64) < entry.size {
            let n = (entry.size - bytes.len() as u64).min(self.geometry.cluster_size());
            self.append(&mut bytes, cluster, n, &entry.path)?;
            if (bytes.len() as u64) < entry.size {
                cluster = self.next(cluster, &entry.path)?.ok_or_else(|| ends_early(entry))?;
            }
        }
        Ok(bytes)
    }

    /// Where the content of a file that [`Volume::list`] found is, in order, neighbours joined.
    ///
    /// # Errors
    /// A damaged filesystem; read errors.
    pub fn extents(&self, entry: &Entry) -> Result<Vec<Extent>, FatError> {
        let mut extents: Vec<Extent> = Vec::new();
        let (mut left, mut cluster) = (entry.size, entry.first);
        while left > 0 {
            let offset = self.place(cluster, &entry.path)?;
            let len = left.min(self.geometry.cluster_size());
            match extents.last_mut() {
                Some(last) if last.offset + last.len == offset => last.len += len,
                _ => extents.push(Extent { offset, len }),
            }
            left -= len;
            if left > 0 {
                cluster = self.next(cluster, &entry.path)?.ok_or_else(|| ends_early(entry))?;
            }
        }
        Ok(extents)
    }

    fn directory(&self, first: u32, budget: &mut u64) -> Result<Vec<u8>, FatError> {
        let mut bytes = Vec::new();
        let mut spend = |n: u64| {
            *budget =
                budget.checked_sub(n).ok_or_else(|| FatError::Damaged("its directories are endless".to_owned()))?;
            Ok::<(), FatError>(())
        };
        if first == 0 && self.geometry.kind == Kind::Fat16 {
            let len = self.geometry.root_sectors * SECTOR;
            spend(len)?;
            bytes.resize(len as usize, 0);
            self.read(&mut bytes, self.geometry.root_start())?;
            return Ok(bytes);
        }
        let mut cluster = Some(first);
        while let Some(here) = cluster {
            spend(self.geometry.cluster_size())?;
            self.append(&mut bytes, here, self.geometry.cluster_size(), "a directory")?;
            if bytes.len() as u64 > MAX_DIRECTORY.max(self.geometry.cluster_size()) {
                return Err(FatError::Damaged("a directory has more than 65536 entries".to_owned()));
            }
            cluster = self.next(here, "a directory")?;
        }
        Ok(bytes)
    }

    /// Appends the first `n` bytes of a cluster.
    fn append(&self, bytes: &mut Vec<u8>, cluster: u32, n: u64, of: &str) -> Result<(), FatError> {
        let start = self.place(cluster, of)?;
        let old = bytes.len();
        bytes.resize(old + n as usize, 0);
        self.read(&mut bytes[old..], start)
    }

    /// First byte of a cluster, which must exist.
    fn place(&self, cluster: u32, of: &str) -> Result<u64, FatError> {
        if cluster < 2 || u64::from(cluster) >= self.geometry.clusters + 2 {
            return Err(FatError::Damaged(format!("{of}: there is no cluster {cluster}")));
        }
        Ok(self.geometry.cluster_start(cluster))
    }

    /// The cluster after this one, which must exist.
    fn next(&self, cluster: u32, of: &str) -> Result<Option<u32>, FatError> {
        let kind = self.geometry.kind;
        let at = self.geometry.fat_start(0) + u64::from(cluster) * kind.entry_size();
        let mut raw = [0; 4];
        self.read(&mut raw[..kind.entry_size() as usize], at)?;
        match u32::from_le_bytes(raw) & 0x0FFF_FFFF {
            next if next >= kind.end_of_chain() => Ok(None),
            0 | 1 => Err(FatError::Damaged(format!("{of}: its chain of clusters runs into a free one"))),
            next => Ok(Some(next)),
        }
    }

    fn read(&self, buf: &mut [u8], at: u64) -> Result<(), FatError> {
        Ok(crate::storage::ReadAt::read_exact_at(&self.disk, buf, at)?)
    }
}

fn ends_early(entry: &Entry) -> FatError {
    FatError::Damaged(format!("{}: its clusters end before its {} bytes", entry.path, entry.size))
}

/// The entries of one directory, `.`, `..`, labels and deleted ones left out.
fn entries(bytes: &[u8], directory: &str, kind: Kind) -> Vec<Entry> {
    let mut found = Vec::new();
    let mut long = LongName::default();
    for slot in bytes.chunks_exact(SLOT).take_while(|slot| slot[0] != 0) {
        let attributes = slot[11];
        if slot[0] == 0xE5 {
            long = LongName::default();
            continue;
        }
        if attributes & 0x3F == ATTR_LONG_NAME {
            long.push(slot);
            continue;
        }
        let mut short: ShortName = [b' '; 11];
        short.copy_from_slice(&slot[..11]);
        let name = long.take(&short).unwrap_or_else(|| cased(&short, slot[12]));
        if attributes & ATTR_VOLUME != 0 || matches!(name.as_str(), "" | "." | "..") {
            continue;
        }
        let is_dir = attributes & ATTR_DIRECTORY != 0;
        // On FAT16 the high half is something else (extended attributes of OS/2).
        let high = if kind == Kind::Fat32 { u32::from(u16_at(slot, 20)) << 16 } else { 0 };
        found.push(Entry {
            path: if directory.is_empty() { name } else { format!("{directory}/{name}") },
            is_dir,
            size: if is_dir { 0 } else { u32_at(slot, 28).into() },
            first: high | u32::from(u16_at(slot, 26)),
        });
    }
    found
}

/// A short name as Windows NT and Linux show it: two bits say that stem or extension is in lower case.
fn cased(short: &ShortName, bits: u8) -> String {
    let mut short = *short;
    if bits & 0x08 != 0 {
        short[..8].make_ascii_lowercase();
    }
    if bits & 0x10 != 0 {
        short[8..].make_ascii_lowercase();
    }
    name::display(&short).replace('/', "_")
}
