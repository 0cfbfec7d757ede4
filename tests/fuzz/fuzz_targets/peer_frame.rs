//! Frames between nodes, as any neighbour may send them: alone, and one after the other into a conversation.
#![no_main]

use fruit_peer::machine::{Machine, Setup};
use fruit_peer::pass::Pass;
use fruit_peer::state;
use fruit_peer::wire::Frame;
use fruit_record::KeyId;
use libfuzzer_sys::fuzz_target;

fuzz_target!(|bytes: &[u8]| {
    if let Ok(frame) = Frame::decode(bytes)
        && !matches!(frame, Frame::Unknown(_))
    {
        assert_eq!(&frame.encode()[4..], bytes, "a frame has one form");
    }
    let _ = Pass::decode(bytes);
    let fleet = fruit_fuzz::fleet();
    let Ok(key) = state::new_key() else { return };
    let setup = Setup {
        key,
        fleet: fleet.trust().fleet(),
        invite: None,
        pass: Some(vec![1]),
        replica: Some(fleet.clone()),
        compare: 1000,
    };
    let Ok(mut machine) = Machine::new(setup) else { return };
    for (link, dialed) in [(1, false), (2, true)] {
        machine.connected(link, KeyId([7; 32]), dialed, 0);
        let mut rest = bytes;
        while let Some((length, after)) = rest.split_first_chunk::<4>() {
            let length = u32::from_be_bytes(*length) as usize;
            let (frame, after) = after.split_at(length.min(after.len()));
            machine.frame(link, frame, 1000);
            rest = after;
        }
    }
    machine.tick(60_000);
    assert!(machine.links().all(|(link, _)| !machine.may_have(link)), "nobody has shown anything");
});
