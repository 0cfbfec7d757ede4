//! Suffix arrays by induced sorting (Nong, Zhang, Chan: Linear Suffix Array Construction by Almost Pure
//! Induced-Sorting, 2009), and the longest match in them.

use std::cell::Cell;

/// A letter of a text.
trait Letter: Copy + Ord {
    fn index(self) -> usize;
}

impl Letter for u8 {
    fn index(self) -> usize {
        self.into()
    }
}

impl Letter for u32 {
    fn index(self) -> usize {
        self as usize
    }
}

const NONE: u32 = u32::MAX;

/// Bytes of memory that an array of a text takes while it is made, for each byte of the text.
pub const MEMORY_PER_BYTE: u64 = 14;

/// Starts of all suffixes of `text`, sorted.
fn sort<T: Letter>(text: &[T], letters: usize) -> Vec<u32> {
    let n = text.len();
    if n < 2 {
        return (0..n as u32).collect();
    }
    // Whether a suffix is smaller than the one behind it.
    let mut rising = vec![false; n];
    for i in (0..n - 1).rev() {
        rising[i] = if text[i] == text[i + 1] { rising[i + 1] } else { text[i] < text[i + 1] };
    }
    let is_valley = |i: usize| i > 0 && rising[i] && !rising[i - 1];
    // Where each letter's falling and rising suffixes start in the sorted array.
    let (mut falling_at, mut rising_at) = (vec![0u32; letters + 1], vec![0u32; letters + 1]);
    for i in 0..n {
        if rising[i] {
            falling_at[text[i].index() + 1] += 1;
        } else {
            rising_at[text[i].index()] += 1;
        }
    }
    for c in 0..letters {
        rising_at[c] += falling_at[c];
        falling_at[c + 1] += rising_at[c];
    }
    let mut sorted = vec![NONE; n];
    let induce = |sorted: &mut [u32], valleys: &[u32]| {
        sorted.fill(NONE);
        let mut next = rising_at.clone();
        for &at in valleys {
            let slot = &mut next[text[at as usize].index()];
            sorted[*slot as usize] = at;
            *slot += 1;
        }
        let mut next = falling_at.clone();
        let last = &mut next[text[n - 1].index()];
        sorted[*last as usize] = n as u32 - 1;
        *last += 1;
        for i in 0..n {
            let at = sorted[i];
            if at != NONE && at > 0 && !rising[at as usize - 1] {
                let slot = &mut next[text[at as usize - 1].index()];
                sorted[*slot as usize] = at - 1;
                *slot += 1;
            }
        }
        let mut next = falling_at.clone();
        for i in (0..n).rev() {
            let at = sorted[i];
            if at != NONE && at > 0 && rising[at as usize - 1] {
                let slot = &mut next[text[at as usize - 1].index() + 1];
                *slot -= 1;
                sorted[*slot as usize] = at - 1;
            }
        }
    };
    let valleys: Vec<u32> = (0..n as u32).filter(|i| is_valley(*i as usize)).collect();
    induce(&mut sorted, &valleys);
    if valleys.is_empty() {
        return sorted;
    }
    // Names for the stretches from valley to valley, in their order.
    let in_order: Vec<u32> = sorted.iter().copied().filter(|at| is_valley(*at as usize)).collect();
    // No two valleys are neighbours: half of a place is a number of its own.
    let mut names = vec![NONE; n / 2 + 1];
    let (mut name, mut before) = (0u32, None::<usize>);
    let mut ends = vec![0u32; n / 2 + 1];
    for pair in valleys.windows(2) {
        ends[pair[0] as usize / 2] = pair[1];
    }
    if let Some(last) = valleys.last() {
        ends[*last as usize / 2] = n as u32;
    }
    for &at in &in_order {
        let at = at as usize;
        if let Some(before) = before {
            let (end, end_before) = (ends[at / 2] as usize, ends[before / 2] as usize);
            let same = end - at == end_before - before
                && end < n
                && end_before < n
                && text[at..=end] == text[before..=end_before];
            name += u32::from(!same);
        }
        names[at / 2] = name;
        before = Some(at);
    }
    drop(ends);
    drop(in_order);
    let shorter: Vec<u32> = valleys.iter().map(|at| names[*at as usize / 2]).collect();
    drop(names);
    let order = sort(&shorter, name as usize + 1);
    let valleys: Vec<u32> = order.iter().map(|i| valleys[*i as usize]).collect();
    induce(&mut sorted, &valleys);
    sorted
}

/// A text whose substrings can be found.
pub struct Index<'t> {
    text: &'t [u8],
    sorted: Vec<u32>,
    /// Where the suffixes start that begin with each pair of bytes; the last entry is the end.
    pairs: Vec<u32>,
    work: Cell<u64>,
}

/// Work of one step of a search, in units of about a nanosecond: two places of memory that are in no cache.
const STEP: u64 = 250;

/// Longest match that is looked for; a longer one is extended by the caller.
const MAX_MATCH: usize = 4096;

impl<'t> Index<'t> {
    /// `text` has less than 4 GiB: places are 32-bit.
    pub fn new(text: &'t [u8]) -> Index<'t> {
        let sorted = sort(text, 256);
        let mut pairs = vec![0u32; 65537];
        // A last byte that has no partner sorts before all pairs that begin with it.
        let pair = |at: usize| usize::from(text[at]) << 8 | text.get(at + 1).map_or(0, |b| usize::from(*b));
        for at in 0..text.len() {
            pairs[pair(at) + 1] += 1;
        }
        for i in 0..65536 {
            pairs[i + 1] += pairs[i];
        }
        Index { text, sorted, pairs, work: Cell::new(0) }
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
            let mut expected: Vec<u32> = (0..text.len() as u32).collect();
            expected.sort_by_key(|at| &text[*at as usize..]);
            prop_assert_eq!(sort(&text, 256), expected);
        }

        #[test]
        fn finds_the_longest_match(text in proptest::collection::vec(0u8..4, 2..200),
                                   wanted in proptest::collection::vec(0u8..5, 2..20)) {
            let (at, len) = Index::new(&text).longest(&wanted);
            let best = (0..text.len()).map(|i| common(&text[i..], &wanted)).max().unwrap_or(0);
            prop_assert_eq!(common(&text[at..], &wanted).min(len), len);
            // A match of a single byte is not looked for.
            prop_assert!(len == best || (best == 1 && len == 0));
        }
    }
}
