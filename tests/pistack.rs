//! The Pi Stack's loop closed, end to end: the image of the Pi Stack node, really built, on QEMU's generic machine, and a
//! simulated board that powers it.
//!
//! Real: U-Boot, kernel, systemd, the agent with its units, user and devices, the board's name in the device tree, the GPIO
//! chip (PL061) as the kernel drives it, the edges of its interrupts, the node's card, the simulated board's bus and the
//! master on it.
//!
//! Bridged by `harness/rig.rs`, as no emulator has the board's connector:
//! - the heartbeat line: the chip's registers are read by QEMU's monitor, and line 5's level is handed to the board;
//! - the signal line from node to board: in the same way, line 3 as an output that is low;
//! - the signal line from board to node: the monitor presses the machine's power key, which is wired to line 3 and
//!   pulses it; the key idles low, so that it is the end of the pulse that falls;
//! - the power: the emulator is started and killed as the board switches.
//!
//! The board's clock is a quarter of ours, and its delays before a cut are passed over once the node is down.

use fruit_stack::command::Command;
use serde_json::{Value, json};

use crate::node::{Node, PATIENCE};
use crate::rig::{PI, Rig};

fn systemd_runs_the_agent_as_its_own_user(node: &Node) {
    // `--wait` returns when all start-up jobs are done.
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

/// It has the fleet's program and an updater, and is nobody's: neither runs into anything, and nothing is open to others.
fn without_an_invite_it_is_nobodys(node: &Node) {
    let show = node.run("systemctl show fruit-peer -p ActiveState -p ConditionResult -p ConditionTimestampMonotonic");
    for line in ["ActiveState=inactive", "ConditionResult=no"] {
        assert!(show.lines().any(|shown| shown == line), "{line}: {show}");
    }
    assert!(!show.contains("ConditionTimestampMonotonic=0"), "nothing starts it: {show}");
    node.run("test ! -e /run/fruit-peer && test ! -e /etc/fruit/invite && fruit-peer check");
    assert_eq!(node.run("systemctl is-active fruit-update"), "active");
    let said = node.run("fruit-update status");
    assert!(said.contains("nobody: it has no invite"), "{said}");
}

/// Most that the agent may have in memory, KiB.
const RESIDENT_MAX: u64 = 4 << 10;

#[allow(clippy::print_stdout)] // the figure, for whoever reads along
fn the_agent_is_small(node: &Node) {
    let most = node.run("sed -n 's/^VmHWM:[^0-9]*\\([0-9]*\\) kB$/\\1/p' /proc/$(pidof -s fruit-agent)/status");
    println!("fruit-agent: at most {most} KiB resident since its start");
    assert!(most.parse::<u64>().unwrap() <= RESIDENT_MAX);
}

fn all_is_well(status: &Value) {
    assert_eq!(status["board"]["product"], "Pi stack", "{status:#}");
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
}

/// One node for all of it, as each of its boots costs a minute of a processor.
#[test]
fn the_board_sees_the_beat_shuts_the_node_down_cleanly_and_power_cycles_it_when_it_crashes_or_withholds_its_beat() {
    let mut rig = Rig::new();
    rig.on();
    is_seen_and_small(&mut rig);
    is_switched_off_cleanly(&mut rig);
    is_cycled_after_a_crash(&mut rig);
    is_cycled_when_it_withholds_its_beat(&mut rig);
    // Down by itself: word to the board, once the file systems are away.
    let _ = rig.node.ssh("poweroff");
    assert_eq!(rig.goes_down_cleanly_before_the_cut(), "signalled by the Pi");
}

fn is_seen_and_small(rig: &mut Rig) {
    systemd_runs_the_agent_as_its_own_user(&rig.node);
    without_an_invite_it_is_nobodys(&rig.node);
    all_is_well(&rig.status_when("beating", |status| status["heartbeat"]["given"].as_u64() > Some(10)));
    the_agent_is_small(&rig.node);
    assert!(rig.board().flag(Command::Heartbeat(PI)).unwrap());
    assert!(rig.board().flag(Command::Powered(PI)).unwrap());
    let metrics = rig
        .node
        .run("bash -c 'exec 3<>/dev/tcp/127.0.0.1/9791; printf \"GET /metrics HTTP/1.0\\r\\n\\r\\n\" >&3; cat <&3'");
    assert!(metrics.starts_with("HTTP/1.") && metrics.contains(" 200 ") && metrics.contains("fruit_"), "{metrics}");
    let account = rig.account();
    assert_eq!((&account["boots"], &account["previous_ending"]), (&json!(1), &Value::Null), "{account:#}");
    rig.power_was_left_alone();
}

fn is_switched_off_cleanly(rig: &mut Rig) {
    rig.board().tell(Command::Off(PI)).unwrap();
    assert_eq!(rig.goes_down_cleanly_before_the_cut(), "off delay over");

    rig.on();
    let account = rig.account();
    assert_eq!((&account["boots"], &account["previous_ending"]), (&json!(2), &json!("signal")), "{account:#}");
    assert_eq!(account["endings"]["signal"], 1, "{account:#}");
    let journal = rig.node.run("journalctl -b -t fruit-agent -t fruit_agent -u fruit-agent --no-pager -o cat");
    assert!(journal.contains("the one before ended by signal"), "{journal}");
}

fn is_cycled_after_a_crash(rig: &mut Rig) {
    // After a panic the kernel would reset the node. It is kept from that, so that the board is what brings it back.
    rig.node.run(
        "sysctl -q kernel.panic=0 kernel.sysrq=1; (sleep 1; echo c > /proc/sysrq-trigger) > /dev/null 2>&1 < /dev/null &",
    );
    rig.node.console().expect("Kernel panic", PATIENCE).unwrap();
    rig.cycled();
    let account = rig.account();
    assert_eq!((&account["boots"], &account["previous_ending"]), (&json!(3), &json!("power-loss")), "{account:#}");
    assert_eq!(account["last_withholding"], Value::Null, "{account:#}");
}

fn is_cycled_when_it_withholds_its_beat(rig: &mut Rig) {
    // The writable part of the root fills up.
    rig.node.run("fallocate -l $(($(df -B1 --output=avail / | tail -1) * 98 / 100)) /filled");
    rig.cycled();
    let account = rig.account();
    assert_eq!((&account["boots"], &account["previous_ending"]), (&json!(4), &json!("power-loss")), "{account:#}");
    let last = &account["last_withholding"];
    assert_eq!((&last["boot"], &last["conditions"]), (&json!(3), &json!("overlay")), "{account:#}");
    assert!(account["withheld_for"]["overlay"].as_u64() > Some(0), "{account:#}");
    // Said to people as well, and true no more.
    let said = rig.node.run("fruit-agent status");
    assert!(said.contains("beats last withheld in boot 3: overlay"), "{said}");
    all_is_well(&rig.status());
}
