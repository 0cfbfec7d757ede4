//! The user's `fruit.yaml`, which fruit-init reads as root before anything else runs.
#![no_main]

use libfuzzer_sys::fuzz_target;

fuzz_target!(|bytes: &[u8]| {
    let _ = fruit_contract::read(bytes);
    let _ = fruit_contract::line_of(bytes, "network");
});
