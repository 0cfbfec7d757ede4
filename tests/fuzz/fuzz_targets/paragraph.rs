//! deb822 paragraphs.
#![no_main]

use libfuzzer_sys::fuzz_target;

fuzz_target!(|bytes: &[u8]| {
    let _ = fruit_debian::control::Paragraph::parse_all(bytes, "fuzz");
    let _ = fruit_debian::control::Paragraph::parse_one(bytes, "fuzz");
});
