//! Host names with placeholders.
#![no_main]

use libfuzzer_sys::fuzz_target;

fuzz_target!(|bytes: &[u8]| {
    let Ok(text) = std::str::from_utf8(bytes) else { return };
    if let Ok(template) = text.parse::<fruit_contract::HostNameTemplate>() {
        let _ = template.expand(&fruit_contract::HostFacts::default());
    }
});
