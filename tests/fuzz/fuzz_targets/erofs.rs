//! EROFS images.
#![no_main]

use fruit_fuzz::ZeroDisk;
use libfuzzer_sys::fuzz_target;

fuzz_target!(|bytes: &[u8]| {
    let disk = ZeroDisk::new(bytes, 1 << 20);
    let Ok(reader) = fruit_image::erofs::Reader::open(&disk, 1 << 20) else { return };
    let _ = reader.to_tree();
    let _ = reader.find("a/long/path");
});
