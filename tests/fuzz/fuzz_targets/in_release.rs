//! InRelease files: the OpenPGP wrapper and what it signs.
#![no_main]

use std::sync::LazyLock;

use fruit_debian::keyring::Clock;
use libfuzzer_sys::fuzz_target;

/// A fixed day, so that a finding does not go away with time.
const CLOCK: Clock = Clock { now: 1_760_000_000, allow_expired: true };

fuzz_target!(|bytes: &[u8]| {
    static KEYS: LazyLock<fruit_debian::Keyring> =
        LazyLock::new(|| fruit_debian::Keyring::debian_archive().expect("the built-in keyring is a keyring"));
    let _ = fruit_debian::release::Release::verify(bytes, &KEYS, CLOCK, "InRelease");
});
