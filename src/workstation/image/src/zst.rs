//! The compressed card image, `.img.zst`, with its block map.
//!
//! Each window of the image is a zstd frame of its own, so a window that an earlier build compressed is taken from that
//! build's file, and several threads compress at once. Behind the frames stands a table of them (`seek`), from which a
//! reader knows the length of the whole and where each window is; tools that do not know the table skip it.

mod seek;

use crate::bmap::{Bmap, Mapped};
use crate::card::Image;
use crate::draft::Draft;
use crate::sparse::BLOCK;
use crate::sums::{Sum, Summing};
use fruit_base::AtPath;
use sha2::{Digest, Sha256};
use std::collections::{BTreeMap, HashMap};
use std::fs::File;
use std::io::{self, Write};
use std::ops::Range;
use std::os::unix::fs::FileExt;
use std::path::Path;
use std::sync::OnceLock;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::mpsc::sync_channel;
use std::thread;
use zstd::bulk::Compressor;
use zstd::zstd_safe::CParameter;

pub use seek::{Placed, SeekError, frames, table};

/// Bytes of the image in one frame. A smaller one makes the file larger (by 2 % at 4 MiB), a larger one makes a small
/// change of the image a large one of the file.
pub const WINDOW: u64 = 4 << 20;
/// Bytes read at a time where no window is held.
const CHUNK: u64 = 1 << 20;
/// Frames that may wait to be written.
const WAITING: usize = 8;
static ZEROS: [u8; CHUNK as usize] = [0; CHUNK as usize];

/// How to compress.
#[derive(Clone, Copy, Debug)]
pub struct Options {
    /// zstd's, 1 to 22.
    pub level: i32,
    /// Threads that compress, at least 1. The bytes do not depend on it.
    pub threads: u32,
    /// Also sum the whole image, holes included.
    pub sum_image: bool,
}

/// A frame of a compressed image, by which a later build finds it.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Frame {
    /// Of what it holds, and how that was compressed.
    pub key: Sum,
    /// Bytes from the start of the file.
    pub start: u64,
    /// Bytes.
    pub len: u64,
    /// Of the frame's bytes.
    pub sum: Sum,
}

/// A compressed image that an earlier build of the same program left. Frames are taken from it by their key, and only
/// when they still have the sum that they had.
#[derive(Debug)]
pub struct Earlier {
    file: File,
    frames: HashMap<Sum, Frame>,
}

impl Earlier {
    pub fn new(file: File, frames: impl IntoIterator<Item = Frame>) -> Earlier {
        Earlier { file, frames: frames.into_iter().map(|frame| (frame.key, frame)).collect() }
    }

    fn frame(&self, key: Sum) -> Option<(Vec<u8>, Sum)> {
        let frame = self.frames.get(&key)?;
        // The record is outside data like the file: no window is this long when compressed.
        let len = usize::try_from(frame.len).ok().filter(|len| *len <= 2 * WINDOW as usize)?;
        let mut bytes = vec![0; len];
        self.file.read_exact_at(&mut bytes, frame.start).ok()?;
        let sum = Sum::of(&bytes);
        (sum == frame.sum).then_some((bytes, sum))
    }
}

/// A compressed image, and what is known about it.
#[derive(Debug)]
pub struct Compressed {
    /// The file, which has its final name once this is committed.
    pub draft: Draft,
    /// Bytes of the compressed file.
    pub size: u64,
    /// Of the compressed file.
    pub sum: Sum,
    pub bmap: Bmap,
    pub frames: Vec<Frame>,
    /// Of the image itself, if asked for.
    pub image_sum: Option<Sum>,
}

