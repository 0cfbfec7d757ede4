//! The archives in a package.
#![no_main]

use libfuzzer_sys::fuzz_target;

fuzz_target!(|bytes: &[u8]| {
    let _ = fruit_debian::package::read_entries(bytes, "fuzz.deb");
    let _ = fruit_debian::package::Control::read(bytes, "fuzz.deb");
});
