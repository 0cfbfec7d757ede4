//! Reads the tar archives inside .deb files: ustar and GNU formats with long names, PAX records with extended
//! attributes (POSIX.1-2001 pax; GNU tar manual, "Basic Tar Format"). Everything else is refused rather than guessed.

use std::collections::BTreeMap;
use std::io::{BufRead, BufReader, Read};

const BLOCK: u64 = 512;

/// Longest path and link target (`PATH_MAX`, linux/limits.h).
const MAX_PATH: usize = 4095;

/// Longest name of one file (`NAME_MAX`).
const MAX_NAME: usize = 255;

/// Bytes of PAX records of one entry; a value of an extended attribute has at most 64 KiB (`XATTR_SIZE_MAX`).
const MAX_PAX: u64 = 1 << 20;

/// Bytes read at once.
const BUFFER: usize = 256 << 10;

/// One entry. Its data, if it has any, is `size` bytes at `offset` of the archive.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Entry {
    /// Relative to the root, clean, without slash at either end; the root itself is `""`.
    pub path: String,
    pub kind: EntryKind,
    /// `0o7777` bits.
    pub mode: u16,
    pub uid: u32,
    pub gid: u32,
    /// Seconds since 1970-01-01 UTC.
    pub mtime: i64,
    pub offset: u64,
    pub size: u64,
    pub xattrs: BTreeMap<String, Vec<u8>>,
}

#[derive(Clone, Debug, PartialEq, Eq)]
pub enum EntryKind {
    File,
    Dir,
    /// Target as stored.
    Symlink(String),
    /// Path of an earlier entry, clean as [`Entry::path`].
    HardLink(String),
    CharDevice {
        major: u32,
        minor: u32,
    },
    BlockDevice {
        major: u32,
        minor: u32,
    },
    Fifo,
}

#[derive(thiserror::Error, Debug)]
#[error("{}{why}", entry.as_ref().map(|e| format!("entry {e:?}: ")).unwrap_or_default())]
pub struct TarError {
    /// Name of the entry, when one was read.
    pub entry: Option<String>,
    pub why: String,
}

impl TarError {
    fn new(why: impl Into<String>) -> TarError {
        TarError { entry: None, why: why.into() }
    }

    fn at(entry: &[u8], why: impl Into<String>) -> TarError {
        let name = String::from_utf8_lossy(&entry[..entry.len().min(200)]).into_owned();
        TarError { entry: Some(name), why: why.into() }
    }
}

/// Reads entries one after the other and checks that the archive ends as it should.
pub struct Tarball<R> {
    input: BufReader<R>,
    position: u64,
    /// Data and padding of the current entry that were not read yet.
    pending: u64,
    /// Records of PAX headers that mean nothing here are passed over.
    tolerant: bool,
}

/// What extension headers said of the entry that follows them.
#[derive(Default)]
struct Extended {
    path: Option<Vec<u8>>,
    link: Option<Vec<u8>>,
    size: Option<u64>,
    uid: Option<u32>,
    gid: Option<u32>,
    mtime: Option<i64>,
    xattrs: BTreeMap<String, Vec<u8>>,
}

impl<R: Read> Tarball<R> {
    pub fn new(input: R) -> Tarball<R> {
        Tarball { input: BufReader::with_capacity(BUFFER, input), position: 0, pending: 0, tolerant: false }
    }

    /// Passes over PAX records that mean nothing here, as other programs than Debian's write them.
    pub fn tolerant(mut self) -> Tarball<R> {
        self.tolerant = true;
        self
    }

    /// The next entry, or `None` after the last one; then everything was read. The archive ends with a block of zeros, as
    /// tar and dpkg have it: what follows is not looked at, and some builders leave it out.
    ///
    /// # Errors
    /// A damaged or hostile archive, a kind of entry that no package has, or a read error.
    pub fn next_entry(&mut self) -> Result<Option<Entry>, TarError> {
        let mut extended = Extended::default();
        let mut announced = false;
        loop {
            let rest = self.pending;
            self.skip(rest)?;
            let header = self.block()?.filter(|header| header.iter().any(|b| *b != 0));
            let Some(header) = header else {
                if announced {
                    return Err(TarError::new("ends after an extension header"));
                }
                self.read_to_end()?;
                return Ok(None);
            };
            check_sum(&header)?;
            let short_name = field(&header[0..100]);
            let size = unsigned(&header[124..136]).ok_or_else(|| TarError::at(short_name, "the size is no number"))?;
            match header[156] {
                b'L' => extended.path = Some(self.long_text(size)?),
                b'K' => extended.link = Some(self.long_text(size)?),
                b'x' => {
                    let records = self.data(size, MAX_PAX)?;
                    let tolerant = self.tolerant;
                    pax_records(&records, |key, value| match extended.take(key, value) {
                        Err(Unusable::Unknown(_)) if tolerant => Ok(()),
                        Err(Unusable::Unknown(error) | Unusable::Wrong(error)) => Err(error),
                        Ok(()) => Ok(()),
                    })?;
                }
                b'g' => {
                    let records = self.data(size, MAX_PAX)?;
                    let tolerant = self.tolerant;
                    let known = |key: &str, _: &[u8]| match key {
                        "comment" => Ok(()),
                        // These would change what each entry is.
                        _ if tolerant && !matches!(key, "path" | "linkpath" | "size") && !key.starts_with(SPARSE) => {
                            Ok(())
                        }
                        _ => Err(TarError::new(format!("global PAX record {key:?} is not supported"))),
                    };
                    pax_records(&records, known)?;
                }
                _ => return self.entry(&header, size, extended).map(Some),
            }
            announced = true;
        }
    }

