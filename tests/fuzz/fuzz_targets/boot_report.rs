//! What fruit-init tells userspace.
#![no_main]

use libfuzzer_sys::fuzz_target;

fuzz_target!(|bytes: &[u8]| {
    let _ = fruit_contract::BootReport::from_json(bytes);
});
