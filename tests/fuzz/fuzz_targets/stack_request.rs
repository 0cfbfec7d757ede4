//! Pi Stack requests, as a board hears them.
#![no_main]

use libfuzzer_sys::fuzz_target;

fuzz_target!(|bytes: &[u8]| {
    use fruit_stack::command::Command;
    use fruit_stack::frame::{RequestScan, broken_request, scan_request};
    let _ = broken_request(bytes, 64);
    if let RequestScan::Whole { opcode, arguments, used, .. } = scan_request(bytes, 64) {
        assert!(used <= bytes.len());
        let _ = Command::decode(opcode, arguments);
    }
});