    /// The data of the entry that was just returned, if it has at most `limit` bytes.
    ///
    /// # Errors
    /// More bytes, or a read error.
    pub fn contents(&mut self, entry: &Entry, limit: u64) -> Result<Vec<u8>, TarError> {
        if entry.size > limit {
            return Err(TarError::at(entry.path.as_bytes(), format!("has {} bytes, more than {limit}", entry.size)));
        }
        self.data(entry.size, limit)
    }

    /// The reader, all of which was read if [`Tarball::next_entry`] returned `None`.
    pub fn into_inner(self) -> R {
        self.input.into_inner()
    }

    fn entry(&mut self, header: &[u8; BLOCK as usize], size: u64, ext: Extended) -> Result<Entry, TarError> {
        let raw = ext.path.unwrap_or_else(|| {
            let prefix = if &header[257..263] == b"ustar\0" { field(&header[345..500]) } else { b"" };
            let name = field(&header[0..100]);
            if prefix.is_empty() { name.to_vec() } else { [prefix, b"/", name].concat() }
        });
        let wrong = |why: String| TarError::at(&raw, why);
        let path = clean_path(&raw).map_err(wrong)?;
        let link = ext.link.unwrap_or_else(|| field(&header[157..257]).to_vec());
        let number = |range: std::ops::Range<usize>, what: &str| {
            unsigned(&header[range]).ok_or_else(|| wrong(format!("the {what} is no number")))
        };
        let small = |range: std::ops::Range<usize>, what: &str| {
            u32::try_from(number(range, what)?).map_err(|_| wrong(format!("the {what} is too big")))
        };
        let device = || Ok::<_, TarError>((small(329..337, "device number")?, small(337..345, "device number")?));
        let kind = match header[156] {
            b'0' | 0 if raw.ends_with(b"/") => EntryKind::Dir, // as before POSIX
            b'0' | 0 => EntryKind::File,
            b'5' => EntryKind::Dir,
            b'1' => EntryKind::HardLink(clean_path(&link).map_err(|why| wrong(format!("hard link target: {why}")))?),
            b'2' => EntryKind::Symlink(link_target(&link).map_err(wrong)?),
            b'3' => device().map(|(major, minor)| EntryKind::CharDevice { major, minor })?,
            b'4' => device().map(|(major, minor)| EntryKind::BlockDevice { major, minor })?,
            b'6' => EntryKind::Fifo,
            b'S' => return Err(wrong("is stored as a sparse file, which is not supported".to_owned())),
            other => return Err(wrong(format!("has the unknown type {:?}", char::from(other)))),
        };
        let size = ext.size.unwrap_or(size);
        if size > 0 && kind != EntryKind::File {
            return Err(wrong(format!("is not a regular file, but claims {size} bytes of data")));
        }
        if path.is_empty() && kind != EntryKind::Dir {
            return Err(wrong("is the root, but not a directory".to_owned()));
        }
        let mode = number(100..108, "mode")?;
        let padded = size.checked_next_multiple_of(BLOCK).ok_or_else(|| wrong("the size is too big".to_owned()))?;
        self.pending = padded;
        Ok(Entry {
            kind,
            mode: (mode & 0o7777) as u16,
            uid: ext.uid.map_or_else(|| small(108..116, "owner"), Ok)?,
            gid: ext.gid.map_or_else(|| small(116..124, "group"), Ok)?,
            mtime: match ext.mtime {
                Some(mtime) => mtime,
                None => signed(&header[136..148]).ok_or_else(|| wrong("the time is no number".to_owned()))?,
            },
            offset: self.position,
            size,
            xattrs: ext.xattrs,
            path,
        })
    }

