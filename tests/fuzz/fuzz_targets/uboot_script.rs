//! Boot scripts of U-Boot, as found and with their checksums mended.
#![no_main]

use fruit_fuzz::crc32;
use libfuzzer_sys::fuzz_target;

fuzz_target!(|bytes: &[u8]| {
    let _ = fruit_image::uboot::parse_script(bytes);
    let mut mended = bytes.to_vec();
    if mended.len() > 64 {
        let size = (mended.len() - 64) as u32;
        let data = crc32(&mended[64..]);
        mended[12..16].copy_from_slice(&size.to_be_bytes());
        mended[24..28].copy_from_slice(&data.to_be_bytes());
        mended[4..8].fill(0);
        let head = crc32(&mended[..64]);
        mended[4..8].copy_from_slice(&head.to_be_bytes());
    }
    let _ = fruit_image::uboot::parse_script(&mended);
});
