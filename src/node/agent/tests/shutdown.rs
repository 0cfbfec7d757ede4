//! The ways down: the board's order, the node's own shutdown, and what the next boot knows of them.

use std::process::Command;

use crate::node::systemd::{Answers, FakeSystemd};
use crate::node::{Node, wait_for};

#[test]
fn a_falling_edge_orders_the_shutdown_once_and_the_next_boot_knows() {
    let node = Node::forced("");
    let agent = node.start();
    node.status(|status| status.signal.watched);
    node.board.signal(b"0");
    agent.logs("shutting down now: the Pi Stack board pulled the signal line low");
    wait_for("the order", || node.path("run/fruit-agent/poweroff").exists().then_some(()));
    node.notified("STATUS=Going down: signal");
    assert!(node.status(|status| status.signal.ordered).signal.level.as_deref() == Some("low"));

    let ordered = node.run(&["ordered"]);
    assert!(ordered.status.success());
    assert!(!node.path("run/fruit-agent/poweroff").exists(), "the path unit is not triggered again");
    node.board.signal(b"101");
    node.status(|status| status.signal.level.as_deref() == Some("high"));
    assert!(!node.path("run/fruit-agent/poweroff").exists());

    // An agent of the same boot knows that too.
    agent.stop();
    let agent = node.start();
    assert_eq!(node.status(|status| status.account.is_some()).ending.as_deref(), Some("signal"));
    agent.stop();

    node.boot(2);
    std::fs::remove_file(node.path("run/fruit-agent/ordered")).unwrap();
    let _agent = node.start();
    let status = node.status(|status| status.account.is_some());
    assert_eq!(status.ending, None);
    let account = status.account.unwrap();
    assert_eq!(account.previous_ending.as_deref(), Some("signal"));
    assert_eq!(account.endings["signal"], 1);
}

#[test]
fn a_glitch_orders_nothing() {
    let node = Node::forced("signal: { glitch: 1s }\n");
    let mut agent = node.start();
    node.status(|status| status.signal.watched);
    for _ in 0..20 {
        node.board.signal(b"01");
    }
    // A pulse of its own: the width of the ones before would be seen by now.
    wait_for("beats", || (node.board.beats() >= 30).then_some(()));
    let status = node.status(|status| status.signal.level.as_deref() == Some("high"));
    assert!(!status.signal.ordered && agent.is_running());
    assert!(!node.path("run/fruit-agent/poweroff").exists());
    node.board.signal(b"0");
    agent.logs("shutting down now");
}

#[test]
fn a_line_that_is_low_from_the_start_is_no_order() {
    let node = Node::forced("");
    node.board.0.lock().unwrap().starts_low = true;
    let agent = node.start();
    agent.logs("the signal line is low already");
    wait_for("beats", || (node.board.beats() >= 5).then_some(()));
    let status = node.status(|status| status.signal.watched);
    assert_eq!((status.signal.level.as_deref(), status.signal.ordered), (Some("low"), false));
    node.board.signal(b"1");
    node.status(|status| status.signal.level.as_deref() == Some("high"));
    node.board.signal(b"0");
    agent.logs("shutting down now");
}

#[test]
fn the_nodes_own_shutdown_is_entered_with_its_kind() {
    for (target, expected) in [("poweroff.target", "own-poweroff"), ("reboot.target", "own-reboot")] {
        let node = Node::forced("");
        let agent = node.start();
        node.status(|status| status.account.is_some());
        let job = (target.to_owned(), ("inactive".to_owned(), "start".to_owned()));
        let answers = Answers { state: "stopping".into(), units: [job].into(), mute: false };
        let _systemd = FakeSystemd::listen(&node.path("run/systemd/private"), answers);
        let announced = node.run(&["stopping"]);
        assert!(announced.status.success(), "{}", String::from_utf8_lossy(&announced.stderr));
        assert_eq!(node.status(|_| true).ending.as_deref(), Some(expected));
        // The power goes right then.
        drop(agent);
        node.boot(2);
        let _agent = node.start();
        let account = node.status(|status| status.account.is_some()).account.unwrap();
        assert_eq!(account.previous_ending.as_deref(), Some(expected));
    }
}

#[test]
fn stopping_the_unit_alone_is_no_shutdown() {
    let node = Node::forced("");
    let agent = node.start();
    node.status(|status| status.account.is_some());
    let _systemd = FakeSystemd::listen(
        &node.path("run/systemd/private"),
        Answers { state: "running".into(), ..Answers::default() },
    );
    assert!(node.run(&["stopping"]).status.success());
    assert_eq!(node.status(|_| true).ending, None);
    agent.stop();
    let agent = node.start();
    assert_eq!(node.status(|status| status.account.is_some()).account.unwrap().boots, 1);
    drop(agent);
}

#[test]
fn the_watchdogs_reset_is_told_from_a_power_cut() {
    let node = Node::forced("");
    drop({
        let agent = node.start();
        node.status(|status| status.account.as_ref().is_some_and(|account| account.writes > 0));
        agent
    });
    node.boot(2);
    std::fs::create_dir_all(node.path("sys/class/watchdog/watchdog0")).unwrap();
    std::fs::write(node.path("sys/class/watchdog/watchdog0/bootstatus"), "32\n").unwrap();
    let _agent = node.start();
    let account = node.status(|status| status.account.is_some()).account.unwrap();
    assert_eq!(account.previous_ending.as_deref(), Some("watchdog"));
}

#[test]
fn the_hook_pulls_the_line_on_poweroff_and_halt_and_lets_go_of_it() {
    for kind in ["poweroff", "halt"] {
        let node = Node::forced("signal: { width: 20ms }\n");
        assert!(node.run(&["shutdown-hook", kind]).status.success());
        let pulled = wait_for("the pull", || Some(node.board.driven(6)).filter(|driven| driven.last() == Some(&None)));
        assert_eq!(pulled, [Some(false), None], "{kind}");
    }
}

#[test]
fn the_hook_leaves_the_line_alone_on_a_reboot_without_a_board_and_when_the_board_ordered_it() {
    let forced = Node::forced("");
    for kind in ["reboot", "kexec", "soft-reboot", "nonsense"] {
        assert!(forced.run(&["shutdown-hook", kind]).status.success());
    }
    std::fs::write(forced.path("run/fruit-agent/ordered"), "").unwrap();
    assert!(forced.run(&["shutdown-hook", "poweroff"]).status.success());
    let without = Node::new("");
    assert!(without.run(&["shutdown-hook", "poweroff"]).status.success());
    for node in [&forced, &without] {
        assert!(node.board.0.lock().unwrap().driven.is_empty());
    }
}

#[test]
fn systemd_calls_the_hook_by_its_name() {
    let folder = tempfile::tempdir().unwrap();
    let hook = folder.path().join(fruit_contract::agent::files::HOOK_NAME);
    std::os::unix::fs::symlink(env!("CARGO_BIN_EXE_fruit-agent"), &hook).unwrap();
    let called = Command::new(&hook).arg("reboot").env_remove("JOURNAL_STREAM").output().unwrap();
    assert!(called.status.success());
    assert!(String::from_utf8_lossy(&called.stderr).contains("the node comes up again"));
}
