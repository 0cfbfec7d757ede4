//! A bundle: a tar whose entries are the pieces of a release, metadata first, then manifest and deltas, then blobs in
//! the order of use, so that it installs from a pipe.

use std::io::{self, Read};

use crate::name::Name;
#[cfg(feature = "sign")]
use crate::source::Sink;
use crate::source::{Source, SourceError};

/// Ending of bundle files.
pub const ENDING: &str = "fruit";
/// Most entries of a bundle; a reader that waits for a piece gives up there.
const ENTRIES_MAX: u64 = 1 << 20;

/// Reads a bundle that can only go forward: a pipe, a download.
///
/// Entries of metadata that go by are kept, since a verifier asks for them by the names it learns on its way; blobs are
/// not.
pub struct Stream<R: Read> {
    reader: R,
    place: String,
    /// Metadata, manifests and deltas that went by.
    kept: Vec<(Name, Vec<u8>)>,
    kept_bytes: u64,
    /// The entry whose head was read last, and which nobody has taken.
    next: Option<(Name, u64)>,
    /// Bytes to skip before the next head: what is left of an entry, and its padding.
    skip: u64,
    entries: u64,
    ended: bool,
}

/// Most bytes of metadata, manifests and deltas that one bundle may have. They are in memory before anything is verified,
/// on nodes that have little of it. A release of 4 GiB with deltas from five others has 3 MiB.
pub const KEPT_MAX: u64 = 8 << 20;
const BLOCK: u64 = 512;
const TRUNCATED: &str = "the bundle ends early: it is truncated; copy or download it again";

impl<R: Read> Stream<R> {
    /// `place`: what to call it in messages.
    pub fn new(reader: R, place: impl Into<String>) -> Stream<R> {
        Stream {
            reader,
            place: place.into(),
            kept: Vec::new(),
            kept_bytes: 0,
            next: None,
            skip: 0,
            entries: 0,
            ended: false,
        }
    }

    /// The names of the entries that are left, each with its bytes in turn; for a look at the whole.
    ///
    /// # Errors
    /// As [`Source::get`].
    pub fn next_entry(&mut self) -> Result<Option<(Name, Vec<u8>)>, SourceError> {
        self.advance()?;
        match self.next.take() {
            Some((name, len)) => {
                let bytes = self.take(len)?;
                Ok(Some((name, bytes)))
            }
            None => Ok(None),
        }
    }

    fn broken(&self, why: impl Into<String>) -> SourceError {
        SourceError::Broken { place: self.place.clone(), why: why.into() }
    }

    fn failed(&self, error: &io::Error) -> SourceError {
        match error.kind() {
            io::ErrorKind::UnexpectedEof => self.broken(TRUNCATED),
            io::ErrorKind::Interrupted => SourceError::Stopped,
            _ => SourceError::Unreachable { place: self.place.clone(), why: error.to_string() },
        }
    }

    /// Reads the head of the next entry, unless one is waiting.
    fn advance(&mut self) -> Result<(), SourceError> {
        if self.next.is_some() || self.ended {
            return Ok(());
        }
        let mut skipping = (&mut self.reader).take(self.skip);
        let skipped = io::copy(&mut skipping, &mut io::sink()).map_err(|e| self.failed(&e))?;
        if skipped < self.skip {
            return Err(self.broken(TRUNCATED));
        }
        self.skip = 0;
        let mut head = [0; BLOCK as usize];
        self.reader.read_exact(&mut head).map_err(|e| self.failed(&e))?;
        if head == [0; BLOCK as usize] {
            self.ended = true;
            return Ok(());
        }
        self.entries += 1;
        if self.entries > ENTRIES_MAX {
            return Err(self.broken(format!("more than {ENTRIES_MAX} entries")));
        }
        let entry = head_of(&head).map_err(|why| self.broken(why))?;
        if entry.1 > entry.0.limit() {
            let (name, len) = &entry;
            return Err(self.broken(format!("{name} has {len} bytes, at most {} are allowed", name.limit())));
        }
        self.next = Some(entry);
        Ok(())
    }

    /// The bytes of the entry whose head was read last.
    fn take(&mut self, len: u64) -> Result<Vec<u8>, SourceError> {
        // Bounded by the limit of its name.
        let mut bytes = vec![0; usize::try_from(len).map_err(|_| self.broken("an entry too large for memory"))?];
        self.reader.read_exact(&mut bytes).map_err(|e| self.failed(&e))?;
        self.skip = len.next_multiple_of(BLOCK) - len;
        Ok(bytes)
    }

    fn keep(&mut self, name: Name, bytes: Vec<u8>) {
        self.kept_bytes += bytes.len() as u64;
        self.kept.push((name, bytes));
    }

    /// Whether an entry of metadata may be read: what is kept is bounded before it is in memory.
    fn has_room(&self, len: u64) -> Result<(), SourceError> {
        if self.kept_bytes + len > KEPT_MAX {
            return Err(self.broken(format!("more than {KEPT_MAX} bytes of metadata")));
        }
        Ok(())
    }
}

