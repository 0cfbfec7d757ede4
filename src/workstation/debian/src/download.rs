//! Files that a recipe names by their address, in the package store: pinned by size and SHA-256 when they are first fetched,
//! and fetched like packages from then on.
//!
//! ```text
//! blobs/ab/abcd….file        a file as it was fetched
//! blobs/ab/abcd….unpacked    what it decompresses to, or the contents of its entries one after the other
//! blobs/ab/abcd….content     length and hash of the .unpacked file
//! urls/1234….part            a transfer whose hash nobody knows yet; locked while in use
//! urls/1234….json            what the server said of that file, or of the whole one; with the hash of the whole one
//! ```

use std::fs::{self, File};
use std::io::{Read, Write};
use std::path::{Path, PathBuf};

use serde::{Deserialize, Serialize};
use ureq::http::header;

use fruit_base::AtPath;

use crate::digest::{Digest, HashingReader, Sha256, Sha512, hash_all};
use crate::error::{Error, Result};
use crate::fetch::{Answer, Pinned, Validators};
use crate::progress::{Progress, Step};
use crate::release::Vouched;
use crate::store::{Store, lock_part};

/// Largest file, in bytes.
pub const MAX_DOWNLOAD: u64 = 16 << 30;

/// What the store calls it.
const EXTENSION: &str = "file";

/// A file of the lock.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct LockedDownload {
    /// The recipe's name of it.
    pub name: String,
    /// Its address.
    pub url: String,
    /// Bytes.
    pub size: u64,
    pub sha256: Sha256,
    /// Where the recipe has it: a file that is right has both.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub sha512: Option<Sha512>,
}

impl LockedDownload {
    pub(crate) fn vouched(&self) -> Vouched {
        Vouched { size: self.size, digest: Digest::Sha256(self.sha256).and_sha512(self.sha512) }
    }
}

/// What is remembered of an address.
#[derive(Serialize, Deserialize)]
struct Remembered {
    validators: Validators,
    /// Of the whole file, once it was fetched.
    whole: Option<(u64, Sha256)>,
}

impl Store {
    /// Finds out size and SHA-256 of the file at the first of `urls` that can give it, which is in the store afterwards. If
    /// `known` is what it hashes to, another file is an error; without it the server is asked for the file as it is now.
    ///
    /// # Errors
    /// A transfer that failed for good, a file that is not the one that is `known`; offline, one that is not in the store.
    pub fn pin(&self, urls: &[&str], known: Option<Digest>, progress: &dyn Progress) -> Result<(u64, Sha256)> {
        if let Some(digest) = known
            && let Some(sha256) = digest.sha256()
            && let Some(size) = self.size_of(sha256)
        {
            let url = urls.first().copied().unwrap_or_default();
            return self.is_known((size, sha256), digest, url).map(|()| (size, sha256));
        }
        if self.is_offline() {
            return Err(Error::Offline {
                store: self.root().to_owned(),
                missing: urls.iter().take(1).map(|u| (*u).to_owned()).collect(),
            });
        }
        let mut first = None;
        for (number, url) in urls.iter().enumerate() {
            match self.pin_from(url, known, progress) {
                Err(error @ (Error::Fetch { .. } | Error::Missing { .. } | Error::Mismatch { .. })) => {
                    if let Some(next) = urls.get(number + 1) {
                        progress.note(&format!("{error}; asking {next}"));
                    }
                    first.get_or_insert(error);
                }
                done => return done,
            }
        }
        Err(first.unwrap_or_else(|| Error::NoMirror { archive: "a download".to_owned(), apt: String::new() }))
    }

    /// Size of the file with this hash, if the store has it.
    fn size_of(&self, sha256: Sha256) -> Option<u64> {
        let path = self.blob(Vouched { size: 0, digest: Digest::Sha256(sha256) }, EXTENSION);
        let size = fs::metadata(path).ok()?.len();
        // Checked, for its size is about to be locked.
        let vouched = Vouched { size, digest: Digest::Sha256(sha256) };
        self.open_blob(vouched, EXTENSION, "a download").ok().map(|_| size)
    }

    /// Whether a file of the store is the one that `known` names, which may say more of it than its SHA-256.
    fn is_known(&self, (size, sha256): (u64, Sha256), known: Digest, url: &str) -> Result<()> {
        let vouched = Vouched { size, digest: Digest::Sha256(sha256) };
        let path = self.blob(vouched, EXTENSION);
        let file = File::open(&path).at(&path)?;
        must_be(known, &hash_all(file, &known).at(&path)?.digest, url)
    }

