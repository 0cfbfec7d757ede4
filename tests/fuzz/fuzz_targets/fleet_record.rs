//! Records of a fleet, as any peer may send them: one by one, and packed on a stick.
#![no_main]

use fruit_record::{Record, Replica, Request};
use libfuzzer_sys::fuzz_target;

fuzz_target!(|bytes: &[u8]| {
    if let Ok(record) = Record::parse(bytes) {
        assert_eq!(record.encode(), bytes, "a content has one form");
    }
    let _ = Request::parse(bytes);
    let _ = fruit_fuzz::fleet().verify_request(bytes);
    // In a fleet whose first charter is among the seeds: what is behind signatures is reached by records that are real.
    let fleet = fruit_fuzz::fleet();
    let mut replica = fleet.clone();
    let _ = replica.offer(bytes);
    for record in Replica::unpack(bytes).unwrap_or_default().into_iter().take(64) {
        let _ = replica.offer(record);
    }
    let _ = Replica::load(fleet.trust().fleet(), bytes);
});