/// Compresses `image` for the file `target`; reads only what the image holds. The bytes do not depend on `earlier`.
///
/// # Errors
/// File system errors with the path; zstd refusing the options.
pub fn compress(image: &Image, target: &Path, options: Options, earlier: Option<&Earlier>) -> io::Result<Compressed> {
    let source = File::open(&image.path).at(&image.path)?;
    let draft = Draft::create(target)?;
    let mut out = Summing::new(draft.file());
    let job = Job { image, source: &source, level: options.level, earlier, empty: OnceLock::new() };
    let mut ranges = Vec::new();
    let mut frames = Vec::new();
    let mut start = 0;
    let image_sum = thread::scope(|scope| {
        let whole = options.sum_image.then(|| scope.spawn(|| sum_whole(image, &source)));
        job.each_window(scope, options.threads, |packed| {
            out.write_all(&packed.bytes)?;
            ranges.extend(packed.ranges);
            let len = packed.bytes.len() as u64;
            frames.push(Frame { key: packed.key, start, len, sum: packed.sum });
            start += len;
            Ok(())
        })?;
        let panicked = |_| io::Error::other("the thread that sums the image panicked");
        whole.map(|thread| thread.join().map_err(panicked)?).transpose()
    })
    .at(target)?;
    let windows = (0..).zip(&frames).map(|(n, frame)| (frame.len, job.window_len(n)));
    out.write_all(&table(windows)).at(target)?;
    let (sum, size) = out.finish();
    Ok(Compressed { draft, size, sum, bmap: Bmap { image_size: image.size, ranges }, frames, image_sum })
}

/// The block map of an image that is not compressed; reads what the image holds.
///
/// # Errors
/// Read errors with the path.
pub fn map(image: &Image) -> io::Result<Bmap> {
    let source = File::open(&image.path).at(&image.path)?;
    let mut ranges = Vec::new();
    for window in 0..image.size.div_ceil(WINDOW) {
        for blocks in mapped_within(image, window) {
            let mut hash = Sha256::new();
            each_chunk(&source, &image.path, &bytes(&blocks, image.size), |chunk| hash.update(chunk))?;
            ranges.push(Mapped { blocks, sum: Sum(hash.finalize().into()) });
        }
    }
    Ok(Bmap { image_size: image.size, ranges })
}

/// A window on its way to the file.
struct Packed {
    key: Sum,
    bytes: Vec<u8>,
    sum: Sum,
    ranges: Vec<Mapped>,
}

/// Compresses windows; shared by all threads.
struct Job<'a> {
    image: &'a Image,
    source: &'a File,
    level: i32,
    earlier: Option<&'a Earlier>,
    /// The frame of a whole window without content: half of a card is that.
    empty: OnceLock<Vec<u8>>,
}

impl Job<'_> {
    /// Lets `threads` threads compress, and hands the windows to `take` in their order.
    fn each_window<'scope>(
        &'scope self,
        scope: &'scope thread::Scope<'scope, '_>,
        threads: u32,
        mut take: impl FnMut(Packed) -> io::Result<()>,
    ) -> io::Result<()> {
        let windows = self.image.size.div_ceil(WINDOW);
        let (send, receive) = sync_channel(WAITING);
        let next = std::sync::Arc::new(AtomicU64::new(0));
        for _ in 0..threads.max(1) {
            let (send, next) = (send.clone(), next.clone());
            scope.spawn(move || {
                loop {
                    let n = next.fetch_add(1, Ordering::Relaxed);
                    // Nobody asks any more when another window failed.
                    if n >= windows || send.send((n, self.pack(n))).is_err() {
                        return;
                    }
                }
            });
        }
        drop(send);
        let mut early = BTreeMap::new();
        let mut expected = 0;
        for (n, packed) in receive {
            early.insert(n, packed?);
            while let Some(packed) = early.remove(&expected) {
                take(packed)?;
                expected += 1;
            }
        }
        if expected < windows {
            return Err(io::Error::other("a thread that compresses ended early"));
        }
        Ok(())
    }

    fn window_len(&self, n: u64) -> u64 {
        (self.image.size - n * WINDOW).min(WINDOW)
    }

    fn pack(&self, n: u64) -> io::Result<Packed> {
        let len = self.window_len(n);
        let start = n * WINDOW;
        let mut key = Sha256::new();
        key.update(self.level.to_le_bytes());
        key.update(len.to_le_bytes());
        let mapped = mapped_within(self.image, n);
        if mapped.is_empty() && len == WINDOW {
            let bytes = match self.empty.get() {
                Some(bytes) => bytes.clone(),
                None => {
                    let bytes = compress_window(&vec![0; len as usize], self.level)?;
                    self.empty.get_or_init(|| bytes).clone()
                }
            };
            let sum = Sum::of(&bytes);
            return Ok(Packed { key: Sum(key.finalize().into()), bytes, sum, ranges: Vec::new() });
        }
        let mut window = vec![0; len as usize];
        let mut ranges = Vec::with_capacity(mapped.len());
        for blocks in mapped {
            let place = bytes(&blocks, self.image.size);
            let (from, to) = (place.start - start, place.end - start);
            let part = &mut window[from as usize..to as usize];
            self.source.read_exact_at(part, place.start).at(&self.image.path)?;
            let sum = Sum::of(part);
            key.update(from.to_le_bytes());
            key.update(to.to_le_bytes());
            key.update(sum.0);
            ranges.push(Mapped { blocks, sum });
        }
        let key = Sum(key.finalize().into());
        if let Some((bytes, sum)) = self.earlier.and_then(|earlier| earlier.frame(key)) {
            return Ok(Packed { key, bytes, sum, ranges });
        }
        let bytes = compress_window(&window, self.level)?;
        let sum = Sum::of(&bytes);
        Ok(Packed { key, bytes, sum, ranges })
    }
}

