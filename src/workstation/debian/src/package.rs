//! One package read: its control files, and what its data archive holds and where.

use std::collections::{BTreeMap, HashMap, HashSet};
use std::fs::{self, File};
use std::io::{Cursor, Read};
use std::sync::Arc;

use fruit_base::{AtPath, PathError};
use fruit_image::tree::Source;

use crate::control::{Paragraph, decode};
use crate::deb::{Layout, decompress};
use crate::digest::{HashingReader, Sha256};
use crate::error::{Error, Result};
use crate::locked::LockedPackage;
use crate::store::Store;
use crate::tarball::{Entry, EntryKind, TarError, Tarball};
use crate::version::Version;

/// Programs of a package that dpkg would run, and debconf's.
const SCRIPTS: [&str; 5] = ["preinst", "postinst", "prerm", "postrm", "config"];

/// Bytes of all control files that are kept; the longest real ones (md5sums of large packages) have some MB.
const MAX_CONTROL: u64 = 32 << 20;

/// Entries of one archive; the largest real package has some 100 000.
const MAX_ENTRIES: usize = 1 << 20;

/// What is in control.tar, but for what only dpkg's own bookkeeping needs.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Control {
    pub paragraph: Paragraph,
    /// Paths of configuration files, without the leading slash.
    pub conffiles: Vec<String>,
    /// Maintainer scripts by name (`postinst`, …); never run. They may be programs, not text.
    pub scripts: BTreeMap<String, Vec<u8>>,
    pub triggers: Option<String>,
    /// debconf's questions (debconf-devel(7)).
    pub templates: Option<String>,
    /// Checksums of the files as the package ships them.
    pub md5sums: Option<Vec<u8>>,
}

/// A package in the store, decompressed and checked.
#[derive(Debug)]
pub struct OpenPackage {
    /// File name for messages.
    pub label: String,
    pub control: Control,
    /// What the data archive holds, in its order; offsets count from `data_start` of `source`.
    pub entries: Vec<Entry>,
    pub source: Arc<Source>,
    pub data_start: u64,
}

impl Control {
    /// The value of a field that every package has, or "".
    fn field(&self, name: &str) -> &str {
        self.paragraph.get(name).unwrap_or("")
    }

    pub fn name(&self) -> &str {
        self.field("Package")
    }

    pub fn version(&self) -> &str {
        self.field("Version")
    }

    pub fn architecture(&self) -> &str {
        self.field("Architecture")
    }

    /// Reads a control.tar.
    ///
    /// # Errors
    /// A damaged or hostile archive, or one without a proper `control` file.
    pub fn read(tar: impl Read, deb: &str) -> Result<Control> {
        let mut control = Control::default();
        let mut seen = HashSet::new();
        let mut room = MAX_CONTROL;
        let mut tar = Tarball::new(tar);
        let mut found = false;
        while let Some(entry) = tar.next_entry().map_err(|e| in_archive(deb, "control.tar", e))? {
            if !seen.insert(entry.path.clone()) || seen.len() > MAX_ENTRIES {
                return Err(Error::entry(deb, &entry.path, "is in control.tar twice, or one of too many"));
            }
            let wanted = ["control", "conffiles", "triggers", "templates", "md5sums"].contains(&entry.path.as_str());
            let script = SCRIPTS.contains(&entry.path.as_str());
            if !(wanted || script) {
                continue;
            }
            if entry.kind != EntryKind::File {
                return Err(Error::entry(deb, &entry.path, "is not a regular file"));
            }
            let bytes = tar.contents(&entry, room).map_err(|e| in_archive(deb, "control.tar", e))?;
            room -= bytes.len() as u64; // at most `room`, as was just checked
            if script {
                control.scripts.insert(entry.path, bytes);
                continue;
            }
            if entry.path == "md5sums" {
                control.md5sums = Some(bytes);
                continue;
            }
            match entry.path.as_str() {
                "control" => {
                    control.paragraph = Paragraph::parse_one(&bytes, &format!("{deb}: control"))?;
                    found = true;
                }
                "conffiles" => control.conffiles = conffiles(&decode(&bytes)),
                "templates" => control.templates = Some(decode(&bytes).into_owned()),
                _ => control.triggers = Some(decode(&bytes).into_owned()),
            }
        }
        if !found {
            return Err(Error::deb(deb, "control.tar has no file `control`"));
        }
        for name in ["Package", "Version", "Architecture"] {
            control.paragraph.require(name, &format!("{deb}: control"))?;
        }
        Ok(control)
    }
}

