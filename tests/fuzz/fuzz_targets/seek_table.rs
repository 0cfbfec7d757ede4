//! The table of a compressed image's frames.
#![no_main]

use fruit_image::zst::frames;
use libfuzzer_sys::fuzz_target;

fuzz_target!(|bytes: &[u8]| {
    if let Ok(Some(frames)) = frames(bytes, bytes.len() as u64) {
        let end = frames.last().map_or(0, |last| last.start + last.len);
        assert!(end < bytes.len() as u64);
    }
});
