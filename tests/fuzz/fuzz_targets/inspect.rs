//! A whole card as `fruitbuild inspect` looks at it.
#![no_main]

use fruit_fuzz::{ZeroDisk, mend_gpt};
use libfuzzer_sys::fuzz_target;

fuzz_target!(|bytes: &[u8]| {
    let mut mended = bytes.to_vec();
    mend_gpt(&mut mended);
    let _ = fruit_image::inspect::inspect(&ZeroDisk::new(&mended, 64 << 20));
});
