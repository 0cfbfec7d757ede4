//! Which stretches of the new bytes come from where in the old ones, differences within allowed: the method of bsdiff
//! (Percival: Naive differences of executable code, 2003).

use std::collections::VecDeque;

use libsais::LibsaisError;

use super::grams::{GRAM, Grams};
use super::suffix::{Index, common};

/// A stretch of new bytes.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Stretch {
    pub new_at: usize,
    pub len: usize,
    /// Where the old bytes start that it is made from.
    pub old_at: Option<usize>,
}

/// By how many bytes another place must be better than to go on where the last stretch was.
const BETTER: usize = 8;
/// A stretch that goes on for this long without a difference needs no search.
const PLAIN: usize = 32;

/// Work for each byte that was scanned, in units of about a nanosecond, up to which every place is searched for. Ordinary
/// changes need a tenth of it. What needs more (texts that are like themselves everywhere) is searched for at some
/// places only: what lies between them is found from there by going back.
const EASE: u64 = 100;
/// Work that is free, so that small files are searched through whatever they are.
const FREE: u64 = 100_000_000;
/// Bytes to the next search once that is used up, and how far a stretch reaches back at most.
const STRIDE: usize = 32;
const REACH: usize = 256;

/// Whether more work was done than is good for a text of which `scanned` bytes are done.
fn is_hard(index: &Index<'_>, extents: u64, scanned: usize) -> bool {
    index.work() + extents > FREE + EASE * scanned as u64
}

/// The next places where the new text differs from the old one at the current offset.
#[derive(Default)]
struct Differences {
    places: VecDeque<usize>,
    /// Looked at up to here.
    until: usize,
}

impl Differences {
    fn clear(&mut self) {
        self.places.clear();
        self.until = 0;
    }

    /// Those from `scan` on, as many as a match must have in it to be better than to go on at `offset`; fewer at the end
    /// of the texts. A place outside of the old text is a difference.
    fn from(&mut self, old: &[u8], new: &[u8], scan: usize, offset: isize) -> &VecDeque<usize> {
        while self.places.front().is_some_and(|&place| place < scan) {
            self.places.pop_front();
        }
        self.until = self.until.max(scan);
        while self.places.len() <= BETTER && self.until < new.len() {
            let same = match self.until.checked_add_signed(offset) {
                Some(at) if at < old.len() => common(&old[at..], &new[self.until..]),
                _ => 0,
            };
            self.until += same;
            if self.until < new.len() {
                self.places.push_back(self.until);
                self.until += 1;
            }
        }
        &self.places
    }
}

/// Whether the old text may have a match at `scan` that is better than to go on. Such a match has more than [`BETTER`] of
/// `differences` in it, and everything in it is in the old text.
fn may_match(grams: &Grams, new: &[u8], scan: usize, differences: &VecDeque<usize>) -> bool {
    let Some(&last) = differences.get(BETTER) else { return false };
    let end = (last + 1).max(scan + GRAM);
    let Some(text) = new.get(..end) else { return false };
    grams.may_have(&text[scan..])
        && differences.iter().all(|place| {
            let at = place.saturating_sub(GRAM / 2).clamp(scan, end - GRAM);
            grams.may_have(&text[at..])
        })
}

