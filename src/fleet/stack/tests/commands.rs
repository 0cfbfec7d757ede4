//! Every command of the table against the simulated boards, and what the boards do with time.

use fruit_stack::board::Board;
use fruit_stack::command::{Command, Pi, Shape, Timer};
use fruit_stack::error_code::ErrorCode;
use fruit_stack::frame;
use fruit_stack::master::{AskError, Master, Timing};
use fruit_stack_simulator::{BoardConfig, Event, Flash, Happening, LineConfig, Loopback, PiModel, Stack, StackConfig};
use std::sync::{Arc, Mutex};
use std::time::Duration;

struct Bench {
    stack: Arc<Mutex<Stack>>,
    master: Master,
}

fn bench(config: &StackConfig) -> Bench {
    let stack = Arc::new(Mutex::new(Stack::new(config, &Flash::default()).unwrap()));
    let line = Loopback::new(Arc::clone(&stack), LineConfig::instant());
    Bench { stack, master: Master::new(Box::new(line), Timing::default()) }
}

fn external(ids: &[u8]) -> Bench {
    let boards = ids.iter().map(|&id| BoardConfig { model: PiModel::External, ..BoardConfig::new(id) }).collect();
    bench(&StackConfig { boards, ..StackConfig::default() })
}

impl Bench {
    fn board(&mut self, id: u8) -> Board<'_> {
        Board { master: &mut self.master, id }
    }

    fn powers(&self) -> Vec<(bool, &'static str)> {
        let happenings: Vec<Happening> = self.stack.lock().unwrap().take_happenings();
        happenings
            .into_iter()
            .filter_map(|happening| match happening.event {
                Event::Power { on, reason } => Some((on, reason)),
                _ => None,
            })
            .collect()
    }
}

const SECOND: Duration = Duration::from_secs(1);

#[test]
fn every_command_is_answered_in_its_shape() {
    let mut bench = bench(&StackConfig::with_ids([0x23]));
    for command in Command::examples() {
        let id = if bench.stack.lock().unwrap().snapshot()[0].id == 0x03 { 0x03 } else { 0x23 };
        let value = bench.master.ask(id, command).unwrap_or_else(|error| panic!("{command:?}: {error}"));
        assert!(command.answer().allows(value.to_bytes().len()), "{command:?}: {value:?}");
    }
    assert_eq!(bench.master.counts().retries, 0);
    assert!(Command::examples().iter().any(|command| command.answer() == Shape::Bytes));
}

#[test]
fn identity_versions_and_prefix() {
    let mut bench = bench(&StackConfig::with_ids([5, 6]));
    let mut board = bench.board(5);
    assert_eq!(board.byte(Command::Id), Ok(5));
    assert_eq!(board.byte(Command::HardwareVersion), Ok(3));
    assert_eq!(board.byte(Command::SoftwareVersion), Ok(7));
    assert_eq!(board.byte(Command::Prefix), Ok(0));
    // The answer to the change comes from a board that already has its new id; only the new id is answered after it.
    assert_eq!(board.tell(Command::SetPrefix(0x40)), Ok(()));
    assert_eq!(board.byte(Command::Id), Err(AskError::NoAnswer));
    let mut board = bench.board(0x45);
    assert_eq!(board.byte(Command::Id), Ok(0x45));
    assert_eq!(board.byte(Command::Prefix), Ok(0x40));
    assert_eq!(board.tell(Command::SetPrefix(0x41)), Err(AskError::Refused(ErrorCode::NOT_IMPLEMENTED)));
    assert_eq!(bench.board(6).byte(Command::Id), Ok(6));
}

