//! Archives that are none of Debian's: tar, compressed or not, zip, and single compressed files, told by their first bytes
//! and not by their names. Nothing is unpacked into a folder: an entry is a range of bytes of a file of the store.

use std::collections::BTreeMap;
use std::fs::{self, File};
use std::io::{BufReader, Read, Seek, SeekFrom, Write};
use std::path::PathBuf;
use std::sync::Arc;

use fruit_base::AtPath;
use fruit_image::tree::{Content, Source};

use crate::deb::{Compression, MAX_RATIO, MAX_UNPACKED, SMALL, copy, decoder};
use crate::digest::{HashingReader, Sha256};
use crate::download::LockedDownload;
use crate::error::{Error, Result};
use crate::package::HashingWriter;
use crate::store::Store;
use crate::tarball::{Entry, EntryKind, Tarball, clean_path};

/// Entries of one archive.
const MAX_ENTRIES: usize = 1 << 20;

/// A symbolic link's target in a zip file, in bytes (`PATH_MAX`).
const MAX_LINK: u64 = 4095;

/// Where tar's magic stands (POSIX.1-1988, ustar).
const TAR_MAGIC: u64 = 257;

/// What a file holds.
#[derive(Debug)]
pub enum Archive {
    /// One file, decompressed if it was compressed.
    Single(Content),
    /// In the order of the archive; of two entries with one path, the later one.
    Many(Vec<Member>),
}

/// An entry of an archive.
#[derive(Clone, Debug)]
pub struct Member {
    /// Relative to the top, clean, without slash at either end.
    pub path: String,
    pub kind: MemberKind,
    /// Whether any execute bit is set.
    pub executable: bool,
}

#[derive(Clone, Debug)]
pub enum MemberKind {
    File(Content),
    /// Target as stored.
    Link(String),
    Folder,
    /// A device, FIFO or the like; or a hard link to nothing.
    Other,
}

/// A layer of a container image: an archive whose every entry counts.
#[derive(Debug)]
pub struct Layer {
    /// In the order of the archive, with places in `source`.
    pub entries: Vec<Entry>,
    pub source: Arc<Source>,
    /// Of the archive when it is not compressed: what image configurations call `diff_id`.
    pub sha256: Sha256,
    /// Its bytes.
    pub size: u64,
    /// Whether the file that was fetched is compressed, and by what.
    pub compression: Option<Compression>,
}

/// What the first bytes of a file say.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
enum Form {
    Compressed(Compression),
    Tar,
    Zip,
    Plain,
}

impl Form {
    fn of(file: &mut (impl Read + Seek)) -> std::io::Result<Form> {
        let mut head = Vec::new();
        file.seek(SeekFrom::Start(0))?;
        file.by_ref().take(TAR_MAGIC + 5).read_to_end(&mut head)?;
        file.seek(SeekFrom::Start(0))?;
        let starts = |magic: &[u8]| head.starts_with(magic);
        Ok(if starts(&[0x1f, 0x8b]) {
            Form::Compressed(Compression::Gzip)
        } else if starts(&[0xfd, b'7', b'z', b'X', b'Z', 0]) {
            Form::Compressed(Compression::Xz)
        } else if starts(&[0x28, 0xb5, 0x2f, 0xfd]) {
            Form::Compressed(Compression::Zstd)
        } else if starts(b"BZh") {
            Form::Compressed(Compression::Bzip2)
        } else if starts(b"PK\x03\x04") || starts(b"PK\x05\x06") {
            Form::Zip
        } else if head.get(TAR_MAGIC as usize..).is_some_and(|magic| magic == b"ustar") {
            Form::Tar
        } else {
            Form::Plain
        })
    }
}

impl Store {
    /// Opens a file that was fetched; what it decompresses to is kept in the store.
    ///
    /// # Errors
    /// A file that is missing, is not the one that was locked, or is damaged or hostile.
    pub fn open_archive(&self, download: &LockedDownload) -> Result<Archive> {
        let label = &download.name;
        let mut file = self.open_download(download)?;
        let path = self.download_path(download);
        match Form::of(&mut file).at(&path)? {
            Form::Compressed(compression) => {
                let (source, len, _) = self.decompressed(download, compression)?;
                let mut inner = source.file().try_clone().at(&path)?;
                match Form::of(&mut inner).at(&path)? {
                    Form::Tar => read_tar(source, label),
                    Form::Zip | Form::Compressed(_) | Form::Plain => {
                        Ok(Archive::Single(Content::Range { source, offset: 0, len }))
                    }
                }
            }
            Form::Tar => read_tar(Source::open(&path).at(&path)?, label),
            Form::Zip => self.read_zip(download, &file),
            Form::Plain => {
                let source = Source::open(&path).at(&path)?;
                Ok(Archive::Single(Content::Range { source, offset: 0, len: download.size }))
            }
        }
    }

