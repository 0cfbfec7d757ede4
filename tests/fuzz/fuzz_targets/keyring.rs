//! Keyrings, binary and armoured.
#![no_main]

use libfuzzer_sys::fuzz_target;

fuzz_target!(|bytes: &[u8]| {
    let _ = fruit_debian::Keyring::parse(bytes, "fuzz.gpg");
});
