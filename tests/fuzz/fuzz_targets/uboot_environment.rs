//! Saved environments of U-Boot, as found and with their checksum mended.
#![no_main]

use fruit_fuzz::crc32;
use libfuzzer_sys::fuzz_target;

fuzz_target!(|bytes: &[u8]| {
    let _ = fruit_image::uboot::parse_environment(bytes);
    let sum = bytes.get(4..).map_or(0, crc32).to_le_bytes();
    let mended: Vec<u8> = sum.iter().chain(bytes.get(4..).unwrap_or_default()).copied().collect();
    let _ = fruit_image::uboot::parse_environment(&mended);
});
