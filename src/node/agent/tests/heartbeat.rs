//! The real program beats, and withholds the beat for each condition.

use crate::node::systemd::{Answers, FakeSystemd};
use crate::node::{Node, wait_for};

#[test]
fn a_healthy_node_beats_and_leaves_the_line_low_when_it_stops() {
    let node = Node::forced("");
    let agent = node.start();
    node.notified("READY=1");
    wait_for("beats", || (node.board.beats() >= 5).then_some(()));
    let status = node.status(|status| status.heartbeat.state == "beating" && status.heartbeat.given >= 5);
    assert_eq!((status.heartbeat.withheld, status.heartbeat.line_errors), (0, 0));
    assert!(status.heartbeat.deviation_us.is_some());
    node.notified("STATUS=Beating");
    agent.stop();
    let driven =
        wait_for("the line to be let go", || Some(node.board.driven(5)).filter(|driven| driven.last() == Some(&None)));
    assert_eq!(driven[driven.len() - 2], Some(false));
    assert!(driven.windows(2).all(|pair| pair[0] != pair[1] || pair[0].is_none()), "levels alternate");
}

#[test]
fn without_a_board_no_line_is_touched_and_the_agent_stays_up() {
    let node = Node::new("health: { systemd: ignore }\n");
    let mut agent = node.start();
    let status = node.status(|status| status.account.is_some());
    assert_eq!((status.heartbeat.state.as_str(), status.board.drives_lines), ("off", false));
    agent.logs("no HAT in the device tree: no line is touched");
    assert!(agent.is_running());
    assert!(node.board.0.lock().unwrap().driven.is_empty());
}

#[test]
fn the_board_in_the_device_tree_is_enough() {
    let node = Node::new("health: { systemd: ignore }\n");
    std::fs::create_dir_all(node.path("proc/device-tree/hat")).unwrap();
    std::fs::write(node.path("proc/device-tree/hat/product"), "Pi stack\0").unwrap();
    let _agent = node.start();
    wait_for("beats", || (node.board.beats() >= 2).then_some(()));
}

#[test]
fn a_board_that_comes_late_is_taken_then() {
    let node = Node::forced("");
    std::fs::rename(node.path("board"), node.path("hidden")).unwrap();
    let agent = node.start();
    agent.logs("trying on");
    assert!(node.status(|_| true).board.error.is_some());
    std::fs::rename(node.path("hidden"), node.path("board")).unwrap();
    wait_for("beats", || (node.board.beats() >= 2).then_some(()));
    node.status(|status| status.board.error.is_none() && status.signal.watched);
}

#[test]
fn a_board_that_goes_away_and_comes_back_is_taken_again() {
    let node = Node::forced("");
    let agent = node.start();
    wait_for("beats", || (node.board.beats() >= 2).then_some(()));
    node.status(|status| status.signal.watched);
    node.board.unplug();
    agent.logs("the heartbeat line was lost");
    let before = node.board.beats();
    wait_for("beats", || (node.board.beats() >= before + 2).then_some(()));
    node.status(|status| status.board.error.is_none() && status.signal.watched);
}

#[test]
fn memory_pressure_withholds_the_beat_and_the_reason_outlives_the_power() {
    let node =
        Node::new("board: force\nhealth: { check: 500ms, patience: 0ms, systemd: ignore, memory: { limit: 40% } }\n");
    let agent = node.start();
    wait_for("beats", || (node.board.beats() >= 2).then_some(()));
    node.pressure("51.00");
    agent.logs("beat withheld: memory: memory pressure is 51.0%, the limit is 40%");
    node.notified("STATUS=Beat withheld: memory");
    let status = node.status(|status| status.heartbeat.withheld_for["memory"] > 0);
    assert_eq!(status.heartbeat.state, "withheld");
    assert!(status.conditions.iter().any(|condition| condition.name == "memory" && condition.state == "fails"));
    node.pressure("10.00");
    agent.logs("beats are given again");
    node.pressure("60.00");
    wait_for("the account", || {
        let status = node.status(|_| true).account?.last_withholding?;
        status.detail.contains("60.0%").then_some(())
    });
    drop(agent);
    node.boot(2);
    node.pressure("0.00");
    let _agent = node.start();
    let account = node.status(|status| status.account.is_some()).account.unwrap();
    assert_eq!((account.boots, account.previous_ending.as_deref()), (2, Some("power-loss")));
    let last = account.last_withholding.unwrap();
    assert_eq!((last.boot, last.conditions.as_str()), (1, "memory"));
    assert!(last.detail.contains("60.0%"), "{}", last.detail);
}

