//! A node in an emulator on a simulated Pi Stack board: the board switches the node's power, and what no emulator has,
//! the wires between them, is this program. See `tests/pistack.rs` for which part is bridged.

use std::path::Path;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering::Relaxed};
use std::sync::mpsc::{Receiver, Sender, TryRecvError, channel};
use std::thread::{self, JoinHandle};
use std::time::{Duration, Instant};

use fruit_stack::board::Board;
use fruit_stack::command::{Command, Pi, Timer};
use fruit_stack::master::{Master, Timing};
use fruit_stack::transport::{self, Port};
use fruit_stack_simulator::{Endpoints, Event, PiModel, Simulator, StackConfig};
use serde_json::{Value, json};

use crate::monitor::Monitor;
use crate::node::{Node, PATIENCE};

const BOARD: u8 = 3;
pub const PI: Pi = Pi::One;
/// Seconds of the board per second. Emulated nodes on a busy machine start slower than the longest boot delay of 255 s.
const CLOCK: f64 = 0.25;
/// The heartbeat timeout: 32 s of a node whose beat is one second, so that a host that is held up is no crash.
const HEARTBEAT_TIMEOUT: u8 = 8;
/// Longer than a node takes for anything.
const LONGEST: u8 = u8::MAX;

/// Lines of the chip as in `tests/recipes/pistack-virt.yaml`.
const HEARTBEAT: u32 = 1 << 5;
const SIGNAL: u32 = 1 << 3;
/// Levels of all eight lines; the word behind it has their directions, 1 = output (PL061, at 0x09030000 on `virt`).
const LEVELS: u64 = 0x0903_03fc;
/// Between two looks at the lines.
const LOOK: Duration = Duration::from_millis(20);

/// What the node drives.
#[derive(Clone, Copy, PartialEq, Eq, Default)]
struct Driven {
    heartbeat: bool,
    signal_low: bool,
}

fn driven(monitor: &mut Monitor) -> std::io::Result<Driven> {
    let words = monitor.words(LEVELS, 2)?;
    let (levels, outputs) = (words[0], words[1]);
    Ok(Driven { heartbeat: levels & outputs & HEARTBEAT != 0, signal_low: !levels & outputs & SIGNAL != 0 })
}

