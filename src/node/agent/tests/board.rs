//! The loop closed: the real agent and the simulated board of `fruit-stack`, in real time. Bridged here: the two lines
//! (sockets instead of GPIO), and the node's power (the test starts and kills the agent as the board switches).

use std::sync::{Arc, Mutex};
use std::thread;
use std::time::{Duration, Instant};

use crate::node::{Lines, Node, wait_for};
use fruit_stack::command::{Command, Pi, Timer};
use fruit_stack::frame;
use fruit_stack_simulator::{Event, Flash, PiModel, Stack, StackConfig};

const PI: Pi = Pi::One;
const BOARD: u8 = 3;

/// The simulated board beside a node.
struct Simulated {
    stack: Arc<Mutex<Stack>>,
    /// Power switched on or off, and why.
    power: Arc<Mutex<Vec<(bool, &'static str)>>>,
}

/// Hands on what the node drives, from `done` on.
fn drive(stack: &mut Stack, lines: &Lines, done: &mut usize) {
    for (line, level) in &lines.driven[*done..] {
        match line {
            5 => stack.set_heartbeat(BOARD, PI, *level == Some(true)).unwrap(),
            _ => stack.pull_signal(BOARD, PI, *level == Some(false)).unwrap(),
        }
    }
    *done = lines.driven.len();
}

impl Simulated {
    fn beside(node: &Node) -> Simulated {
        let mut stack = Stack::new(&StackConfig::with_ids([BOARD]), &Flash::default()).unwrap();
        stack.set_model(BOARD, PI, PiModel::External).unwrap();
        let stack = Arc::new(Mutex::new(stack));
        let power = Arc::new(Mutex::new(Vec::new()));
        let simulated = Simulated { stack: Arc::clone(&stack), power: Arc::clone(&power) };
        let (lines, started) = (Arc::clone(&node.board.0), Instant::now());
        thread::spawn(move || {
            let mut done = 0;
            // Ends with the test.
            while Arc::strong_count(&power) > 1 {
                let mut stack = stack.lock().unwrap();
                stack.advance_to(started.elapsed());
                drive(&mut stack, &lines.lock().unwrap(), &mut done);
                for happening in stack.take_happenings() {
                    match happening.event {
                        Event::Power { on, reason } => power.lock().unwrap().push((on, reason)),
                        // The node hears a pull of its own on its line too; the agent is gone by then.
                        Event::Signal { high } => lines.lock().unwrap().signal(if high { b"1" } else { b"0" }),
                        Event::Heartbeat { .. } => {}
                    }
                }
                drop(stack);
                thread::sleep(Duration::from_millis(5));
            }
        });
        // Much shorter than in the field, but far above what a busy machine delays a beat by.
        simulated.ask(&Command::SetTimer(Timer::HeartbeatTimeout, PI, 4));
        simulated.ask(&Command::SetTimer(Timer::BootDelay, PI, 60));
        simulated.ask(&Command::SetTimer(Timer::OffDelay, PI, 3));
        simulated.ask(&Command::SetTimer(Timer::SignalledOffDelay, PI, 1));
        simulated.ask(&Command::On(PI));
        simulated.switched(&[true]);
        simulated
    }

    fn ask(&self, command: &Command) {
        let answer = self.stack.lock().unwrap().hear(&frame::request(BOARD, command)).bytes;
        assert_eq!(answer.first(), Some(&0), "{command:?}: {answer:02x?}");
    }

    fn sees_heartbeat(&self) {
        wait_for("the board to see the heartbeat", || {
            self.stack.lock().unwrap().pi(BOARD, PI).unwrap().heartbeat_seen.then_some(())
        });
    }

    /// Waits until the power has been switched in this order; the last reason.
    fn switched(&self, expected: &[bool]) -> &'static str {
        wait_for(&format!("power to be switched {expected:?}"), || {
            let power = self.power.lock().unwrap();
            let order: Vec<bool> = power.iter().map(|(on, _)| *on).collect();
            assert!(expected.starts_with(&order), "{power:?} instead of {expected:?}");
            (order == expected).then(|| power.last().unwrap().1)
        })
    }
}

fn previous_ending(node: &Node) -> String {
    node.status(|status| status.account.is_some()).account.unwrap().previous_ending.unwrap()
}

#[test]
fn the_board_cycles_the_power_of_a_node_that_withholds_its_beat_or_crashes() {
    let node =
        Node::new("board: force\nhealth: { check: 500ms, patience: 0ms, systemd: ignore, memory: { limit: 40% } }\n");
    let board = Simulated::beside(&node);
    let agent = node.start();
    board.sees_heartbeat();
    node.pressure("80.00");
    agent.logs("beat withheld: memory");
    board.switched(&[true, false]);
    drop(agent);
    board.switched(&[true, false, true]);
    node.boot(2);
    node.pressure("0.00");
    let agent = node.start();
    board.sees_heartbeat();
    assert_eq!(previous_ending(&node), "power-loss");
    let account = node.status(|status| status.account.is_some()).account.unwrap();
    assert!(account.last_withholding.unwrap().detail.contains("memory pressure"));
    // The node crashes: nothing beats any more.
    drop(agent);
    board.switched(&[true, false, true, false, true]);
}

#[test]
fn the_boards_off_is_an_orderly_shutdown_before_the_cut() {
    let node = Node::forced("");
    let board = Simulated::beside(&node);
    let agent = node.start();
    board.sees_heartbeat();
    node.status(|status| status.signal.watched);
    board.ask(&Command::Off(PI));
    agent.logs("shutting down now");
    wait_for("the order", || node.path("run/fruit-agent/poweroff").exists().then_some(()));
    // As systemd does it.
    assert!(node.run(&["ordered"]).status.success());
    agent.stop();
    assert!(node.run(&["shutdown-hook", "poweroff"]).status.success());
    assert!(node.board.driven(6).is_empty(), "the board knows already");
    board.switched(&[true, false]);
    node.boot(2);
    std::fs::remove_file(node.path("run/fruit-agent/ordered")).unwrap();
    let _agent = node.start();
    assert_eq!(previous_ending(&node), "signal");
}

#[test]
fn the_board_cuts_the_power_of_a_node_that_went_down_by_itself() {
    let node = Node::forced("");
    let board = Simulated::beside(&node);
    let agent = node.start();
    board.sees_heartbeat();
    agent.stop();
    assert!(node.run(&["shutdown-hook", "poweroff"]).status.success());
    assert_eq!(board.switched(&[true, false]), "signalled by the Pi");
}
