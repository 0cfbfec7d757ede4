//! What stands on the data partition of a card that someone else had in hand.
#![no_main]

use libfuzzer_sys::fuzz_target;

fuzz_target!(|bytes: &[u8]| {
    let _ = fruit_init::ext4::identify_bytes(bytes);
});
