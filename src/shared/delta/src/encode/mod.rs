//! The workstation's side: from two states of a slot's volumes to the sources of each chunk.

mod chunk;
mod diff;
mod grams;
mod layout;
mod pair;
mod suffix;
mod work;

use std::io;
use std::ops::Range;

use crate::arm64;
use crate::patch::MAX_VOLUMES;
use crate::{CHUNK, ReadAt};
use chunk::Span;
use layout::{FileExtents, Layout, layout};
use pair::Pairs;

/// A file of a volume.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct File {
    /// From the volume's root.
    pub path: String,
    /// Where its bytes are in the volume, in the order of the file.
    pub extents: Vec<Range<u64>>,
}

/// One of a slot's volumes.
pub struct Volume<'a> {
    pub data: &'a (dyn ReadAt + Sync),
    /// Bytes.
    pub len: u64,
    /// What is known of its files. Ranges that no file owns are coded too.
    pub files: Vec<File>,
}

/// Where a chunk of a new volume comes from.
#[derive(Clone, PartialEq, Eq, Debug)]
pub enum Source {
    /// As many bytes from an old volume as they are.
    Copy { volume: u8, offset: u64 },
    /// A patch for [`crate::apply`].
    Patch(Vec<u8>),
    /// A patch would save next to nothing against the whole chunk compressed; that is made elsewhere.
    Full,
}

/// How a delta is made. The result depends on `memory` and `full_level` only.
#[derive(Clone, Copy, Debug)]
pub struct Options {
    /// 0 for as many as the machine has processors.
    pub threads: usize,
    /// Bytes of memory to stay below. Files whose comparison would take more are compared in parts.
    pub memory: u64,
    /// Level of zstd at which whole chunks are compressed: what a patch must be smaller than by more than a little.
    pub full_level: i32,
}

impl Default for Options {
    fn default() -> Options {
        Options { threads: 0, memory: 900 << 20, full_level: 19 }
    }
}

/// How far the work is: bytes done and bytes in all, of all new volumes, which are gone through twice.
pub type Progress<'p> = &'p (dyn Fn(u64, u64) + Sync);

/// Why a delta cannot be made.
#[derive(Debug, thiserror::Error)]
pub enum EncodeError {
    #[error("{0} old volumes, at most {MAX_VOLUMES} are possible")]
    TooManyVolumes(usize),
    #[error("reading {state} volume {volume}: {source}")]
    Read { state: &'static str, volume: usize, source: io::Error },
    #[error("sorting what a file was: {0:?}")]
    Sort(libsais::LibsaisError),
    #[error("compressing a chunk: {0}")]
    Compress(io::Error),
}

/// Bytes without an old place, in all, up to which a chunk of nothing else is modelled to see whether a patch is smaller
/// than the whole chunk compressed: a tenth is saved at best, for a second of a processor each. Where this much is new,
/// the deltas from several releases need the same chunks, and share them whole.
const MODEL_NEW: u64 = 16 << 20;

/// A new file and what it is made from.
struct Job<'l> {
    volume: usize,
    extents: &'l FileExtents,
    old: Option<pair::Old<'l>>,
    /// Whether it is a program or library of AArch64 is seen by its bytes; metadata never is.
    file: bool,
}