/// Power switched by the board, with its reason.
type Switching = (bool, &'static str);

/// Carries levels between the machine behind `socket` and the board, and tells how the board switches the power.
fn bridge(simulator: &Simulator, socket: &Path, power: &Sender<Switching>, stop: &AtomicBool) {
    let mut machine: Option<Monitor> = None;
    while !stop.load(Relaxed) {
        machine = machine.or_else(|| Monitor::connect(socket).ok());
        let looked = machine.as_mut().map(driven).transpose();
        // A machine that does not answer has ended, and drives nothing.
        let lines = looked.unwrap_or_else(|_| {
            machine = None;
            None
        });
        let lines = lines.unwrap_or_default();
        let mut stack = simulator.stack();
        stack.set_heartbeat(BOARD, PI, lines.heartbeat).unwrap();
        stack.pull_signal(BOARD, PI, lines.signal_low).unwrap();
        let happenings = stack.take_happenings();
        drop(stack);
        for happening in happenings {
            match happening.event {
                // Nobody listens any more when a test has failed.
                Event::Power { on, reason } => power.send((on, reason)).unwrap_or_default(),
                Event::Signal { high: false } if !lines.signal_low => {
                    let machine = machine.as_mut().expect("the board signals to a node that runs");
                    machine.ask("system_powerdown", json!({})).unwrap();
                }
                Event::Signal { .. } | Event::Heartbeat { .. } => {}
            }
        }
        thread::sleep(LOOK);
    }
}

/// A node on its board.
pub struct Rig {
    pub node: Node,
    pub simulator: Arc<Simulator>,
    bus: Master,
    power: Receiver<Switching>,
    stop: Arc<AtomicBool>,
    bridge: Option<JoinHandle<()>>,
}

impl Rig {
    /// Both are ready; the power is off.
    pub fn new() -> Rig {
        let mut node = Node::new("pistack-virt", "virt", "hostname: stacked\n");
        node.plug_in_hat("Pi stack");
        let endpoints = Endpoints { clock: CLOCK, ..Endpoints::default() };
        let simulator = Simulator::start(&StackConfig::with_ids([BOARD]), &endpoints).unwrap();
        simulator.stack().set_model(BOARD, PI, PiModel::External).unwrap();
        let line = transport::open(&Port::Device(simulator.pty().unwrap().to_owned())).unwrap();
        // Busy machines answer late.
        let timing = Timing { answer_within: Duration::from_secs(10), retries: 10, ..Timing::default() };
        let (simulator, stop) = (Arc::new(simulator), Arc::new(AtomicBool::new(false)));
        let (sender, power) = channel();
        let bridge = thread::spawn({
            let (simulator, socket, stop) = (Arc::clone(&simulator), node.monitor(), Arc::clone(&stop));
            move || bridge(&simulator, &socket, &sender, &stop)
        });
        let mut rig = Rig { node, simulator, bus: Master::new(line, timing), power, stop, bridge: Some(bridge) };
        for (timer, seconds) in [
            (Timer::HeartbeatTimeout, HEARTBEAT_TIMEOUT),
            (Timer::BootDelay, LONGEST),
            (Timer::OffDelay, LONGEST),
            (Timer::SignalledOffDelay, LONGEST),
        ] {
            rig.board().tell(Command::SetTimer(timer, PI, seconds)).unwrap();
        }
        rig
    }

    pub fn board(&mut self) -> Board<'_> {
        Board { master: &mut self.bus, id: BOARD }
    }

    /// Waits for the board to switch the power, and switches the node. The board's reason.
    fn switched(&mut self, expected: bool) -> &'static str {
        let (on, reason) = match self.power.recv_timeout(PATIENCE) {
            Ok(switched) => switched,
            Err(error) => panic!("the board does not switch the power: {error}; {}", self.console()),
        };
        assert_eq!(on, expected, "{reason}; {}", self.console());
        if on {
            self.node.start();
        } else {
            self.node.cut_power();
        }
        reason
    }

    /// What the node's console said, for the message of a failure.
    fn console(&self) -> String {
        self.node.console.as_ref().map_or("the node is off".to_owned(), |c| format!("its console said:\n{}", c.text()))
    }

    /// Power as the board gave it, without a break since it was last looked at.
    pub fn power_was_left_alone(&self) {
        let switched = self.power.try_recv();
        assert_eq!(switched, Err(TryRecvError::Empty), "{}", self.console());
    }

    /// Switches the node on by the bus and waits until it is up and the board sees its beat.
    pub fn on(&mut self) {
        self.board().tell(Command::On(PI)).unwrap();
        assert_eq!(self.switched(true), "bus command");
        self.is_up();
    }

    #[allow(clippy::print_stdout)] // times, for whoever reads along
    fn is_up(&mut self) {
        let start = Instant::now();
        while !self.board().flag(Command::Heartbeat(PI)).unwrap() {
            self.power_was_left_alone();
            assert!(start.elapsed() < PATIENCE, "no heartbeat; {}", self.console());
            thread::sleep(Duration::from_millis(500));
        }
        println!("{:>7.1} s  the board sees the node's beat", self.node.console().elapsed().as_secs_f64());
        self.node.wait_for_ssh();
        println!("{:>7.1} s  ssh lets us in", self.node.console().elapsed().as_secs_f64());
        self.power_was_left_alone();
    }

    /// Switched off and on by the board itself, because no beat came for its timeout; back and beating.
    pub fn cycled(&mut self) {
        assert_eq!(self.switched(false), "heartbeat stopped");
        assert_eq!(self.switched(true), "power cycle");
        self.is_up();
    }

    /// The node goes down in good order while it has power; then the board's delay passes, at once, and the board cuts
    /// the power. The board's reason.
    pub fn goes_down_cleanly_before_the_cut(&mut self) -> &'static str {
        self.node.console().expect("reboot: Power down", PATIENCE).unwrap();
        self.node.console().wait_end(PATIENCE).unwrap();
        assert!(self.board().flag(Command::Powered(PI)).unwrap(), "the node was down before the board cut its power");
        self.power_was_left_alone();
        assert!(!self.data_needs_recovery());
        self.simulator.stack().advance(Duration::from_secs(u64::from(LONGEST)));
        self.switched(false)
    }

    pub fn status(&self) -> Value {
        serde_json::from_str(&self.node.run("fruit-agent status --json")).unwrap()
    }

    /// Waits until the node's own account of its boots is on its card.
    pub fn account(&self) -> Value {
        self.status_when("its account", |status| status["account"]["writes"].as_u64() > Some(0))["account"].clone()
    }

    pub fn status_when(&self, what: &str, holds: impl Fn(&Value) -> bool) -> Value {
        let start = Instant::now();
        loop {
            let status = self.status();
            if holds(&status) {
                return status;
            }
            assert!(start.elapsed() < PATIENCE, "{what}: {status:#}");
            thread::sleep(Duration::from_secs(1));
        }
    }

    /// Whether the data partition was left without a clean unmount: the journal of ext4 is to be replayed
    /// (`EXT4_FEATURE_INCOMPAT_RECOVER`, superblock at 1024, field `s_feature_incompat` at 0x60).
    pub fn data_needs_recovery(&self) -> bool {
        let at = self.node.partition("data").start() + 1024 + 0x60;
        self.node.read(at, 1)[0] & 4 != 0
    }
}

impl Drop for Rig {
    fn drop(&mut self) {
        self.stop.store(true, Relaxed);
        if let Some(bridge) = self.bridge.take() {
            let _ = bridge.join();
        }
    }
}
