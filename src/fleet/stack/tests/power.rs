//! Powering and shutting down simulated Pis, in virtual time.

use fruit_stack::command::Pi;
use fruit_stack::master::{AskError, Master, Timing};
use fruit_stack::power::{OnPlan, PowerError, Stage, off_all, on, on_all, total_amps};
use fruit_stack_simulator::{Flash, LineConfig, Loopback, Stack, StackConfig};
use std::sync::{Arc, Mutex};
use std::time::Duration;

fn stack(ids: std::ops::Range<u8>) -> (Arc<Mutex<Stack>>, Master) {
    let stack = Stack::new(&StackConfig::with_ids(ids), &Flash::default()).unwrap();
    let stack = Arc::new(Mutex::new(stack));
    let line = Loopback::new(Arc::clone(&stack), LineConfig::default());
    (stack, Master::new(Box::new(line), Timing::default()))
}

#[test]
fn a_clean_shutdown_tells_each_stage() {
    let (_, mut master) = stack(0..1);
    assert_eq!(on(&mut master, 0, Pi::One), Ok(Stage::On));
    assert_eq!(on(&mut master, 0, Pi::One), Ok(Stage::Already { powered: true }));
    master.wait(Duration::from_secs(43));
    let mut stages = Vec::new();
    off_all(&mut master, &[(0, Pi::Zero), (0, Pi::One)], |_, pi, stage| stages.push((pi, stage.unwrap())));
    assert_eq!(stages[0], (Pi::Zero, Stage::Already { powered: false }));
    assert_eq!(stages[1], (Pi::One, Stage::Signalled { off_delay: Some(30) }));
    // The last beat was 0–5 s before the signal, and counts for 30 s: it is gone before the cut.
    assert!(matches!(stages[2], (Pi::One, Stage::HeartbeatGone { after }) if (25.0..30.0).contains(&after)));
    assert!(matches!(stages[3], (Pi::One, Stage::Off { after }) if (30.0..31.0).contains(&after)), "{stages:?}");
    assert_eq!(stages.len(), 4);
}

#[test]
fn pis_come_on_one_after_the_other() {
    let (stack, mut master) = stack(0..4);
    let pis: Vec<(u8, Pi)> = (0..4).flat_map(|board| Pi::BOTH.map(|pi| (board, pi))).collect();
    let plan = OnPlan { stagger: Duration::from_secs(2), ..OnPlan::default() };
    on_all(&mut master, &pis, &[0, 1, 2, 3], &plan, |_, _, stage| assert_eq!(stage, Ok(Stage::On)));
    let at: Vec<f64> = stack.lock().unwrap().take_happenings().iter().map(|happening| happening.at).collect();
    assert_eq!(at.len(), 8);
    assert!(at.windows(2).all(|pair| pair[1] - pair[0] >= 2.0), "{at:?}");
}

#[test]
fn the_supply_never_carries_more_than_its_limit() {
    let (stack, mut master) = stack(0..8);
    let pis: Vec<(u8, Pi)> = (0..8).flat_map(|board| Pi::BOTH.map(|pi| (board, pi))).collect();
    let boards: Vec<u8> = (0..8).collect();
    // 16 Pis starting at once draw 16 × 0.75 A × 5.1 V / 0.88 / 24 V = 2.9 A; running, 1.8 A.
    let plan = OnPlan { max_amps: Some(2.2), headroom: 0.2, ..OnPlan::default() };
    let mut waits = 0;
    let mut highest: f64 = 0.0;
    for &one in &pis {
        on_all(&mut master, &[one], &boards, &plan, |_, _, stage| match stage.unwrap() {
            Stage::WaitingForHeadroom { .. } => waits += 1,
            stage => assert_eq!(stage, Stage::On),
        });
        highest = highest.max(total_amps(&mut master, &boards).unwrap());
    }
    assert!(highest <= 2.2 && waits > 0, "{highest} A, {waits} waits");
    let powered =
        stack.lock().unwrap().snapshot().iter().flat_map(|board| board.pis.clone()).filter(|pi| pi.powered).count();
    assert_eq!(powered, 16);
}

#[test]
fn a_pi_that_has_just_been_powered_counts_with_what_it_will_draw() {
    let (stack, mut master) = stack(0..2);
    let pis: Vec<(u8, Pi)> = (0..2).flat_map(|board| Pi::BOTH.map(|pi| (board, pi))).collect();
    for &(board, pi) in &pis {
        // Their current rises later.
        stack.lock().unwrap().set_load(board, pi, Some(0.01)).unwrap();
    }
    let plan = OnPlan { max_amps: Some(1.0), headroom: 0.4, ..OnPlan::default() };
    on_all(&mut master, &pis, &[0, 1], &plan, |_, _, stage| assert!(stage.is_ok(), "{stage:?}"));
    let at: Vec<f64> = stack.lock().unwrap().take_happenings().iter().map(|happening| happening.at).collect();
    let [first, second, third, fourth] = at.as_slice() else { panic!("{at:?}") };
    assert!(second - first < 1.0, "two fit at once: {at:?}");
    assert!(third - first >= 15.0 && fourth - second >= 15.0, "the others wait until it shows what those draw: {at:?}");
}

#[test]
fn a_limit_that_leaves_no_room_is_given_up_on_and_no_pi_is_powered() {
    let (stack, mut master) = stack(0..1);
    let plan = OnPlan { max_amps: Some(0.3), ..OnPlan::default() };
    let mut results = Vec::new();
    on_all(&mut master, &[(0, Pi::Zero)], &[0], &plan, |_, _, stage| results.push(stage));
    assert!(matches!(results.as_slice(), [Ok(Stage::WaitingForHeadroom { .. }), Err(PowerError::NoHeadroom { .. })]));
    assert!(!stack.lock().unwrap().pi(0, Pi::Zero).unwrap().powered);
}

#[test]
fn no_pi_is_powered_blindly() {
    let (stack, mut master) = stack(0..1);
    let plan = OnPlan { max_amps: Some(5.0), ..OnPlan::default() };
    let mut results = Vec::new();
    // Board 9 is counted in but does not answer.
    on_all(&mut master, &[(0, Pi::Zero)], &[0, 9], &plan, |_, _, stage| results.push(stage));
    assert_eq!(results, [Err(PowerError::Blind { board: 9, error: AskError::NoAnswer })]);
    assert!(!stack.lock().unwrap().pi(0, Pi::Zero).unwrap().powered);
}
