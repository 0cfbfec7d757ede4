//! The package store: files of repositories, kept by their SHA-256 in the user's cache folder and shared by all builds.
//!
//! ```text
//! blobs/ab/abcd….deb     a package as it was fetched
//! blobs/ab/abcd….tars    the same package's control.tar and data.tar, decompressed, one after the other
//! blobs/ab/abcd….sum     lengths and hash of the .tars file
//! blobs/ab/abcd….xz      an index
//! blobs/ab/abcd….deb.part  a transfer that is under way or was interrupted; locked while in use
//! blobs/cd/cdef….deb     a package or an index of which its repository says only the SHA-512, by that
//! lists/ARCHIVE_SUITE    the last good InRelease file, and what the server said of it; or .detached: the length of the
//!                        Release file in a line, that file, its signature
//! tmp/                   files being written
//! ```
//!
//! A file appears under its name only when whole, so builds at the same time and builds that were killed do no harm;
//! and every file is checked against its hash when it is used, so neither does a bad disk.

use std::collections::BTreeMap;
use std::fs::{self, File, OpenOptions};
use std::io::Seek;
use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};
use std::sync::OnceLock;
use std::sync::atomic::{AtomicU64, Ordering};

use fruit_base::cores;
use fruit_base::{AtPath, PathError};

use crate::apt_sources;
use crate::digest::{Digest, Sha256, hash_all};
use crate::error::{Error, Result};
use crate::fetch::{Fetched, Fetcher, Validators};
use crate::locked::LockedPackage;
use crate::mirror::{Mirror, Mirrors, mirrors_in};
use crate::progress::{Progress, Step};
use crate::release::{Vouched, suite_folder};

/// Largest InRelease file accepted, in bytes; Debian's has 150 kB.
const MAX_IN_RELEASE: u64 = 16 << 20;

/// Largest list of mirrors accepted, in bytes.
const MAX_MIRROR_LIST: u64 = 1 << 20;

/// Transfers at the same time.
pub const DEFAULT_TRANSFERS: usize = 6;

#[derive(Debug)]
pub struct Store {
    root: PathBuf,
    offline: bool,
    transfers: usize,
    fetcher: Fetcher,
    /// Mirrors by archive, from the lists that apt's sources name.
    listed: OnceLock<BTreeMap<String, Vec<Mirror>>>,
}

/// A file of a repository that the store should have.
pub(crate) struct Wanted {
    /// What messages call it.
    pub(crate) shown: String,
    pub(crate) archive: String,
    /// Below the archive; the first that the mirror has is taken.
    pub(crate) paths: Vec<String>,
    pub(crate) vouched: Vouched,
    pub(crate) extension: &'static str,
}

/// `InRelease`, or `Release` with the signature that lies beside it; not checked yet.
pub(crate) struct SignedFile {
    pub(crate) message: Vec<u8>,
    pub(crate) signature: Option<Vec<u8>>,
}

impl Store {
    /// `$XDG_CACHE_HOME/fruitbuild`, or `~/.cache/fruitbuild`; `None` when neither variable is set.
    pub fn default_root() -> Option<PathBuf> {
        let absolute = |name: &str| std::env::var_os(name).map(PathBuf::from).filter(|path| path.is_absolute());
        let cache = absolute("XDG_CACHE_HOME").or_else(|| Some(absolute("HOME")?.join(".cache")))?;
        Some(cache.join("fruitbuild"))
    }

    /// Opens the store in the folder `root`, which is made if it is missing. `offline` forbids transfers.
    ///
    /// # Errors
    /// Those of the file system.
    pub fn open(root: &Path, offline: bool) -> Result<Store> {
        for folder in ["blobs", "lists", "tmp"] {
            let folder = root.join(folder);
            fs::create_dir_all(&folder).at(&folder)?;
        }
        let store = Store {
            root: root.to_owned(),
            offline,
            transfers: DEFAULT_TRANSFERS,
            fetcher: Fetcher::default(),
            listed: OnceLock::new(),
        };
        store.sweep();
        Ok(store)
    }

    /// Changes how many transfers run at the same time (at least one).
    pub fn with_transfers(mut self, transfers: usize) -> Store {
        self.transfers = transfers.max(1);
        self
    }

