//! Package indices.
#![no_main]

use libfuzzer_sys::fuzz_target;

fuzz_target!(|bytes: &[u8]| {
    let _ = fruit_debian::index::read_packages(bytes, "arm64", 0, "Packages");
});
