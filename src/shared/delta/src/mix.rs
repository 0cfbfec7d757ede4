//! Probabilities that learn, and their mixture.
//!
//! Several contexts each have an opinion of the next decision; the opinions are added in the logistic domain with
//! weights that learn too. All arithmetic is on integers: workstation and node must agree to the last bit.

use crate::range::Coder;

/// Units of the logistic domain in one nat.
const NAT: f64 = 256.0;
/// Largest stretched probability: 8 nats, a chance of 1 in 2981.
const LIMIT: i32 = 2047;

/// Largest weight, 64: whatever is decoded, none leaves an i32.
const MOST_WEIGHT: i32 = 1 << 22;

/// `65536 / (1 + e^(-x/256))` for x from -2048 to 2047.
static SQUASH: [u16; 4096] = squash_table();
/// The inverse, for 12-bit probabilities.
static STRETCH: [i16; 4096] = stretch_table();
/// By how much an opinion moves after `n` decisions: 1 / (n + 1.5), of 8192.
static RATE: [i32; 256] = rate_table();

const fn exp(x: f64) -> f64 {
    // Taylor's series for a small part, then squarings.
    let part = x / 1024.0;
    let (mut sum, mut term, mut i) = (1.0, 1.0, 1);
    while i < 12 {
        term = term * part / i as f64;
        sum += term;
        i += 1;
    }
    let mut n = 0;
    while n < 10 {
        sum *= sum;
        n += 1;
    }
    sum
}

const fn squash_table() -> [u16; 4096] {
    let mut table = [0; 4096];
    let mut i = 0;
    while i < 4096 {
        let p = 65536.0 / (1.0 + exp((2048 - i as i32) as f64 / NAT));
        table[i] = if p < 16.0 {
            16
        } else if p > 65520.0 {
            65520
        } else {
            p as u16
        };
        i += 1;
    }
    table
}

const fn stretch_table() -> [i16; 4096] {
    let squash = squash_table();
    let mut table = [0; 4096];
    let (mut p, mut x) = (0, 0);
    while p < 4096 {
        while x < 4095 && (squash[x] as usize) < p * 16 + 8 {
            x += 1;
        }
        table[p] = x as i16 - 2048;
        p += 1;
    }
    table
}

const fn rate_table() -> [i32; 256] {
    let mut table = [0; 256];
    let mut n = 0;
    while n < 256 {
        table[n] = (8192.0 / (n as f64 + 1.5)) as i32;
        n += 1;
    }
    table
}

/// A probability (22 bits, from the middle, so that memory full of zeros is memory full of new ones) and how many
/// decisions made it (10 bits).
#[derive(Clone, Copy, Default)]
pub struct Opinion(u32);

const MIDDLE: u32 = 1 << 31;

impl Opinion {
    pub const NEW: Opinion = Opinion(0);

    #[inline]
    fn stretched(self) -> i32 {
        i32::from(STRETCH[((self.0 ^ MIDDLE) >> 20) as usize])
    }

    /// Of 65536, never sure.
    #[inline]
    fn chance(self) -> u32 {
        ((self.0 ^ MIDDLE) >> 16).clamp(32, 65504)
    }

    #[inline]
    fn learn(&mut self, bit: bool, limit: u32) {
        let state = self.0 ^ MIDDLE;
        let n = state & 1023;
        let target = if bit { (1 << 22) - 1 } else { 0 };
        // 22 bits less 4, times 13: within an i32.
        let step = ((target - (state >> 10) as i32) >> 4) * RATE[(n & 255) as usize];
        let moved = state.wrapping_add((step << 1) as u32 & !1023);
        self.0 = (moved + u32::from(n < limit)) ^ MIDDLE;
    }

    /// Codes a decision with this one's opinion alone.
    #[inline]
    pub fn code<C: Coder>(&mut self, coder: &mut C, bit: bool) -> bool {
        let bit = coder.code(bit, self.chance());
        self.learn(bit, 60);
        bit
    }
}

/// `len` opinions, a power of two.
pub fn opinions(len: usize) -> Vec<Opinion> {
    // The standard library takes fresh pages for zeros: those that no context comes to cost nothing.
    vec![0; len].into_iter().map(Opinion).collect()
}

/// Weights for `N` opinions, in several sets.
pub struct Mixer<const N: usize> {
    weights: Vec<[i32; N]>,
    rate: i32,
    limit: u32,
}

impl<const N: usize> Mixer<N> {
    /// `limit` is after how many decisions an opinion no longer learns more slowly, up to 255.
    pub fn new(sets: usize, rate: i32, limit: u32) -> Mixer<N> {
        let even = (65536.0 * 1.2 / N as f64) as i32;
        Mixer { weights: vec![[even; N]; sets], rate, limit }
    }

    /// Codes a decision with `opinions`, mixed by the weights of `set`.
    #[inline]
    pub fn code<C: Coder>(&mut self, coder: &mut C, set: usize, opinions: [&mut Opinion; N], bit: bool) -> bool {
        let weights = &mut self.weights[set];
        let mut stretched = [0; N];
        let mut sum = 0i64;
        for i in 0..N {
            stretched[i] = opinions[i].stretched();
            sum += i64::from(stretched[i]) * i64::from(weights[i]);
        }
        let mixed = ((sum >> 16) as i32).clamp(-LIMIT, LIMIT);
        let chance = u32::from(SQUASH[(mixed + 2048) as usize]);
        let bit = coder.code(bit, chance);
        // 17 bits with the sign, times 12 with the sign, times a rate below 4: within an i32.
        let error = (((if bit { 65535 } else { 0 }) - chance as i32) * self.rate) >> 2;
        for (i, opinion) in opinions.into_iter().enumerate() {
            weights[i] = (weights[i] + ((stretched[i] * error) >> 16)).clamp(-MOST_WEIGHT, MOST_WEIGHT);
            opinion.learn(bit, self.limit);
        }
        bit
    }
}

/// A number that is small more often than not: its length by opinions, then its first bits, then the rest as it is.
pub struct Number {
    lengths: [Opinion; 64],
    firsts: [[Opinion; 8]; 33],
}

impl Number {
    pub fn new() -> Number {
        Number { lengths: [Opinion::NEW; 64], firsts: [[Opinion::NEW; 8]; 33] }
    }

    /// Codes a number below 2^32 - 1.
    pub fn code<C: Coder>(&mut self, coder: &mut C, value: u32) -> u32 {
        let plus = value.wrapping_add(1);
        let bits = plus.checked_ilog2().unwrap_or(0);
        let mut node = 1;
        for i in (0..5).rev() {
            let bit = self.lengths[node].code(coder, bits >> i & 1 == 1);
            node = node << 1 | usize::from(bit);
        }
        let bits = node as u32 - 32;
        let (modelled, mut got, mut node) = (bits.min(3), 1u32, 1);
        for i in 0..modelled {
            let bit = self.firsts[bits as usize][node & 7].code(coder, plus >> (bits - 1 - i) & 1 == 1);
            node = node << 1 | usize::from(bit);
            got = got << 1 | u32::from(bit);
        }
        let rest = bits - modelled;
        if rest > 0 {
            let low = coder.raw(plus & ((1u64 << rest) - 1) as u32, rest);
            got = got << rest | low;
        }
        got.wrapping_sub(1)
    }
}
