//! FAT filesystems.
#![no_main]

use fruit_fuzz::ZeroDisk;
use libfuzzer_sys::fuzz_target;

fuzz_target!(|bytes: &[u8]| {
    let disk = ZeroDisk::new(bytes, 64 << 20);
    let Ok(volume) = fruit_image::fat::Volume::open(&disk) else { return };
    let _ = volume.free();
    for entry in volume.list().unwrap_or_default() {
        let _ = volume.content(&entry, 1 << 16);
    }
});
