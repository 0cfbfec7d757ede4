//! Maintainer scripts, which are read and never run.
#![no_main]

use libfuzzer_sys::fuzz_target;

fuzz_target!(|bytes: &[u8]| {
    let Ok(text) = std::str::from_utf8(bytes) else { return };
    let _ = fruit_root::scripts::commands("fuzz", "postinst", text);
});
