//! The Pi Stack's loop closed, end to end: the image of the Pi Stack node, really built, on QEMU's generic machine, and a
//! simulated board that powers it.
//!
//! Real: U-Boot, kernel, systemd, the agent with its units, user and devices, the GPIO chip (PL061) as the kernel drives
//! it, the edges of its interrupts, the node's card, the simulated board's bus and the master on it.
//!
//! Bridged by this program, as no emulator has the board's connector:
//! - the heartbeat line: the chip's registers are read by QEMU's monitor, and line 5's level is handed to the board;
//! - the signal line from node to board: in the same way, line 3 as an output that is low;
//! - the signal line from board to node: the monitor presses the machine's power key, which is wired to line 3 and
//!   pulses it; the key idles low, so that it is the end of the pulse that falls;
//! - the power: this program starts the emulator and kills it as the board switches.

mod harness;
#[path = "harness/monitor.rs"]
mod monitor;
#[path = "harness/node.rs"]
mod node;

use std::path::Path;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering::Relaxed};
use std::sync::mpsc::{Receiver, Sender, TryRecvError, channel};
use std::thread::{self, JoinHandle};
use std::time::{Duration, Instant};

use fruit_stack::board::Board;
use fruit_stack::command::{Command, Pi, Timer};
use fruit_stack::master::{Master, Timing};
use fruit_stack::simulate::{Endpoints, Event, PiModel, Simulator, StackConfig};
use fruit_stack::transport::{self, Port};
use monitor::Monitor;
use node::{Node, PATIENCE};
use serde_json::{Value, json};

const BOARD: u8 = 3;
const PI: Pi = Pi::One;
/// Seconds of the board per second: emulated nodes on a busy machine start slower than the longest boot delay of 255 s.
const CLOCK: f64 = 0.25;

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

