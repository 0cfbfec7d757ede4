//! Status and metrics of the real program, to friends and to others.

use std::collections::{BTreeMap, BTreeSet};
use std::io::{Read, Write};
use std::net::TcpStream;
use std::os::unix::net::UnixStream;

use crate::node::{Node, wait_for};

/// Reads the Prometheus text format strictly: every sample belongs to the family announced before it, names and labels
/// are legal, nothing is there twice. Sample (with labels) → value.
fn read_metrics(text: &str) -> BTreeMap<String, f64> {
    let legal = |name: &str| {
        !name.is_empty()
            && !name.starts_with(|c: char| c.is_ascii_digit())
            && name.chars().all(|c| c.is_ascii_alphanumeric() || c == '_')
    };
    let (mut samples, mut families, mut family, mut kind) = (BTreeMap::new(), BTreeSet::new(), "", "");
    for line in text.lines() {
        if let Some(help) = line.strip_prefix("# HELP ") {
            family = help.split(' ').next().unwrap();
            assert!(legal(family) && families.insert(family), "{line}");
        } else if let Some(announced) = line.strip_prefix("# TYPE ") {
            let (name, announced) = announced.split_once(' ').unwrap();
            assert!(name == family && ["counter", "gauge", "histogram"].contains(&announced), "{line}");
            assert!(announced != "counter" || name.ends_with("_total"), "{line}");
            kind = announced;
        } else {
            let (sample, value) = line.rsplit_once(' ').unwrap();
            let name = sample.split('{').next().unwrap();
            let base = match kind {
                "histogram" => ["_bucket", "_sum", "_count"].iter().find_map(|end| name.strip_suffix(end)).unwrap(),
                _ => name,
            };
            assert_eq!(base, family, "{line}");
            if let Some(labels) = sample.strip_prefix(name).and_then(|rest| rest.strip_prefix('{')) {
                for label in labels.strip_suffix('}').unwrap().split(',') {
                    let (label, text) = label.split_once('=').unwrap();
                    assert!(legal(label) && text.len() >= 2 && text.starts_with('"') && text.ends_with('"'), "{line}");
                }
            }
            assert!(samples.insert(sample.to_owned(), value.parse().unwrap()).is_none(), "twice: {line}");
        }
    }
    samples
}

fn vital_signs(node: &Node) {
    let put = |path: &str, text: &str| {
        let path = node.path(path);
        std::fs::create_dir_all(path.parent().unwrap()).unwrap();
        std::fs::write(path, text).unwrap();
    };
    put("sys/class/hwmon/hwmon0/name", "rpi_volt\n");
    put("sys/class/hwmon/hwmon0/in0_lcrit_alarm", "1\n");
    put("sys/devices/platform/soc/soc:firmware/get_throttled", "50005\n");
    put("sys/class/thermal/thermal_zone0/type", "cpu \"A\"\n");
    put("sys/class/thermal/thermal_zone0/temp", "48312\n");
    put("sys/class/block/mmcblk0/device/life_time", "0x02 0x01\n");
    put("sys/class/block/mmcblk0/device/pre_eol_info", "0x01\n");
    put("proc/uptime", "12.34 40.00\n");
    put("proc/meminfo", "MemTotal: 949448 kB\nMemAvailable: 800000 kB\n");
}

#[test]
fn metrics_are_in_the_text_format_and_say_what_the_issue_asks_for() {
    let node = Node::forced("");
    vital_signs(&node);
    let _agent = node.start();
    node.status(|status| status.heartbeat.given >= 3 && status.account.is_some());
    let answer = node.ask("GET /metrics HTTP/1.1\r\nHost: x\r\n\r\n");
    let (head, body) = answer.split_once("\r\n\r\n").unwrap();
    assert!(head.starts_with("HTTP/1.1 200 OK\r\nContent-Type: text/plain; version=0.0.4"), "{head}");
    assert!(head.contains(&format!("Content-Length: {}", body.len())));
    let metrics = read_metrics(body);
    for (sample, value) in [
        ("fruit_heartbeat_beating", 1.0),
        ("fruit_heartbeat_beats_total{outcome=\"withheld\"}", 0.0),
        ("fruit_condition_holds{condition=\"process\"}", 1.0),
        ("fruit_signal_ordered", 0.0),
        ("fruit_soc_under_voltage", 1.0),
        ("fruit_soc_throttle{flag=\"throttled\"}", 1.0),
        ("fruit_soc_throttle{flag=\"frequency-capped\"}", 0.0),
        ("fruit_temperature_celsius{zone=\"cpu \\\"A\\\"\",index=\"0\"}", 48.312),
        ("fruit_contract_uptime_seconds", 12.34),
        ("fruit_boots_total", 1.0),
        ("fruit_boots_ended_total{reason=\"watchdog\"}", 0.0),
        ("fruit_memory_available_bytes", 819_200_000.0),
        ("fruit_disk_life_used_ratio{device=\"mmcblk0\",area=\"a\"}", 0.2),
        ("fruit_disk_pre_eol{device=\"mmcblk0\"}", 1.0),
        ("fruit_agent_config_valid", 1.0),
    ] {
        assert_eq!(metrics.get(sample), Some(&value), "{sample}\n{body}");
    }
    assert!(metrics["fruit_heartbeat_beats_total{outcome=\"given\"}"] >= 3.0);
    assert!((0.0..=1.0).contains(&metrics["fruit_overlay_used_ratio"]));
    let name = "fruit_heartbeat_interval_deviation_seconds";
    assert_eq!(metrics[&format!("{name}_bucket{{le=\"+Inf\"}}")], metrics[&format!("{name}_count")]);
}

