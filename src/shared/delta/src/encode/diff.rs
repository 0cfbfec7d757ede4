//! Which stretches of the new bytes come from where in the old ones, differences within allowed: the method of bsdiff
//! (Percival: Naive differences of executable code, 2003).

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

/// `old` and `new` as they are compared: what moves may have been taken out of both.
pub fn diff(old: &[u8], new: &[u8]) -> Vec<Stretch> {
    let index = Index::new(old);
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
            score -= usize::from(scored > scan && agrees(scan, last_offset));
            scan += 1;
            scored = scored.max(scan);
        }
        if len == score && scan < new.len() {
            continue;
        }
        if scan == new.len() {
            len = 0;
        }
        // How far the last stretch goes on, and how far the next one reaches back.
        let mut forward = best_extent(scan - last, |i| agrees(last + i, last_offset));
        let offset = place as isize - scan as isize;
        let mut back = if scan < new.len() { best_extent(scan - last, |i| agrees(scan - 1 - i, offset)) } else { 0 };
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
    found
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