#[test]
fn settings_are_kept_per_pi_and_in_flash() {
    let mut bench = bench(&StackConfig::with_ids([1]));
    for (at, timer) in Timer::ALL.into_iter().enumerate() {
        for pi in Pi::BOTH {
            let seconds = 10 * (at as u8 + 1) + pi.number();
            assert_eq!(bench.board(1).tell(Command::SetTimer(timer, pi, seconds)), Ok(()));
        }
    }
    bench.board(1).tell(Command::SetStartUp(Pi::One, true)).unwrap();
    bench.board(1).tell(Command::SetSignalWidth(Pi::Zero, 77)).unwrap();
    // Another stack with the flash of this one: as after the supply was switched off and on.
    let flash = bench.stack.lock().unwrap().flash();
    let stack = Arc::new(Mutex::new(Stack::new(&StackConfig::with_ids([1]), &flash).unwrap()));
    let line = Loopback::new(Arc::clone(&stack), LineConfig::instant());
    let mut bench = Bench { stack, master: Master::new(Box::new(line), Timing::default()) };
    for (at, timer) in Timer::ALL.into_iter().enumerate() {
        for pi in Pi::BOTH {
            assert_eq!(bench.board(1).timer(timer, pi), Ok(10 * (at as u8 + 1) + pi.number()));
        }
    }
    assert_eq!(bench.board(1).flag(Command::StartUp(Pi::Zero)), Ok(false));
    assert_eq!(bench.board(1).flag(Command::StartUp(Pi::One)), Ok(true));
    assert_eq!(bench.board(1).flag(Command::Powered(Pi::One)), Ok(true), "powered by the start-up setting");
    assert_eq!(bench.board(1).byte(Command::SignalWidth(Pi::Zero)), Ok(77));
    assert_eq!(bench.board(1).word(Command::BootCount), Ok(2));
}

#[test]
fn leds_show_what_they_are_told() {
    let mut bench = bench(&StackConfig::with_ids([1]));
    bench.board(1).tell(Command::Leds(false)).unwrap();
    bench.board(1).tell(Command::DebugLed { red: 1, green: 2, blue: 3 }).unwrap();
    let snapshot = bench.stack.lock().unwrap().snapshot();
    assert_eq!((snapshot[0].leds, snapshot[0].debug_led), (false, [1, 2, 3]));
    bench.board(1).tell(Command::Leds(true)).unwrap();
    assert!(bench.stack.lock().unwrap().snapshot()[0].leds);
}

#[test]
fn bad_requests_are_answered_with_their_code_and_logged() {
    let mut bench = bench(&StackConfig::with_ids([0, 1]));
    let code = |bench: &Bench, bytes: &[u8]| -> Option<u8> {
        let answer = bench.stack.lock().unwrap().hear(bytes).bytes;
        (!answer.is_empty()).then(|| {
            assert_eq!(answer[..3], [frame::STATUS_ERROR, frame::MASTER, 4]);
            answer[3]
        })
    };
    let sealed = |bytes: &[u8]| [bytes, &[fruit_stack::crc::crc8(bytes)]].concat();
    assert_eq!(code(&bench, &sealed(&[0x0D, 1, 4, 2])), Some(0x14), "Pi 2");
    assert_eq!(code(&bench, &sealed(&[0x0D, 1, 3])), Some(0x13), "no Pi");
    assert_eq!(code(&bench, &sealed(&[0x2A, 1, 3])), Some(0x12), "beyond the table");
    assert_eq!(code(&bench, &sealed(&[0x00, 1, 3])), Some(0x12));
    assert_eq!(code(&bench, &[0x02, 1, 3, 0x00]), Some(0x11), "crc");
    assert_eq!(code(&bench, &[0x02, 1]), Some(0x10), "too short");
    assert_eq!(code(&bench, &[0x02, 1, 9, 0]), Some(0x22), "shorter than its length");
    assert_eq!(code(&bench, &[1; 65]), Some(0x10), "its length byte is 1");
    assert_eq!(code(&bench, &[[9, 1, 200].as_slice(), &[0; 70]].concat()), Some(0x21), "too many");
    assert_eq!(code(&bench, &sealed(&[0x02, 7, 3])), None, "nobody's id");
    assert_eq!(code(&bench, &[0x02, 7, 3, 0x00]), None, "nobody's id, bad crc");
    assert_eq!(code(&bench, &[0x02]), None, "noise");
    let report = bench.board(1).errors().unwrap();
    let codes: Vec<u8> = report.log.iter().map(|code| code.0).collect();
    assert_eq!(codes, [0x14, 0x13, 0x12, 0x12, 0x11, 0x10, 0x22, 0x10, 0x21]);
    assert_eq!((report.count, report.boots), (9, 1));
    assert_eq!(bench.board(1).byte(Command::ErrorPointer), Ok(9));
    bench.board(1).tell(Command::ClearErrorBuffer).unwrap();
    assert_eq!(bench.board(1).bytes(Command::ErrorBuffer), Ok(vec![0]));
    assert_eq!(bench.board(1).word(Command::ErrorCount), Ok(9), "the count is cleared by itself");
    bench.board(1).tell(Command::ClearErrorCount).unwrap();
    assert_eq!(bench.board(1).word(Command::ErrorCount), Ok(0));
    assert_eq!(bench.board(0).word(Command::ErrorCount), Ok(0), "the other board has nothing to do with it");
}

