//! Private key files, which are read before anybody knows where they are from.
#![no_main]

use fruit_release::keys::SecretKey;
use libfuzzer_sys::fuzz_target;

fuzz_target!(|bytes: &[u8]| {
    // A passphrase costs rounds of a slow hash by design: without one, all of the parser is reached.
    let _ = SecretKey::is_encrypted(bytes);
    let _ = SecretKey::from_openssh(bytes, None);
});
