//! A pattern and a path.
#![no_main]

use libfuzzer_sys::fuzz_target;

fuzz_target!(|bytes: &[u8]| {
    let Ok(text) = std::str::from_utf8(bytes) else { return };
    let Some((pattern, path)) = text.split_once('\n') else { return };
    if let Ok(glob) = fruit_root::glob::Glob::new(pattern) {
        let _ = glob.matches(path);
        let _ = glob.covers(path);
    }
});
