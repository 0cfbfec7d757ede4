//! What the power agent costs on a node and how evenly it beats there: the image of the Pi Stack node on QEMU's generic
//! machine, the agent as its unit runs it. `cargo bench -p fruitbuild --bench node`; `FRUIT_BENCH_SECONDS` sets how long
//! each part takes.
//!
//! The processor is an emulated one: time that other programs of this machine take from QEMU counts as the agent's and makes
//! beats late, so only a quiet machine gives figures that mean something.

#![allow(clippy::print_stdout)] // a benchmark tells what it measured

#[path = "../../../../tests/harness/mod.rs"]
mod harness;
#[path = "../../../../tests/harness/node.rs"]
mod node;

use std::thread;
use std::time::{Duration, Instant};

use node::Node;
use serde_json::Value;

/// Lines of the emulated chip, as in `tests/recipes/pistack-virt.yaml`.
const LINES: &str = "lines: {chip: /dev/gpiochip0, heartbeat: 5, signal: 3}";
/// Beats of the field, and the conditions of `recipes/pistack.yaml`.
const FIELD: &str = "health: {memory: {stall: full, window: 60s, limit: 40%}, overlay: {limit: 95%}}";
/// Enough beats for a 99.9th percentile. Nothing withholds them: intervals are what is asked for.
const FAST: &str = "heartbeat: {high: 10ms, interval: 50ms}\nhealth: {systemd: ignore}";

/// All processors, more memory than there is to spare, and the card, until the unit is stopped.
const LOADS: [(&str, &str); 3] = [
    ("load-processors", "for i in 1 2 3 4; do (while :; do :; done) & done; wait"),
    ("load-memory", "while :; do head -c 500M /dev/zero | tail > /dev/null; done"),
    ("load-card", "while :; do dd if=/dev/zero of=/var/lib/fruit/load bs=1M count=16 conv=fsync status=none; done"),
];

fn length() -> Duration {
    let seconds = std::env::var("FRUIT_BENCH_SECONDS").ok().and_then(|text| text.parse().ok());
    Duration::from_secs(seconds.unwrap_or(90))
}

/// Starts the agent anew with this configuration and waits until it beats.
fn configure(node: &Node, more: &str) {
    node.run(&format!("printf '%s\\n' '{LINES}' '{more}' > /etc/fruit/agent.yaml && systemctl restart fruit-agent"));
    let start = Instant::now();
    while status(node)["heartbeat"]["given"].as_u64() < Some(2) {
        assert!(start.elapsed() < node::PATIENCE, "the agent does not beat");
        thread::sleep(Duration::from_secs(1));
    }
}

fn status(node: &Node) -> Value {
    node.run("fruit-agent status --json").parse().unwrap()
}

/// Nanoseconds that the agent has been on a processor, all its threads together.
fn busy(node: &Node) -> f64 {
    let all = node.run("cat /proc/$(pidof -s fruit-agent)/task/*/schedstat");
    all.lines().map(|line| line.split(' ').next().unwrap().parse::<f64>().unwrap()).sum()
}

fn idle(node: &Node) {
    configure(node, FIELD);
    let (start, before) = (Instant::now(), busy(node));
    thread::sleep(length());
    let share = (busy(node) - before) / start.elapsed().as_nanos() as f64 * 100.0;
    let memory = node.run("grep -E '^(VmHWM|VmRSS)' /proc/$(pidof -s fruit-agent)/status");
    for line in memory.lines() {
        println!("resident            {}", line.replace('\t', " "));
    }
    println!(
        "idle                {share:.4} % of one emulated core (a beat in 5 s, promised: at most 0.1 % of a Pi 3's)"
    );
}

fn print_jitter(name: &str, status: &Value) {
    let deviation = &status["heartbeat"]["deviation_us"];
    println!(
        "{name:<20}{} µs median, {} µs 99.9th percentile, {} µs most, of {} intervals of 50 ms",
        deviation["median"], deviation["p999"], deviation["max"], deviation["intervals"]
    );
}

fn at_rest(node: &Node) {
    configure(node, FAST);
    thread::sleep(length());
    print_jitter("jitter at rest", &status(node));
}

/// The node is too busy then to be asked: it measures itself, and ends the load.
fn under_load(node: &Node) {
    configure(node, FAST);
    let loads = LOADS.map(|(unit, _)| unit).join(" ");
    let measure = format!(
        "systemctl restart fruit-agent; sleep {}; head -qn1 /proc/pressure/* > /run/pressure; \
         fruit-agent status --json > /run/measuring; systemctl stop {loads}; mv /run/measuring /run/measured",
        length().as_secs()
    );
    let run = "systemd-run --quiet --collect --unit";
    let units = LOADS.map(|(unit, command)| format!("{run}={unit} bash -c '{command}'")).join(" && ");
    node.run(&format!("{units} && {run}=measure -p Nice=-19 -p OOMScoreAdjust=-900 bash -c '{measure}'"));
    let start = Instant::now();
    let measured = loop {
        match node.ssh("cat /run/measured") {
            Ok(text) => break text,
            Err(error) => assert!(start.elapsed() < length() + node::PATIENCE, "{error}"),
        }
        thread::sleep(Duration::from_secs(5));
    };
    print_jitter("jitter under load", &measured.parse().unwrap());
    println!("{:<20}{}", "pressure", node.run("cat /run/pressure").replace('\n', "; "));
}

fn main() {
    let mut node = Node::new("pistack-virt", "virt", "hostname: measured\n");
    node.plug_in_hat("Pi stack");
    node.start();
    node.wait_for_ssh();
    node.run("systemctl is-system-running --wait");
    idle(&node);
    at_rest(&node);
    under_load(&node);
}
