//! Whole packages.
#![no_main]

use libfuzzer_sys::fuzz_target;

fuzz_target!(|bytes: &[u8]| {
    let _ = fruit_debian::package::read_deb(bytes, "fuzz.deb");
});
