//! The boot-control block, as found and with its checksums mended.
#![no_main]

use fruit_fuzz::crc32;
use libfuzzer_sys::fuzz_target;

fuzz_target!(|bytes: &[u8]| {
    let mut block = bytes.to_vec();
    for copy in block.chunks_exact_mut(512) {
        let sum = crc32(&copy[..508]);
        copy[508..].copy_from_slice(&sum.to_be_bytes());
    }
    for block in [bytes, &block] {
        let _ = fruit_contract::bootctl::Stored::from_block(block);
        if let Ok(control) = fruit_contract::BootControl::decode(block) {
            assert_eq!(fruit_contract::BootControl::decode(&control.encode()), Ok(control));
        }
    }
});
