//! The value of `fruit.verity=`.
#![no_main]

use libfuzzer_sys::fuzz_target;

fuzz_target!(|bytes: &[u8]| {
    let Ok(text) = std::str::from_utf8(bytes) else { return };
    if let Ok(params) = text.parse::<fruit_image::verity::Params>() {
        assert_eq!(params.to_string().parse().ok(), Some(params));
    }
});
