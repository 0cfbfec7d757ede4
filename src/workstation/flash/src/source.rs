use crate::kind::{self, Packing};
use crate::table::Table;
use crate::{CHUNK, FlashError};
use flate2::read::MultiGzDecoder;
use fruit_base::{AtPath, PathError};
use fruit_image::bmap::Bmap;
use fruit_image::sparse::BLOCK;
use fruit_image::sums::Sum;
use fruit_image::zst::{self, Placed};
use liblzma::read::XzDecoder;
use liblzma::stream::{CONCATENATED, Stream as XzStream};
use std::ffi::OsString;
use std::fs::{self, File};
use std::io::{self, BufReader, Read, Seek, SeekFrom};
use std::os::unix::fs::FileTypeExt;
use std::path::{Path, PathBuf};

/// Bytes at the start of a file that show what it is; a frame of zstd has a header of 18.
const START: u64 = 4096;
/// Bytes of the image that its partition table is within: 1 MiB is usual, some boards have their loader in front of it.
const HEAD: u64 = 4 << 20;
/// Memory that unpacking an .xz may take; `xz -9` needs 65 MiB.
const XZ_MEMORY: u64 = 512 << 20;
/// Largest block map read; that of a real card has some 100 KiB.
const MAX_BMAP: u64 = 64 << 20;

/// A card image, plain or compressed with zstd, xz or gzip, with its block map if there is one beside it.
#[derive(Debug)]
pub struct Source {
    path: PathBuf,
    size: u64,
    packing: Packing,
    table: Table,
    /// Of a compressed image that has a table of them.
    frames: Vec<Placed>,
    bmap: Option<Bmap>,
}