/// Name and length of an entry: a POSIX tar head of a plain file.
fn head_of(head: &[u8; BLOCK as usize]) -> Result<(Name, u64), String> {
    let header = tar::Header::from_byte_slice(head);
    let sum: u32 = head.iter().enumerate().map(|(i, &b)| if (148..156).contains(&i) { 32 } else { u32::from(b) }).sum();
    if header.cksum().ok() != Some(sum) {
        return Err("not a bundle, or a damaged one: the checksum of an entry's head is wrong; \
                    copy or download it again"
            .into());
    }
    if !header.entry_type().is_file() {
        return Err(format!("an entry of type {:?}, a bundle has plain files only", header.entry_type()));
    }
    let path = header.path_bytes();
    let path = std::str::from_utf8(&path).map_err(|_| "an entry whose name is not text".to_owned())?;
    let name = path.parse::<Name>().map_err(|e| e.to_string())?;
    let len = header.size().map_err(|e| e.to_string())?;
    Ok((name, len))
}

impl<R: Read> Source for Stream<R> {
    fn get(&mut self, name: &Name, limit: u64) -> Result<Option<Vec<u8>>, SourceError> {
        let limit = limit.min(name.limit());
        let blob = matches!(name, Name::Chunk(_) | Name::Patch(_));
        if let Some((_, bytes)) = self.kept.iter().find(|(kept, _)| kept == name) {
            if bytes.len() as u64 > limit {
                return Err(self.broken(format!("{name} has {} bytes, at most {limit} are allowed", bytes.len())));
            }
            return Ok(Some(bytes.clone()));
        }
        loop {
            self.advance()?;
            let Some((next, len)) = self.next.take() else { return Ok(None) };
            let is_blob = matches!(next, Name::Chunk(_) | Name::Patch(_));
            if is_blob && !blob {
                // Metadata comes first: what is asked for is not in here, and the blob is still to be used.
                self.next = Some((next, len));
                return Ok(None);
            }
            if next == *name {
                if len > limit {
                    return Err(self.broken(format!("{name} has {len} bytes, at most {limit} are allowed")));
                }
                if is_blob {
                    return Ok(Some(self.take(len)?));
                }
                self.has_room(len)?;
                let bytes = self.take(len)?;
                self.keep(next, bytes.clone());
                return Ok(Some(bytes));
            }
            if is_blob {
                self.skip = len.next_multiple_of(BLOCK);
            } else {
                self.has_room(len)?;
                let bytes = self.take(len)?;
                self.keep(next, bytes);
            }
        }
    }

    fn place(&self) -> String {
        self.place.clone()
    }

    fn is_whole(&self) -> bool {
        false
    }
}

/// Writes a bundle; entries come out in the order in which they are put in.
#[cfg(feature = "sign")]
pub struct Writer<W: io::Write> {
    to: W,
    time: u64,
}

#[cfg(feature = "sign")]
impl<W: io::Write> Writer<W> {
    /// `time`: of all entries, seconds since 1970.
    pub fn new(to: W, time: u64) -> Writer<W> {
        Writer { to, time }
    }

    /// Ends the bundle.
    ///
    /// # Errors
    /// Write errors.
    pub fn finish(mut self) -> io::Result<W> {
        self.to.write_all(&[0; 2 * BLOCK as usize])?;
        self.to.flush()?;
        Ok(self.to)
    }
}

#[cfg(feature = "sign")]
impl<W: io::Write> Sink for Writer<W> {
    fn put(&mut self, name: &Name, bytes: &[u8]) -> io::Result<()> {
        let len = bytes.len() as u64;
        if len > name.limit() {
            return Err(io::Error::other(format!("{name} has {len} bytes, at most {} are allowed", name.limit())));
        }
        let mut header = tar::Header::new_ustar();
        header.set_path(name.to_string())?;
        header.set_size(len);
        header.set_mode(0o644);
        header.set_mtime(self.time);
        header.set_cksum();
        self.to.write_all(header.as_bytes())?;
        self.to.write_all(bytes)?;
        self.to.write_all(&[0; BLOCK as usize][..(len.next_multiple_of(BLOCK) - len) as usize])
    }
}

#[cfg(all(test, feature = "sign"))]
mod tests {
    use super::*;
    use crate::digest::Digest;

    fn chunk(text: &str) -> (Name, Vec<u8>) {
        (Name::Chunk(Digest::of(text.as_bytes())), text.as_bytes().to_vec())
    }

    fn entries() -> Vec<(Name, Vec<u8>)> {
        let target = format!("{}/{}.delta", "a".repeat(crate::name::FOLDER_MAX), "b".repeat(29));
        vec![
            (Name::Root(2), b"root 2".to_vec()),
            (Name::Timestamp, b"timestamp".to_vec()),
            (Name::Target(Digest::of(b"t"), target), vec![7; 1000]),
            chunk("one"),
            chunk("two"),
            chunk("three"),
        ]
    }