    /// Opens a layer of a container image, decompressed.
    ///
    /// # Errors
    /// As [`Store::open_archive`]; what is no tar archive.
    pub fn open_layer(&self, download: &LockedDownload) -> Result<Layer> {
        let label = &download.name;
        let mut file = self.open_download(download)?;
        let path = self.download_path(download);
        let (source, sha256, size, compression) = match Form::of(&mut file).at(&path)? {
            Form::Compressed(compression) => {
                let (source, len, sha256) = self.decompressed(download, compression)?;
                (source, sha256, len, Some(compression))
            }
            Form::Tar => (Source::open(&path).at(&path)?, download.sha256, download.size, None),
            // A tar archive of nothing is a row of zeros.
            Form::Plain if is_empty_tar(&mut file).at(&path)? => {
                (Source::open(&path).at(&path)?, download.sha256, download.size, None)
            }
            Form::Plain | Form::Zip => {
                return Err(Error::deb(label, "is no tar archive, compressed by gzip, zstd or not"));
            }
        };
        let mut entries = Vec::new();
        each_entry(&source, label, |entry| {
            entries.push(entry);
            Ok(())
        })?;
        Ok(Layer { entries, source, sha256, size, compression })
    }

    /// What a compressed file holds.
    fn decompressed(&self, download: &LockedDownload, compression: Compression) -> Result<(Arc<Source>, u64, Sha256)> {
        let label = &download.name;
        self.unpacked(download, |out| {
            let input = BufReader::with_capacity(128 << 10, self.open_download(download)?);
            let mut decoder = decoder(input, compression).map_err(|why| Error::deb(label, why))?;
            copy(&mut *decoder, limit_of(download.size), out).map_err(|why| Error::deb(label, why)).map(drop)
        })
    }

    /// The file as it is, whatever it holds.
    ///
    /// # Errors
    /// As [`Store::open_download`].
    pub fn open_as_is(&self, download: &LockedDownload) -> Result<Content> {
        self.open_download(download)?;
        let path = self.download_path(download);
        let source = Source::open(&path).at(&path)?;
        Ok(Content::Range { source, offset: 0, len: download.size })
    }

    /// What `write` makes of a download, from the store if it was made before and is as it was; with its length and hash.
    fn unpacked(
        &self,
        download: &LockedDownload,
        write: impl Fn(&mut dyn Write) -> Result<()>,
    ) -> Result<(Arc<Source>, u64, Sha256)> {
        let blob = |extension| self.blob(download.vouched(), extension);
        let (path, note) = (blob("unpacked"), blob("content"));
        if let Some((len, sha256)) = kept(&path, &note) {
            return Ok((Source::open(&path).at(&path)?, len, sha256));
        }
        let (tmp, mut file) = self.new_file()?;
        let mut make = || {
            let mut out = HashingWriter::new(&mut file);
            let written = write(&mut out);
            // Our disk's fault is none of the archive's.
            if let Some(code) = out.failed {
                return Err(fruit_base::PathError::new(&tmp, std::io::Error::from_raw_os_error(code)).into());
            }
            written.map(|()| out.finish())
        };
        let sha256 = make().inspect_err(|_| {
            let _ = fs::remove_file(&tmp);
        })?;
        let len = file.metadata().at(&tmp)?.len();
        fs::rename(&tmp, &path).at(&path)?;
        self.put(&note, format!("{len} {sha256}\n").as_bytes())?;
        Ok((Source::open(&path).at(&path)?, len, sha256))
    }

    fn read_zip(&self, download: &LockedDownload, file: &File) -> Result<Archive> {
        let label = &download.name;
        let bad = |error: zip::result::ZipError| Error::deb(label, format!("is a damaged zip file: {error}"));
        let open = |file: File| zip::ZipArchive::new(BufReader::new(file)).map_err(bad);
        let clone = || file.try_clone().map_err(|error| Error::deb(label, error.to_string()));
        let mut zip = open(clone()?)?;
        if zip.len() > MAX_ENTRIES {
            return Err(Error::deb(label, format!("has more than {MAX_ENTRIES} entries")));
        }
        let (source, total, _) = self.unpacked(download, |out| {
            let mut zip = open(clone()?)?;
            let mut room = limit_of(download.size);
            for number in 0..zip.len() {
                let mut entry = zip.by_index(number).map_err(bad)?;
                if entry.is_dir() {
                    continue;
                }
                let (size, name) = (entry.size(), name_of(&entry));
                let written = copy(&mut entry, room, out).map_err(|why| Error::entry(label, &name, why))?;
                if written != size {
                    let why = format!("has {written} bytes and claims {size}");
                    return Err(Error::entry(label, &name, why));
                }
                room = room.saturating_sub(written);
            }
            Ok(())
        })?;
        let mut members = Members::default();
        let mut offset = 0u64;
        for number in 0..zip.len() {
            let entry = zip.by_index_raw(number).map_err(bad)?;
            let path = clean_path(entry.name_raw()).map_err(|why| Error::entry(label, &name_of(&entry), why))?;
            let mode = entry.unix_mode().unwrap_or(0);
            if entry.is_dir() {
                members.add(Member { path, kind: MemberKind::Folder, executable: false });
                continue;
            }
            let len = entry.size();
            let end = offset.checked_add(len).filter(|end| *end <= total);
            let end = end.ok_or_else(|| {
                Error::entry(label, &name_of(&entry), "its size is not the one that it was unpacked with")
            })?;
            let content = Content::Range { source: source.clone(), offset, len };
            let kind = if entry.is_symlink() { link(&content) } else { MemberKind::File(content) };
            members.add(Member { path, kind, executable: mode & 0o111 != 0 });
            offset = end;
        }
        Ok(Archive::Many(members.finish()))
    }
}