/// Lines are paths, or `remove-on-upgrade PATH`, which names what is no longer shipped.
fn conffiles(text: &str) -> Vec<String> {
    let lines = text.lines().map(str::trim).filter(|line| !line.starts_with("remove-on-upgrade"));
    lines.filter_map(|line| line.strip_prefix('/')).map(str::to_owned).collect()
}

/// Reads what a data.tar holds. An entry that comes again replaces the earlier one, as it does when dpkg unpacks.
///
/// # Errors
/// A damaged or hostile archive.
pub fn read_entries(tar: impl Read, deb: &str) -> Result<Vec<Entry>> {
    let mut entries: Vec<Entry> = Vec::new();
    let mut places: HashMap<String, usize> = HashMap::new();
    let mut linked: HashSet<String> = HashSet::new();
    let mut tar = Tarball::new(tar);
    while let Some(entry) = tar.next_entry().map_err(|e| in_archive(deb, "data.tar", e))? {
        if entries.len() == MAX_ENTRIES {
            return Err(Error::deb(deb, format!("has more than {MAX_ENTRIES} entries")));
        }
        if let EntryKind::HardLink(target) = &entry.kind {
            linked.insert(target.clone());
        }
        let Some(before) = places.get(&entry.path).and_then(|place| entries.get_mut(*place)) else {
            places.insert(entry.path.clone(), entries.len());
            entries.push(entry);
            continue;
        };
        // A link to the earlier one would keep its contents: two files of one name, which no builder means.
        if (before.kind == EntryKind::Dir) != (entry.kind == EntryKind::Dir) || linked.contains(&entry.path) {
            return Err(Error::entry(deb, &entry.path, "is there twice, as two different things"));
        }
        *before = entry;
    }
    Ok(entries)
}

/// Reads a whole .deb file from memory: its control files, its data archive's entries, and that archive itself.
///
/// # Errors
/// A damaged or hostile file.
pub fn read_deb(bytes: &[u8], deb: &str) -> Result<(Control, Vec<Entry>, Vec<u8>)> {
    let mut file = Cursor::new(bytes);
    let layout = Layout::read(&mut file, deb)?;
    let mut control = Vec::new();
    decompress(&mut file, layout.control, &mut control, deb)?;
    let mut data = Vec::new();
    decompress(&mut file, layout.data, &mut data, deb)?;
    Ok((Control::read(&control[..], deb)?, read_entries(&data[..], deb)?, data))
}

fn in_archive(deb: &str, archive: &str, error: TarError) -> Error {
    match error.entry {
        Some(entry) => Error::Entry { deb: deb.to_owned(), entry, why: error.why },
        None => Error::deb(deb, format!("{archive} {}", error.why)),
    }
}

/// What the store knows of a decompressed package.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
struct Sum {
    control_len: u64,
    data_len: u64,
    sha256: Sha256,
}

impl Sum {
    fn parse(text: &str) -> Option<Sum> {
        let mut words = text.split_whitespace();
        let sum = Sum {
            control_len: words.next()?.parse().ok()?,
            data_len: words.next()?.parse().ok()?,
            sha256: words.next()?.parse().ok()?,
        };
        words.next().is_none().then_some(sum)
    }
}

impl Store {
    /// Whether the package is there decompressed.
    pub fn is_decompressed(&self, package: &LockedPackage) -> bool {
        self.blob(package.vouched(), "sum").exists() && self.blob(package.vouched(), "tars").exists()
    }

    /// Decompresses a package into the store, unless that was done before.
    ///
    /// # Errors
    /// A package that is missing, is not the one that was locked, or is damaged or hostile.
    pub fn decompress(&self, package: &LockedPackage) -> Result<()> {
        if self.is_decompressed(package) { Ok(()) } else { self.decompress_anew(package) }
    }

    fn decompress_anew(&self, package: &LockedPackage) -> Result<()> {
        let label = package.label();
        if !self.blob(package.vouched(), "deb").exists() {
            return Err(Error::Offline { store: self.root().to_owned(), missing: vec![label] });
        }
        let (mut deb, _) = self.open_blob(package.vouched(), "deb", &label)?;
        let layout = Layout::read(&mut deb, &label)?;
        let (tmp, mut out) = self.new_file()?;
        let mut unpack = || {
            let mut out = HashingWriter::new(&mut out);
            let lengths = decompress(&deb, layout.control, &mut out, &label)
                .and_then(|control| Ok((control, decompress(&deb, layout.data, &mut out, &label)?)));
            // Our disk's fault is none of the package's.
            if let Some(code) = out.failed {
                return Err(PathError::new(&tmp, std::io::Error::from_raw_os_error(code)).into());
            }
            let (control_len, data_len) = lengths?;
            Ok::<_, Error>(Sum { control_len, data_len, sha256: out.finish() })
        };
        let sum = unpack().inspect_err(|_| {
            let _ = fs::remove_file(&tmp);
        })?;
        let tars = self.blob(package.vouched(), "tars");
        fs::rename(&tmp, &tars).at(&tars)?;
        let text = format!("{} {} {}\n", sum.control_len, sum.data_len, sum.sha256);
        self.put(&self.blob(package.vouched(), "sum"), text.as_bytes())
    }

