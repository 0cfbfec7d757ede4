//! Which short strings a text has: most places of a new text need no search, since they begin with one that the old text
//! has nowhere.

/// Bytes of a string: a match that is worth anything is longer than [`super::diff`] lets one of 8 be.
pub const GRAM: usize = 9;

/// The strings of a text, as a table of bits. It may say yes to strings that the text does not have.
pub struct Grams {
    bits: Vec<u64>,
    shift: u32,
}

impl Grams {
    /// Takes a byte of memory, or two, for each byte of the text.
    pub fn new(text: &[u8]) -> Grams {
        let log = (text.len() as u64 * 8).next_power_of_two().max(1 << 12).ilog2().min(34);
        let mut grams = Grams { bits: vec![0; 1 << (log - 6)], shift: 64 - log };
        for gram in text.windows(GRAM) {
            let (word, bits) = grams.place(gram);
            grams.bits[word] |= bits;
        }
        grams
    }

    fn place(&self, gram: &[u8]) -> (usize, u64) {
        let head = gram.first_chunk::<8>().map_or(0, |head| u64::from_le_bytes(*head));
        let last = u64::from(gram.get(8).copied().unwrap_or(0));
        let mixed = head.wrapping_mul(0x9E37_79B9_7F4A_7C15).rotate_left(29) ^ last.wrapping_mul(0xD6E8_FEB8_6659_FD93);
        let hash = mixed.wrapping_mul(0x2545_F491_4F6C_DD1D);
        // Three bits of one word: one place of memory, and half as many mistakes as with one bit.
        let bits = 1 << (hash & 63) | 1 << (hash >> 6 & 63) | 1 << (hash >> 12 & 63);
        (((hash >> self.shift) >> 6) as usize, bits)
    }

    /// Whether the text may have the string at the start of `text`, which has at least [`GRAM`] bytes.
    pub fn may_have(&self, text: &[u8]) -> bool {
        let (word, bits) = self.place(text);
        self.bits[word] & bits == bits
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    proptest! {
        #[test]
        fn whatever_the_text_has_is_said_to_be_there(text in proptest::collection::vec(any::<u8>(), 0..600)) {
            let grams = Grams::new(&text);
            for gram in text.windows(GRAM) {
                prop_assert!(grams.may_have(gram));
            }
        }
    }

    #[test]
    fn most_of_what_it_has_not_is_said_to_be_missing() {
        let word = |i: u32| i.wrapping_mul(0x9E37_79B9).to_le_bytes();
        let text: Vec<u8> = (0..50_000).flat_map(word).collect();
        let other: Vec<u8> = (50_000..100_000).flat_map(word).collect();
        let grams = Grams::new(&text);
        let wrong = other.windows(GRAM).filter(|gram| grams.may_have(gram)).count();
        assert!(wrong < other.len() / 12, "{wrong} of {}", other.len());
    }
}