#[test]
fn a_failed_unit_or_a_silent_systemd_withholds_the_beat() {
    let node = Node::new("board: force\nhealth: { check: 500ms, patience: 0ms, grace: 0ms, units: [ssh.service] }\n");
    let unit = |active: &str| ("ssh.service".to_owned(), (active.to_owned(), String::new()));
    let answers = Answers { state: "running".into(), units: [unit("active")].into(), mute: false };
    let systemd = FakeSystemd::listen(&node.path("run/dbus/system_bus_socket"), answers);
    let agent = node.start();
    wait_for("beats", || (node.board.beats() >= 2).then_some(()));
    systemd.set(|answers| answers.units = [unit("failed")].into());
    agent.logs("beat withheld: units: ssh.service is failed");
    systemd.set(|answers| answers.units = [unit("active")].into());
    agent.logs("beats are given again");
    systemd.set(|answers| answers.state = "maintenance".into());
    agent.logs("beat withheld: systemd: systemd is in state maintenance");
    systemd.set(|answers| answers.state = "degraded".into());
    agent.logs("condition systemd holds again");
    systemd.set(|answers| answers.mute = true);
    agent.logs("condition systemd fails: systemd does not answer");
    systemd.set(|answers| answers.mute = false);
    node.status(|status| status.heartbeat.state == "beating");
}

#[test]
fn a_health_check_that_hangs_withholds_the_beat_for_the_process() {
    let node = Node::new(
        "board: force\nhealth: { check: 500ms, patience: 0ms, systemd: ignore, memory: { limit: 40% } }\n\
         watchdog: { device: none }\n",
    );
    let agent = node.start();
    wait_for("beats", || (node.board.beats() >= 2).then_some(()));
    // Opening a pipe that nobody writes to waits for ever.
    let pipe = node.path("proc/pressure/pipe");
    assert!(std::process::Command::new("mkfifo").arg(&pipe).status().unwrap().success());
    std::fs::rename(&pipe, node.path("proc/pressure/memory")).unwrap();
    agent.logs("beat withheld: process: a thread of the agent hangs");
    node.status(|status| status.heartbeat.withheld_for["process"] > 0 && status.heartbeat.state == "withheld");
}

#[test]
fn a_configuration_with_a_mistake_is_reported_and_does_not_end_the_agent() {
    let node = Node::forced("");
    std::fs::write(node.path("agent.yaml"), "heartbeat:\n  high: 5\n").unwrap();
    let mut agent = node.start();
    agent.logs("agent.yaml:2:9:");
    node.notified("READY=1");
    assert!(agent.is_running());
    let check = node.run(&["check", node.path("agent.yaml").to_str().unwrap()]);
    assert!(!check.status.success());
    assert!(String::from_utf8_lossy(&check.stderr).contains("agent.yaml:2:9:"));
}

#[test]
fn the_watchdog_is_fed_and_closed_with_the_magic_byte_only_when_the_stop_is_orderly() {
    let node = Node::forced("");
    let device = node.path("watchdog");
    let config = std::fs::read_to_string(node.path("agent.yaml")).unwrap();
    let config = format!("{config}watchdog: {{ device: {}, timeout: 2s }}\n", device.display());
    std::fs::write(node.path("agent.yaml"), config).unwrap();
    std::fs::write(&device, "").unwrap();
    let agent = node.start();
    node.status(|status| status.watchdog.as_ref().is_some_and(|watchdog| watchdog.fed >= 2));
    drop(agent);
    let fed = std::fs::read(&device).unwrap();
    assert!(fed.len() >= 2 && fed.iter().all(|byte| *byte == 0), "{fed:?}");
    std::fs::write(&device, "").unwrap();
    let agent = node.start();
    node.status(|status| status.watchdog.as_ref().is_some_and(|watchdog| watchdog.fed >= 1));
    agent.stop();
    assert_eq!(std::fs::read(&device).unwrap().last(), Some(&b'V'));
}