/// Finds for each chunk of each new volume the smallest source.
///
/// # Errors
/// Read errors, more old volumes than a patch can name.
pub fn encode(
    old: &[Volume<'_>],
    new: &[Volume<'_>],
    options: &Options,
    progress: Progress<'_>,
) -> Result<Vec<Vec<Source>>, EncodeError> {
    if old.len() > MAX_VOLUMES {
        return Err(EncodeError::TooManyVolumes(old.len()));
    }
    let old_layouts: Vec<Layout> = old.iter().map(layout).collect();
    let new_layouts: Vec<Layout> = new.iter().map(layout).collect();
    let pairs = Pairs::new(&old_layouts, &new_layouts);
    let mut jobs = Vec::new();
    for (volume, layout) in new_layouts.iter().enumerate() {
        for (path, extents) in &layout.files {
            jobs.push(Job { volume, extents, old: pairs.of(volume, path, extents.len()), file: true });
        }
        let old = old_layouts.get(volume).map(|l| (volume, &l.rest));
        jobs.push(Job { volume, extents: &layout.rest, old, file: false });
    }
    // The longest first, so that no thread is left alone with it at the end.
    jobs.sort_by_key(|job| std::cmp::Reverse(job.extents.len()));
    let total = 2 * new.iter().map(|v| v.len).sum::<u64>();
    let done = std::sync::atomic::AtomicU64::new(0);
    let step = |bytes: u64| {
        let before = done.fetch_add(bytes, std::sync::atomic::Ordering::Relaxed);
        progress(before + bytes, total);
    };
    let cost = |job: &Job<'_>| compare_cost(job).min(options.memory / 2);
    let spans = work::each(&jobs, options.threads, options.memory / 2, cost, |job| {
        let spans = compare(old, new, job, options.memory / 2)?;
        step(job.extents.len());
        Ok(spans)
    })?;
    let mut by_volume: Vec<Vec<Span>> = new.iter().map(|_| Vec::new()).collect();
    for (job, spans) in jobs.iter().zip(spans) {
        by_volume[job.volume].extend(spans);
    }
    let unseen: u64 = by_volume.iter().flatten().filter(|span| span.old.is_none()).map(|span| span.len).sum();
    let model_new = unseen <= MODEL_NEW;
    let mut sources = Vec::new();
    for (volume, mut spans) in by_volume.into_iter().enumerate() {
        spans.sort_by_key(|span| span.new_at);
        let spans = join(spans);
        let starts: Vec<u64> = (0..new[volume].len.div_ceil(CHUNK as u64)).map(|n| n * CHUNK as u64).collect();
        sources.push(work::each(
            &starts,
            options.threads,
            u64::MAX,
            |_| 0,
            |start| {
                let end = (start + CHUNK as u64).min(new[volume].len);
                let spans = cut(&spans, *start, end);
                let source = match spans.iter().any(|span| span.old.is_some()) || model_new {
                    true => source(old, &new[volume], volume, &spans, *start, end, options)?,
                    false => Source::Full,
                };
                step(end - start);
                Ok(source)
            },
        )?);
    }
    Ok(sources)
}

/// Bytes of memory that comparing takes.
fn compare_cost(job: &Job<'_>) -> u64 {
    job.old.map_or(0, |(_, old)| old.len() * suffix::MEMORY_PER_BYTE + job.extents.len() * 2)
}

/// Where the bytes of a file come from.
fn compare(old: &[Volume<'_>], new: &[Volume<'_>], job: &Job<'_>, memory: u64) -> Result<Vec<Span>, EncodeError> {
    let read_new = |source| EncodeError::Read { state: "new", volume: job.volume, source };
    let text = job.extents.read(&new[job.volume]).map_err(read_new)?;
    let mut spans = Vec::new();
    let Some((old_volume, old_extents)) = job.old else {
        place(&mut spans, job.extents, 0, text.len() as u64, None);
        return Ok(spans);
    };
    let read_old = |source| EncodeError::Read { state: "old", volume: old_volume, source };
    let old_text = old_extents.read(&old[old_volume]).map_err(read_old)?;
    if text == old_text {
        place(&mut spans, job.extents, 0, text.len() as u64, Some((old_volume, old_extents, 0)));
        return Ok(spans);
    }
    let code = job.file && is_arm64(&text);
    let key = |bytes: &[u8]| if code { arm64_key(bytes) } else { bytes.to_vec() };
    let parts = (compare_cost(job).div_ceil(memory.max(1)) as usize).max(1);
    for part in 0..parts {
        let range = |len: usize| {
            len * part / parts / 4 * 4..if part + 1 == parts { len } else { len * (part + 1) / parts / 4 * 4 }
        };
        let (old_range, new_range) = (range(old_text.len()), range(text.len()));
        let stretches = diff::diff(&key(&old_text[old_range.clone()]), &key(&text[new_range.clone()]))
            .map_err(EncodeError::Sort)?;
        for stretch in stretches {
            let from = stretch.old_at.map(|at| (old_volume, old_extents, (old_range.start + at) as u64));
            place(&mut spans, job.extents, (new_range.start + stretch.new_at) as u64, stretch.len as u64, from);
        }
    }
    Ok(spans)
}

/// Translates a stretch of texts to places in volumes.
fn place(spans: &mut Vec<Span>, extents: &FileExtents, at: u64, len: u64, old: Option<(usize, &FileExtents, u64)>) {
    let mut done = 0;
    for range in extents.places(at, len) {
        let size = range.end - range.start;
        match old {
            None => spans.push(Span { new_at: range.start, len: size, old: None }),
            Some((volume, extents, old_at)) => {
                let mut new_at = range.start;
                for part in extents.places(old_at + done, size) {
                    let len = part.end - part.start;
                    spans.push(Span { new_at, len, old: Some((volume, part.start)) });
                    new_at += len;
                }
            }
        }
        done += size;
    }
}

/// Joins spans that go on where the one before ends.
fn join(spans: Vec<Span>) -> Vec<Span> {
    let mut joined: Vec<Span> = Vec::new();
    for span in spans {
        if let Some(last) = joined.last_mut() {
            let goes_on = match (last.old, span.old) {
                (Some((a, at)), Some((b, next))) => a == b && at + last.len == next,
                (None, None) => true,
                _ => false,
            };
            if goes_on {
                last.len += span.len;
                continue;
            }
        }
        joined.push(span);
    }
    joined
}

/// The parts of spans within `start..end`.
fn cut(spans: &[Span], start: u64, end: u64) -> Vec<Span> {
    let first = spans.partition_point(|s| s.new_at + s.len <= start);
    spans[first..]
        .iter()
        .take_while(|s| s.new_at < end)
        .map(|s| {
            let skip = start.saturating_sub(s.new_at);
            let stop = (s.new_at + s.len).min(end);
            Span {
                new_at: s.new_at + skip,
                len: stop - s.new_at - skip,
                old: s.old.map(|(volume, at)| (volume, at + skip)),
            }
        })
        .collect()
}

fn source(
    old: &[Volume<'_>],
    new: &Volume<'_>,
    volume: usize,
    spans: &[Span],
    start: u64,
    end: u64,
    options: &Options,
) -> Result<Source, EncodeError> {
    let mut new_bytes = vec![0; (end - start) as usize];
    new.data.read_exact_at(&mut new_bytes, start).map_err(|source| EncodeError::Read {
        state: "new",
        volume,
        source,
    })?;
    let mut old_bytes = vec![0; new_bytes.len()];
    let mut rest = old_bytes.as_mut_slice();
    for span in spans {
        let (now, later) = rest.split_at_mut(span.len as usize);
        if let Some((from, at)) = span.old {
            let failed = |source| EncodeError::Read { state: "old", volume: from, source };
            old[from].data.read_exact_at(now, at).map_err(failed)?;
        }
        rest = later;
    }
    if let [Span { old: Some((from, at)), .. }] = spans
        && old_bytes == new_bytes
    {
        return Ok(Source::Copy { volume: *from as u8, offset: *at });
    }
    let patch = chunk::patch(spans, &old_bytes, &new_bytes);
    // A slow compressor is asked only if a fast one comes near: it makes of what that one makes three fifths at best.
    let compress = |level| zstd::bulk::compress(&new_bytes, level).map(|c| c.len()).map_err(EncodeError::Compress);
    if patch.len() > compress(1)? * 3 / 5 {
        let full = compress(options.full_level)?;
        // A little saved is not worth it: full chunks are shared by all deltas, and faster on the node.
        if patch.len() >= full - full / 64 {
            return Ok(Source::Full);
        }
    }
    Ok(Source::Patch(patch))
}

/// Whether a file is code of AArch64: ELF (machine 183), or a kernel image (magic at byte 56 of its header,
/// Documentation/arch/arm64/booting.rst).
fn is_arm64(file: &[u8]) -> bool {
    let elf = file.starts_with(b"\x7fELF\x02\x01") && file.get(18..20) == Some(&[183, 0]);
    elf || file.get(56..60) == Some(b"ARM\x64")
}

fn arm64_key(bytes: &[u8]) -> Vec<u8> {
    let mut key = bytes.to_vec();
    for word in key.chunks_exact_mut(4) {
        let plain = arm64::without_addresses(u32::from_le_bytes([word[0], word[1], word[2], word[3]]));
        word.copy_from_slice(&plain.to_le_bytes());
    }
    key
}
