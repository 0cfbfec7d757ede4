use super::{CHUNK, FlashError};
use crate::bmap::Bmap;
use crate::disk::at_path;
use crate::sparse::BLOCK;
use crate::zst::{self, Placed};
use std::ffi::OsString;
use std::fs::File;
use std::io::{self, BufReader, Read, Seek, SeekFrom};
use std::path::{Path, PathBuf};

/// First bytes of a zstd frame (RFC 8878, 3.1.1).
const ZSTD_MAGIC: [u8; 4] = [0x28, 0xB5, 0x2F, 0xFD];
/// Bytes of a frame's header at most.
const ZSTD_HEADER: u64 = 18;
/// Largest block map read; that of a real card has some 100 KiB.
const MAX_BMAP: u64 = 64 << 20;

/// A card image, plain or compressed with zstd, with its block map if there is one beside it.
#[derive(Debug)]
pub struct Source {
    path: PathBuf,
    size: u64,
    compressed: bool,
    /// Of a compressed image that has a table of them.
    frames: Vec<Placed>,
    bmap: Option<Bmap>,
}

impl Source {
    /// Opens the image `path` and its block map, `path.bmap` or, for `NAME.img.zst`, `NAME.img.bmap`.
    ///
    /// # Errors
    /// Not readable; a block map that is damaged or of another image; a compressed image of unknown size.
    pub fn open(path: &Path) -> Result<Source, FlashError> {
        let mut file = File::open(path).map_err(|e| at_path(path, &e))?;
        let mut header = Vec::new();
        (&mut file).take(ZSTD_HEADER).read_to_end(&mut header).map_err(|e| at_path(path, &e))?;
        let compressed = header.starts_with(&ZSTD_MAGIC);
        let bmap = read_bmap(path, compressed)?;
        let damaged = |source| FlashError::Table { path: path.to_owned(), source };
        let len = file.seek(SeekFrom::End(0)).map_err(|e| at_path(path, &e))?;
        let table = if compressed { zst::frames(&file, len).map_err(damaged)? } else { None };
        let size = if compressed {
            // What table or frame say about the length may be a lie; reading checks it.
            let said = match &table {
                Some(frames) => frames.last().map(|last| last.content_start + last.content_len),
                None => zstd::zstd_safe::get_frame_content_size(&header).ok().flatten(),
            };
            said.or(bmap.as_ref().map(|b| b.image_size)).ok_or_else(|| FlashError::UnknownSize(path.to_owned()))?
        } else {
            len
        };
        if let Some(map) = bmap.as_ref().filter(|map| map.image_size != size) {
            return Err(FlashError::OtherImage { path: path.to_owned(), expected: map.image_size, found: size });
        }
        Ok(Source { path: path.to_owned(), size, compressed, frames: table.unwrap_or_default(), bmap })
    }

    pub fn path(&self) -> &Path {
        &self.path
    }

    /// Bytes of the image as it will be on the card.
    pub fn size(&self) -> u64 {
        self.size
    }

    pub fn bmap(&self) -> Option<&Bmap> {
        self.bmap.as_ref()
    }

    /// Bytes that will be written.
    pub fn to_write(&self) -> u64 {
        self.bmap.as_ref().map_or(self.size, Bmap::mapped_bytes)
    }

    /// The ranges to be written, in bytes: start and length.
    pub(super) fn ranges(&self) -> Vec<(u64, u64)> {
        match &self.bmap {
            Some(map) => map.ranges.iter().map(|r| map.bytes(r)).collect(),
            None => vec![(0, self.size)],
        }
    }

    pub(super) fn read(&self) -> io::Result<Stream> {
        let file = File::open(&self.path).map_err(|e| at_path(&self.path, &e))?;
        let input = if self.compressed {
            Input::Zstd(zstd::Decoder::new(file).map_err(|e| at_path(&self.path, &e))?)
        } else {
            Input::Plain(file)
        };
        Ok(Stream { path: self.path.clone(), input, frames: self.frames.clone(), at: 0 })
    }
}

/// The image read from front to back.
pub(super) struct Stream {
    path: PathBuf,
    input: Input,
    frames: Vec<Placed>,
    at: u64,
}

enum Input {
    Plain(File),
    Zstd(zstd::Decoder<'static, BufReader<File>>),
}

impl Stream {
    /// Fills `buf` from byte `at`, which is not before where the last read ended.
    pub fn read_exact_at(&mut self, buf: &mut [u8], at: u64) -> io::Result<()> {
        let result = self.go_to(at).and_then(|()| match &mut self.input {
            Input::Plain(file) => file.read_exact(buf),
            Input::Zstd(decoder) => decoder.read_exact(buf),
        });
        self.at = at + buf.len() as u64;
        result.map_err(|e| at_path(&self.path, &e))
    }

    /// Whether nothing follows what was read.
    pub fn is_at_end(&mut self) -> io::Result<bool> {
        let mut byte = [0];
        let read = match &mut self.input {
            Input::Plain(file) => file.read(&mut byte),
            Input::Zstd(decoder) => decoder.read(&mut byte),
        };
        Ok(read.map_err(|e| at_path(&self.path, &e))? == 0)
    }

    fn go_to(&mut self, at: u64) -> io::Result<()> {
        let decoder = match &mut self.input {
            Input::Plain(file) => return file.seek(SeekFrom::Start(at)).map(drop),
            Input::Zstd(decoder) => decoder,
        };
        let within = self.frames.partition_point(|frame| frame.content_start <= at).checked_sub(1);
        if let Some(frame) = within.map(|n| self.frames[n])
            && frame.content_start > self.at
        {
            let mut file = decoder.get_ref().get_ref().try_clone()?;
            file.seek(SeekFrom::Start(frame.start))?;
            *decoder = zstd::Decoder::new(file)?;
            self.at = frame.content_start;
        }
        discard(decoder, at.saturating_sub(self.at))
    }
}

fn discard(input: &mut impl Read, len: u64) -> io::Result<()> {
    let mut buf = vec![0; len.min(CHUNK) as usize];
    let mut left = len;
    while left > 0 {
        let n = left.min(CHUNK) as usize;
        input.read_exact(&mut buf[..n])?;
        left -= n as u64;
    }
    Ok(())
}

fn read_bmap(image: &Path, compressed: bool) -> Result<Option<Bmap>, FlashError> {
    let beside = |path: &Path| {
        let mut name = OsString::from(path);
        name.push(".bmap");
        PathBuf::from(name)
    };
    let candidates = [Some(beside(image)), compressed.then(|| beside(&image.with_extension("")))];
    for path in candidates.into_iter().flatten() {
        let file = match File::open(&path) {
            Ok(file) => file,
            Err(e) if e.kind() == io::ErrorKind::NotFound => continue,
            Err(e) => return Err(at_path(&path, &e).into()),
        };
        let mut text = String::new();
        file.take(MAX_BMAP).read_to_string(&mut text).map_err(|e| at_path(&path, &e))?;
        let map = Bmap::parse(&text).map_err(|source| FlashError::Bmap { path, source })?;
        return Ok(Some(map));
    }
    Ok(None)
}

/// The first and last block of a range of bytes, for messages.
pub(super) fn blocks(start: u64, len: u64) -> (u64, u64) {
    (start / BLOCK, (start + len - 1) / BLOCK)
}
