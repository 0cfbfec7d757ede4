//! The boot-control block: every torn write leaves a valid state, whatever is on the disk never panics, and the
//! states that a device can come through lead where they should.

use std::io::{Seek, SeekFrom, Write};

use fruit_contract::bootctl::*;
use proptest::prelude::*;

fn slots() -> impl Strategy<Value = Slot> {
    prop_oneof![Just(Slot::A), Just(Slot::B)]
}

prop_compose! {
    fn states()(sequence in 1..=3u32, active in slots(), tries in proptest::option::of(0..=MAX_TRIES),
                failed in proptest::option::of(slots())) -> BootControl {
        let trial = tries.map(|tries_left| Trial { slot: active.other(), tries_left });
        BootControl { sequence, active, trial, failed }
    }
}

#[test]
fn the_bytes_are_those_of_the_contract() {
    let state =
        BootControl { sequence: 3, active: Slot::A, trial: Some(Trial { slot: Slot::B, tries_left: 3 }), failed: None };
    let copy = state.encode();
    let mut expected = vec![0u8; 508];
    expected[..28].copy_from_slice(&[
        b'F', b'B', b'C', b'1', 1, 0, 0, 0, 3, 0, 0, 0, 0, 0, 0, 0, 1, 0, 0, 0, 3, 0, 0, 0, 2, 0, 0, 0,
    ]);
    assert_eq!(copy[..508], expected);
    // zlib's crc32 of those 508 bytes, most significant byte first.
    assert_eq!(copy[508..], crc32_bitwise(&expected).to_be_bytes());
}

/// CRC-32 as in IEEE 802.3, bit by bit: independent of the crate that the code uses.
fn crc32_bitwise(bytes: &[u8]) -> u32 {
    !bytes.iter().fold(!0u32, |crc, &b| {
        (0..8).fold(crc ^ u32::from(b), |c, _| if c & 1 == 1 { c >> 1 ^ 0xedb8_8320 } else { c >> 1 })
    })
}

#[test]
fn a_disk_without_a_valid_copy_boots_slot_a() {
    let stored = Stored::from_block(&[]);
    assert!(!stored.is_valid());
    assert_eq!(stored.state().boot(), (BootChoice { slot: Slot::A, trial: false }, None));
    assert_eq!(stored.plan(&stored.state()).offset, COPY_OFFSETS[0]);
}

#[test]
fn a_fresh_block_is_valid_twice_and_boots_slot_a() {
    let block = fresh_block();
    assert_eq!(block.len(), BLOCK_SIZE);
    for at in COPY_OFFSETS {
        let copy = BootControl::decode(&block[at as usize..]).unwrap();
        assert_eq!((copy.active, copy.trial, copy.failed), (Slot::A, None, None));
    }
    assert_eq!(Stored::from_block(&block).state().sequence, 1);
}

#[test]
fn a_trial_that_never_commits_falls_back_after_its_tries() {
    let mut state = BootControl::default().arm(Slot::B, 3).unwrap();
    for left in [2, 1, 0] {
        let (choice, next) = state.boot();
        assert_eq!(choice, BootChoice { slot: Slot::B, trial: true });
        state = next.unwrap();
        assert_eq!(state.trial, Some(Trial { slot: Slot::B, tries_left: left }));
    }
    let (choice, next) = state.boot();
    assert_eq!(choice, BootChoice { slot: Slot::A, trial: false });
    state = next.unwrap();
    assert_eq!((state.trial, state.failed), (None, Some(Slot::B)));
    assert_eq!(state.boot(), (BootChoice { slot: Slot::A, trial: false }, None));
}

#[test]
fn a_slot_can_commit_on_its_last_try() {
    let state = BootControl::default().arm(Slot::B, 1).unwrap().boot().1.unwrap();
    let state = state.commit(Slot::B).unwrap();
    assert_eq!((state.active, state.trial, state.failed), (Slot::B, None, None));
    assert_eq!(state.commit(Slot::B), Ok(state), "a repeated commit changes nothing");
}

#[test]
fn arming_again_forgets_the_failure() {
    let failed = BootControl::default().arm(Slot::B, 1).unwrap().fall_back();
    assert_eq!(failed.failed, Some(Slot::B));
    assert_eq!(failed.arm(Slot::B, 2).unwrap().failed, None);
}

#[test]
fn what_would_brick_the_node_is_refused() {
    let state = BootControl::default();
    assert_eq!(state.arm(Slot::A, 3), Err(Refused::ArmActive(Slot::A)));
    assert_eq!(state.arm(Slot::B, 0), Err(Refused::Tries(0)));
    assert_eq!(state.arm(Slot::B, 101), Err(Refused::Tries(101)));
    assert!(matches!(state.commit(Slot::B), Err(Refused::NotOnTrial { slot: Slot::B, .. })));
    assert!(matches!(state.arm(Slot::B, 1).unwrap().commit(Slot::A), Err(Refused::NotOnTrial { slot: Slot::A, .. })));
}

#[test]
fn the_newer_copy_is_the_one_that_follows_in_the_cycle() {
    for (older, newer) in [(1, 2), (2, 3), (3, 1)] {
        let old = BootControl { sequence: older, ..BootControl::default() }.encode();
        let new = BootControl { sequence: newer, active: Slot::B, ..BootControl::default() }.encode();
        assert_eq!(Stored::from_copies(&old, &new).state().active, Slot::B, "{older} {newer}");
        assert_eq!(Stored::from_copies(&new, &old).state().active, Slot::B, "{older} {newer}");
    }
}

