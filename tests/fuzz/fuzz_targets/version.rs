//! Two versions and their order.
#![no_main]

use libfuzzer_sys::fuzz_target;

fuzz_target!(|bytes: &[u8]| {
    let Ok(text) = std::str::from_utf8(bytes) else { return };
    let Some((a, b)) = text.split_once(' ') else { return };
    let (Ok(a), Ok(b)) = (a.parse::<fruit_debian::Version>(), b.parse::<fruit_debian::Version>()) else { return };
    assert_eq!(a.cmp(&b), b.cmp(&a).reverse());
    assert!(a.cmp(&a).is_eq() && b.cmp(&b).is_eq());
});
