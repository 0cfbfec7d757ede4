//! The local socket between updater and peer process, as either side may send it.
#![no_main]

use fruit_release::local::{Answer, LocalError, Request, read_magic};
use libfuzzer_sys::fuzz_target;

fuzz_target!(|bytes: &[u8]| {
    const LIMIT: u64 = 4096;
    if let Ok(answer) = Answer::read(&mut &*bytes, LIMIT) {
        let (head, rest) = answer.frame();
        assert!(rest.len() as u64 <= LIMIT && bytes.starts_with(&[&head[..], rest].concat()));
    }
    let mut from = bytes;
    if read_magic(&mut from).is_err() {
        from = bytes;
    }
    loop {
        let before = from;
        match Request::read(&mut from) {
            Ok(Some(request)) => assert!(before.starts_with(&request.encode()), "a request has one form"),
            Err(LocalError::Name(_)) => {}
            Ok(None) | Err(_) => break,
        }
    }
});
