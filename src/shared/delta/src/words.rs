//! The model of old bytes that are almost the new ones: word by word, each predicted from the old word.
//!
//! What differs between two states of a program, of its relocations, of a filesystem's inodes, is mostly numbers that
//! point behind something that grew. Two numbers that pointed near each other move by the same distance, so the model
//! remembers by how much what pointed where has moved.

use crate::arm64::{self, Word};
use crate::mix::{Mixer, Opinion, opinions};
use crate::range::Coder;

/// By how much targets have moved, for any target that was seen, and for the surroundings of each.
struct Moves {
    /// Per level: the place (a key of the surroundings) and the distance. Level 0 is the target itself.
    levels: [Vec<(u32, u32)>; 4],
    shifts: [u32; 4],
}

const MOVES: usize = 1 << 12;

impl Moves {
    fn new(shifts: [u32; 4]) -> Moves {
        Moves { levels: std::array::from_fn(|_| vec![(0, 0); MOVES]), shifts }
    }

    /// The slot of a target's surroundings, and the mark that tells them from others there; 0 marks an empty slot.
    #[inline]
    fn slot(target: u64, shift: u32) -> (usize, u32) {
        let hash = (target >> shift).wrapping_mul(0x9E37_79B9_7F4A_7C15);
        ((hash >> 52) as usize, (hash >> 16) as u32 | 1)
    }

    /// The distance for `target`, and how near the memory of it is (0 is exact, 4 is none).
    #[inline]
    fn get(&self, target: u64) -> (u32, usize) {
        for (level, (slots, shift)) in self.levels.iter().zip(self.shifts).enumerate() {
            let (slot, mark) = Moves::slot(target, shift);
            let (there, moved) = slots[slot];
            if there == mark {
                return (moved, level);
            }
        }
        (0, 4)
    }

    #[inline]
    fn put(&mut self, target: u64, moved: u32) {
        for (slots, shift) in self.levels.iter_mut().zip(self.shifts) {
            let (slot, mark) = Moves::slot(target, shift);
            slots[slot] = (mark, moved);
        }
    }
}

/// Distances between numbers of one table, in words, at which their moves are compared.
const STRIDES: [usize; 6] = [1, 2, 3, 4, 6, 16];
const RING: usize = 32;

/// Bytes of words that are asked about together.
pub const GROUP: usize = 64;

/// A predicted word.
#[derive(Clone, Copy)]
struct Guess {
    word: u32,
    /// Where from, for the contexts.
    origin: usize,
    /// What the old word points to, if it is an instruction that does.
    target: Option<u64>,
    /// How near the memory of its move is ([`Moves::get`]).
    level: usize,
}

/// An old word at its place and at its new one.
#[derive(Clone, Copy)]
struct Operand {
    kind: Word,
    old: u32,
    old_at: u64,
    new_at: u64,
}

const FLAG_INPUTS: usize = 3;
const FLAG_SLOTS: [usize; FLAG_INPUTS] = [1 << 14, 1 << 14, 1 << 15];
const EQUAL_SLOTS: usize = 1 << 10;
const BYTE_INPUTS: usize = 4;
const BYTE_SLOTS: usize = 1 << 17;

pub struct Words {
    addresses: Moves,
    values: Moves,
    /// Per register: the old page and the new one that an `adrp` put there.
    pages: [(u64, u64); 32],
    /// new - old of the last words.
    ring: [u32; RING],
    /// Which of the last words were other than the old ones, newest at bit 0.
    changed: u32,
    /// Which of the last first guesses were wrong.
    missed: u32,
    stride_score: [u32; STRIDES.len()],
    position: usize,
    /// Whether a group of words stays as it is: after one that did, and after one that did not.
    still: [Opinion; 2],
    last_still: bool,
    flags: [Vec<Opinion>; FLAG_INPUTS],
    flag_mixer: Mixer<FLAG_INPUTS>,
    /// How many of a word's high bytes were as guessed.
    equal: [Opinion; EQUAL_SLOTS],
    last_equal: usize,
    bytes: Vec<Opinion>,
    byte_mixer: Mixer<BYTE_INPUTS>,
    last_word: u32,
}

