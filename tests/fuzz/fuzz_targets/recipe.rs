//! Recipe files.
#![no_main]

use std::path::Path;

use libfuzzer_sys::fuzz_target;

fuzz_target!(|bytes: &[u8]| {
    let _ = fruit_recipe::check_recipe(Path::new("fuzz.yaml"), bytes);
});