    /// Opens a package for reading; its decompressed form is made if it is missing or damaged.
    ///
    /// # Errors
    /// As [`Store::decompress`]; also a package whose control file is not that of the locked one.
    pub fn open_package(&self, package: &LockedPackage) -> Result<OpenPackage> {
        self.decompress(package)?;
        let open = match self.read_decompressed(package)? {
            Some(open) => open,
            None => {
                // Damaged by the disk, or of another version of this program: the .deb file still is what counts.
                self.decompress_anew(package)?;
                let damaged = || Error::deb(&package.label(), "its decompressed form in the store is damaged again");
                self.read_decompressed(package)?.ok_or_else(damaged)?
            }
        };
        let control = &open.control;
        let pairs = [
            ("package name", package.name.as_str(), control.name()),
            ("version", package.version.as_str(), control.version()),
            ("architecture", package.architecture.as_str(), control.architecture()),
        ];
        // `0:1.0` is `1.0`.
        let same =
            |what: &str, found: &str| what == "version" && found.parse().is_ok_and(|v: Version| v == package.version);
        for (what, expected, found) in pairs {
            if expected != found && !same(what, found) {
                let (expected, found) = (expected.to_owned(), found.to_owned());
                return Err(Error::Mismatch { file: open.label, what, expected, found });
            }
        }
        Ok(open)
    }

    /// `None` when the decompressed form is not what its sum says.
    fn read_decompressed(&self, package: &LockedPackage) -> Result<Option<OpenPackage>> {
        let (tars, sum) = (self.blob(package.vouched(), "tars"), self.blob(package.vouched(), "sum"));
        let Some(sum) = fs::read_to_string(&sum).ok().and_then(|text| Sum::parse(&text)) else { return Ok(None) };
        let Some(length) = sum.control_len.checked_add(sum.data_len) else { return Ok(None) };
        let Ok(source) = Source::open(&tars) else { return Ok(None) };
        if source.file().metadata().at(&tars)?.len() != length {
            return Ok(None);
        }
        let label = package.label();
        let file: &File = source.file();
        let mut reader = HashingReader::new(file);
        let control = Control::read((&mut reader).take(sum.control_len), &label);
        let entries = match &control {
            Ok(_) => read_entries((&mut reader).take(sum.data_len), &label),
            Err(_) => Ok(Vec::new()),
        };
        // Whatever seems wrong may be the disk's doing; only with the right sum is it the package's.
        std::io::copy(&mut reader, &mut std::io::sink()).at(&tars)?;
        if reader.finish() != (sum.sha256, length) {
            return Ok(None);
        }
        Ok(Some(OpenPackage { control: control?, entries: entries?, source, data_start: sum.control_len, label }))
    }
}

/// Writes to a file and keeps the hash of what was written.
pub(crate) struct HashingWriter<'a> {
    file: &'a mut File,
    hasher: sha2::Sha256,
    /// The system's number of the error that writing ended with.
    pub(crate) failed: Option<i32>,
}

impl<'a> HashingWriter<'a> {
    pub(crate) fn new(file: &'a mut File) -> HashingWriter<'a> {
        HashingWriter { file, hasher: sha2::Digest::new(), failed: None }
    }

    pub(crate) fn finish(self) -> Sha256 {
        Sha256(sha2::Digest::finalize(self.hasher).into())
    }
}

impl std::io::Write for HashingWriter<'_> {
    fn write(&mut self, buf: &[u8]) -> std::io::Result<usize> {
        let n = self.file.write(buf).inspect_err(|error| {
            // After an interruption the writer tries again.
            if error.kind() != std::io::ErrorKind::Interrupted {
                self.failed = error.raw_os_error();
            }
        })?;
        sha2::Digest::update(&mut self.hasher, &buf[..n]);
        Ok(n)
    }

    fn flush(&mut self) -> std::io::Result<()> {
        self.file.flush()
    }
}