/// The page that an `adrp` at `at` makes.
#[inline]
fn page(at: u64, distance: i32) -> u64 {
    (at & !0xFFF).wrapping_add((i64::from(distance) << 12) as u64)
}

#[inline]
pub fn hash(value: u64) -> usize {
    let h = value.wrapping_mul(0x9E37_79B9_7F4A_7C15);
    ((h ^ h >> 32).wrapping_mul(0xD6E8_FEB8_6659_FD93) >> 24) as usize
}

impl Words {
    pub fn new() -> Words {
        Words {
            addresses: Moves::new([0, 6, 11, 16]),
            values: Moves::new([0, 5, 10, 16]),
            pages: [(0, 0); 32],
            ring: [0; RING],
            changed: 0,
            missed: 0,
            stride_score: [0; STRIDES.len()],
            position: 0,
            still: [Opinion::NEW; 2],
            last_still: false,
            flags: FLAG_SLOTS.map(opinions),
            flag_mixer: Mixer::new(64, 6, 250),
            equal: [Opinion::NEW; EQUAL_SLOTS],
            last_equal: 0,
            bytes: opinions(BYTE_SLOTS),
            byte_mixer: Mixer::new(16, 6, 120),
            last_word: 0,
        }
    }

    /// Whether nothing has changed for so long that whole groups of words are asked about.
    pub fn calm(&self) -> bool {
        self.changed == 0 && self.missed == 0
    }

    /// Codes whether the next [`GROUP`] bytes are as they were.
    pub fn still<C: Coder>(&mut self, coder: &mut C, still: bool) -> bool {
        let still = self.still[usize::from(self.last_still)].code(coder, still);
        self.last_still = still;
        if still {
            for _ in 0..GROUP / 4 {
                self.ring[self.position % RING] = 0;
                self.position = self.position.wrapping_add(1);
            }
        }
        still
    }

    fn ring_at(&self, back: usize) -> u32 {
        self.ring[self.position.wrapping_sub(back) % RING]
    }

    fn best_stride(&self) -> usize {
        let mut best = 0;
        for i in 1..STRIDES.len() {
            if self.stride_score[i] > self.stride_score[best] {
                best = i;
            }
        }
        best
    }

    /// What the word probably became; `next` are the old bytes behind it.
    fn guess(&self, operand: Operand, next: &[u8]) -> Guess {
        let Operand { kind, old, old_at, new_at } = operand;
        let target = match kind {
            Word::Branch { distance, .. } => old_at.wrapping_add((i64::from(distance) * 4) as u64),
            Word::Page { register, distance } => {
                // The address within the page is in an instruction soon behind.
                let low = next.chunks_exact(4).take(6).find_map(|w| {
                    match Word::of(u32::from_le_bytes([w[0], w[1], w[2], w[3]])) {
                        Word::Low { base, offset, .. } if base == register => Some(offset),
                        _ => None,
                    }
                });
                page(old_at, distance).wrapping_add(u64::from(low.unwrap_or(0)))
            }
            Word::Low { base, offset, .. } if self.pages[usize::from(base)].0 != 0 => {
                self.pages[usize::from(base)].0.wrapping_add(u64::from(offset))
            }
            _ => return self.guess_value(old),
        };
        let (moved, level) = self.addresses.get(target);
        if level == 4 {
            return Guess { word: old, origin: 0, target: Some(target), level };
        }
        let now = target.wrapping_add(moved as i32 as u64);
        let word = match kind {
            Word::Page { .. } => arm64::with_pages(old, ((now & !0xFFF).wrapping_sub(new_at & !0xFFF) as i64) >> 12),
            Word::Low { base, scale, .. } => {
                arm64::with_offset(old, now.wrapping_sub(self.pages[usize::from(base)].1) as u32, scale)
            }
            _ => arm64::with_distance(old, (now.wrapping_sub(new_at) as i64) >> 2),
        };
        Guess { word, origin: 1 + level, target: Some(target), level }
    }

