use super::*;
use std::cell::{Cell, RefCell};
use std::io;
use std::sync::Mutex;

/// A clock that only moves when someone sleeps, plus what `delays` adds to each sleep.
struct Paced<'a> {
    now: Cell<u64>,
    delays: RefCell<Vec<u64>>,
    until: u64,
    stop: &'a AtomicBool,
}

impl Clock for Paced<'_> {
    fn now(&self) -> u64 {
        self.now.get()
    }

    fn sleep_until(&self, at: u64) {
        let delay = self.delays.borrow_mut().pop().unwrap_or(0);
        self.now.set(self.now.get().max(at) + delay);
        if self.now.get() >= self.until {
            self.stop.store(true, Relaxed);
        }
    }
}

#[derive(Default)]
struct Wire {
    levels: Mutex<Vec<bool>>,
    broken: bool,
}

impl OutputLine for &Wire {
    fn set(&mut self, high: bool) -> io::Result<()> {
        if self.broken {
            return Err(io::Error::other("broken"));
        }
        self.levels.lock().unwrap().push(high);
        Ok(())
    }
}

const TIMING: Timing = Timing { high: 200, interval: 5_000 };

fn run(until: u64, delays: Vec<u64>, permit: &Permit, wire: &Wire) -> (Record, u64) {
    let (stop, record, told) = (AtomicBool::new(false), Record::default(), Cell::new(0));
    let clock = Paced { now: Cell::new(1_000), delays: RefCell::new(delays), until, stop: &stop };
    let mut line = wire;
    beat(&mut line, &clock, TIMING, permit, &record, &|| told.set(told.get() + 1), &stop);
    (record, told.get())
}

#[test]
fn a_healthy_node_beats_in_the_configured_rhythm() {
    let wire = Wire::default();
    let (record, told) = run(16_000, vec![], &Permit::new(0, u64::MAX), &wire);
    assert_eq!(record.given.load(Relaxed), 4);
    assert_eq!(record.last.load(Relaxed), 16_000);
    assert_eq!(*wire.levels.lock().unwrap(), [true, false].repeat(4));
    assert_eq!((told, record.deviation.max()), (0, 0));
}

#[test]
fn a_failing_condition_withholds_the_beat_and_is_told() {
    let (wire, permit) = (Wire::default(), Permit::new(0, u64::MAX));
    permit.set_failing(Conditions::NONE.with(Condition::Memory).with(Condition::Units));
    let (record, told) = run(11_000, vec![], &permit, &wire);
    assert_eq!((record.given.load(Relaxed), record.withheld.load(Relaxed), told), (0, 3, 3));
    assert_eq!(record.withheld_for[Condition::Memory as usize].load(Relaxed), 3);
    assert_eq!(record.withheld_for[Condition::Process as usize].load(Relaxed), 0);
    assert!(wire.levels.lock().unwrap().is_empty(), "the line is not touched");
}

#[test]
fn a_thread_that_hangs_withholds_the_beat() {
    for who in [Stamp::Health, Stamp::Main] {
        let permit = Permit::new(0, 6_000);
        permit.stamp(Stamp::Health, 20_000);
        permit.stamp(Stamp::Main, 20_000);
        permit.stamp(who, 0);
        assert!(permit.withheld_for(6_000).is_empty());
        assert!(permit.withheld_for(6_001).has(Condition::Process), "{who:?}");
    }
}

#[test]
fn beats_that_a_stall_swallowed_are_not_made_up_for() {
    let wire = Wire::default();
    // Sleeps are taken from the end: the first beat is on time, the second 12,000 late.
    let (record, _) = run(30_000, vec![12_000, 0, 0], &Permit::new(0, u64::MAX), &wire);
    // 1000, 18000 (instead of 6000), then the grid again: 21000, 26000, 31000.
    assert_eq!(record.given.load(Relaxed), 5);
    assert_eq!(record.last.load(Relaxed), 31_000);
    assert_eq!(record.deviation.max(), 12);
}

#[test]
fn a_line_that_fails_is_counted_gives_no_beat_and_is_given_back() {
    let wire = Wire { broken: true, ..Wire::default() };
    let (record, _) = run(6_000, vec![], &Permit::new(0, u64::MAX), &wire);
    assert_eq!((record.given.load(Relaxed), record.errors.load(Relaxed)), (0, 2));
}
