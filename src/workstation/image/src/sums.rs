//! SHA-256 of files, and the `SHA256SUMS` that `sha256sum -c` reads.

use sha2::{Digest, Sha256};
use std::io::{self, Write};

pub use fruit_base::Sha256 as Sum;

/// Passes bytes on to `inner`, and sums and counts them on the way.
pub struct Summing<W> {
    inner: W,
    hash: Sha256,
    len: u64,
}

impl<W: Write> Summing<W> {
    pub fn new(inner: W) -> Summing<W> {
        Summing { inner, hash: Sha256::new(), len: 0 }
    }

    /// The sum and the number of the bytes so far.
    pub fn finish(self) -> (Sum, u64) {
        (Sum(self.hash.finalize().into()), self.len)
    }
}

impl<W: Write> Write for Summing<W> {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        let n = self.inner.write(bytes)?;
        self.hash.update(&bytes[..n]);
        self.len += n as u64;
        Ok(n)
    }

    fn flush(&mut self) -> io::Result<()> {
        self.inner.flush()
    }
}

/// The text of a `SHA256SUMS` for files given by name, in the order given. Names are plain: no line breaks, no
/// backslashes, which `sha256sum` would escape.
pub fn sha256sums<'a>(files: impl IntoIterator<Item = (&'a str, Sum)>) -> String {
    files.into_iter().map(|(name, sum)| format!("{sum}  {name}\n")).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn sums_are_read_as_they_are_shown() {
        let sum = Sum::of(b"abc");
        assert_eq!(sum.to_string(), "ba7816bf8f01cfea414140de5dae2223b00361a396177a9cb410ff61f20015ad");
        assert_eq!(Sum::parse(&sum.to_string().to_uppercase()), Some(sum));
        for bad in ["", "12", &"g".repeat(64), &"é".repeat(32)] {
            assert_eq!(Sum::parse(bad), None, "{bad}");
        }
    }
}