    /// What a number probably became.
    fn guess_value(&self, old: u32) -> Guess {
        let (moved, level) = self.values.get(u64::from(old));
        let stride = self.best_stride();
        let beside = self.ring_at(STRIDES[stride]);
        let (moved, origin) = if level < 4 && moved != 0 {
            (moved, 1 + level)
        } else if self.stride_score[stride] > 0 && beside != 0 {
            (beside, 5)
        } else {
            (0, 0)
        };
        Guess { word: old.wrapping_add(moved), origin, target: None, level }
    }

    fn learn(&mut self, operand: Operand, guess: Guess, new: u32) {
        let Operand { kind, old, old_at, new_at } = operand;
        let moved = new.wrapping_sub(old);
        match (kind, Word::of(new), guess.target) {
            (Word::Branch { .. }, Word::Branch { distance, .. }, Some(target)) => {
                let now = new_at.wrapping_add((i64::from(distance) * 4) as u64);
                self.addresses.put(target, now.wrapping_sub(target) as u32);
            }
            (Word::Page { register, distance }, Word::Page { register: same, distance: now }, _)
                if register == same =>
            {
                self.pages[usize::from(register)] = (page(old_at, distance), page(new_at, now));
            }
            (Word::Low { base, .. }, Word::Low { base: same, offset, .. }, Some(target)) if base == same => {
                let now = self.pages[usize::from(base)].1.wrapping_add(u64::from(offset));
                self.addresses.put(target, now.wrapping_sub(target) as u32);
            }
            (Word::Other | Word::Near | Word::Low { .. }, ..)
                if moved != 0 || (guess.target.is_none() && guess.level < 4) =>
            {
                self.values.put(u64::from(old), moved);
            }
            _ => {}
        }
        if moved != 0 {
            for (i, stride) in STRIDES.into_iter().enumerate() {
                let same = self.ring_at(stride) == moved;
                let score = &mut self.stride_score[i];
                *score -= *score >> 4;
                *score += u32::from(same) << 12;
            }
        }
        self.ring[self.position % RING] = moved;
        self.position = self.position.wrapping_add(1);
        self.changed = self.changed << 1 | u32::from(moved != 0);
        self.last_word = new;
    }

    /// Codes the word that is at `new_at` and was `old` at `old_at`.
    #[inline]
    pub fn code<C: Coder>(&mut self, coder: &mut C, old: u32, old_at: u64, new_at: u64, next: &[u8], new: u32) -> u32 {
        let kind = Word::of(old);
        let operand = Operand { kind, old, old_at, new_at };
        let guess = self.guess(operand, next);
        let differs = guess.word != old;
        let (first, second) = (guess.word, differs.then_some(old));
        let class = kind.class() << 4 | guess.origin << 1 | usize::from(differs);
        let got = if self.flag(coder, 0, class, old, new == first) {
            self.missed <<= 1;
            first
        } else {
            self.missed = self.missed << 1 | 1;
            match second {
                Some(second) if self.flag(coder, 1, class, old, new == second) => second,
                _ => self.explicit(coder, kind.class(), first, old, new),
            }
        };
        self.learn(operand, guess, got);
        got
    }

