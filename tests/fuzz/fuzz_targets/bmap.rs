//! Block maps, as found and with the checksum mended.
#![no_main]

use fruit_fuzz::mend_bmap;
use libfuzzer_sys::fuzz_target;

fuzz_target!(|bytes: &[u8]| {
    let Ok(text) = std::str::from_utf8(bytes) else { return };
    let _ = fruit_image::bmap::Bmap::parse(text);
    let _ = fruit_image::bmap::Bmap::parse(&mend_bmap(text));
});