/// For messages.
fn name_of<R: Read + ?Sized>(entry: &zip::read::ZipFile<'_, R>) -> String {
    String::from_utf8_lossy(entry.name_raw()).into_owned()
}

/// Bytes that an archive of so many bytes may unpack to.
fn limit_of(size: u64) -> u64 {
    MAX_UNPACKED.min(SMALL.max(size.saturating_mul(MAX_RATIO)))
}

/// A symbolic link of a zip file, whose content is its target.
fn link(content: &Content) -> MemberKind {
    let target = (content.len() <= MAX_LINK).then(|| content.to_vec().ok()).flatten();
    let target = target.and_then(|bytes| String::from_utf8(bytes).ok());
    match target.filter(|target| !target.is_empty() && !target.chars().any(char::is_control)) {
        Some(target) => MemberKind::Link(target),
        None => MemberKind::Other,
    }
}

/// Length and hash of the file, if it is what its note says.
fn kept(path: &PathBuf, note: &PathBuf) -> Option<(u64, Sha256)> {
    let text = fs::read_to_string(note).ok()?;
    let (len, sha256) = text.trim_end().split_once(' ')?;
    let (len, sha256): (u64, Sha256) = (len.parse().ok()?, sha256.parse().ok()?);
    let mut reader = HashingReader::new(File::open(path).ok()?);
    std::io::copy(&mut reader, &mut std::io::sink()).ok()?;
    (reader.finish() == (sha256, len)).then_some((len, sha256))
}

/// Entries, each path once.
#[derive(Default)]
struct Members {
    all: Vec<Member>,
    places: BTreeMap<String, usize>,
}

impl Members {
    fn add(&mut self, member: Member) {
        match self.places.get(&member.path) {
            Some(place) => self.all[*place] = member,
            None => {
                self.places.insert(member.path.clone(), self.all.len());
                self.all.push(member);
            }
        }
    }

    fn get(&self, path: &str) -> Option<&Member> {
        self.places.get(path).map(|place| &self.all[*place])
    }

    fn finish(self) -> Vec<Member> {
        self.all
    }
}

/// Whether a file that is no archive by its magic begins as the end of one does.
fn is_empty_tar(file: &mut File) -> std::io::Result<bool> {
    let mut head = Vec::new();
    file.seek(SeekFrom::Start(0))?;
    Read::by_ref(file).take(TAR_MAGIC + 5).read_to_end(&mut head)?;
    Ok(head.len() as u64 == TAR_MAGIC + 5 && head.iter().all(|byte| *byte == 0))
}

/// Entries of an uncompressed tar archive that is a file of the store.
fn each_entry(source: &Source, label: &str, mut take: impl FnMut(Entry) -> Result<()>) -> Result<()> {
    let mut file = source.file().try_clone().map_err(|error| Error::deb(label, error.to_string()))?;
    file.seek(SeekFrom::Start(0)).map_err(|error| Error::deb(label, error.to_string()))?;
    let mut tar = Tarball::new(file).tolerant();
    let wrong = |error: crate::tarball::TarError| match error.entry {
        Some(entry) => Error::entry(label, &entry, error.why),
        None => Error::deb(label, error.why),
    };
    let mut count = 0;
    while let Some(entry) = tar.next_entry().map_err(wrong)? {
        count += 1;
        if count > MAX_ENTRIES {
            return Err(Error::deb(label, format!("has more than {MAX_ENTRIES} entries")));
        }
        take(entry)?;
    }
    Ok(())
}

fn read_tar(source: Arc<Source>, label: &str) -> Result<Archive> {
    let mut members = Members::default();
    each_entry(&source, label, |entry| {
        let kind = match entry.kind {
            EntryKind::File => {
                MemberKind::File(Content::Range { source: source.clone(), offset: entry.offset, len: entry.size })
            }
            EntryKind::Dir => MemberKind::Folder,
            EntryKind::Symlink(target) => MemberKind::Link(target),
            EntryKind::HardLink(target) => match members.get(&target).map(|member| &member.kind) {
                Some(MemberKind::File(content)) => MemberKind::File(content.clone()),
                _ => MemberKind::Other,
            },
            EntryKind::CharDevice { .. } | EntryKind::BlockDevice { .. } | EntryKind::Fifo => MemberKind::Other,
        };
        members.add(Member { path: entry.path, kind, executable: entry.mode & 0o111 != 0 });
        Ok(())
    })?;
    Ok(Archive::Many(members.finish()))
}