#[test]
fn a_pi_that_stops_beating_is_power_cycled() {
    let mut bench = external(&[2]);
    bench.board(2).tell(Command::SetTimer(Timer::HeartbeatTimeout, Pi::Zero, 10)).unwrap();
    bench.board(2).tell(Command::SetTimer(Timer::BootDelay, Pi::Zero, 60)).unwrap();
    bench.board(2).tell(Command::On(Pi::Zero)).unwrap();
    assert_eq!(bench.board(2).flag(Command::Heartbeat(Pi::Zero)), Ok(false));
    let beat = |bench: &Bench| {
        let mut stack = bench.stack.lock().unwrap();
        stack.set_heartbeat(2, Pi::Zero, true).unwrap();
        stack.set_heartbeat(2, Pi::Zero, false).unwrap();
    };
    bench.master.wait(59 * SECOND);
    for _ in 0..5 {
        beat(&bench);
        assert_eq!(bench.board(2).flag(Command::Heartbeat(Pi::Zero)), Ok(true));
        bench.master.wait(9 * SECOND);
    }
    assert_eq!(bench.powers(), [(true, "bus command")]);
    bench.master.wait(2 * SECOND);
    assert_eq!(bench.powers(), [(false, "heartbeat stopped")]);
    assert_eq!(bench.board(2).flag(Command::Powered(Pi::Zero)), Ok(false));
    bench.master.wait(2 * SECOND);
    assert_eq!(bench.powers(), [(true, "power cycle")]);
    // The restored Pi never beats: the boot delay counts, not the timeout.
    bench.master.wait(55 * SECOND);
    assert_eq!(bench.powers(), []);
    bench.master.wait(5 * SECOND + SECOND / 2);
    assert_eq!(bench.powers(), [(false, "no heartbeat after power-on")]);
}

#[test]
fn a_heartbeat_held_high_is_no_beat() {
    let mut bench = external(&[2]);
    bench.board(2).tell(Command::SetTimer(Timer::HeartbeatTimeout, Pi::Zero, 10)).unwrap();
    bench.board(2).tell(Command::On(Pi::Zero)).unwrap();
    for _ in 0..11 {
        bench.stack.lock().unwrap().set_heartbeat(2, Pi::Zero, true).unwrap();
        bench.master.wait(SECOND);
    }
    assert_eq!(bench.powers(), [(true, "bus command"), (false, "heartbeat stopped")]);
}

#[test]
fn a_timeout_of_zero_watches_nothing() {
    let mut bench = external(&[2]);
    bench.board(2).tell(Command::SetTimer(Timer::HeartbeatTimeout, Pi::One, 0)).unwrap();
    bench.board(2).tell(Command::On(Pi::One)).unwrap();
    bench.master.wait(3600 * SECOND);
    assert_eq!(bench.powers(), [(true, "bus command")]);
}

#[test]
fn off_signals_for_the_signal_width_and_cuts_after_the_off_delay() {
    let mut bench = external(&[0]);
    for setting in [
        Command::SetTimer(Timer::HeartbeatTimeout, Pi::One, 3),
        Command::SetTimer(Timer::OffDelay, Pi::One, 8),
        Command::SetSignalWidth(Pi::One, 150),
        Command::On(Pi::One),
    ] {
        bench.board(0).tell(setting).unwrap();
    }
    bench.stack.lock().unwrap().take_happenings();
    bench.board(0).tell(Command::Off(Pi::One)).unwrap();
    bench.master.wait(9 * SECOND);
    let happenings = bench.stack.lock().unwrap().take_happenings();
    let [low, high, cut] = happenings.as_slice() else { panic!("{happenings:?}") };
    assert_eq!((&low.event, &high.event), (&Event::Signal { high: false }, &Event::Signal { high: true }));
    assert!((high.at - low.at - 0.150).abs() < 1e-9, "{happenings:?}");
    // The missing heartbeat did not cut it after 3 s.
    assert_eq!(cut.event, Event::Power { on: false, reason: "off delay over" });
    assert!((cut.at - low.at - 8.0).abs() < 1e-9, "{happenings:?}");
}

