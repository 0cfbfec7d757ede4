//! The longest match in a text, by its suffix array.

use std::cell::Cell;

use libsais::{LibsaisError, SuffixArrayConstruction};

/// Bytes of memory that an index of a text takes while it is made, for each byte of the text, with what is compared.
pub const MEMORY_PER_BYTE: u64 = 9;

/// Starts of all suffixes of `text`, sorted.
fn sort(text: &[u8]) -> Result<Vec<i32>, LibsaisError> {
    Ok(SuffixArrayConstruction::for_text(text).in_owned_buffer32().single_threaded().run()?.into_vec())
}

/// A text whose substrings can be found.
pub struct Index<'t> {
    text: &'t [u8],
    sorted: Vec<i32>,
    /// Where the suffixes start that begin with each pair of bytes; the last entry is the end.
    pairs: Vec<u32>,
    work: Cell<u64>,
}

/// Work of one step of a search, in units of about a nanosecond: two places of memory that are in no cache.
const STEP: u64 = 250;

/// Longest match that is looked for; a longer one is extended by the caller.
const MAX_MATCH: usize = 4096;

impl<'t> Index<'t> {
    /// # Errors
    /// Memory is short, or `text` has 2 GiB or more.
    pub fn new(text: &'t [u8]) -> Result<Index<'t>, LibsaisError> {
        let sorted = sort(text)?;
        let mut pairs = vec![0u32; 65537];
        // A last byte that has no partner sorts before all pairs that begin with it.
        let pair = |at: usize| usize::from(text[at]) << 8 | text.get(at + 1).map_or(0, |b| usize::from(*b));
        for at in 0..text.len() {
            pairs[pair(at) + 1] += 1;
        }
        for i in 0..65536 {
            pairs[i + 1] += pairs[i];
        }
        Ok(Index { text, sorted, pairs, work: Cell::new(0) })
    }

    /// What all searches have taken, in units of about a nanosecond.
    pub fn work(&self) -> u64 {
        self.work.get()
    }

    /// Place and length of the longest match with the start of `wanted`.
    pub fn longest(&self, wanted: &[u8]) -> (usize, usize) {
        let wanted = &wanted[..wanted.len().min(MAX_MATCH)];
        let &[first, second, ..] = wanted else { return (0, 0) };
        let pair = usize::from(first) << 8 | usize::from(second);
        let (mut low, mut high) = (self.pairs[pair] as usize, self.pairs[pair + 1] as usize);
        if low == high {
            return (0, 0);
        }
        let (begin, end) = (low, high);
        let (mut low_len, mut high_len) = (0, 0);
        let mut best = (0, 0);
        let mut work = 0;
        while low < high {
            let middle = low + (high - low) / 2;
            let at = self.sorted[middle] as usize;
            let suffix = &self.text[at..];
            let known = low_len.min(high_len);
            let len = known + common(&suffix[known.min(suffix.len())..], &wanted[known..]);
            work += STEP + (len - known) as u64 / 16;
            if len > best.1 {
                best = (at, len);
            }
            if len == wanted.len() {
                break;
            }
            if suffix.get(len).is_none_or(|b| *b < wanted[len]) {
                (low, low_len) = (middle + 1, len);
            } else {
                (high, high_len) = (middle, len);
            }
        }
        debug_assert!(low >= begin && high <= end);
        self.work.set(self.work.get() + work);
        best
    }
}

/// How many bytes at the start are the same.
pub fn common(a: &[u8], b: &[u8]) -> usize {
    let n = a.len().min(b.len());
    let mut i = 0;
    while let (Some(x), Some(y)) = (a[i..n].first_chunk::<8>(), b[i..n].first_chunk::<8>()) {
        let differ = u64::from_le_bytes(*x) ^ u64::from_le_bytes(*y);
        if differ != 0 {
            return i + (differ.trailing_zeros() / 8) as usize;
        }
        i += 8;
    }
    while i < n && a[i] == b[i] {
        i += 1;
    }
    i
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    proptest! {
        #[test]
        fn sorts_like_the_standard_sort(text in proptest::collection::vec(0u8..4, 0..200)) {
            let mut expected: Vec<i32> = (0..text.len() as i32).collect();
            expected.sort_by_key(|at| &text[*at as usize..]);
            prop_assert_eq!(sort(&text).unwrap(), expected);
        }

        #[test]
        fn finds_the_longest_match(text in proptest::collection::vec(0u8..4, 2..200),
                                   wanted in proptest::collection::vec(0u8..5, 2..20)) {
            let (at, len) = Index::new(&text).unwrap().longest(&wanted);
            let best = (0..text.len()).map(|i| common(&text[i..], &wanted)).max().unwrap_or(0);
            prop_assert_eq!(common(&text[at..], &wanted).min(len), len);
            // A match of a single byte is not looked for.
            prop_assert!(len == best || (best == 1 && len == 0));
        }
    }
}