impl Source {
    /// Opens the image `path` and its block map, `path.bmap` or, for `NAME.img.zst`, `NAME.img.bmap`. Reads the partition
    /// table at its start; the rest is for [`crate::write()`] to check.
    ///
    /// # Errors
    /// Not readable; no image of a card; an image that is cut; a block map that is damaged or of another image; a
    /// compressed image of unknown size.
    pub fn open(path: &Path) -> Result<Source, FlashError> {
        let meta = fs::metadata(path).at(path)?;
        if !meta.is_file() && !meta.file_type().is_block_device() {
            return Err(FlashError::NotAnImage { path: path.to_owned(), what: "is not a file".to_owned() });
        }
        let mut file = File::open(path).at(path)?;
        let mut start = Vec::new();
        (&mut file).take(START).read_to_end(&mut start).at(path)?;
        let packing = Packing::of(&start);
        let refused = |what: String| FlashError::NotAnImage { path: path.to_owned(), what };
        if let Some(what) = kind::foreign(&start, path) {
            return Err(refused(what));
        }
        let bmap = read_bmap(path, packing)?;
        let len = file.seek(SeekFrom::End(0)).at(path)?;
        let damaged = |source| FlashError::Table { path: path.to_owned(), source };
        let frames = if packing == Packing::Zstd { zst::frames(&file, len).map_err(damaged)? } else { None };
        let head = read_head(path, packing)?;
        let table = Table::read(&head).map_err(refused)?;
        let size = match (packing, &bmap, &frames) {
            (Packing::None, _, _) => len,
            // What map, table and frame say about the length may be a lie; the check before writing reads to the end.
            (_, Some(map), None) => map.image_size,
            (_, _, Some(frames)) => frames.last().map_or(0, |last| last.content_start + last.content_len),
            (_, None, None) => {
                // Of several frames, the first tells only its own length; xz and gzip tell none at their start.
                let said = match packing {
                    Packing::Zstd => zstd::zstd_safe::get_frame_content_size(&start).ok().flatten(),
                    _ => None,
                };
                said.max(table.size()).ok_or_else(|| FlashError::UnknownSize(path.to_owned()))?
            }
        };
        if let Some(map) = bmap.as_ref().filter(|map| map.image_size != size) {
            return Err(FlashError::OtherImage { path: path.to_owned(), expected: map.image_size, found: size });
        }
        table.fits(size).map_err(|what| FlashError::Incomplete { path: path.to_owned(), what })?;
        Ok(Source { path: path.to_owned(), size, packing, table, frames: frames.unwrap_or_default(), bmap })
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

    /// Names of the image's partitions.
    pub fn partitions(&self) -> Vec<String> {
        self.table.names()
    }

    pub(super) fn table(&self) -> &Table {
        &self.table
    }

    pub(super) fn is_packed(&self) -> bool {
        self.packing != Packing::None
    }

    /// Compares the sum of range `index` with that of the block map, if there is one.
    pub(super) fn compare(&self, index: usize, found: Sum) -> Result<(), FlashError> {
        let Some((map, range)) = self.bmap.as_ref().and_then(|map| Some((map, map.ranges.get(index)?))) else {
            return Ok(());
        };
        if range.sum == found {
            return Ok(());
        }
        let (first, last) = blocks(map.bytes(range));
        Err(FlashError::DamagedImage { path: self.path.clone(), first, last })
    }

    pub(super) fn read(&self) -> io::Result<Stream> {
        let input = Input::open(&self.path, self.packing).at(&self.path)?;
        Ok(Stream { path: self.path.clone(), input, frames: self.frames.clone(), at: 0 })
    }
}

/// The first [`HEAD`] bytes of the image, or all that it has.
fn read_head(path: &Path, packing: Packing) -> Result<Vec<u8>, FlashError> {
    let mut input = Input::open(path, packing).at(path)?;
    let mut head = Vec::new();
    match (&mut input).take(HEAD).read_to_end(&mut head) {
        Ok(_) => Ok(head),
        Err(e) if packing == Packing::None => Err(PathError::new(path, e).into()),
        Err(e) => Err(FlashError::Incomplete { path: path.to_owned(), what: format!("cannot be unpacked ({e})") }),
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
    Xz(XzDecoder<File>),
    Gzip(MultiGzDecoder<File>),
}

impl Input {
    fn open(path: &Path, packing: Packing) -> io::Result<Input> {
        let file = File::open(path)?;
        Ok(match packing {
            Packing::None => Input::Plain(file),
            Packing::Zstd => Input::Zstd(zstd::Decoder::new(file)?),
            Packing::Xz => {
                let stream = XzStream::new_stream_decoder(XZ_MEMORY, CONCATENATED).map_err(io::Error::other)?;
                Input::Xz(XzDecoder::new_stream(file, stream))
            }
            Packing::Gzip => Input::Gzip(MultiGzDecoder::new(file)),
        })
    }
}

impl Read for Input {
    fn read(&mut self, buf: &mut [u8]) -> io::Result<usize> {
        match self {
            Input::Plain(input) => input.read(buf),
            Input::Zstd(input) => input.read(buf),
            Input::Xz(input) => input.read(buf),
            Input::Gzip(input) => input.read(buf),
        }
    }
}

impl Stream {
    /// Fills `buf` from byte `at`, which is not before where the last read ended.
    pub fn read_exact_at(&mut self, buf: &mut [u8], at: u64) -> io::Result<()> {
        let result = self.go_to(at).and_then(|()| self.input.read_exact(buf));
        self.at = at + buf.len() as u64;
        Ok(result.at(&self.path)?)
    }

    /// Whether the image ends at byte `at`, which is not before where the last read ended.
    pub fn ends_at(&mut self, at: u64) -> io::Result<bool> {
        self.go_to(at).at(&self.path)?;
        self.is_at_end()
    }

    /// Whether nothing follows what was read.
    pub fn is_at_end(&mut self) -> io::Result<bool> {
        Ok(self.input.read(&mut [0]).at(&self.path)? == 0)
    }

    fn go_to(&mut self, at: u64) -> io::Result<()> {
        let decoder = match &mut self.input {
            Input::Plain(file) => return file.seek(SeekFrom::Start(at)).map(drop),
            Input::Zstd(decoder) => decoder,
            input => return discard(input, at.saturating_sub(self.at)),
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

fn read_bmap(image: &Path, packing: Packing) -> Result<Option<Bmap>, FlashError> {
    let beside = |path: &Path| {
        let mut name = OsString::from(path);
        name.push(".bmap");
        PathBuf::from(name)
    };
    let candidates = [Some(beside(image)), (packing != Packing::None).then(|| beside(&image.with_extension("")))];
    for path in candidates.into_iter().flatten() {
        let file = match File::open(&path) {
            Ok(file) => file,
            Err(e) if e.kind() == io::ErrorKind::NotFound => continue,
            Err(e) => return Err(PathError::new(&path, e).into()),
        };
        let mut text = String::new();
        file.take(MAX_BMAP).read_to_string(&mut text).at(&path)?;
        let map = Bmap::parse(&text).map_err(|source| FlashError::Bmap { path, source })?;
        return Ok(Some(map));
    }
    Ok(None)
}

/// The first and last block of a range of bytes, for messages.
fn blocks((start, len): (u64, u64)) -> (u64, u64) {
    (start / BLOCK, (start + len - 1) / BLOCK)
}
