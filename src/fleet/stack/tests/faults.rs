//! The master on a disturbed line. Time is virtual, so the waits cost nothing and every run is the same.

use fruit_stack::board::Board;
use fruit_stack::command::{Command, Pi};
use fruit_stack::master::{AskError, Master, Timing, on_wire};
use fruit_stack::status::{BoardStatus, read_board};
use fruit_stack_simulator::{Amount, Fault, FaultKind, Flash, LineConfig, Loopback, Stack, StackConfig};
use std::sync::{Arc, Mutex};
use std::time::Duration;

fn bench(boards: u8, seed: u64) -> (Arc<Mutex<Stack>>, Master) {
    let config = StackConfig { seed, ..StackConfig::with_ids(0..boards) };
    let stack = Arc::new(Mutex::new(Stack::new(&config, &Flash::default()).unwrap()));
    let line = Loopback::new(Arc::clone(&stack), LineConfig::default());
    (stack, Master::new(Box::new(line), Timing::default()))
}

fn fault(stack: &Mutex<Stack>, kind: FaultKind, board: Option<u8>, amount: Amount) {
    stack.lock().unwrap().add_fault(Fault { kind, board, amount });
}

const KINDS: [FaultKind; 7] = [
    FaultKind::Noise,
    FaultKind::RequestNoise,
    FaultKind::Silence,
    FaultKind::Mute,
    FaultKind::LostByte,
    FaultKind::Babble,
    FaultKind::Late,
];

#[test]
fn one_disturbed_exchange_of_any_kind_is_made_good_by_another() {
    for kind in KINDS {
        for seed in 0..50 {
            let (stack, mut master) = bench(1, seed);
            fault(&stack, kind, None, Amount::Next(1));
            let mut board = Board { master: &mut master, id: 0 };
            assert_eq!(board.byte(Command::Id), Ok(0), "{kind:?}, seed {seed}");
            let counts = master.counts();
            assert!(counts.retries <= 1, "{kind:?}, seed {seed}: {counts:?}");
        }
    }
}

#[test]
fn a_crc_error_is_counted_and_repeated() {
    let (stack, mut master) = bench(1, 3);
    let mut crc_errors = 0;
    for _ in 0..100 {
        fault(&stack, FaultKind::Noise, Some(0), Amount::Next(1));
        assert_eq!(Board { master: &mut master, id: 0 }.byte(Command::HardwareVersion), Ok(3));
        crc_errors = master.counts().crc_errors;
    }
    assert!(crc_errors > 30, "{:?}", master.counts());
}

/// What a reading says must be the truth or a failure, however the line is disturbed: the readings of an undisturbed
/// stack are compared with those of the same stack on a line that damages most of what it carries.
#[test]
fn a_failed_read_never_shows_a_wrong_value() {
    let (_, mut clear) = bench(4, 9);
    let truth: Vec<BoardStatus> = (0..4).map(|board| read_board(&mut clear, board, None)).collect();
    assert!(truth.iter().all(|board| board.failures().is_empty()));
    let (mut read, mut failed) = (0, 0);
    for seed in 0..30 {
        let (stack, mut master) = bench(4, 9);
        for (at, kind) in KINDS.into_iter().enumerate() {
            // The error count is the one reading that damaged requests rightly change.
            if kind != FaultKind::RequestNoise {
                fault(&stack, kind, None, Amount::Rate(0.1 + 0.01 * f64::from(seed) + 0.01 * at as f64));
            }
        }
        for (board, truth) in (0..4).zip(&truth) {
            let status = read_board(&mut master, board, None);
            failed += status.failures().len();
            macro_rules! compare {
                ($($field:ident).+) => {
                    if let Ok(value) = &status.$($field).+ {
                        assert_eq!(Ok(value), truth.$($field).+.as_ref(), "seed {seed}");
                        read += 1;
                    }
                };
            }
            compare!(hardware);
            compare!(input_volts);
            compare!(input_amps);
            compare!(input_watts);
            compare!(rail_volts);
            compare!(errors);
            for (pi, true_pi) in status.pis.iter().zip(&truth.pis) {
                let ok = |same: bool| assert!(same, "seed {seed}: {pi:?}");
                ok(pi.powered.is_err() || pi.powered == true_pi.powered);
                ok(pi.volts.is_err() || pi.volts == true_pi.volts);
                ok(pi.amps.is_err() || pi.amps == true_pi.amps);
                ok(pi.watts.is_err() || pi.watts == true_pi.watts);
            }
        }
    }
    assert!(read > 300 && failed > 30, "{read} read, {failed} failed: the test must see both");
}

