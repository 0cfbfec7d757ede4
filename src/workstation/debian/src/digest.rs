//! SHA-256 values, and readers that compute them on the way.

use std::io::{self, Read};

use sha2::Digest as _;

pub use fruit_base::{NotSha256, Sha256};

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

/// Reads to the end; the hash and the number of bytes.
pub(crate) fn hash_all(reader: impl Read) -> io::Result<(Sha256, u64)> {
    let mut hashing = HashingReader::new(reader);
    let mut buf = vec![0; 128 << 10];
    while hashing.read(&mut buf)? > 0 {}
    Ok(hashing.finish())
}
