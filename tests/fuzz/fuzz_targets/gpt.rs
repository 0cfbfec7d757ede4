//! Partition tables, as found and with their checksums mended; both readers.
#![no_main]

use fruit_fuzz::{ZeroDisk, mend_gpt};
use libfuzzer_sys::fuzz_target;

fuzz_target!(|bytes: &[u8]| {
    let disk = ZeroDisk::new(bytes, 1 << 30);
    let _ = fruit_image::gpt::read(&disk);
    let _ = fruit_device::gpt::Table::parse(bytes);
    let mut mended = bytes.to_vec();
    mend_gpt(&mut mended);
    let _ = fruit_image::gpt::read(&ZeroDisk::new(&mended, 1 << 30));
    let _ = fruit_device::gpt::Table::parse(&mended);
});
