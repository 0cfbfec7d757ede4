//! The user's `fruit.yaml`, which fruit-init reads as root before anything else runs.
#![no_main]

use libfuzzer_sys::fuzz_target;

fuzz_target!(|bytes: &[u8]| {
    let _ = fruit_node::read(bytes);
    let _ = fruit_node::line_of(bytes, "network");
});
