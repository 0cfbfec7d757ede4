//! The model of bytes that come from nowhere: contexts of the bytes before them.

use crate::mix::{Mixer, Opinion};
use crate::range::Coder;
use crate::words::code_byte;

const INPUTS: usize = 6;
const SLOTS: usize = 1 << 19;

pub struct Literals {
    opinions: Vec<Opinion>,
    mixer: Mixer<INPUTS>,
}

impl Literals {
    pub fn new() -> Literals {
        Literals { opinions: vec![Opinion::NEW; SLOTS], mixer: Mixer::new(4, 6, 120) }
    }

    /// Codes the byte behind `before`.
    pub fn code<C: Coder>(&mut self, coder: &mut C, before: &[u8], byte: u8) -> u8 {
        let back = |n: usize| u64::from(before.len().checked_sub(n).map_or(0, |at| before[at]));
        let column = before.len() & 3;
        let (one, two) = (back(1), back(1) << 8 | back(2));
        let four = two << 16 | back(3) << 8 | back(4);
        let hash = |i: u64, value: u64| {
            let h = (value << 3 | i).wrapping_mul(0x9E37_79B9_7F4A_7C15);
            ((h ^ h >> 32).wrapping_mul(0xD6E8_FEB8_6659_FD93) >> 24) as usize
        };
        let contexts = [
            hash(0, column as u64),
            hash(1, one),
            hash(2, two),
            hash(3, four >> 8),
            hash(4, four),
            hash(5, back(4) << 16 | back(8) << 8 | column as u64),
        ];
        code_byte(coder, &mut self.mixer, &mut self.opinions, contexts, column, byte)
    }
}
