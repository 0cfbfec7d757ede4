//! The format does not change unnoticed: nodes in the field read what this version writes.

use fruit_delta::{OldVolume, Options, Source, Volume, apply, encode};

/// Old and new bytes of which the patch has every kind of operation: numbers that moved, text, a repetition, noise.
fn states() -> (Vec<u8>, Vec<u8>) {
    let words = |add: u32| (0..3000u32).flat_map(move |i| (i * 24 + if i > 900 { add } else { 0 }).to_le_bytes());
    let old: Vec<u8> = words(0).collect();
    let mut new: Vec<u8> = words(40).collect();
    new.splice(5000..5000, *b"a text that the old bytes do not have");
    new.splice(5500..5500, std::iter::repeat_n(*b"again, ", 30).flatten());
    let mut state = 1u64;
    let noise = std::iter::repeat_with(|| {
        state = state.wrapping_mul(6364136223846793005).wrapping_add(1);
        (state >> 56) as u8
    });
    new.splice(8001..8001, noise.take(600));
    (old, new)
}

fn hex(bytes: &[u8]) -> String {
    bytes.iter().map(|b| format!("{b:02x}")).collect()
}

#[test]
fn the_patch_of_known_states_is_the_known_one() {
    let (old, new) = states();
    let volume = |data, len: usize| Volume { data, len: len as u64, files: Vec::new() };
    let options = Options { threads: 1, ..Options::default() };
    let made = encode(&[volume(&old, old.len())], &[volume(&new, new.len())], &options, &|_, _| {}).unwrap();
    let Source::Patch(patch) = &made[0][0] else { panic!("{made:?}") };
    assert_eq!(hex(patch), include_str!("known.hex").trim());
}

#[test]
fn the_known_patch_makes_the_known_bytes() {
    let (old, new) = states();
    let text = include_str!("known.hex").trim();
    let byte = |i: usize| u8::from_str_radix(&text[2 * i..2 * i + 2], 16).unwrap();
    let patch: Vec<u8> = (0..text.len() / 2).map(byte).collect();
    let mut out = vec![0; new.len()];
    apply(&patch, &[OldVolume { data: &old, len: old.len() as u64 }], &mut out).unwrap();
    assert!(out == new);
}