    pub fn root(&self) -> &Path {
        &self.root
    }

    /// Whether transfers are forbidden.
    pub fn is_offline(&self) -> bool {
        self.offline
    }

    pub(crate) fn fetcher(&self) -> &Fetcher {
        &self.fetcher
    }

    /// Fetches the packages that are missing. What is there is not read; it is checked when it is used.
    ///
    /// # Errors
    /// A transfer that failed for good, or, offline, the list of what is missing.
    pub fn ensure(&self, packages: &[LockedPackage], mirrors: &Mirrors, progress: &dyn Progress) -> Result<()> {
        let wanted = packages.iter().map(|package| Wanted {
            shown: package.label(),
            archive: package.archive.clone(),
            paths: vec![package.path.clone()],
            vouched: package.vouched(),
            extension: "deb",
        });
        self.fetch_all(&wanted.collect::<Vec<_>>(), mirrors, Step::Download, progress)
    }

    /// Packages of the list that are not in the store, and would have to be fetched.
    pub fn missing<'p>(&self, packages: &'p [LockedPackage]) -> Vec<&'p LockedPackage> {
        packages.iter().filter(|p| !self.has(p.vouched(), "deb")).collect()
    }

    pub(crate) fn fetch_all(
        &self,
        wanted: &[Wanted],
        mirrors: &Mirrors,
        step: Step,
        progress: &dyn Progress,
    ) -> Result<()> {
        let mut missing: Vec<&Wanted> = wanted.iter().filter(|w| !self.has(w.vouched, w.extension)).collect();
        missing.sort_by_key(|w| (std::cmp::Reverse(w.vouched.size), w.vouched.digest));
        missing.dedup_by_key(|w| w.vouched.digest);
        if missing.is_empty() {
            return Ok(());
        }
        if self.offline {
            let mut names: Vec<String> = missing.iter().map(|w| w.shown.clone()).collect();
            names.sort();
            return Err(Error::Offline { store: self.root.clone(), missing: names });
        }
        progress.start(step, missing.len(), missing.iter().map(|w| w.vouched.size).sum());
        let result = cores::each(self.transfers, &missing, |wanted| {
            self.fetch(wanted, mirrors, step, progress)?;
            progress.item_done(step, &wanted.shown);
            Ok(())
        });
        progress.finish(step);
        result.map(|_| ())
    }

    fn fetch(&self, wanted: &Wanted, mirrors: &Mirrors, step: Step, progress: &dyn Progress) -> Result<()> {
        let path = self.blob(wanted.vouched, wanted.extension);
        let folder = path.parent().unwrap_or(&self.root);
        fs::create_dir_all(folder).at(folder)?;
        let part_path = path.with_extension(format!("{}.part", wanted.extension));
        let Some(mut part) = lock_part(&part_path, &path)? else { return Ok(()) };
        let fetched = self.ask_in_turn(mirrors, &wanted.archive, progress, |mirror| {
            let mut result = Ok(());
            for below in &wanted.paths {
                result = self.fetcher.large(&mirror.join(below), None, wanted.vouched, &mut part, step, progress);
                if !matches!(result, Err(Error::Fetch { .. } | Error::Missing { .. })) {
                    break;
                }
            }
            result
        });
        if matches!(fetched, Err(Error::Store { .. })) {
            // A part that fills the disk is in the way of whoever makes room.
            let _ = fs::remove_file(&part_path);
        }
        fetched?;
        Ok(fs::rename(&part_path, &path).at(&path)?)
    }

    /// What `get` has from the first mirror of an archive that can give it.
    fn ask_in_turn<T>(
        &self,
        mirrors: &Mirrors,
        archive: &str,
        progress: &dyn Progress,
        mut get: impl FnMut(&Mirror) -> Result<T>,
    ) -> Result<T> {
        let all = self.mirrors_of(mirrors, archive, progress)?;
        let mut first = None;
        for (number, mirror) in all.iter().enumerate() {
            match get(mirror) {
                Err(error @ (Error::Fetch { .. } | Error::Missing { .. })) => {
                    if let Some(next) = all.get(number + 1) {
                        progress.note(&format!("{error}; asking {next}"));
                    }
                    first.get_or_insert(error);
                }
                done => return done,
            }
        }
        Err(first.unwrap_or_else(|| Error::NoMirror { archive: archive.to_owned(), apt: String::new() }))
    }

    /// Mirrors that are named, or else those of the lists that apt's sources name, which are fetched once.
    fn mirrors_of(&self, mirrors: &Mirrors, archive: &str, progress: &dyn Progress) -> Result<Vec<Mirror>> {
        let none = match mirrors.all_of(archive) {
            Ok(all) => return Ok(all),
            Err(none) => none,
        };
        let listed = self.listed.get_or_init(|| {
            let mut found: BTreeMap<String, Vec<Mirror>> = BTreeMap::new();
            for (url, place) in mirrors.lists() {
                match self.fetcher.small(url, None, MAX_MIRROR_LIST, progress) {
                    Ok(Fetched::New { bytes, .. }) => {
                        let of_list = apt_sources::of_list(&String::from_utf8_lossy(&bytes), url);
                        of_list.into_iter().for_each(|(archive, more)| found.entry(archive).or_default().extend(more));
                    }
                    Ok(Fetched::NotModified) => {}
                    Err(error) => progress.note(&format!("the list of mirrors that {place} names: {error}")),
                }
            }
            found
        });
        mirrors_in(listed, archive).ok_or(none)
    }

    /// The signed table of contents of a suite, from the mirror if it changed there, else (or offline) the one that was
    /// kept. A mirror without InRelease is asked for Release and Release.gpg.
    pub(crate) fn fetch_release(
        &self,
        archive: &str,
        suite: &str,
        mirrors: &Mirrors,
        progress: &dyn Progress,
    ) -> Result<SignedFile> {
        if self.offline {
            let missing = || Error::Offline {
                store: self.root.clone(),
                missing: vec![format!("InRelease of {archive} {suite}")],
            };
            return self.kept_release(archive, suite).ok_or_else(missing);
        }
        self.ask_in_turn(mirrors, archive, progress, |mirror| self.fetch_release_from(mirror, archive, suite, progress))
    }

    fn fetch_release_from(
        &self,
        mirror: &Mirror,
        archive: &str,
        suite: &str,
        progress: &dyn Progress,
    ) -> Result<SignedFile> {
        let missing = match self.fetch_in_release(mirror, archive, suite, progress) {
            Ok(message) => return Ok(SignedFile { message, signature: None }),
            Err(error @ Error::Missing { .. }) => error,
            Err(error) => return Err(error),
        };
        let get = |name: &str| {
            let url = mirror.join(&format!("{}{name}", suite_folder(suite)));
            match self.fetcher.small(&url, None, MAX_IN_RELEASE, progress)? {
                Fetched::New { bytes, .. } => Ok(bytes),
                Fetched::NotModified => Err(Error::Fetch { url, why: "the server says `not modified`".to_owned() }),
            }
        };
        match get("Release") {
            // Without a signature the repository is of no use; the message names the file that is missing.
            Ok(message) => Ok(SignedFile { message, signature: Some(get("Release.gpg")?) }),
            Err(Error::Missing { .. }) => Err(missing),
            Err(error) => Err(error),
        }
    }

    fn fetch_in_release(
        &self,
        mirror: &Mirror,
        archive: &str,
        suite: &str,
        progress: &dyn Progress,
    ) -> Result<Vec<u8>> {
        let kept_path = self.list(archive, suite, "InRelease");
        let kept = fs::read(&kept_path).ok();
        let validators_path = self.list(archive, suite, "validators");
        // They describe the kept file only if they were written after it (see below).
        let validators: Option<Validators> = kept.as_ref().and_then(|kept| {
            let text = fs::read(&validators_path).ok()?;
            let (hash, validators): (String, Validators) = serde_json::from_slice(&text).ok()?;
            (hash == crate::digest::Sha256::of(kept).to_string()).then_some(validators)
        });
        let url = mirror.join(&format!("{}InRelease", suite_folder(suite)));
        match (self.fetcher.small(&url, validators.as_ref(), MAX_IN_RELEASE, progress)?, kept) {
            (Fetched::NotModified, Some(kept)) => Ok(kept),
            (Fetched::NotModified, None) => Err(Error::Fetch {
                url,
                why: "the server says `not modified` of a file that we do not have".to_owned(),
            }),
            (Fetched::New { bytes, validators }, _) => {
                let hash = crate::digest::Sha256::of(&bytes).to_string();
                if let Ok(text) = serde_json::to_vec(&(hash, validators)) {
                    self.put(&validators_path, &text)?;
                }
                Ok(bytes)
            }
        }
    }

    /// What was kept last, in one form or the other.
    fn kept_release(&self, archive: &str, suite: &str) -> Option<SignedFile> {
        if let Ok(message) = fs::read(self.list(archive, suite, "InRelease")) {
            return Some(SignedFile { message, signature: None });
        }
        let bytes = fs::read(self.list(archive, suite, "detached")).ok()?;
        let line = bytes.iter().position(|b| *b == b'\n')?;
        let length: usize = std::str::from_utf8(&bytes[..line]).ok()?.parse().ok()?;
        let (message, signature) = bytes[line + 1..].split_at_checked(length)?;
        Some(SignedFile { message: message.to_vec(), signature: Some(signature.to_vec()) })
    }

    /// Keeps what was found good, for working offline.
    pub(crate) fn keep_release(&self, archive: &str, suite: &str, release: &SignedFile) -> Result<()> {
        let in_release = self.list(archive, suite, "InRelease");
        let detached = self.list(archive, suite, "detached");
        let (path, other, bytes) = match &release.signature {
            None => (in_release, detached, release.message.clone()),
            Some(signature) => {
                let length = format!("{}\n", release.message.len());
                (detached, in_release, [length.as_bytes(), &release.message, signature].concat())
            }
        };
        let is_kept = fs::read(&path).is_ok_and(|kept| kept == bytes);
        if !is_kept {
            self.put(&path, &bytes)?;
        }
        match fs::remove_file(&other) {
            Err(e) if e.kind() != std::io::ErrorKind::NotFound => Err(PathError::new(&other, e).into()),
            _ => Ok(()),
        }
    }

    /// The SHA-256 of each package of which the repository says only the SHA-512; these are fetched, and checked by what it
    /// says. Afterwards the store has them under both names.
    ///
    /// # Errors
    /// As [`Store::ensure`].
    pub(crate) fn sha256_of(
        &self,
        packages: &[Wanted],
        mirrors: &Mirrors,
        progress: &dyn Progress,
    ) -> Result<BTreeMap<Digest, Sha256>> {
        self.fetch_all(packages, mirrors, Step::Download, progress)?;
        let mut all = BTreeMap::new();
        for package in packages {
            let (mut file, sha256) = self.open_blob(package.vouched, package.extension, &package.shown)?;
            let named = Vouched { digest: Digest::Sha256(sha256), ..package.vouched };
            self.name_too(&mut file, package, named)?;
            all.insert(package.vouched.digest, sha256);
        }
        Ok(all)
    }

    /// Gives the open `file` of the store another name there.
    fn name_too(&self, file: &mut File, package: &Wanted, named: Vouched) -> Result<()> {
        if self.has(named, package.extension) {
            return Ok(());
        }
        let (from, to) = (self.blob(package.vouched, package.extension), self.blob(named, package.extension));
        let folder = to.parent().unwrap_or(&self.root);
        fs::create_dir_all(folder).at(folder)?;
        if fs::hard_link(&from, &to).is_ok() || self.has(named, package.extension) {
            return Ok(());
        }
        // A file system without hard links, or a file of the wrong size in the way.
        let (tmp, mut copy) = self.new_file()?;
        std::io::copy(file, &mut copy).map_err(|error| {
            let _ = fs::remove_file(&tmp);
            PathError::new(&tmp, error)
        })?;
        Ok(fs::rename(&tmp, &to).at(&to)?)
    }

    /// Opens a file of the store, checked against its hash; with its SHA-256. One that is wrong is removed.
    pub(crate) fn open_blob(&self, vouched: Vouched, extension: &str, shown: &str) -> Result<(File, Sha256)> {
        let path = self.blob(vouched, extension);
        let mut file = File::open(&path).at(&path)?;
        let hashes = hash_all(&mut file, &vouched.digest).at(&path)?;
        if hashes.digest != vouched.digest || hashes.size != vouched.size {
            fs::remove_file(&path).at(&path)?;
            let (what, expected, found) = vouched.digest.mismatch(&hashes.digest);
            return Err(Error::Mismatch {
                file: format!("{} ({shown}; removed from the store, run again to fetch it anew)", path.display()),
                what,
                expected,
                found,
            });
        }
        file.rewind().at(&path)?;
        Ok((file, hashes.sha256))
    }

    pub(crate) fn blob(&self, vouched: Vouched, extension: &str) -> PathBuf {
        let hash = vouched.digest.to_string();
        self.root.join("blobs").join(&hash[..2]).join(format!("{hash}.{extension}"))
    }

    /// Whether a file of the right size is there; its hash is checked when it is used.
    pub(crate) fn has(&self, vouched: Vouched, extension: &str) -> bool {
        fs::metadata(self.blob(vouched, extension)).is_ok_and(|meta| meta.len() == vouched.size)
    }

    fn list(&self, archive: &str, suite: &str, end: &str) -> PathBuf {
        let plain = |c: char| if c.is_ascii_alphanumeric() || "-.".contains(c) { c } else { '_' };
        let name: String = format!("{archive}~{suite}").chars().map(|c| if c == '~' { c } else { plain(c) }).collect();
        self.root.join("lists").join(format!("{name}.{end}"))
    }

    /// Writes a small file that appears only when whole.
    pub(crate) fn put(&self, path: &Path, bytes: &[u8]) -> Result<()> {
        let (tmp, mut file) = self.new_file()?;
        std::io::Write::write_all(&mut file, bytes).map_err(|error| {
            let _ = fs::remove_file(&tmp);
            PathError::new(&tmp, error)
        })?;
        Ok(fs::rename(&tmp, path).at(path)?)
    }

    /// A new file in `tmp/`, to be renamed when it is whole. It is locked as long as it is open, so that others do not
    /// take it for litter.
    pub(crate) fn new_file(&self) -> Result<(PathBuf, File)> {
        static NUMBER: AtomicU64 = AtomicU64::new(0);
        loop {
            let name = format!("{}-{}", std::process::id(), NUMBER.fetch_add(1, Ordering::Relaxed));
            let path = self.root.join("tmp").join(name);
            match OpenOptions::new().write(true).read(true).create_new(true).open(&path) {
                Ok(file) => {
                    file.lock().at(&path)?;
                    // Another build may have swept it away before the lock.
                    if is_named(&file, &path) {
                        return Ok((path, file));
                    }
                }
                // Left by a killed process that had our number.
                Err(e) if e.kind() == std::io::ErrorKind::AlreadyExists => {}
                Err(error) => return Err(PathError::new(&path, error).into()),
            }
        }
    }

    /// Removes what killed builds left: nobody holds its lock. That it cannot is no reason not to work.
    fn sweep(&self) {
        for entry in fs::read_dir(self.root.join("tmp")).into_iter().flatten().flatten() {
            if let Ok(file) = OpenOptions::new().write(true).open(entry.path())
                && file.try_lock().is_ok()
                && is_named(&file, &entry.path())
            {
                let _ = fs::remove_file(entry.path());
            }
        }
    }
}

/// Whether `path` still leads to the open `file`.
fn is_named(file: &File, path: &Path) -> bool {
    match (fs::metadata(path), file.metadata()) {
        (Ok(named), Ok(opened)) => named.ino() == opened.ino() && named.dev() == opened.dev(),
        _ => false,
    }
}

/// Opens `part` for this process alone; `None` when another process finished the file `whole` meanwhile.
pub(crate) fn lock_part(part: &Path, whole: &Path) -> Result<Option<File>> {
    loop {
        let open = OpenOptions::new().read(true).write(true).create(true).truncate(false).open(part);
        let file = open.at(part)?;
        file.lock().at(part)?;
        // The lock may be that of a file which its former owner has renamed since we opened it.
        if is_named(&file, part) {
            return Ok(Some(file));
        }
        if whole.exists() {
            return Ok(None);
        }
    }
}
