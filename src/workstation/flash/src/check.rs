//! Whether a source is the whole image of a card, found out before the target loses what it has.

use crate::source::Stream;
use crate::table::{ANY_DISK, Table, read_from};
use crate::{CHUNK, FlashError, Source};
use fruit_image::sums::Sum;
use fruit_progress::Step;
use sha2::{Digest, Sha256};
use std::io;

/// Bytes at the end of a table's disk that the backup is within: a header and 256 entries are 33,280.
const BACKUP: u64 = 64 << 10;

/// Reads what the image can be checked by: all that will be written where a block map has sums for it or the image is
/// packed, else the second copy of the partition table.
pub(super) fn check(source: &Source, step: &dyn Step) -> Result<(), FlashError> {
    let end = source.table().size().unwrap_or(source.size());
    let backup_at = end.saturating_sub(BACKUP);
    let whole = source.is_packed() || source.bmap().is_some();
    let ranges = if whole { source.ranges() } else { vec![(backup_at, end - backup_at)] };
    step.set_total(ranges.iter().map(|(_, len)| len).sum());
    // What no range covers reaches the target as zeros.
    let mut backup = vec![0; (end - backup_at) as usize];
    let mut stream = source.read()?;
    let mut buf = vec![0; CHUNK as usize];
    for (index, (start, len)) in ranges.into_iter().enumerate() {
        let mut sum = Sha256::new();
        let mut at = start;
        while at < start + len {
            let bytes = &mut buf[..(start + len - at).min(CHUNK) as usize];
            fill(source, &mut stream, bytes, at)?;
            if source.bmap().is_some() {
                sum.update(&*bytes);
            }
            keep(&mut backup, backup_at, bytes, at);
            at += bytes.len() as u64;
            step.add(bytes.len() as u64);
        }
        source.compare(index, Sum(sum.finalize().into()))?;
    }
    // Behind the last range too: what is cut there is not what was made.
    if source.is_packed() && !stream.ends_at(source.size()).map_err(|e| unpacking(source, &e))? {
        return Err(FlashError::Longer { path: source.path().to_owned(), size: source.size() });
    }
    match source.table() {
        Table::Gpt(primary) => compare_backup(primary, &backup, backup_at).map_err(|why| incomplete(source, why)),
        Table::Mbr { .. } => Ok(()),
    }
}

fn fill(source: &Source, stream: &mut Stream, bytes: &mut [u8], at: u64) -> Result<(), FlashError> {
    let read = stream.read_exact_at(bytes, at);
    read.map_err(|e| if source.is_packed() { unpacking(source, &e) } else { e.into() })
}

fn unpacking(source: &Source, e: &io::Error) -> FlashError {
    // The stream's errors have the path in front, as this one gets it.
    let (why, path) = (e.to_string(), format!("{}: ", source.path().display()));
    incomplete(source, format!("cannot be unpacked to its end ({})", why.strip_prefix(&path).unwrap_or(&why)))
}

/// Copies into `backup`, which starts at `backup_at`, what `bytes`, which start at `at`, have of it.
fn keep(backup: &mut [u8], backup_at: u64, bytes: &[u8], at: u64) {
    let (from, to) = (at.max(backup_at), (at + bytes.len() as u64).min(backup_at + backup.len() as u64));
    if from < to {
        let (into, of) = ((from - backup_at) as usize, (from - at) as usize);
        let len = (to - from) as usize;
        backup[into..into + len].copy_from_slice(&bytes[of..of + len]);
    }
}

fn compare_backup(primary: &fruit_gpt::Table, backup: &[u8], backup_at: u64) -> Result<(), String> {
    let read = |bytes: &mut [u8], at: u64| read_from(backup, backup_at, bytes, at);
    let why = match fruit_gpt::Table::read(&read, primary.other, ANY_DISK) {
        Ok(Ok(found)) if found.disk == primary.disk && found.entries == primary.entries => return Ok(()),
        Ok(Ok(_)) => "differs from the first".to_owned(),
        Ok(Err(damage)) => damage.to_string(),
        Err(_) => "its entries are not in front of it".to_owned(),
    };
    Err(format!("the second copy of its partition table is missing or damaged ({why})"))
}

fn incomplete(source: &Source, what: String) -> FlashError {
    FlashError::Incomplete { path: source.path().to_owned(), what }
}
