//! Relations between packages.
#![no_main]

use libfuzzer_sys::fuzz_target;

fuzz_target!(|bytes: &[u8]| {
    let Ok(text) = std::str::from_utf8(bytes) else { return };
    if let Ok(relations) = fruit_debian::relation::Relations::parse(text) {
        let shown = relations.to_string();
        assert_eq!(fruit_debian::relation::Relations::parse(&shown).as_ref(), Ok(&relations), "{shown}");
    }
});