#[test]
fn on_withdraws_a_pending_cut() {
    let mut bench = external(&[0]);
    bench.board(0).tell(Command::On(Pi::Zero)).unwrap();
    bench.board(0).tell(Command::SendSignal(Pi::Zero)).unwrap();
    bench.master.wait(10 * SECOND);
    bench.board(0).tell(Command::On(Pi::Zero)).unwrap();
    bench.master.wait(60 * SECOND);
    assert_eq!(bench.powers(), [(true, "bus command")]);
}

#[test]
fn a_pi_that_signals_is_cut_after_the_signalled_off_delay_and_stays_off() {
    let mut bench = external(&[0]);
    bench.board(0).tell(Command::SetTimer(Timer::SignalledOffDelay, Pi::Zero, 12)).unwrap();
    bench.board(0).tell(Command::On(Pi::Zero)).unwrap();
    bench.stack.lock().unwrap().pull_signal(0, Pi::Zero, true).unwrap();
    assert!(!bench.stack.lock().unwrap().pi(0, Pi::Zero).unwrap().signal);
    bench.master.wait(SECOND);
    bench.stack.lock().unwrap().pull_signal(0, Pi::Zero, false).unwrap();
    bench.master.wait(10 * SECOND);
    assert_eq!(bench.board(0).flag(Command::Powered(Pi::Zero)), Ok(true));
    bench.master.wait(300 * SECOND);
    assert_eq!(bench.powers(), [(true, "bus command"), (false, "signalled by the Pi")]);
}

#[test]
fn force_off_cuts_at_once_and_without_a_signal() {
    let mut bench = external(&[0]);
    bench.board(0).tell(Command::On(Pi::Zero)).unwrap();
    bench.stack.lock().unwrap().take_happenings();
    bench.board(0).tell(Command::ForceOff(Pi::Zero)).unwrap();
    let happenings = bench.stack.lock().unwrap().take_happenings();
    let events: Vec<&Event> = happenings.iter().map(|happening| &happening.event).collect();
    assert_eq!(events, [&Event::Power { on: false, reason: "forced off" }]);
}

#[test]
fn a_healthy_pi_shuts_down_by_itself_and_a_crashed_one_comes_back() {
    let mut bench = bench(&StackConfig::with_ids([0]));
    bench.board(0).tell(Command::On(Pi::Zero)).unwrap();
    bench.board(0).tell(Command::On(Pi::One)).unwrap();
    bench.master.wait(60 * SECOND);
    assert_eq!(bench.powers().len(), 2, "both beat in time");
    bench.stack.lock().unwrap().power_off(0, Pi::Zero).unwrap();
    bench.stack.lock().unwrap().crash(0, Pi::One).unwrap();
    bench.master.wait(80 * SECOND);
    assert_eq!(bench.powers(), [(false, "signalled by the Pi"), (false, "heartbeat stopped"), (true, "power cycle")]);
    assert_eq!(bench.board(0).flag(Command::Heartbeat(Pi::One)), Ok(true), "it booted and beats again");
}

#[test]
fn a_reset_board_cuts_its_pis_and_counts_the_boot() {
    let mut bench = bench(&StackConfig::with_ids([0]));
    bench.board(0).tell(Command::SetStartUp(Pi::One, true)).unwrap();
    bench.board(0).tell(Command::On(Pi::Zero)).unwrap();
    bench.board(0).tell(Command::On(Pi::One)).unwrap();
    bench.powers();
    bench.stack.lock().unwrap().reset(0).unwrap();
    assert_eq!(bench.powers(), [(false, "board reset"), (false, "board reset"), (true, "start-up")]);
    let report = bench.board(0).errors().unwrap();
    assert_eq!((report.boots, report.count), (2, 0));
    assert!(report.log.is_empty(), "booting is no error: {:?}", report.log);
}

#[test]
fn more_boards_than_dip_switches_and_shared_ids_are_refused() {
    let start = |ids: Vec<u8>| Stack::new(&StackConfig::with_ids(ids), &Flash::default()).map(|_| ());
    assert!(start((0..16).collect()).is_ok());
    assert!(start((0..17).collect()).is_err());
    assert!(start(vec![3, 3]).is_err());
    assert!(start(vec![0xFF]).is_err());
}
