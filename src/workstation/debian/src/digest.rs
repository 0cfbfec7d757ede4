//! Hashes by which repositories vouch for files, and readers that compute them on the way.

use std::fmt;
use std::io::{self, Read};

use fruit_base::hex::{Hex, decode_array};
use serde::{Deserialize, Deserializer, Serialize, Serializer};
use sha2::Digest as _;

pub use fruit_base::{NotSha256, Sha256};

/// A SHA-512 value. As text it is 128 lower-case hexadecimal digits; digits of either case are read.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Debug)]
pub struct Sha512(pub [u8; 64]);

impl Sha512 {
    /// Of 128 hexadecimal digits of either case.
    pub fn parse(text: &str) -> Option<Sha512> {
        decode_array(text).map(Sha512)
    }
}

impl fmt::Display for Sha512 {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(&Hex(&self.0), f)
    }
}

impl Serialize for Sha512 {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_str(self)
    }
}

impl<'de> Deserialize<'de> for Sha512 {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Sha512, D::Error> {
        let text = String::deserialize(deserializer)?;
        let wrong = || format!("{:?} is not a SHA-512 value", text.chars().take(80).collect::<String>());
        Sha512::parse(&text).ok_or_else(|| serde::de::Error::custom(wrong()))
    }
}

/// The hashes by which a signed list names a file. Lock and store name it by SHA-256 where the list has that; what else the
/// list says is checked as well, as apt does.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Digest {
    /// 32 bytes.
    Sha256(Sha256),
    /// 64 bytes.
    Sha512(Sha512),
    /// A file that is right has both.
    Both(Sha256, Sha512),
}

impl Digest {
    /// Of one value or two; `None` of none.
    pub fn of(sha256: Option<Sha256>, sha512: Option<Sha512>) -> Option<Digest> {
        match (sha256, sha512) {
            (Some(sha256), sha512) => Some(Digest::Sha256(sha256).and_sha512(sha512)),
            (None, sha512) => sha512.map(Digest::Sha512),
        }
    }

    /// A SHA-512 value of 128 hexadecimal digits of either case.
    pub fn parse_sha512(text: &str) -> Option<Digest> {
        Sha512::parse(text).map(Digest::Sha512)
    }

    /// What messages call the kind of hash that names the file.
    pub fn kind(&self) -> &'static str {
        match self {
            Digest::Sha256(_) | Digest::Both(..) => "SHA-256",
            Digest::Sha512(_) => "SHA-512",
        }
    }

    /// As a SHA-256 value alone, if there is one.
    pub fn sha256(&self) -> Option<Sha256> {
        match self {
            Digest::Sha256(value) | Digest::Both(value, _) => Some(*value),
            Digest::Sha512(_) => None,
        }
    }

    /// As a SHA-512 value alone, if there is one.
    pub fn sha512(&self) -> Option<Sha512> {
        match self {
            Digest::Sha256(_) => None,
            Digest::Sha512(value) | Digest::Both(_, value) => Some(*value),
        }
    }

    /// This one and a SHA-512 value of the same file.
    #[must_use]
    pub fn and_sha512(self, sha512: Option<Sha512>) -> Digest {
        match (self, sha512) {
            (Digest::Sha256(sha256), Some(sha512)) => Digest::Both(sha256, sha512),
            _ => self,
        }
    }

    /// Of a file that has the hashes `found`, the one that is wrong: its kind, what it was to be, what it is.
    pub(crate) fn mismatch(&self, found: &Digest) -> (&'static str, String, String) {
        let wrong = match (self, found) {
            (Digest::Both(expected, of_512), Digest::Both(is, is_512)) if expected == is => {
                (Digest::Sha512(*of_512), Digest::Sha512(*is_512))
            }
            _ => (*self, *found),
        };
        (wrong.0.kind(), wrong.0.to_string(), wrong.1.to_string())
    }
}

/// The digits alone, lower-case, as names of files have them.
impl fmt::Display for Digest {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Digest::Sha256(value) | Digest::Both(value, _) => value.fmt(f),
            Digest::Sha512(value) => value.fmt(f),
        }
    }
}

/// Passes bytes through and keeps their SHA-256 and count.
pub(crate) struct HashingReader<R> {
    inner: R,
    hasher: sha2::Sha256,
    count: u64,
}

impl<R: Read> HashingReader<R> {
    pub(crate) fn new(inner: R) -> HashingReader<R> {
        HashingReader { inner, hasher: sha2::Sha256::new(), count: 0 }
    }

    /// The hash and number of bytes read so far.
    pub(crate) fn finish(self) -> (Sha256, u64) {
        (Sha256(self.hasher.finalize().into()), self.count)
    }
}

impl<R: Read> Read for HashingReader<R> {
    fn read(&mut self, buf: &mut [u8]) -> io::Result<usize> {
        let n = self.inner.read(buf)?;
        self.hasher.update(&buf[..n]);
        self.count += n as u64;
        Ok(n)
    }
}

/// What a whole file hashes to.
pub(crate) struct Hashes {
    /// Bytes.
    pub(crate) size: u64,
    pub(crate) sha256: Sha256,
    /// Of the kind that was asked for.
    pub(crate) digest: Digest,
}

/// Reads to the end; the hash of the kind of `expected`, and SHA-256 in any case.
pub(crate) fn hash_all(reader: impl Read, expected: &Digest) -> io::Result<Hashes> {
    let mut hashing = HashingReader::new(reader);
    let mut sha512 = expected.sha512().map(|_| sha2::Sha512::new());
    let mut buf = vec![0; 128 << 10];
    loop {
        let n = hashing.read(&mut buf)?;
        if n == 0 {
            break;
        }
        if let Some(sha512) = &mut sha512 {
            sha512.update(&buf[..n]);
        }
    }
    let (sha256, size) = hashing.finish();
    let sha512 = sha512.map(|hasher| Sha512(hasher.finalize().into()));
    let digest = match (expected, sha512) {
        (Digest::Sha512(_), Some(sha512)) => Digest::Sha512(sha512),
        _ => Digest::Sha256(sha256).and_sha512(sha512),
    };
    Ok(Hashes { size, sha256, digest })
}
