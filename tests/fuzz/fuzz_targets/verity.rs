//! A hash tree over a damaged image.
#![no_main]

use libfuzzer_sys::fuzz_target;

fuzz_target!(|bytes: &[u8]| {
    let Some((head, image)) = bytes.split_first_chunk::<36>() else { return };
    let mut root_hash = [0; 32];
    root_hash.copy_from_slice(&head[4..]);
    let (data_blocks, hash_start_block) = (u64::from(head[0]), u64::from(head[1]));
    let params = fruit_image::verity::Params { data_blocks, hash_start_block, root_hash, salt: head[2..4].to_vec() };
    // Zeros follow, enough for some trees and too few for others.
    let mut disk = vec![0; 1 << 20];
    let len = image.len().min(disk.len());
    disk[..len].copy_from_slice(&image[..len]);
    let _ = fruit_image::verity::verify(&disk[..], &params);
});