    /// `None` at the end of the input.
    fn block(&mut self) -> Result<Option<[u8; BLOCK as usize]>, TarError> {
        if self.input.fill_buf().map_err(|e| TarError::new(e.to_string()))?.is_empty() {
            return Ok(None);
        }
        let mut block = [0; BLOCK as usize];
        self.input.read_exact(&mut block).map_err(|e| match e.kind() {
            std::io::ErrorKind::UnexpectedEof => TarError::new("ends within a header"),
            _ => TarError::new(e.to_string()),
        })?;
        self.position += BLOCK;
        Ok(Some(block))
    }

    fn skip(&mut self, count: u64) -> Result<(), TarError> {
        let mut rest = count;
        while rest > 0 {
            let have = self.input.fill_buf().map_err(|e| TarError::new(e.to_string()))?.len();
            if have == 0 {
                return Err(TarError::new(format!("ends {rest} bytes before the end of an entry's data")));
            }
            let step = have.min(usize::try_from(rest).unwrap_or(have));
            self.input.consume(step);
            rest -= step as u64;
        }
        self.position += count;
        self.pending = 0;
        Ok(())
    }

    /// Data without its padding.
    fn data(&mut self, size: u64, limit: u64) -> Result<Vec<u8>, TarError> {
        if size > limit {
            return Err(TarError::new(format!("an extension header has {size} bytes, more than {limit}")));
        }
        let mut data = Vec::new(); // grows as bytes come, whatever the header claims
        (&mut self.input).take(size).read_to_end(&mut data).map_err(|e| TarError::new(e.to_string()))?;
        if (data.len() as u64) < size {
            return Err(TarError::new("ends within an entry's data"));
        }
        self.position += size;
        self.pending = size.next_multiple_of(BLOCK) - size;
        Ok(data)
    }

    /// Name or link target of GNU's extension headers, ended by a NUL.
    fn long_text(&mut self, size: u64) -> Result<Vec<u8>, TarError> {
        let text = self.data(size, MAX_PATH as u64 + 1)?;
        Ok(field(&text).to_vec())
    }

    fn read_to_end(&mut self) -> Result<(), TarError> {
        std::io::copy(&mut self.input, &mut std::io::sink()).map(|_| ()).map_err(|e| TarError::new(e.to_string()))
    }
}

/// What the names of GNU's records of sparse files begin with.
const SPARSE: &str = "GNU.sparse";

/// A PAX record that an entry cannot be read with.
enum Unusable {
    /// It means something that is not known here.
    Unknown(TarError),
    Wrong(TarError),
}

impl Extended {
    fn take(&mut self, key: &str, value: &[u8]) -> Result<(), Unusable> {
        let wrong = || Unusable::Wrong(TarError::new(format!("PAX record {key}: the value is not understood")));
        let text = || std::str::from_utf8(value).map_err(|_| wrong());
        let number = || text()?.parse::<u64>().map_err(|_| wrong());
        let id = || u32::try_from(number()?).map_err(|_| wrong());
        match key {
            "path" => self.path = Some(value.to_vec()),
            "linkpath" => self.link = Some(value.to_vec()),
            "size" => self.size = Some(number()?),
            "uid" => self.uid = Some(id()?),
            "gid" => self.gid = Some(id()?),
            // A decimal number that may have a fraction.
            "mtime" => {
                let whole = text()?.split('.').next().unwrap_or_default();
                self.mtime = Some(whole.parse().map_err(|_| wrong())?);
            }
            "atime" | "ctime" | "comment" | "uname" | "gname" | "LIBARCHIVE.creationtime" => {}
            _ => match key.strip_prefix("SCHILY.xattr.") {
                Some(name) => {
                    let spaces = ["user.", "trusted.", "security.", "system."];
                    if name.len() > MAX_NAME || !spaces.iter().any(|space| name.starts_with(space)) {
                        let why = format!("extended attribute {name:?} is in no known namespace");
                        return Err(Unusable::Unknown(TarError::new(why)));
                    }
                    self.xattrs.insert(name.to_owned(), value.to_vec());
                }
                // GNU's sparse files: without their map, the data is not the file.
                None if key.starts_with(SPARSE) => {
                    let why = format!("PAX record {key:?} is that of a sparse file, which is not supported");
                    return Err(Unusable::Wrong(TarError::new(why)));
                }
                None => return Err(Unusable::Unknown(TarError::new(format!("PAX record {key:?} is not supported")))),
            },
        }
        Ok(())
    }
}

