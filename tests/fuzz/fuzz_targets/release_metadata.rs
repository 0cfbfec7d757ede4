//! Release metadata: any JSON, and a repository whose files are the input's parts, as they are and signed.
#![no_main]

use fruit_release::tuf::{Clock, Time, Trust, json};
use libfuzzer_sys::fuzz_target;

fuzz_target!(|bytes: &[u8]| {
    if let Ok(value) = json::parse(bytes, 1 << 20) {
        let again = serde_json::to_vec(&value).expect("memory to write to");
        let again = json::parse(&again, usize::MAX).expect("what was written");
        assert_eq!(again.canonical(), value.canonical());
    }
    // A root, and files that a refresh may find, in any order.
    let parts: Vec<&[u8]> = bytes.split(|&byte| byte == 0).take(8).collect();
    let files: Vec<Vec<u8>> = parts.iter().flat_map(|part| [part.to_vec(), fruit_fuzz::sign_metadata(part)]).collect();
    let Some(mut trust) = files.iter().take(2).find_map(|root| Trust::from_root(root).ok()) else { return };
    let clock = Clock::Unset { built: Time::from_seconds(0), saved: None };
    let mut refresh = trust.refresh(clock);
    while refresh.want().is_some() {
        let given = files.iter().any(|file| refresh.give(Some(file)).is_ok());
        if !given && refresh.give(None).is_err() {
            break;
        }
    }
    // What is kept reads back as it is.
    let (again, left_out) = Trust::load(&trust.stored()).expect("a root that was verified");
    assert!(left_out.is_empty(), "{left_out:?}");
    assert_eq!(again.stored(), trust.stored());
    for target in trust.targets(&clock).unwrap_or_default() {
        let _ = (target.file(), target.release().map(ToString::to_string));
    }
});
