//! The account that the agent keeps across boots.
#![no_main]

use libfuzzer_sys::fuzz_target;

fuzz_target!(|bytes: &[u8]| {
    let _ = fruit_agent::account::record::decode(bytes);
});