/// `LENGTH KEY=VALUE\n`, where the length counts the whole record.
fn pax_records(mut records: &[u8], mut take: impl FnMut(&str, &[u8]) -> Result<(), TarError>) -> Result<(), TarError> {
    let wrong = || TarError::new("a PAX record is not `length key=value`");
    while !records.is_empty() {
        let space = records.iter().take(10).position(|b| *b == b' ').ok_or_else(wrong)?;
        let length = std::str::from_utf8(&records[..space]).ok().and_then(|n| n.parse::<usize>().ok());
        let length = length.filter(|n| *n > space + 1 && *n <= records.len()).ok_or_else(wrong)?;
        let record = records[space + 1..length].strip_suffix(b"\n").ok_or_else(wrong)?;
        let equals = record.iter().position(|b| *b == b'=').ok_or_else(wrong)?;
        let key = std::str::from_utf8(&record[..equals]).map_err(|_| wrong())?;
        take(key, &record[equals + 1..])?;
        records = &records[length..];
    }
    Ok(())
}

/// Up to the first NUL.
fn field(bytes: &[u8]) -> &[u8] {
    &bytes[..bytes.iter().position(|b| *b == 0).unwrap_or(bytes.len())]
}

fn unsigned(bytes: &[u8]) -> Option<u64> {
    u64::try_from(signed(bytes)?).ok()
}

/// Octal digits, or GNU's base-256 form with the top bit set (two's complement).
fn signed(bytes: &[u8]) -> Option<i64> {
    if bytes[0] & 0x80 != 0 {
        let negative = bytes[0] & 0x40 != 0;
        let mut value: i128 = if negative { -1 } else { 0 };
        for (i, byte) in bytes.iter().enumerate() {
            let byte = if i == 0 && !negative { byte & 0x7f } else { *byte };
            value = (value << 8 | i128::from(byte)) & ((1 << 104) - 1);
        }
        if negative {
            value -= 1 << 104;
        }
        return i64::try_from(value).ok().filter(|_| bytes.len() <= 12);
    }
    let text = std::str::from_utf8(field(bytes)).ok()?.trim_matches(' ');
    if text.is_empty() { Some(0) } else { i64::from_str_radix(text, 8).ok().filter(|n| *n >= 0) }
}

/// The sum of all bytes, the field itself taken as spaces; some old programs summed signed bytes.
fn check_sum(header: &[u8; BLOCK as usize]) -> Result<(), TarError> {
    let stored = signed(&header[148..156]);
    let bytes = || header.iter().enumerate().map(|(i, b)| if (148..156).contains(&i) { b' ' } else { *b });
    let unsigned: i64 = bytes().map(i64::from).sum();
    let old: i64 = bytes().map(|b| i64::from(b as i8)).sum();
    if stored == Some(unsigned) || stored == Some(old) {
        return Ok(());
    }
    Err(TarError::new(format!(
        "header checksum: expected {unsigned:o}, found {}",
        stored.map_or("no number".to_owned(), |s| format!("{s:o}"))
    )))
}

/// `./usr/bin/` → `usr/bin`, `./` → the root. A path with a slash before it starts at the root all the same.
pub(crate) fn clean_path(raw: &[u8]) -> Result<String, String> {
    if raw.len() > MAX_PATH {
        return Err(format!("the path has {} bytes, more than {MAX_PATH}", raw.len()));
    }
    let text = std::str::from_utf8(raw).map_err(|_| "the path is not UTF-8")?;
    if text.is_empty() {
        return Err("the path is empty".to_owned());
    }
    let mut clean = String::with_capacity(text.len());
    for name in text.split('/') {
        match name {
            ".." => return Err("the path leaves its folder by `..`".to_owned()),
            "" | "." => continue,
            _ if name.len() > MAX_NAME => {
                return Err(format!("a name in the path has {} bytes, more than {MAX_NAME}", name.len()));
            }
            _ if name.bytes().any(|b| b.is_ascii_control()) => {
                return Err("the path has a control character".to_owned());
            }
            _ => {}
        }
        if !clean.is_empty() {
            clean.push('/');
        }
        clean.push_str(name);
    }
    Ok(clean)
}

fn link_target(raw: &[u8]) -> Result<String, String> {
    if raw.is_empty() || raw.len() > MAX_PATH {
        return Err(format!("the link's target has {} bytes; expected 1 to {MAX_PATH}", raw.len()));
    }
    let text = std::str::from_utf8(raw).map_err(|_| "the link's target is not UTF-8")?;
    if text.bytes().any(|b| b.is_ascii_control()) {
        return Err("the link's target has a control character".to_owned());
    }
    Ok(text.to_owned())
}
