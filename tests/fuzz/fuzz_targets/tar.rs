//! The archives in a package, and those that are none of Debian's.
#![no_main]

use libfuzzer_sys::fuzz_target;

fuzz_target!(|bytes: &[u8]| {
    let _ = fruit_debian::package::read_entries(bytes, "fuzz.deb");
    let mut tolerant = fruit_debian::tarball::Tarball::new(bytes).tolerant();
    while let Ok(Some(_)) = tolerant.next_entry() {}
    let _ = fruit_debian::package::Control::read(bytes, "fuzz.deb");
});