    fn pin_from(&self, url: &str, known: Option<Digest>, progress: &dyn Progress) -> Result<(u64, Sha256)> {
        let folder = self.root().join("urls");
        fs::create_dir_all(&folder).at(&folder)?;
        let name = Sha256::of(url.as_bytes());
        let (part_path, memory) = (folder.join(format!("{name}.part")), folder.join(format!("{name}.json")));
        let whole = PathBuf::from("/nonexistent");
        // Another process may have finished this very file and renamed it; then ours starts at nothing, which does no harm.
        let Some(mut part) = lock_part(&part_path, &whole)? else { return self.pin_from(url, known, progress) };
        let remembered: Option<Remembered> =
            fs::read(&memory).ok().and_then(|bytes| serde_json::from_slice(&bytes).ok());
        let (of_part, of_whole) = match remembered {
            Some(Remembered { validators, whole: None }) => (Some(validators), None),
            Some(Remembered { validators, whole: Some((size, sha256)) }) => {
                let vouched = Vouched { size, digest: Digest::Sha256(sha256) };
                (None, self.has(vouched, EXTENSION).then_some((validators, size, sha256)))
            }
            None => (None, None),
        };
        progress.start(Step::Download, 1, 0);
        let remember = |validators: &Validators, whole| {
            let text = serde_json::to_vec(&Remembered { validators: validators.clone(), whole }).unwrap_or_default();
            self.put(&memory, &text)
        };
        let asked = of_whole.as_ref().map(|(validators, ..)| validators);
        let noted = |validators: &Validators| remember(validators, None);
        let fetched = self.fetcher().unknown(url, asked, of_part, &mut part, MAX_DOWNLOAD, (&noted, progress));
        progress.finish(Step::Download);
        if matches!(fetched, Err(Error::Store { .. })) {
            let _ = fs::remove_file(&part_path);
        }
        let (size, sha256) = match fetched? {
            Pinned::Unchanged => {
                let _ = fs::remove_file(&part_path);
                // Asked for only where it is there.
                let (_, size, sha256) = of_whole.ok_or_else(|| {
                    Error::format(url, "the server says `not modified` of a file that we do not have")
                })?;
                known.map_or(Ok(()), |known| self.is_known((size, sha256), known, url))?;
                return Ok((size, sha256));
            }
            Pinned::New { validators } => {
                let hashes = hash_all(&mut part, &known.unwrap_or(Digest::Sha256(Sha256([0; 32])))).at(&part_path)?;
                if let Err(error) = known.map_or(Ok(()), |known| must_be(known, &hashes.digest, url)) {
                    let _ = fs::remove_file(&part_path);
                    return Err(error);
                }
                remember(&validators, Some((hashes.size, hashes.sha256)))?;
                (hashes.size, hashes.sha256)
            }
        };
        let path = self.blob(Vouched { size, digest: Digest::Sha256(sha256) }, EXTENSION);
        let folder = path.parent().unwrap_or(self.root());
        fs::create_dir_all(folder).at(folder)?;
        fs::rename(&part_path, &path).at(&path)?;
        Ok((size, sha256))
    }

    /// Fetches the file from the first of `urls` that can give it, unless it is there.
    ///
    /// # Errors
    /// As [`Store::ensure`].
    pub fn ensure_download(&self, file: &LockedDownload, urls: &[&str], progress: &dyn Progress) -> Result<()> {
        self.ensure_authorized(file, urls, None, progress)
    }