#[test]
fn a_silent_board_is_given_up_on_once_and_does_not_hold_up_the_others() {
    let (stack, mut master) = bench(2, 1);
    fault(&stack, FaultKind::Silence, Some(0), Amount::Rate(1.0));
    let status = read_board(&mut master, 0, None);
    assert!(status.is_absent());
    assert!(status.failures().iter().all(|(_, error)| **error == AskError::NoAnswer));
    assert_eq!(master.counts().requests, 4, "one reading, repeated three times");
    // 4 answer windows of 0.5 s and back-offs of 20, 40 and 80 ms.
    let taken = master.now();
    assert!(taken < Duration::from_millis(2200), "{taken:?}");
    assert!(read_board(&mut master, 1, None).failures().is_empty());
}

#[test]
fn an_answer_that_comes_too_late_is_never_taken_for_that_of_the_next_question() {
    for repeated in 0..4 {
        let (stack, mut master) = bench(2, 1);
        stack.lock().unwrap().set_load(1, Pi::One, Some(0.7)).unwrap();
        Board { master: &mut master, id: 1 }.tell(Command::On(Pi::One)).unwrap();
        let mut amps = |board| Board { master: &mut master, id: board }.word(Command::PiCurrent(Pi::One));
        assert!(amps(1).unwrap() > 10_000);
        fault(&stack, FaultKind::Late, Some(1), Amount::Next(repeated));
        // Read in time or not: the next board's Pi is off and draws nothing.
        let _ = amps(1);
        assert_eq!(amps(0), Ok(0), "{repeated} late answers");
    }
}

#[test]
fn a_babbling_line_is_waited_out() {
    let (stack, mut master) = bench(1, 1);
    for _ in 0..20 {
        stack.lock().unwrap().babble(200);
        assert_eq!(Board { master: &mut master, id: 0 }.byte(Command::Id), Ok(0));
    }
    assert!(master.counts().noise_bytes > 0);
}

#[test]
fn a_request_that_the_board_heard_badly_is_repeated() {
    let (stack, mut master) = bench(1, 1);
    fault(&stack, FaultKind::RequestNoise, None, Amount::Next(3));
    assert_eq!(Board { master: &mut master, id: 0 }.flag(Command::Powered(Pi::One)), Ok(false));
}

#[test]
fn two_boards_with_one_id_are_noticed() {
    let (_, mut master) = bench(1, 1);
    // 0x00 and 0x10 differ in their prefix; after the change both answer to 0x10, with different error logs.
    let config = StackConfig::with_ids([0x00, 0x10]);
    let stack = Arc::new(Mutex::new(Stack::new(&config, &Flash::default()).unwrap()));
    master = Master::new(Box::new(Loopback::new(Arc::clone(&stack), LineConfig::default())), *master.timing());
    stack.lock().unwrap().log_error(0x10, fruit_stack::error_code::ErrorCode(0x11)).unwrap();
    Board { master: &mut master, id: 0x00 }.tell(Command::SetPrefix(0x10)).unwrap();
    let count = Board { master: &mut master, id: 0x10 }.word(Command::ErrorCount);
    assert!(count.is_err(), "{count:?}");
}

/// The figure that the bench measures in real time, here with the line's own time only.
#[test]
fn a_full_status_of_16_boards_takes_little_more_than_its_bytes() {
    let (_, mut master) = bench(16, 1);
    let start = master.now();
    for board in 0..16 {
        assert!(read_board(&mut master, board, None).failures().is_empty());
    }
    let taken = master.now() - start;
    let counts = master.counts();
    let bytes = (counts.bytes_sent + counts.bytes_received) as usize;
    let least = on_wire(bytes) + LineConfig::default().answer_delay * counts.answers as u32;
    let ratio = taken.as_secs_f64() / least.as_secs_f64();
    assert!((1.0..1.15).contains(&ratio), "{ratio}");
}
