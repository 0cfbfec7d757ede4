//! Lock files.
#![no_main]

use libfuzzer_sys::fuzz_target;

fuzz_target!(|bytes: &[u8]| {
    let Ok(text) = std::str::from_utf8(bytes) else { return };
    if let Ok(lock) = fruit_debian::Lock::parse(text) {
        let shown = lock.to_text();
        assert_eq!(fruit_debian::Lock::parse(&shown).map(|again| again.to_text()), Ok(shown));
    }
});
