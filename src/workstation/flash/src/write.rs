use crate::check::check;
use crate::{CHUNK, FlashError, Source, Target};
use fruit_base::AtPath;
use fruit_image::gpt::{SECTOR, TAIL_SECTORS};
use fruit_image::sums::Sum;
use fruit_progress::{Progress, Step, Unit};
use sha2::{Digest, Sha256};
use std::os::unix::fs::FileExt;

/// Bytes after which the card must have caught up, so that progress is that of the card and not of the page cache.
const PIECE: u64 = 16 << 20;

/// A target that holds the image, compared with what was meant to be written.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Flashed {
    /// Bytes written, and read back.
    pub written: u64,
}

/// A run of bytes on the target and what they should be.
struct WrittenRange {
    start: u64,
    len: u64,
    sum: Sum,
}

/// Checks the image, writes it to the target, reads back what was written and compares. The start of the card, where its partition
/// table is, is written last: a card that was interrupted does not look like a whole one.
///
/// # Errors
/// Before anything is written: a target that is too small, an image that is cut, damaged, or does not fit its block map.
/// After that: a card that does not keep what was written, read and write errors.
pub fn write(source: &Source, target: &mut Target, progress: &dyn Progress) -> Result<Flashed, FlashError> {
    target.fits(source)?;
    let step = |name| progress.step(name, source.to_write(), Unit::Bytes);
    let (checking, writing, reading_back) = (step("checking"), step("writing"), step("reading back"));
    check(source, &*checking)?;
    let available = target.make_room(source.size())?;
    let written = forget_old_table(target, available).and_then(|()| write_pieces(source, target, &*writing));
    let pieces =
        written.map_err(|why| FlashError::Unfinished { path: target.path().to_owned(), why: Box::new(why) })?;
    target.file()?.sync_all().at(target.path())?;
    verify(target, &pieces, &*reading_back)?;
    let written = pieces.iter().map(|p| p.len).sum();
    Ok(Flashed { written })
}

/// Wipes both copies of the partition table that the card had. The backup lies at the end of the card, behind the image:
/// some tools would offer to restore it.
fn forget_old_table(target: &Target, available: u64) -> Result<(), FlashError> {
    if target.device().is_none() {
        return Ok(());
    }
    let zeros = vec![0; (TAIL_SECTORS * SECTOR) as usize];
    let tail = available.saturating_sub(zeros.len() as u64);
    for at in [0, tail] {
        put(target, &zeros, at)?;
    }
    Ok(())
}

fn write_pieces(source: &Source, target: &Target, step: &dyn Step) -> Result<Vec<WrittenRange>, FlashError> {
    let mut stream = source.read()?;
    let mut pieces = Vec::new();
    let mut head: Option<Vec<u8>> = None;
    let mut buf = vec![0; CHUNK as usize];
    for (index, (range_start, range_len)) in source.ranges().into_iter().enumerate() {
        let mut whole = Sha256::new();
        let mut piece = (range_start, Sha256::new());
        let (mut at, end) = (range_start, range_start + range_len);
        while at < end {
            let n = (end - at).min(CHUNK) as usize;
            stream.read_exact_at(&mut buf[..n], at)?;
            whole.update(&buf[..n]);
            piece.1.update(&buf[..n]);
            if at == 0 {
                head = Some(buf[..n].to_vec());
            } else {
                put(target, &buf[..n], at)?;
            }
            at += n as u64;
            if at - piece.0 >= PIECE || at == end {
                target.file()?.sync_data().at(target.path())?;
                let (start, hash) = std::mem::replace(&mut piece, (at, Sha256::new()));
                pieces.push(WrittenRange { start, len: at - start, sum: Sum(hash.finalize().into()) });
            }
            step.add(n as u64);
        }
        source.compare(index, Sum(whole.finalize().into()))?;
    }
    // Of several frames without a table, the first tells only its own length.
    if source.bmap().is_none() && !stream.is_at_end()? {
        return Err(FlashError::Longer { path: source.path().to_owned(), size: source.size() });
    }
    if let Some(head) = head {
        put(target, &head, 0)?;
    }
    Ok(pieces)
}

fn put(target: &Target, bytes: &[u8], at: u64) -> Result<(), FlashError> {
    Ok(target.file()?.write_all_at(bytes, at).at(target.path())?)
}

fn verify(target: &Target, pieces: &[WrittenRange], step: &dyn Step) -> Result<(), FlashError> {
    target.forget()?;
    step.set_total(pieces.iter().map(|p| p.len).sum());
    let mut buf = vec![0; CHUNK as usize];
    for piece in pieces {
        let mut hash = Sha256::new();
        let (mut at, end) = (piece.start, piece.start + piece.len);
        while at < end {
            let n = (end - at).min(CHUNK) as usize;
            target.file()?.read_exact_at(&mut buf[..n], at).at(target.path())?;
            hash.update(&buf[..n]);
            at += n as u64;
            step.add(n as u64);
        }
        if Sum(hash.finalize().into()) != piece.sum {
            return Err(FlashError::BadCard { path: target.path().to_owned(), at: piece.start });
        }
    }
    Ok(())
}
