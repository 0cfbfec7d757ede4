//! The model of bytes that come from nowhere: contexts of the bytes before them.

use crate::mix::{Mixer, Opinion, opinions};
use crate::range::Coder;
use crate::words::{code_byte, hash};

const INPUTS: usize = 4;
const SLOTS: usize = 1 << 18;

pub struct Literals {
    opinions: Vec<Opinion>,
    mixer: Mixer<INPUTS>,
}

impl Literals {
    pub fn new() -> Literals {
        Literals { opinions: opinions(SLOTS), mixer: Mixer::new(4, 6, 120) }
    }

    /// Codes the byte behind `before`.
    pub fn code<C: Coder>(&mut self, coder: &mut C, before: &[u8], byte: u8) -> u8 {
        let back = |n: usize| u64::from(before.len().checked_sub(n).map_or(0, |at| before[at]));
        let column = before.len() & 3;
        let two = back(1) << 8 | back(2);
        let contexts = [
            hash(back(1) | 1 << 48),
            hash(two | 2 << 48),
            hash(two << 16 | back(3) << 8 | back(4) | 3 << 48),
            hash(back(4) << 16 | back(8) << 8 | column as u64 | 4 << 48),
        ];
        code_byte(coder, &mut self.mixer, &mut self.opinions, contexts, column, byte)
    }
}
