//! The arithmetic coder: binary decisions, each with its probability, to and from bytes.
//!
//! A 64-bit range is refilled 32 bits at a time, so that a decision costs one multiplication and rarely a branch.

/// Codes decisions in one direction or the other: what a model does is written once, for both.
pub trait Coder {
    /// Codes a decision whose probability of being true is `chance` of 65536 (1 to 65535). A decoder ignores `bit`.
    fn code(&mut self, bit: bool, chance: u32) -> bool;

    /// Codes a number of which nothing is known.
    fn even(&mut self, value: u16) -> u16;

    /// Codes the low `count` (at most 32) bits of `value`, for which nothing is known.
    fn raw(&mut self, value: u32, count: u32) -> u32 {
        (0..count).rev().fold(0, |got, i| got << 1 | u32::from(self.code(value >> i & 1 == 1, 1 << 15)))
    }
}

/// Bytes that a decoder takes at its start, and of which the last ones may be zeros that were not written.
const WINDOW: usize = 8;

pub struct Decoder<'p> {
    bytes: &'p [u8],
    /// Bytes taken, including those behind the end, which are zero.
    taken: usize,
    code: u64,
    range: u64,
}

impl<'p> Decoder<'p> {
    pub fn new(bytes: &'p [u8]) -> Decoder<'p> {
        let mut decoder = Decoder { bytes, taken: 0, code: 0, range: u64::MAX };
        decoder.code = u64::from(decoder.word()) << 32;
        decoder.code |= u64::from(decoder.word());
        decoder
    }

    /// Bytes taken, which goes beyond those that there are if the patch was cut off.
    pub fn taken(&self) -> usize {
        self.taken
    }

    #[inline]
    fn refill(&mut self) {
        if self.range < 1 << 32 {
            self.code = self.code << 32 | u64::from(self.word());
            self.range <<= 32;
        }
    }

    #[inline]
    fn word(&mut self) -> u32 {
        let word = match self.bytes.get(self.taken..).and_then(|rest| rest.first_chunk()) {
            Some(word) => u32::from_be_bytes(*word),
            None => {
                let rest = self.bytes.get(self.taken..).unwrap_or_default();
                let mut word = [0; 4];
                word[..rest.len()].copy_from_slice(rest);
                u32::from_be_bytes(word)
            }
        };
        self.taken = self.taken.saturating_add(4);
        word
    }
}

impl Coder for Decoder<'_> {
    #[inline]
    fn code(&mut self, _: bool, chance: u32) -> bool {
        let bound = (self.range >> 16) * u64::from(chance);
        let bit = self.code < bound;
        if bit {
            self.range = bound;
        } else {
            // A hostile patch may start outside of the range; nothing but wrong bytes follows from it.
            self.code = self.code.wrapping_sub(bound);
            self.range -= bound;
        }
        self.refill();
        bit
    }

    #[inline]
    fn even(&mut self, _: u16) -> u16 {
        self.range >>= 16;
        let value = (self.code / self.range).min(u16::MAX.into());
        self.code = self.code.wrapping_sub(value * self.range);
        self.refill();
        value as u16
    }
}

/// How many zero bytes at the end of a patch are not written: those that a decoder may take without them being there.
pub const MAX_TRIMMED: usize = WINDOW;

#[cfg(feature = "encode")]
pub struct Encoder {
    low: u64,
    range: u64,
    bytes: Vec<u8>,
}

#[cfg(feature = "encode")]
impl Encoder {
    pub fn new() -> Encoder {
        Encoder { low: 0, range: u64::MAX, bytes: Vec::new() }
    }

    /// The bytes, and how many zeros behind them were left out.
    pub fn finish(mut self) -> (Vec<u8>, usize) {
        // Of all numbers that lead a decoder here, the one with the most zeros at its end.
        let rounded = (0..64).rev().step_by(8).find_map(|bits: u32| {
            let mask = (1u64 << bits) - 1;
            let (up, carry) = self.low.overflowing_add(mask);
            let value = up & !mask;
            (value.wrapping_sub(self.low) < self.range).then_some((value, carry))
        });
        let (value, carry) = rounded.unwrap_or((self.low, false));
        if carry {
            self.carry();
        }
        self.bytes.extend(value.to_be_bytes());
        let zeros = self.bytes.iter().rev().take(MAX_TRIMMED).take_while(|b| **b == 0).count();
        self.bytes.truncate(self.bytes.len() - zeros);
        (self.bytes, zeros)
    }

    #[inline]
    fn add(&mut self, amount: u64) {
        let (low, carry) = self.low.overflowing_add(amount);
        self.low = low;
        if carry {
            self.carry();
        }
    }

    #[inline]
    fn emit(&mut self) {
        if self.range < 1 << 32 {
            self.bytes.extend(((self.low >> 32) as u32).to_be_bytes());
            self.low <<= 32;
            self.range <<= 32;
        }
    }

    fn carry(&mut self) {
        for byte in self.bytes.iter_mut().rev() {
            *byte = byte.wrapping_add(1);
            if *byte != 0 {
                break;
            }
        }
    }
}

#[cfg(feature = "encode")]
impl Coder for Encoder {
    #[inline]
    fn code(&mut self, bit: bool, chance: u32) -> bool {
        let bound = (self.range >> 16) * u64::from(chance);
        if bit {
            self.range = bound;
        } else {
            self.add(bound);
            self.range -= bound;
        }
        self.emit();
        bit
    }

    #[inline]
    fn even(&mut self, value: u16) -> u16 {
        self.range >>= 16;
        self.add(u64::from(value) * self.range);
        self.emit();
        value
    }
}
