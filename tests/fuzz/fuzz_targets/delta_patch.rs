//! Patches of a chunk.
#![no_main]

use fruit_delta::{OldVolume, apply};
use libfuzzer_sys::fuzz_target;

fuzz_target!(|patch: &[u8]| {
    let volumes = fruit_fuzz::old_volumes();
    let old: Vec<OldVolume<'_>> = volumes.iter().map(|v| OldVolume { data: v, len: v.len() as u64 }).collect();
    let mut chunk = vec![0; fruit_fuzz::PATCHED];
    let _ = apply(patch, &old, &mut chunk);
});
