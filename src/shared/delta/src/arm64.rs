//! What the codec knows of AArch64 instructions: which bits of a word are an address that moves when code grows.
//!
//! Encodings: Arm Architecture Reference Manual for A-profile (DDI 0487), section C4.1. Any word may be data that looks
//! like an instruction: then predictions fail and cost a little, nothing else.

/// A word of code or data, by what is in it.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Word {
    /// `bl` (link) or `b`: 26-bit distance in words.
    Branch {
        link: bool,
        distance: i32,
    },
    /// `adrp`: distance in pages of 4 KiB.
    Page {
        register: u8,
        distance: i32,
    },
    /// `add` or a load or store, with a 12-bit unsigned offset: the low part of an address whose page is in `base`.
    Low {
        base: u8,
        offset: u32,
        scale: u8,
        load: bool,
    },
    /// `b.cond`, `cbz`, `tbz` and the like: short distances.
    Near,
    Other,
}

impl Word {
    #[inline]
    pub fn of(word: u32) -> Word {
        match word >> 24 {
            0x14..=0x17 => Word::Branch { link: false, distance: (word << 6) as i32 >> 6 },
            0x94..=0x97 => Word::Branch { link: true, distance: (word << 6) as i32 >> 6 },
            0x90 | 0xB0 | 0xD0 | 0xF0 => {
                let high = (word >> 5 & 0x7FFFF) << 2 | word >> 29 & 3;
                Word::Page { register: (word & 31) as u8, distance: (high << 11) as i32 >> 11 }
            }
            // 64-bit, not shifted by 12.
            0x91 if word >> 22 & 1 == 0 => {
                Word::Low { base: (word >> 5 & 31) as u8, offset: word >> 10 & 0xFFF, scale: 0, load: false }
            }
            0x39 | 0x79 | 0xB9 | 0xF9 => {
                let scale = (word >> 30) as u8;
                Word::Low { base: (word >> 5 & 31) as u8, offset: (word >> 10 & 0xFFF) << scale, scale, load: true }
            }
            // The same of floating-point registers; opc<1> makes it 128 bits.
            0x3D | 0x7D | 0xBD | 0xFD => {
                let scale = if word >> 23 & 1 == 1 { 4 } else { (word >> 30) as u8 };
                Word::Low { base: (word >> 5 & 31) as u8, offset: (word >> 10 & 0xFFF) << scale, scale, load: true }
            }
            0x54 | 0x34..=0x37 | 0xB4..=0xB7 => Word::Near,
            _ => Word::Other,
        }
    }

    /// A small number for each kind.
    #[inline]
    pub fn class(self) -> usize {
        match self {
            Word::Other => 0,
            Word::Branch { link: true, .. } => 1,
            Word::Branch { link: false, .. } => 2,
            Word::Page { .. } => 3,
            Word::Low { load: false, .. } => 4,
            Word::Low { load: true, .. } => 5,
            Word::Near => 6,
        }
    }
}

/// `word`, a branch, with another distance.
#[inline]
pub fn with_distance(word: u32, words: i64) -> u32 {
    word & 0xFC00_0000 | words as u32 & 0x03FF_FFFF
}

/// `word`, an `adrp`, with another distance.
#[inline]
pub fn with_pages(word: u32, pages: i64) -> u32 {
    let pages = pages as u32;
    word & 0x9F00_001F | (pages & 3) << 29 | (pages >> 2 & 0x7FFFF) << 5
}

/// `word`, a [`Word::Low`], with another offset in bytes.
#[inline]
pub fn with_offset(word: u32, bytes: u32, scale: u8) -> u32 {
    word & !(0xFFF << 10) | (bytes >> scale & 0xFFF) << 10
}

/// `word` without the bits that move, so that the same code at another place is the same.
#[cfg(feature = "encode")]
pub fn without_addresses(word: u32) -> u32 {
    match Word::of(word) {
        Word::Branch { .. } => word & 0xFC00_0000,
        Word::Page { .. } => word & 0x9F00_001F,
        Word::Low { load: false, .. } => with_offset(word, 0, 0),
        // Offsets into a structure tell functions apart.
        Word::Low { load: true, .. } | Word::Other => word,
        Word::Near if matches!(word >> 24, 0x36 | 0x37 | 0xB6 | 0xB7) => word & !(0x3FFF << 5),
        Word::Near => word & !(0x7FFFF << 5),
    }
}