/// Applies a write the way a disk does.
fn apply(block: &mut [u8], write: &fruit_contract::bootctl::Write, bytes: std::ops::Range<usize>) {
    let at = write.offset as usize;
    block[at + bytes.start..at + bytes.end].copy_from_slice(&write.sector[bytes]);
}

#[test]
fn every_torn_write_leaves_the_old_or_the_new_state() {
    let mut block = fresh_block();
    let mut state = Stored::from_block(&block).state();
    let story: [fn(&BootControl) -> BootControl; 6] = [
        |s| s.arm(Slot::B, 2).unwrap(),
        |s| s.boot().1.unwrap(),
        |s| s.boot().1.unwrap(),
        |s| s.boot().1.unwrap(),
        |s| s.arm(Slot::B, 1).unwrap(),
        |s| s.commit(Slot::B).unwrap(),
    ];
    for step in story {
        let stored = Stored::from_block(&block);
        let next = step(&state);
        let write = stored.plan(&next);
        for cut in 0..=COPY_SIZE {
            // The first bytes arrived; the last bytes arrived; the rest is as before, or as a half-erased sector.
            for (range, rest) in [(0..cut, None), (cut..COPY_SIZE, None), (0..cut, Some(0xff)), (0..cut, Some(0))] {
                let mut torn = block.clone();
                if let Some(fill) = rest {
                    let at = write.offset as usize;
                    torn[at..at + COPY_SIZE].fill(fill);
                }
                apply(&mut torn, &write, range);
                let seen = Stored::from_block(&torn);
                assert!(seen.is_valid());
                let seen = BootControl { sequence: 0, ..seen.state() };
                let (old, new) = (BootControl { sequence: 0, ..state }, BootControl { sequence: 0, ..next });
                assert!(seen == old || seen == new, "cut at {cut}: {seen:?}");
            }
        }
        apply(&mut block, &write, 0..COPY_SIZE);
        state = Stored::from_block(&block).state();
        assert_eq!(BootControl { sequence: 0, ..state }, BootControl { sequence: 0, ..next });
    }
}

#[test]
fn one_damaged_copy_never_hides_the_other() {
    let block = fresh_block();
    for at in 0..COPY_SIZE {
        for copy in COPY_OFFSETS {
            let mut damaged = block.clone();
            damaged[copy as usize + at] ^= 0x10;
            let stored = Stored::from_block(&damaged);
            assert!(stored.is_valid());
            let write = stored.plan(&stored.state());
            assert_eq!(write.offset, copy, "the damaged copy is the one that is written next");
        }
    }
}

#[test]
fn a_disk_keeps_what_is_written_to_the_partition() {
    let start = 1 << 20;
    let mut disk = tempfile::tempfile().unwrap();
    disk.seek(SeekFrom::Start(start)).unwrap();
    disk.write_all(&fresh_block()).unwrap();
    let mut stored = Stored::read(&disk, start).unwrap();
    for round in 0..5 {
        let next = if round % 2 == 0 { stored.state().arm(Slot::B, 3).unwrap() } else { stored.state().fall_back() };
        stored = stored.write(&disk, start, &next).unwrap();
        assert_eq!(BootControl { sequence: 0, ..stored.state() }, BootControl { sequence: 0, ..next });
        assert_eq!(stored.state().sequence, [2, 3, 1][round % 3]);
    }
}

#[test]
fn a_partition_that_is_too_short_is_a_disk_without_a_state() {
    let disk = tempfile::tempfile().unwrap();
    assert!(!Stored::read(&disk, 0).unwrap().is_valid());
}

proptest! {
    #[test]
    fn what_is_encoded_is_decoded(state in states()) {
        prop_assert_eq!(BootControl::decode(&state.encode()), Ok(state));
    }

    #[test]
    fn no_bytes_make_the_decoder_panic(mut bytes in proptest::collection::vec(any::<u8>(), 0..600), fix: bool) {
        if fix && bytes.len() >= COPY_SIZE {
            bytes[..8].copy_from_slice(b"FBC1\x01\0\0\0");
            let crc = crc32_bitwise(&bytes[..508]);
            bytes[508..512].copy_from_slice(&crc.to_be_bytes());
        }
        let _ = BootControl::decode(&bytes);
        let _ = Stored::from_block(&bytes).state().boot();
    }

    #[test]
    fn the_loader_ends_on_the_active_slot_when_nothing_commits(state in states()) {
        let mut now = state;
        for _ in 0..=MAX_TRIES + 1 {
            match now.boot() {
                (choice, None) => {
                    prop_assert_eq!(choice, BootChoice { slot: state.active, trial: false });
                    return Ok(());
                }
                (choice, Some(next)) => {
                    prop_assert_eq!(choice.trial, choice.slot != state.active);
                    now = next;
                }
            }
        }
        prop_assert!(false, "the trial never ended");
    }

    #[test]
    fn a_write_is_always_the_newest(a in states(), b in states(), next in states()) {
        let (x, y) = (a.encode(), b.encode());
        let stored = Stored::from_copies(&x, &y);
        let write = stored.plan(&next);
        let after = if write.offset == 0 {
            Stored::from_copies(&write.sector, &y)
        } else {
            Stored::from_copies(&x, &write.sector)
        };
        prop_assert_eq!(BootControl { sequence: 0, ..after.state() }, BootControl { sequence: 0, ..next });
    }
}