/// Carries levels between the machine behind `socket` and the board, and tells how the board switches the power.
fn bridge(simulator: &Simulator, socket: &Path, power: &Sender<(bool, &'static str)>, stop: &AtomicBool) {
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
struct Rig {
    node: Node,
    simulator: Arc<Simulator>,
    bus: Master,
    power: Receiver<(bool, &'static str)>,
    stop: Arc<AtomicBool>,
    bridge: Option<JoinHandle<()>>,
}

impl Rig {
    /// Both are ready; the power is off.
    fn new() -> Rig {
        let node = Node::new("pistack-virt", "virt", "hostname: stacked\n");
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
        // Delays: the most that the board can be set to.
        for (timer, seconds) in [
            (Timer::HeartbeatTimeout, 15),
            (Timer::BootDelay, 255),
            (Timer::OffDelay, 255),
            (Timer::SignalledOffDelay, 255),
        ] {
            rig.board().tell(Command::SetTimer(timer, PI, seconds)).unwrap();
        }
        rig
    }

    fn board(&mut self) -> Board<'_> {
        Board { master: &mut self.bus, id: BOARD }
    }

    /// Waits for the board to switch the power, and switches the node. The board's reason.
    fn switched(&mut self, expected: bool) -> &'static str {
        let (on, reason) = match self.power.recv_timeout(PATIENCE) {
            Ok(switched) => switched,
            Err(error) => panic!("the board does not switch the power: {error}; {}", self.node.console().text()),
        };
        assert_eq!(on, expected, "{reason}; the console said:\n{}", self.node.console().text());
        if on {
            self.node.start();
        } else {
            self.node.cut_power();
        }
        reason
    }

    /// Power as the board gave it, without a break since it was last looked at.
    fn power_was_left_alone(&self) {
        assert_eq!(self.power.try_recv(), Err(TryRecvError::Empty));
    }

    /// Switches the node on by the bus and waits until it is up and the board sees its beat.
    fn on(&mut self) {
        self.board().tell(Command::On(PI)).unwrap();
        assert_eq!(self.switched(true), "bus command");
        self.is_up();
    }

    fn is_up(&mut self) {
        let start = Instant::now();
        while !self.board().flag(Command::Heartbeat(PI)).unwrap() {
            self.power_was_left_alone();
            let console = self.node.console().text();
            assert!(start.elapsed() < PATIENCE, "no heartbeat; the console said:\n{console}");
            thread::sleep(Duration::from_millis(500));
        }
        self.node.wait_for_ssh();
        self.power_was_left_alone();
    }

    /// Switched off and on by the board itself.
    fn cycled(&mut self) {
        assert_eq!(self.switched(false), "heartbeat stopped");
        assert_eq!(self.switched(true), "power cycle");
        self.is_up();
    }

    fn status(&self) -> Value {
        serde_json::from_str(&self.node.run("fruit-agent status --json")).unwrap()
    }

    /// Waits until the node's own account of its boots is open.
    fn account(&self) -> Value {
        self.status_when("its account", |status| status["account"].is_object())["account"].clone()
    }

    fn status_when(&self, what: &str, holds: impl Fn(&Value) -> bool) -> Value {
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
    fn data_needs_recovery(&self) -> bool {
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

fn systemd_runs_the_agent_as_its_own_user(node: &Node) {
    let state = node.ssh("systemctl is-system-running --wait").unwrap_or_else(|error| error);
    let failed = node.run("systemctl --failed --no-legend --plain --no-pager");
    assert!(
        state.starts_with("running") && failed.is_empty(),
        "{state}\n{failed}\n{}",
        node.run("journalctl -b -u 'fruit-agent*' --no-pager")
    );
    let show = node.run("systemctl show fruit-agent -p ActiveState -p SubState -p User -p NRestarts");
    for line in ["ActiveState=active", "SubState=running", "User=fruit-agent", "NRestarts=0"] {
        assert!(show.lines().any(|shown| shown == line), "{line}: {show}");
    }
    assert_eq!(node.run("stat -c %U /proc/$(pidof -s fruit-agent)"), "fruit-agent");
    let capabilities = node.run("grep Cap /proc/$(pidof -s fruit-agent)/status");
    assert!(capabilities.lines().all(|line| line.ends_with("\t0000000000000000")), "{capabilities}");
    for unit in ["fruit-agent-ending.service", "fruit-agent-poweroff.path"] {
        assert_eq!(node.run(&format!("systemctl is-active {unit}")), "active", "{unit}");
    }
    node.run("systemd-analyze security --no-pager --threshold=20 fruit-agent.service");
    // The beat's thread has its real-time priority.
    let classes = node.run("ps -L -o comm=,cls=,rtprio= -p $(pidof -s fruit-agent)");
    let beat = classes.lines().find(|line| line.starts_with("beat")).expect(&classes);
    assert_eq!(beat.split_whitespace().collect::<Vec<_>>(), ["beat", "FF", "50"]);
}

/// Ticks per second of the times in `/proc/PID/stat`, as Linux shows them to programs on every architecture here.
const USER_HZ: f64 = 100.0;

/// Prints what the agent costs and how evenly it beats.
fn figures(node: &Node) {
    let busy = || -> f64 {
        let stat = node.run("cat /proc/$(pidof -s fruit-agent)/stat");
        // proc(5): the name, which may have spaces, is in parentheses; user and system time are fields 14 and 15.
        let fields: Vec<f64> =
            stat[stat.rfind(')').unwrap() + 4..].split_whitespace().map(|f| f.parse().unwrap()).collect();
        (fields[10] + fields[11]) / USER_HZ
    };
    let (start, before) = (Instant::now(), busy());
    thread::sleep(Duration::from_secs(60));
    let (after, seconds) = (busy(), start.elapsed().as_secs_f64());
    let memory = node.run("grep -E '^(VmHWM|VmRSS|RssAnon|RssFile|VmLck)' /proc/$(pidof -s fruit-agent)/status");
    let status: Value = serde_json::from_str(&node.run("fruit-agent status --json")).unwrap();
    println!("fruit-agent in the guest, idle, emulated, a beat per second:\n{memory}");
    println!("CPU: {:.2} % of a core over {seconds:.0} s", (after - before) / seconds * 100.0);
    println!("interval off by, in µs: {}", status["heartbeat"]["deviation_us"]);
}

#[test]
fn the_board_sees_the_nodes_beat_and_its_off_shuts_the_node_down_cleanly_before_the_cut() {
    let mut rig = Rig::new();
    rig.on();
    systemd_runs_the_agent_as_its_own_user(&rig.node);
    let status = rig.status_when("beating", |status| status["heartbeat"]["given"].as_u64() > Some(10));
    assert_eq!(status["heartbeat"]["state"], "beating", "{status:#}");
    assert_eq!(status["heartbeat"]["line_errors"], 0, "{status:#}");
    assert_eq!(
        (&status["board"]["drives_lines"], &status["signal"]["watched"]),
        (&true.into(), &true.into()),
        "{status:#}"
    );
    assert_eq!((&status["config_error"], &status["board"]["error"]), (&Value::Null, &Value::Null), "{status:#}");
    let holds = |condition: &Value| condition["state"] == "holds";
    assert!(status["conditions"].as_array().unwrap().iter().all(holds), "{status:#}");
    figures(&rig.node);
    assert!(rig.board().flag(Command::Heartbeat(PI)).unwrap());
    assert!(rig.board().flag(Command::Powered(PI)).unwrap());
    rig.power_was_left_alone();
    let metrics = rig
        .node
        .run("bash -c 'exec 3<>/dev/tcp/127.0.0.1/9791; printf \"GET /metrics HTTP/1.0\\r\\n\\r\\n\" >&3; cat <&3'");
    assert!(metrics.starts_with("HTTP/1.") && metrics.contains(" 200 ") && metrics.contains("fruit_"), "{metrics}");
    let account = rig.account();
    assert_eq!((&account["boots"], &account["previous_ending"]), (&json!(1), &Value::Null), "{account:#}");

    // The board's off: its signal, and a cut that waits for 255 s.
    rig.board().tell(Command::Off(PI)).unwrap();
    rig.node.console().expect("reboot: Power down", PATIENCE).unwrap();
    rig.node.console().wait_end(PATIENCE).unwrap();
    assert!(rig.board().flag(Command::Powered(PI)).unwrap(), "the node was down before the board cut its power");
    rig.power_was_left_alone();
    assert!(!rig.data_needs_recovery());
    // Nothing more happens in that time.
    rig.simulator.stack().advance(Duration::from_secs(255));
    rig.switched(false);

    rig.on();
    let account = rig.account();
    assert_eq!((&account["boots"], &account["previous_ending"]), (&json!(2), &json!("signal")), "{account:#}");
    assert_eq!(account["endings"]["signal"], 1, "{account:#}");
}

#[test]
fn a_node_that_crashes_or_withholds_its_beat_is_power_cycled_and_comes_back_with_the_reason() {
    let mut rig = Rig::new();
    rig.on();
    rig.account();
    // After a panic the kernel would reset the node. It is kept from that, so that the board is what brings it back.
    rig.node.run("sysctl -q kernel.panic=0 kernel.sysrq=1; (sleep 1; echo c > /proc/sysrq-trigger) > /dev/null 2>&1 < /dev/null &");
    rig.node.console().expect("Kernel panic", PATIENCE).unwrap();
    rig.cycled();
    let account = rig.account();
    assert_eq!((&account["boots"], &account["previous_ending"]), (&json!(2), &json!("power-loss")), "{account:#}");
    assert_eq!(account["last_withholding"], Value::Null, "{account:#}");

    // The writable part of the root fills up.
    rig.node.run("fallocate -l $(($(df -B1 --output=avail / | tail -1) * 98 / 100)) /filled");
    rig.cycled();
    let status = rig.status_when("its account", |status| status["account"].is_object());
    let (account, last) = (&status["account"], &status["account"]["last_withholding"]);
    assert_eq!((&account["boots"], &account["previous_ending"]), (&json!(3), &json!("power-loss")), "{account:#}");
    assert_eq!((&last["boot"], &last["conditions"]), (&json!(2), &json!("overlay")), "{account:#}");
    assert!(account["withheld_for"]["overlay"].as_u64() > Some(0), "{account:#}");
    // Said to people as well, and true no more.
    let said = rig.node.run("fruit-agent status");
    assert!(said.contains("beats last withheld in boot 2: overlay"), "{said}");
    assert_eq!(status["heartbeat"]["state"], "beating", "{status:#}");

    // Down by itself: word to the board, once the file systems are away.
    let _ = rig.node.ssh("poweroff");
    rig.node.console().wait_end(PATIENCE).unwrap();
    assert!(!rig.data_needs_recovery());
    assert!(rig.board().flag(Command::Powered(PI)).unwrap());
    rig.simulator.stack().advance(Duration::from_secs(255));
    assert_eq!(rig.switched(false), "signalled by the Pi");
}