fn compress_window(window: &[u8], level: i32) -> io::Result<Vec<u8>> {
    // A new compressor for each frame: what one learned from the frame before must not show in the bytes.
    let mut compressor = Compressor::new(level)?;
    compressor.set_parameter(CParameter::ChecksumFlag(true))?;
    compressor.compress(window)
}

/// The runs of blocks of window `n` that must be on a card.
fn mapped_within(image: &Image, n: u64) -> Vec<Range<u64>> {
    let (first, end) = (n * WINDOW / BLOCK, (n + 1) * WINDOW / BLOCK);
    let all = image.mapped.ranges();
    let touching = &all[all.partition_point(|r| r.end <= first)..all.partition_point(|r| r.start < end)];
    touching.iter().map(|r| r.start.max(first)..r.end.min(end)).collect()
}

fn sum_whole(image: &Image, source: &File) -> io::Result<Sum> {
    let mut hash = Sha256::new();
    let mut done = 0;
    for blocks in image.mapped.ranges() {
        let range = bytes(blocks, image.size);
        zeros(range.start - done).for_each(|zeros| hash.update(zeros));
        each_chunk(source, &image.path, &range, |chunk| hash.update(chunk))?;
        done = range.end;
    }
    zeros(image.size - done).for_each(|zeros| hash.update(zeros));
    Ok(Sum(hash.finalize().into()))
}

fn zeros(len: u64) -> impl Iterator<Item = &'static [u8]> {
    let (whole, rest) = (len / CHUNK, (len % CHUNK) as usize);
    (0..whole).map(|_| &ZEROS[..]).chain(Some(&ZEROS[..rest]).filter(|z| !z.is_empty()))
}

/// The bytes of a run of blocks of an image of `size` bytes.
fn bytes(blocks: &Range<u64>, size: u64) -> Range<u64> {
    (blocks.start * BLOCK).min(size)..(blocks.end * BLOCK).min(size)
}

fn each_chunk(file: &File, path: &Path, range: &Range<u64>, mut f: impl FnMut(&[u8])) -> io::Result<()> {
    let mut buf = vec![0; (range.end - range.start).min(CHUNK) as usize];
    let mut at = range.start;
    while at < range.end {
        let n = (range.end - at).min(CHUNK) as usize;
        file.read_exact_at(&mut buf[..n], at).at(path)?;
        f(&buf[..n]);
        at += n as u64;
    }
    Ok(())
}
