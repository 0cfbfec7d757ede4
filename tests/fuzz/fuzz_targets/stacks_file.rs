//! The operator's list of stacks.
#![no_main]

use std::path::Path;

use libfuzzer_sys::fuzz_target;

fuzz_target!(|bytes: &[u8]| {
    let Ok(text) = std::str::from_utf8(bytes) else { return };
    let _ = fruit_stack::stacks::Stacks::parse(Path::new("stacks.yaml"), text);
});
