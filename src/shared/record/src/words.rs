//! Words by which people compare a node with what a screen shows.

use fruit_base::Sha256;

use crate::id::KeyId;

/// 2,048 English words, ascending, of which no two begin with the same four letters: the list of BIP 39 (MIT licence). It never
/// changes: nodes show what operators read.
const LIST: &str = include_str!("words.txt");
/// Bits of a word's number.
const BITS: u32 = 11;

/// The four words of a node: 44 bits. Whoever wants a key with the same words has
/// to make some 2^44 keys, and needs an invite besides: they tell apart the nodes on a table, and prove nothing in ten years.
#[must_use]
pub fn words(node: &KeyId) -> [&'static str; 4] {
    let digest = Sha256::of(&[b"fruit words 1\n", node.0.as_slice()].concat()).0;
    let number = digest.iter().take(8).fold(0u64, |number, byte| number << 8 | u64::from(*byte));
    let word = |at: u32| (number >> (64 - BITS * (at + 1))) as usize & ((1 << BITS) - 1);
    [0, 1, 2, 3].map(|at| LIST.lines().nth(word(at)).unwrap_or_default())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_list_is_whole() {
        let words: Vec<&str> = LIST.lines().collect();
        assert_eq!((words.len(), words.is_sorted()), (1 << BITS, true));
        let beginnings: std::collections::BTreeSet<&str> =
            words.iter().map(|word| &word[..word.len().min(4)]).collect();
        assert_eq!(beginnings.len(), words.len());
    }

    #[test]
    fn a_node_has_the_same_four_words_everywhere() {
        assert_eq!(words(&KeyId([7; 32])), words(&KeyId([7; 32])));
        let many: std::collections::BTreeSet<_> = (0..=255).map(|n| words(&KeyId([n; 32]))).collect();
        assert_eq!(many.len(), 256);
        assert!(many.iter().flatten().all(|word| (3..=8).contains(&word.len())));
        // What nodes show and operators read must not change.
        assert_eq!(words(&KeyId([7; 32])).join("-"), "quantum-grid-rib-farm");
    }
}
