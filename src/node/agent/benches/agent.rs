//! What the agent costs and how regular its beat is, on this machine: `cargo bench -p fruit-agent`. In a guest or on a
//! board, `fruit-agent status` prints the same deviation, and the metrics hold it as a histogram.
//!
//! `FRUIT_AGENT` names another program to measure, such as the static one of the device; `FRUIT_BENCH_SECONDS` sets how
//! long each part takes.

#![allow(clippy::print_stdout)] // a benchmark tells what it measured

#[path = "../tests/node/mod.rs"]
mod node;

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering::Relaxed};
use std::time::{Duration, Instant};
use std::{fs, thread};

use node::systemd::{Answers, FakeSystemd};
use node::{Node, wait_for};

/// Most that the agent may have in memory, bytes.
const RESIDENT_MAX: u64 = 4 << 20;

fn seconds() -> u64 {
    std::env::var("FRUIT_BENCH_SECONDS").ok().and_then(|text| text.parse().ok()).unwrap_or(20)
}

/// Nanoseconds that a process has been on a processor, all its threads together.
fn busy(pid: u32) -> u64 {
    let tasks = fs::read_dir(format!("/proc/{pid}/task")).unwrap();
    let of = |task: fs::DirEntry| fs::read_to_string(task.path().join("schedstat")).ok();
    tasks.flatten().filter_map(of).map(|text| text.split(' ').next().unwrap().parse::<u64>().unwrap()).sum()
}

fn resident(pid: u32) -> u64 {
    let status = fs::read_to_string(format!("/proc/{pid}/status")).unwrap();
    let line = status.lines().find_map(|line| line.strip_prefix("VmRSS:")).unwrap();
    line.trim().trim_end_matches(" kB").parse::<u64>().unwrap() * 1024
}

fn idle() {
    let node =
        Node::new("board: force\nhealth: { units: [ssh.service], memory: { limit: 50% }, overlay: { limit: 90% } }\n");
    let config = fs::read_to_string(node.path("agent.yaml")).unwrap();
    fs::write(node.path("agent.yaml"), config.replace("heartbeat: { high: 10ms, interval: 50ms }\n", "")).unwrap();
    let unit = ("ssh.service".to_owned(), ("active".to_owned(), String::new()));
    let answers = Answers { state: "running".into(), units: [unit].into(), mute: false };
    let _systemd = FakeSystemd::listen(&node.path("run/dbus/system_bus_socket"), answers);
    let agent = node.start();
    // Both questions have been answered once: what they need is in memory.
    node.status(|status| status.heartbeat.given >= 1 && status.account.is_some());
    node.ask("GET /metrics HTTP/1.1\r\n\r\n");
    let (before, started) = (busy(agent.pid()), Instant::now());
    thread::sleep(Duration::from_secs(seconds()));
    let share = (busy(agent.pid()) - before) as f64 / started.elapsed().as_nanos() as f64;
    let bytes = resident(agent.pid());
    println!(
        "resident            {:>8.2} MiB (promised: at most {} MiB)",
        bytes as f64 / 1048576.0,
        RESIDENT_MAX >> 20
    );
    println!("idle                {:>8.4} % of one core of this machine", share * 100.0);
    node.ask("GET /metrics HTTP/1.1\r\n\r\n");
    let before = busy(agent.pid());
    for _ in 0..100 {
        node.ask("GET /metrics HTTP/1.1\r\n\r\n");
    }
    println!("a scrape of metrics {:>8.1} µs", (busy(agent.pid()) - before) as f64 / 1e3 / 100.0);
}

/// Keeps all cores, the memory and the disk busy until `stop`.
fn load(stop: &Arc<AtomicBool>, scratch: &std::path::Path) -> Vec<thread::JoinHandle<()>> {
    let cores = thread::available_parallelism().map_or(2, usize::from);
    let mut threads: Vec<_> = (0..cores * 2)
        .map(|_| {
            let stop = Arc::clone(stop);
            thread::spawn(move || {
                while !stop.load(Relaxed) {
                    std::hint::black_box((0..100_000u64).sum::<u64>());
                }
            })
        })
        .collect();
    let flag = Arc::clone(stop);
    threads.push(thread::spawn(move || {
        while !flag.load(Relaxed) {
            std::hint::black_box(vec![1u8; 64 << 20]);
        }
    }));
    let (flag, file) = (Arc::clone(stop), scratch.join("load"));
    threads.push(thread::spawn(move || {
        while !flag.load(Relaxed) {
            fs::write(&file, vec![7u8; 8 << 20]).unwrap();
            fs::File::open(&file).unwrap().sync_all().unwrap();
        }
    }));
    threads
}

fn jitter(loaded: bool) {
    let node = Node::forced("");
    let agent = node.start();
    wait_for("beats", || (node.board.beats() >= 2).then_some(()));
    let stop = Arc::new(AtomicBool::new(false));
    let threads = if loaded { load(&stop, node.folder.path()) } else { Vec::new() };
    thread::sleep(Duration::from_secs(seconds()));
    stop.store(true, Relaxed);
    threads.into_iter().for_each(|thread| thread.join().unwrap());
    let deviation = node.status(|_| true).heartbeat.deviation_us.unwrap();
    let name = if loaded { "jitter under load" } else { "jitter at rest" };
    println!(
        "{name:<20}{:>8} µs median, {} µs 99.9th percentile, {} µs most, of {} intervals of 50 ms",
        deviation.median, deviation.p999, deviation.max, deviation.intervals
    );
    if agent.log().contains("no real-time priority") {
        println!("                    (without real-time priority: not permitted here)");
    }
}

fn main() {
    idle();
    jitter(false);
    jitter(true);
}