    /// As [`Store::ensure_download`], with what the servers of `urls` want to see in `Authorization`.
    ///
    /// # Errors
    /// As [`Store::ensure`].
    pub fn ensure_authorized(
        &self,
        file: &LockedDownload,
        urls: &[&str],
        authorization: Option<&str>,
        progress: &dyn Progress,
    ) -> Result<()> {
        let vouched = file.vouched();
        if self.has(vouched, EXTENSION) {
            return Ok(());
        }
        if self.is_offline() {
            let missing = vec![format!("{} ({})", file.name, file.url)];
            return Err(Error::Offline { store: self.root().to_owned(), missing });
        }
        let path = self.blob(vouched, EXTENSION);
        let folder = path.parent().unwrap_or(self.root());
        fs::create_dir_all(folder).at(folder)?;
        let part_path = path.with_extension(format!("{EXTENSION}.part"));
        let Some(mut part) = lock_part(&part_path, &path)? else { return Ok(()) };
        progress.start(Step::Download, 1, file.size);
        let mut outcome = Ok(());
        for (number, url) in urls.iter().enumerate() {
            outcome = self.fetcher().large(url, authorization, vouched, &mut part, Step::Download, progress);
            match &outcome {
                Err(error @ (Error::Fetch { .. } | Error::Missing { .. })) => {
                    if let Some(next) = urls.get(number + 1) {
                        progress.note(&format!("{error}; asking {next}"));
                    }
                }
                _ => break,
            }
        }
        progress.finish(Step::Download);
        if matches!(outcome, Err(Error::Store { .. })) {
            let _ = fs::remove_file(&part_path);
        }
        outcome?;
        Ok(fs::rename(&part_path, &path).at(&path)?)
    }

    /// Whether the file is there; its hash is checked when it is used.
    pub fn has_download(&self, file: &LockedDownload) -> bool {
        self.has(file.vouched(), EXTENSION)
    }

    /// One GET with whatever status it ends, for servers with an interface of their own: with the media types in `accept`, and
    /// what the server wants to see in `Authorization`. At most `limit` bytes.
    ///
    /// # Errors
    /// No answer, or a longer one; offline.
    pub fn ask(
        &self,
        url: &str,
        accept: &str,
        authorization: Option<&str>,
        limit: u64,
        progress: &dyn Progress,
    ) -> Result<Answer> {
        if self.is_offline() {
            return Err(Error::Offline { store: self.root().to_owned(), missing: vec![url.to_owned()] });
        }
        let mut headers = vec![(header::ACCEPT, accept.to_owned())];
        headers.extend(authorization.map(|value| (header::AUTHORIZATION, value.to_owned())));
        self.fetcher().answer(url, &headers, limit, progress)
    }

    /// Takes what `source` gives into the store, at most `limit` bytes; `label` is what errors call it.
    ///
    /// # Errors
    /// More bytes, a read error, or those of the store's file system.
    pub fn import(&self, source: &mut dyn Read, limit: u64, label: &str) -> Result<(u64, Sha256)> {
        let (tmp, mut file) = self.new_file()?;
        let outcome = self.import_into(source, limit, label, (&tmp, &mut file));
        if outcome.is_err() {
            let _ = fs::remove_file(&tmp);
        }
        outcome
    }

    fn import_into(
        &self,
        source: &mut dyn Read,
        limit: u64,
        label: &str,
        (tmp, file): (&Path, &mut File),
    ) -> Result<(u64, Sha256)> {
        let mut reader = HashingReader::new(source);
        let mut buf = vec![0; 64 << 10];
        let mut size = 0u64;
        loop {
            let n = match reader.read(&mut buf) {
                Ok(0) => break,
                Ok(n) => n,
                Err(error) if error.kind() == std::io::ErrorKind::Interrupted => continue,
                Err(error) => return Err(Error::deb(label, error.to_string())),
            };
            size = size.saturating_add(n as u64);
            if size > limit {
                return Err(Error::deb(label, format!("has more than {limit} bytes")));
            }
            file.write_all(&buf[..n]).at(tmp)?;
        }
        let (sha256, _) = reader.finish();
        let path = self.blob(Vouched { size, digest: Digest::Sha256(sha256) }, EXTENSION);
        let folder = path.parent().unwrap_or(self.root());
        fs::create_dir_all(folder).at(folder)?;
        fs::rename(tmp, &path).at(&path)?;
        Ok((size, sha256))
    }

    /// Opens the file, checked against its hash.
    ///
    /// # Errors
    /// A file that is missing, or damaged by the disk.
    pub fn open_download(&self, file: &LockedDownload) -> Result<File> {
        self.open_blob(file.vouched(), EXTENSION, &file.name).map(|(file, _)| file)
    }

    /// Where the file is.
    pub fn download_path(&self, file: &LockedDownload) -> PathBuf {
        self.blob(file.vouched(), EXTENSION)
    }
}

/// A file that hashes to `found` must be the one that `known` names.
fn must_be(known: Digest, found: &Digest, url: &str) -> Result<()> {
    if known == *found {
        return Ok(());
    }
    let (what, expected, found) = known.mismatch(found);
    Err(Error::Mismatch { file: url.to_owned(), what, expected, found })
}
