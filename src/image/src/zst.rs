//! The compressed card image, `.img.zst`, with its block map, in one pass over what the image holds.

use crate::bmap::{Bmap, Mapped};
use crate::card::Image;
use crate::disk::at_path;
use crate::draft::Draft;
use crate::sparse::BLOCK;
use crate::sums::{Sum, Summing};
use sha2::{Digest, Sha256};
use std::fs::File;
use std::io::{self, Write};
use std::ops::Range;
use std::os::unix::fs::FileExt;
use std::path::Path;
use std::sync::Arc;
use std::sync::mpsc::{SyncSender, sync_channel};
use std::thread;
use zstd::zstd_safe::CParameter;

/// Bytes read at a time.
const CHUNK: u64 = 1 << 20;
/// Chunks that may wait for the thread that sums the whole image.
const WAITING: usize = 8;
/// Bytes that a thread compresses at a time. zstd's own choice grows with the level, so that memory for 8 threads would
/// pass 300 MiB at level 9; a fixed size also keeps the bytes from depending on the number of threads.
const JOB: u32 = 4 << 20;
static ZEROS: [u8; CHUNK as usize] = [0; CHUNK as usize];

/// How to compress.
#[derive(Clone, Copy, Debug)]
pub struct Options {
    /// zstd's, 1 to 19.
    pub level: i32,
    /// Threads that compress, at least 1. The bytes do not depend on it: zstd cuts the input into jobs of a fixed size.
    pub threads: u32,
    /// Also sum the whole image, holes included.
    pub sum_image: bool,
}

/// A compressed image under its final name, and what is known about it.
#[derive(Clone, Debug)]
pub struct Compressed {
    /// Bytes of the compressed file.
    pub size: u64,
    /// Of the compressed file.
    pub sum: Sum,
    pub bmap: Bmap,
    /// Of the image itself, if asked for.
    pub image_sum: Option<Sum>,
}

/// Compresses `image` to the file `target`; reads only what the image holds.
///
/// # Errors
/// File system errors with the path; zstd refusing the options.
pub fn compress(image: &Image, target: &Path, options: Options) -> io::Result<Compressed> {
    let source = File::open(&image.path).map_err(|e| at_path(&image.path, &e))?;
    let draft = Draft::create(target)?;
    let mut out = Summing::new(draft.file());
    let (ranges, image_sum) = thread::scope(|scope| {
        let (send, receive) = sync_channel::<Piece>(WAITING);
        let whole = options.sum_image.then(|| {
            scope.spawn(move || {
                let mut hash = Sha256::new();
                receive.iter().for_each(|piece| piece.each(|bytes| hash.update(bytes)));
                Sum(hash.finalize().into())
            })
        });
        let ranges = encode(image, &source, options, &mut out, whole.is_some().then_some(send))?;
        let panicked = |_| io::Error::other("the thread that sums the image panicked");
        Ok::<_, io::Error>((ranges, whole.map(|t| t.join().map_err(panicked)).transpose()?))
    })
    .map_err(|e| at_path(target, &e))?;
    let (sum, size) = out.finish();
    draft.commit()?;
    Ok(Compressed { size, sum, bmap: Bmap { image_size: image.size, ranges }, image_sum })
}

/// The block map of an image that is not compressed; reads what the image holds.
///
/// # Errors
/// Read errors with the path.
pub fn map(image: &Image) -> io::Result<Bmap> {
    let source = File::open(&image.path).map_err(|e| at_path(&image.path, &e))?;
    let mut ranges = Vec::new();
    for blocks in image.mapped.ranges() {
        let mut hash = Sha256::new();
        each_chunk(&source, &image.path, &bytes(blocks, image.size), |chunk| {
            hash.update(chunk);
            Ok(())
        })?;
        ranges.push(Mapped { blocks: blocks.clone(), sum: Sum(hash.finalize().into()) });
    }
    Ok(Bmap { image_size: image.size, ranges })
}

enum Piece {
    Zeros(u64),
    Bytes(Arc<[u8]>),
}

impl Piece {
    fn each(&self, mut f: impl FnMut(&[u8])) {
        match self {
            Piece::Bytes(bytes) => f(bytes),
            Piece::Zeros(len) => zeros(*len).for_each(f),
        }
    }
}

fn zeros(len: u64) -> impl Iterator<Item = &'static [u8]> {
    let (whole, rest) = (len / CHUNK, (len % CHUNK) as usize);
    (0..whole).map(|_| &ZEROS[..]).chain(Some(&ZEROS[..rest]).filter(|z| !z.is_empty()))
}

fn encode(
    image: &Image,
    source: &File,
    options: Options,
    out: impl Write,
    whole: Option<SyncSender<Piece>>,
) -> io::Result<Vec<Mapped>> {
    let tell = |piece: Piece| {
        if let Some(whole) = &whole {
            // Fails only when the receiver panicked, which joining it reports.
            let _ = whole.send(piece);
        }
    };
    let mut encoder = zstd::Encoder::new(out, options.level)?;
    // With 0 workers zstd takes another path, whose bytes differ.
    encoder.multithread(options.threads.max(1))?;
    encoder.set_parameter(CParameter::JobSize(JOB))?;
    encoder.include_checksum(true)?;
    encoder.include_contentsize(true)?;
    encoder.set_pledged_src_size(Some(image.size))?;
    let mut found = Vec::new();
    let mut done = 0;
    for blocks in image.mapped.ranges() {
        let range = bytes(blocks, image.size);
        for chunk in zeros(range.start - done) {
            encoder.write_all(chunk)?;
        }
        tell(Piece::Zeros(range.start - done));
        let mut hash = Sha256::new();
        each_chunk(source, &image.path, &range, |chunk| {
            hash.update(chunk);
            tell(Piece::Bytes(chunk.into()));
            encoder.write_all(chunk)
        })?;
        found.push(Mapped { blocks: blocks.clone(), sum: Sum(hash.finalize().into()) });
        done = range.end;
    }
    for chunk in zeros(image.size - done) {
        encoder.write_all(chunk)?;
    }
    tell(Piece::Zeros(image.size - done));
    encoder.finish()?;
    Ok(found)
}

/// The bytes of a run of blocks of an image of `size` bytes.
fn bytes(blocks: &Range<u64>, size: u64) -> Range<u64> {
    (blocks.start * BLOCK).min(size)..(blocks.end * BLOCK).min(size)
}

fn each_chunk(
    file: &File,
    path: &Path,
    range: &Range<u64>,
    mut f: impl FnMut(&[u8]) -> io::Result<()>,
) -> io::Result<()> {
    let mut buf = vec![0; (range.end - range.start).min(CHUNK) as usize];
    let mut at = range.start;
    while at < range.end {
        let n = (range.end - at).min(CHUNK) as usize;
        file.read_exact_at(&mut buf[..n], at).map_err(|e| at_path(path, &e))?;
        f(&buf[..n])?;
        at += n as u64;
    }
    Ok(())
}