    fn bundle() -> Vec<u8> {
        let mut writer = Writer::new(Vec::new(), 1_700_000_000);
        for (name, bytes) in entries() {
            writer.put(&name, &bytes).unwrap();
        }
        writer.finish().unwrap()
    }

    fn stream(bytes: &[u8]) -> Stream<&[u8]> {
        Stream::new(bytes, "test")
    }

    #[test]
    fn pieces_come_in_any_order_of_metadata_and_forward_through_blobs() {
        let bytes = bundle();
        let all = entries();
        let mut source = stream(&bytes);
        for i in [2, 0, 1, 0, 3, 5] {
            assert_eq!(source.get(&all[i].0, u64::MAX).unwrap().as_ref(), Some(&all[i].1), "{}", all[i].0);
        }
        assert_eq!(source.get(&all[4].0, u64::MAX).unwrap(), None, "it has gone by");
        assert_eq!(source.get(&Name::Root(3), u64::MAX).unwrap(), None);
    }

    #[test]
    fn asking_for_metadata_that_is_not_there_costs_no_blob() {
        let bytes = bundle();
        let mut source = stream(&bytes);
        assert_eq!(source.get(&Name::Root(3), u64::MAX).unwrap(), None);
        let (name, one) = chunk("one");
        assert_eq!(source.get(&name, u64::MAX).unwrap(), Some(one));
    }

    /// Nothing in it is signed, and it never ends.
    struct Roots {
        version: u32,
        entry: Vec<u8>,
        read: u64,
    }

    impl Read for Roots {
        fn read(&mut self, buf: &mut [u8]) -> io::Result<usize> {
            if self.entry.is_empty() {
                self.version += 1;
                let mut writer = Writer::new(Vec::new(), 0);
                writer.put(&Name::Root(self.version), &vec![b' '; Name::Root(1).limit() as usize])?;
                self.entry = writer.to;
            }
            let count = buf.len().min(self.entry.len());
            buf[..count].copy_from_slice(&self.entry[..count]);
            self.entry.drain(..count);
            self.read += count as u64;
            Ok(count)
        }
    }

    #[test]
    fn metadata_that_nobody_asked_for_is_kept_within_a_bound() {
        let mut source = Stream::new(Roots { version: 0, entry: Vec::new(), read: 0 }, "test");
        let error = source.get(&Name::Timestamp, u64::MAX).unwrap_err().to_string();
        assert!(error.contains("bytes of metadata"), "{error}");
        assert!(source.reader.read <= KEPT_MAX + (64 << 10), "{} bytes were read", source.reader.read);
        assert!(source.kept.iter().map(|(_, bytes)| bytes.capacity() as u64).sum::<u64>() <= KEPT_MAX);
    }

    #[test]
    fn gnu_tar_reads_it() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("x.fruit");
        std::fs::write(&path, bundle()).unwrap();
        let output = std::process::Command::new("tar").arg("-tf").arg(&path).output().unwrap();
        assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
        let names: Vec<String> = entries().iter().map(|(name, _)| name.to_string()).collect();
        assert_eq!(String::from_utf8(output.stdout).unwrap().lines().collect::<Vec<_>>(), names);
    }

    #[test]
    fn truncated_altered_and_foreign_files_are_told_apart_from_missing_pieces() {
        let bytes = bundle();
        for cut in [0, 100, 512, 700, bytes.len() - 1024 - 512] {
            let mut source = stream(&bytes[..cut]);
            let result = source.get(&chunk("absent").0, u64::MAX);
            assert!(matches!(result, Err(SourceError::Broken { .. })), "{cut}: {result:?}");
        }
        let mut altered = bytes.clone();
        altered[512 * 2 + 3] ^= 1;
        assert!(stream(&altered).get(&Name::Timestamp, u64::MAX).is_err());
        assert!(stream(&[b'x'; 2048]).get(&Name::Timestamp, u64::MAX).is_err());
        assert!(stream(&bytes).get(&Name::Root(2), 3).is_err(), "larger than the caller allows");
    }

    #[test]
    fn entries_over_their_limit_and_links_are_refused_unread() {
        let mut header = tar::Header::new_ustar();
        header.set_path("metadata/timestamp.json").unwrap();
        header.set_size(1 << 40);
        header.set_cksum();
        let error = stream(header.as_bytes()).get(&Name::Timestamp, u64::MAX).unwrap_err().to_string();
        assert!(error.contains("at most 16384"), "{error}");
        header.set_size(0);
        header.set_entry_type(tar::EntryType::Symlink);
        header.set_cksum();
        assert!(stream(header.as_bytes()).get(&Name::Timestamp, u64::MAX).is_err());
    }
}