    fn flag<C: Coder>(&mut self, coder: &mut C, which: usize, class: usize, old: u32, bit: bool) -> bool {
        let strides = (0..STRIDES.len()).fold(0, |bits, i| bits << 1 | (self.changed >> (STRIDES[i] - 1) & 1));
        let class = class << 1 | which;
        let parts = [
            class << 6 | (self.missed & 0x3F) as usize,
            class << 6 | strides as usize,
            hash(u64::from(old) << 8 | class as u64),
        ];
        let [a, b, c] = &mut self.flags;
        let at = [
            &mut a[parts[0] & (FLAG_SLOTS[0] - 1)],
            &mut b[parts[1] & (FLAG_SLOTS[1] - 1)],
            &mut c[parts[2] & (FLAG_SLOTS[2] - 1)],
        ];
        self.flag_mixer.code(coder, (class >> 5 & 7) | which << 3 | (class >> 1 & 1) << 4, at, bit)
    }

    /// Codes a word that none of the guesses was: how many of its high bytes are as guessed, then the others.
    fn explicit<C: Coder>(&mut self, coder: &mut C, class: usize, guess: u32, old: u32, new: u32) -> u32 {
        let equal = ((guess ^ new).leading_zeros() / 8).min(3) as usize;
        let context = (class << 4 | self.last_equal & 15) << 2;
        let high = self.equal[context | 1].code(coder, equal >> 1 == 1);
        let low = self.equal[context | 2 | usize::from(high)].code(coder, equal & 1 == 1);
        let equal = usize::from(high) << 1 | usize::from(low);
        self.last_equal = self.last_equal << 2 | equal;
        let left = 4 - equal;
        let mut got = guess & !(u32::MAX >> (8 * equal));
        for i in (0..left).rev() {
            let shift = 8 * i as u32;
            let place = (left << 2 | i | class << 5) as u64;
            let byte = |word: u32| u64::from(word >> shift & 0xFF);
            let contexts = [
                hash(place << 32 | byte(guess) << 8 | byte(old) | 1 << 48),
                hash(place << 32 | u64::from((u64::from(got) >> (shift + 8)) as u16) | 2 << 48),
                hash(place << 32 | u64::from((guess >> shift) as u16) | 3 << 48),
                hash(place << 32 | byte(self.last_word) | 4 << 48),
            ];
            let byte = self.byte(coder, contexts, left << 1 | usize::from(i + 1 == left), (new >> shift) as u8);
            got |= u32::from(byte) << shift;
        }
        got
    }

    /// Codes a byte outside of whole words, which was `old`.
    pub fn single<C: Coder>(&mut self, coder: &mut C, old: u8, new: u8) -> u8 {
        let contexts = std::array::from_fn(|i| hash(u64::from(old) | (8 + i as u64) << 48));
        self.byte(coder, contexts, 0, new)
    }

    fn byte<C: Coder>(&mut self, coder: &mut C, contexts: [usize; BYTE_INPUTS], set: usize, new: u8) -> u8 {
        code_byte(coder, &mut self.byte_mixer, &mut self.bytes, contexts, set, new)
    }
}

/// Codes a byte, bit by bit from the highest, in several contexts (hashes).
pub fn code_byte<C: Coder, const N: usize>(
    coder: &mut C,
    mixer: &mut Mixer<N>,
    opinions: &mut [Opinion],
    contexts: [usize; N],
    set: usize,
    byte: u8,
) -> u8 {
    // Sixteen opinions of one context side by side for each half of the byte.
    let groups = opinions.len() / N / 16;
    let mut got = 1usize;
    for half in 0..2 {
        let salt = if half == 0 { 0 } else { got.wrapping_mul(0x9E37_79B1) };
        let mut tables = opinions.chunks_exact_mut(opinions.len() / N);
        let mut of = contexts.map(|context| {
            let table: &mut [Opinion] = tables.next().unwrap_or_default();
            let group = (context ^ salt) & (groups - 1);
            &mut table[group * 16..][..16]
        });
        let mut node = 1;
        for i in 0..4 {
            let bit = mixer.code(
                coder,
                set,
                of.each_mut().map(|group| &mut group[node]),
                byte >> (7 - half * 4 - i) & 1 == 1,
            );
            node = node << 1 | usize::from(bit);
            got = got << 1 | usize::from(bit);
        }
    }
    got as u8
}