/// `old` and `new` as they are compared: what moves may have been taken out of both.
///
/// # Errors
/// As of [`Index::new`].
pub fn diff(old: &[u8], new: &[u8]) -> Result<Vec<Stretch>, LibsaisError> {
    let index = Index::new(old)?;
    let grams = Grams::new(old);
    let mut differences = Differences::default();
    // Work on how far stretches go.
    let mut extents = 0u64;
    let mut found = Vec::new();
    let agrees = |new_at: usize, offset: isize| {
        new_at.checked_add_signed(offset).and_then(|at| old.get(at)).is_some_and(|b| *b == new[new_at])
    };
    // Where the stretch starts that is not yet written, and old place less new place of it.
    let (mut last, mut last_offset) = (0usize, 0isize);
    let (mut scan, mut len, mut place) = (0usize, 0usize, 0usize);
    while scan < new.len() {
        scan += len;
        let mut score = 0usize;
        let mut scored = scan;
        len = 0;
        while scan < new.len() {
            let plain = match scan.checked_add_signed(last_offset) {
                Some(at) if at < old.len() => common(&old[at..], &new[scan..]),
                _ => 0,
            };
            if plain >= PLAIN {
                scan += plain;
                (score, scored, len) = (0, scan, 0);
                continue;
            }
            if !may_match(&grams, new, scan, differences.from(old, new, scan, last_offset)) {
                score -= usize::from(scored > scan && agrees(scan, last_offset));
                scan += 1;
                scored = scored.max(scan);
                continue;
            }
            (place, len) = index.longest(&new[scan..]);
            if place + len < old.len() {
                len += common(&old[place + len..], &new[scan + len..]);
            }
            while scored < scan + len {
                score += usize::from(agrees(scored, last_offset));
                scored += 1;
            }
            if (len == score && len != 0) || len > score + BETTER {
                break;
            }
            let step = if is_hard(&index, extents, scan) { STRIDE.min(new.len() - scan) } else { 1 };
            for _ in 0..step {
                score -= usize::from(scored > scan && agrees(scan, last_offset));
                scan += 1;
                scored = scored.max(scan);
            }
            len = 0;
        }
        if len == score && scan < new.len() {
            continue;
        }
        if scan == new.len() {
            len = 0;
        }
        // How far the last stretch goes on, and how far the next one reaches back.
        let reach = if is_hard(&index, extents, scan) { REACH } else { usize::MAX }.min(scan - last);
        extents += (scan - last + reach) as u64;
        let mut forward = best_extent(scan - last, |i| agrees(last + i, last_offset));
        let offset = place as isize - scan as isize;
        let mut back = if scan < new.len() { best_extent(reach, |i| agrees(scan - 1 - i, offset)) } else { 0 };
        if last + forward > scan - back {
            let overlap = last + forward - (scan - back);
            // Of every place to cut, the one with the most equal bytes.
            let (mut lead, mut best, mut cut) = (0isize, 0isize, 0usize);
            for i in 0..overlap {
                lead += isize::from(agrees(last + forward - overlap + i, last_offset));
                lead -= isize::from(agrees(scan - back + i, offset));
                if lead > best {
                    (best, cut) = (lead, i + 1);
                }
            }
            forward = forward - overlap + cut;
            back -= cut;
        }
        if forward > 0 {
            let old_at = last.checked_add_signed(last_offset);
            found.push(Stretch { new_at: last, len: forward, old_at });
        }
        let gap = scan - back - (last + forward);
        if gap > 0 {
            found.push(Stretch { new_at: last + forward, len: gap, old_at: None });
        }
        last = scan - back;
        last_offset = offset;
        differences.clear();
        if scan == new.len() {
            break;
        }
    }
    if last < new.len() {
        // The last stretch was still going on.
        let forward = best_extent(new.len() - last, |i| agrees(last + i, last_offset));
        if forward > 0 {
            found.push(Stretch { new_at: last, len: forward, old_at: last.checked_add_signed(last_offset) });
        }
        if last + forward < new.len() {
            found.push(Stretch { new_at: last + forward, len: new.len() - last - forward, old_at: None });
        }
    }
    Ok(found)
}

/// How many of `limit` bytes to take so that the equal ones outweigh the others.
fn best_extent(limit: usize, agrees: impl Fn(usize) -> bool) -> usize {
    let (mut balance, mut best, mut extent) = (0isize, 0isize, 0usize);
    for i in 0..limit {
        balance += if agrees(i) { 1 } else { -1 };
        if balance > best {
            (best, extent) = (balance, i + 1);
        }
    }
    extent
}
