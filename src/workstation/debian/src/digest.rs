//! Hashes by which repositories vouch for files, and readers that compute them on the way.

use std::fmt;
use std::io::{self, Read};

use fruit_base::hex::{Hex, decode_array};
use sha2::Digest as _;

pub use fruit_base::{NotSha256, Sha256};

/// The hash by which a signed list names a file. Lists that have both name it by SHA-256, as lock and store do.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Digest {
    /// 32 bytes.
    Sha256(Sha256),
    /// 64 bytes.
    Sha512([u8; 64]),
}

impl Digest {
    /// A SHA-512 value of 128 hexadecimal digits of either case.
    pub fn parse_sha512(text: &str) -> Option<Digest> {
        decode_array(text).map(Digest::Sha512)
    }

    /// What messages call the kind of hash.
    pub fn kind(&self) -> &'static str {
        match self {
            Digest::Sha256(_) => "SHA-256",
            Digest::Sha512(_) => "SHA-512",
        }
    }
}

/// The digits alone, lower-case, as names of files have them.
impl fmt::Display for Digest {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Digest::Sha256(value) => value.fmt(f),
            Digest::Sha512(value) => fmt::Display::fmt(&Hex(value), f),
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
    let mut sha512 = matches!(expected, Digest::Sha512(_)).then(sha2::Sha512::new);
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
    let digest = sha512.map_or(Digest::Sha256(sha256), |hasher| Digest::Sha512(hasher.finalize().into()));
    Ok(Hashes { size, sha256, digest })
}