#[test]
fn status_for_people_fits_a_screen() {
    let node = Node::forced("");
    vital_signs(&node);
    let _agent = node.start();
    node.status(|status| status.heartbeat.given >= 3 && status.account.is_some());
    let text = String::from_utf8(node.run(&["status"]).stdout).unwrap();
    for part in [
        "heartbeat  beating, ",
        "signal     watched, high",
        "process   holds",
        "boots      1, first one",
        "48.3 °C",
        "under-voltage",
        "wear       mmcblk0: up to 20 % and 10 % of its life used",
        "memory     781 of 927 MiB available",
    ] {
        assert!(text.contains(part), "{part}\n{text}");
    }
    assert!(text.lines().count() <= 24, "{text}");
}

#[test]
fn without_an_agent_status_says_what_to_do() {
    let node = Node::forced("");
    let output = node.run(&["status"]);
    assert!(!output.status.success() && output.stdout.is_empty());
    assert!(String::from_utf8_lossy(&output.stderr).contains("is fruit-agent running?"));
}

#[test]
fn slow_silent_and_hostile_clients_do_not_keep_others_from_an_answer() {
    let node = Node::forced("");
    let mut agent = node.start();
    node.status(|status| status.heartbeat.given >= 1);
    let mut idle: Vec<UnixStream> = (0..12).map(|_| UnixStream::connect(node.path("agent.sock")).unwrap()).collect();
    for stream in &mut idle[..6] {
        stream.write_all(b"GET /met").unwrap();
    }
    assert!(node.ask("GET /status HTTP/1.0\r\n\r\n").contains("\"heartbeat\""));
    drop(idle);
    // More than is read of a request; the answer may be cut off by the close.
    let mut stream = UnixStream::connect(node.path("agent.sock")).unwrap();
    let _ = stream.write_all(&vec![b'x'; 1 << 20]);
    let mut answer = Vec::new();
    let _ = stream.read_to_end(&mut answer);
    assert!(node.ask("\r\n\r\n").starts_with("HTTP/1.1 400"));
    assert!(node.ask("GET /etc/passwd HTTP/1.1\r\n\r\n").starts_with("HTTP/1.1 404"));
    assert!(agent.is_running());
    assert!(node.ask("GET /metrics HTTP/1.1\r\n\r\n").starts_with("HTTP/1.1 200"));
}

#[test]
fn the_port_serves_metrics_and_takes_no_word_of_a_shutdown() {
    let free = std::net::TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap();
    let node = Node::forced("");
    let config = std::fs::read_to_string(node.path("agent.yaml")).unwrap();
    let config = config.replace("agent.sock }", &format!("agent.sock, listen: '{free}' }}"));
    std::fs::write(node.path("agent.yaml"), config).unwrap();
    let _agent = node.start();
    let ask = |request: &str| {
        let mut stream = wait_for("the port", || TcpStream::connect(free).ok());
        stream.write_all(request.as_bytes()).unwrap();
        let mut answer = String::new();
        stream.read_to_string(&mut answer).unwrap();
        answer
    };
    read_metrics(ask("GET /metrics HTTP/1.1\r\n\r\n").split_once("\r\n\r\n").unwrap().1);
    assert!(ask("POST /stopping/poweroff HTTP/1.1\r\n\r\n").starts_with("HTTP/1.1 403"));
    assert_eq!(node.status(|_| true).ending, None);
}
