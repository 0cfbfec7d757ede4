//! Writes the seeds. It stands here as one more fuzzer, which ends before its first run: so all is compiled once, with what
//! fuzzers report.
#![no_main]

use std::path::Path;

libfuzzer_sys::fuzz_target!(
    init: {
        let here = Path::new(env!("CARGO_MANIFEST_DIR"));
        fruit_fuzz::seeds::write(&here.join("seeds"), &here.join("../.."));
        std::process::exit(0)
    },
    |_: &[u8]| {}
);
