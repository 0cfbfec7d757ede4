//! What comes back from who signs elsewhere.
#![no_main]

use fruit_release::keys::Draft;
use libfuzzer_sys::fuzz_target;

fuzz_target!(|bytes: &[u8]| {
    if let Ok((mut draft, signatures)) = Draft::read(bytes) {
        draft.carry(signatures);
        let (again, _) = Draft::read(&draft.to_bytes()).expect("a draft that was read");
        assert_eq!(again.message(), draft.message());
        let _ = draft.content(&|id| id.to_string());
    }
});
