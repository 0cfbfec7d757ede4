//! The configuration in the initramfs.
#![no_main]

use libfuzzer_sys::fuzz_target;

fuzz_target!(|bytes: &[u8]| {
    if let Ok(config) = fruit_contract::InitConfig::from_json(bytes) {
        let json = config.to_json();
        assert_eq!(fruit_contract::InitConfig::from_json(json.as_bytes()).map(|again| again.to_json()), Ok(json));
    }
});
