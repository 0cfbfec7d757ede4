//! What a node says of itself: its release, and what its programs and its kernel know. Never a secret.

use std::fs::File;
use std::io::{Read, Write};
use std::os::unix::net::UnixStream;
use std::path::{Path, PathBuf};
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use fruit_contract::agent::status::THROTTLE_FLAGS;
use fruit_contract::report::BOOT_REPORT_PATH;
use fruit_contract::update::report::REPORT_PATH;
use fruit_record::body::Report;
use serde_json::Value;

/// Bytes of all facts together: with their lengths and the rest of the report they stay below what a record of a node may have.
const MOST: usize = 800;
/// Bytes of one fact, and of a release's name.
const FACT: usize = 160;
/// Bytes of a document that are read.
const DOCUMENT: u64 = 256 << 10;
/// Time for the agent's answer.
const PATIENCE: Duration = Duration::from_secs(3);
/// Facts that move all the time: what they are now is told with the next report.
const MOVING: [&str; 5] = ["load", "memory-available", "overlay-used", "temperature", "uptime"];

/// Where facts are found.
#[derive(Clone, Debug)]
pub struct Sources {
    pub boot: PathBuf,
    pub updater: PathBuf,
    /// Socket of the agent.
    pub agent: PathBuf,
    pub host_key: PathBuf,
    /// Longest time between two reports.
    pub every: Duration,
}

/// What the sources have said.
#[derive(Default)]
struct Found {
    boot: Value,
    updater: Value,
    agent: Value,
    host_key: String,
    /// `/proc/uptime`, `/proc/meminfo` and `/proc/loadavg`.
    uptime: String,
    memory: String,
    load: String,
}

fn text(path: &Path) -> String {
    let mut text = String::new();
    let read = File::open(path).and_then(|file| file.take(DOCUMENT).read_to_string(&mut text));
    if read.is_ok() { text } else { String::new() }
}

fn document(path: &Path) -> Value {
    serde_json::from_str(&text(path)).unwrap_or_default()
}

/// The agent's status; null while it does not answer.
fn agent(socket: &Path) -> Value {
    let ask = || -> std::io::Result<String> {
        let mut stream = UnixStream::connect(socket)?;
        stream.set_read_timeout(Some(PATIENCE))?;
        stream.set_write_timeout(Some(PATIENCE))?;
        stream.write_all(b"GET /status HTTP/1.1\r\nHost: fruit-agent\r\n\r\n")?;
        let mut answer = String::new();
        stream.take(DOCUMENT).read_to_string(&mut answer)?;
        Ok(answer)
    };
    let answer = ask().unwrap_or_default();
    let body = answer.split_once("\r\n\r\n").map_or("", |(_, body)| body);
    serde_json::from_str(body).unwrap_or_default()
}

impl Sources {
    #[must_use]
    pub fn new(agent: PathBuf, host_key: PathBuf, every: Duration) -> Sources {
        Sources { boot: BOOT_REPORT_PATH.into(), updater: REPORT_PATH.into(), agent, host_key, every }
    }

    /// Looks at all of them; for at most some seconds.
    #[must_use]
    pub fn report(&self) -> Report {
        let found = Found {
            boot: document(&self.boot),
            updater: document(&self.updater),
            agent: agent(&self.agent),
            host_key: text(&self.host_key),
            uptime: text(Path::new("/proc/uptime")),
            memory: text(Path::new("/proc/meminfo")),
            load: text(Path::new("/proc/loadavg")),
        };
        let time = SystemTime::now().duration_since(UNIX_EPOCH).map_or(0, |since| since.as_secs());
        found.report(time)
    }
}

/// Whether a report tells something that should not wait.
#[must_use]
pub fn matters(last: &Report, next: &Report) -> bool {
    let steady = |report: &Report| -> Vec<(String, String)> {
        report.facts.iter().filter(|(name, _)| !MOVING.contains(&name.as_str())).cloned().collect()
    };
    last.release != next.release || steady(last) != steady(next)
}

/// As a record takes it: what nobody can see is left out, and what is too long is cut.
fn clean(text: &str) -> String {
    let seen = text.chars().filter(|c| !c.is_control() && fruit_base::invisible::name(*c).is_none());
    let mut clean = String::new();
    for c in seen {
        if clean.len() + c.len_utf8() > FACT {
            break;
        }
        clean.push(c);
    }
    clean.trim().to_owned()
}

/// Facts, the most important first, as many as fit.
#[derive(Default)]
struct Facts {
    list: Vec<(String, String)>,
    bytes: usize,
}

impl Facts {
    fn add(&mut self, name: &str, value: &str) {
        let value = clean(value);
        let bytes = name.len() + value.len() + 4;
        if !value.is_empty() && self.bytes + bytes <= MOST {
            self.bytes += bytes;
            self.list.push((name.into(), value));
        }
    }

    /// What a document has at this place: a text, a number or a yes or no.
    fn take(&mut self, name: &str, document: &Value, place: &str) {
        match document.pointer(place) {
            Some(Value::String(text)) => self.add(name, text),
            Some(Value::Bool(yes)) => self.add(name, if *yes { "yes" } else { "no" }),
            Some(Value::Number(number)) => self.add(name, &number.to_string()),
            _ => {}
        }
    }
}

/// Bytes as MiB.
fn mebibytes(bytes: u64) -> String {
    (bytes >> 20).to_string()
}

/// `ssh-ed25519 AAAA… comment`: the middle of it.
fn key(line: &str) -> Option<&str> {
    let mut words = line.split_whitespace();
    let (kind, key) = (words.next()?, words.next()?);
    (kind == "ssh-ed25519" && key.len() <= FACT).then_some(key)
}

/// `MemAvailable:  123 kB`, in bytes.
fn memory(text: &str, name: &str) -> Option<u64> {
    let line = text.lines().find_map(|line| line.strip_prefix(name)?.strip_prefix(':'))?;
    line.split_whitespace().next()?.parse::<u64>().ok()?.checked_mul(1024)
}

fn numbers<'v>(list: Option<&'v Value>, field: &'v str) -> impl Iterator<Item = f64> + 'v {
    list.and_then(Value::as_array).into_iter().flatten().filter_map(move |one| one[field].as_f64())
}

impl Found {
    fn report(&self, time: u64) -> Report {
        let image = |field: &str| self.boot["image"][field].as_str().unwrap_or_default();
        let name = [image("name"), image("board"), image("version")];
        let release = if name.contains(&"") { String::new() } else { clean(&name.join("-")) };
        let mut facts = Facts::default();
        if let Some(key) = key(&self.host_key) {
            facts.add("ssh-ed25519", key);
        }
        self.state(&mut facts);
        self.hardware(&mut facts);
        let mut list = facts.list;
        list.sort();
        Report { release, time, facts: list }
    }

    /// What it runs, and whether it is well.
    fn state(&self, facts: &mut Facts) {
        facts.take("slot", &self.boot, "/slot");
        facts.take("trial", &self.boot, "/trial");
        facts.take("data", &self.boot, "/data/state");
        let fails = |one: &&Value| one["state"] == "fails";
        if let Some(conditions) = self.agent["conditions"].as_array() {
            let failing: Vec<&str> = conditions.iter().filter(fails).filter_map(|one| one["name"].as_str()).collect();
            let health = if failing.is_empty() { "good".to_owned() } else { format!("fails: {}", failing.join(" ")) };
            facts.add("health", &health);
        }
        let problems = |field: &str| self.boot[field].as_array().map_or(0, Vec::len);
        let (mistakes, warnings) = (problems("config_problems"), problems("warnings"));
        if mistakes + warnings > 0 {
            facts.add("boot-warnings", &(mistakes + warnings).to_string());
        }
        facts.take("update-available", &self.updater, "/available");
        facts.take("update", &self.updater, "/doing");
    }

    /// What its hardware says.
    fn hardware(&self, facts: &mut Facts) {
        let vitals = &self.agent["vitals"];
        if let Some(hottest) = numbers(vitals.get("temperatures"), "celsius").reduce(f64::max) {
            facts.add("temperature", &format!("{hottest:.1}"));
        }
        facts.take("under-voltage", vitals, "/under_voltage");
        if let Some(flags) = vitals["throttled"].as_u64() {
            let set = THROTTLE_FLAGS.iter().filter(|(bit, _)| flags >> bit & 1 != 0).map(|(_, name)| *name);
            let set: Vec<&str> = set.collect();
            facts.add("throttling", if set.is_empty() { "none" } else { "" });
            facts.add("throttling", &set.join(" "));
        }
        facts.add("uptime", self.uptime.split(['.', ' ']).next().unwrap_or_default());
        let bytes = |name| memory(&self.memory, name);
        facts.add("memory-total", &bytes("MemTotal").map(mebibytes).unwrap_or_default());
        facts.add("memory-available", &bytes("MemAvailable").map(mebibytes).unwrap_or_default());
        facts.add("load", self.load.split(' ').next().unwrap_or_default());
        if let Some(used) = vitals["overlay_used_percent"].as_f64() {
            facts.add("overlay-used", &format!("{used:.0}"));
        }
        let disks = vitals["disks"].as_array().into_iter().flatten();
        let lives = disks.filter_map(|disk| disk["life_used_percent"].as_array());
        if let Some(worst) = lives.flatten().filter_map(Value::as_u64).max() {
            facts.add("card-wear", &worst.to_string());
        }
        facts.take("boots", &self.agent, "/account/boots");
        facts.take("last-ending", &self.agent, "/account/previous_ending");
        facts.take("hat", &self.agent, "/board/product");
        facts.take("heartbeat", &self.agent, "/heartbeat/state");
        facts.take("model", &self.boot, "/model");
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use fruit_record::{Body, Draft, Head, KeyId, Name};
    use serde_json::json;

    fn found() -> Found {
        Found {
            boot: json!({"image": {"name": "pistack", "board": "raspberrypi3", "version": "1.2"}, "slot": "b", "trial": false,
                "data": {"state": "ram"}, "warnings": ["no data partition"], "config_problems": [], "model": "Pi\u{1b}[31m 3"}),
            updater: json!({"doing": "waits for the window", "available": "1.3"}),
            agent: json!({"conditions": [{"name": "memory", "state": "fails"}, {"name": "process", "state": "holds"}],
                "vitals": {"temperatures": [{"celsius": 41.0}, {"celsius": 48.25}], "throttled": 0x50001, "under_voltage": true,
                "disks": [{"life_used_percent": [10, 30]}]}, "account": {"boots": 7, "previous_ending": "signal"}}),
            host_key: "ssh-ed25519 AAAAC3Nza root@pi\n".into(),
            uptime: "350.12 600.1\n".into(),
            memory: "MemTotal:  1024000 kB\nMemAvailable:   512000 kB\n".into(),
            load: "0.10 0.2 0.3 1/2 3\n".into(),
        }
    }

    fn fact(report: &Report, name: &str) -> String {
        report.facts.iter().find(|(found, _)| found == name).map(|(_, value)| value.clone()).unwrap_or_default()
    }

    fn fits(report: Report) -> bool {
        Draft::new(Head::first(Name::Id(KeyId([7; 32]))), Body::Report(report)).is_ok()
    }

    #[test]
    fn a_report_has_what_the_nodes_programs_know() {
        let report = found().report(5);
        assert_eq!((report.release.as_str(), report.time), ("pistack-raspberrypi3-1.2", 5));
        for (name, value) in [
            ("slot", "b"),
            ("health", "fails: memory"),
            ("temperature", "48.2"),
            ("throttling", "under-voltage under-voltage-since-boot throttled-since-boot"),
            ("under-voltage", "yes"),
            ("uptime", "350"),
            ("memory-available", "500"),
            ("card-wear", "30"),
            ("boots", "7"),
            ("boot-warnings", "1"),
            ("ssh-ed25519", "AAAAC3Nza"),
            ("model", "Pi[31m 3"),
        ] {
            assert_eq!(fact(&report, name), value, "{name}");
        }
        assert!(fits(report));
    }

    #[test]
    fn whatever_the_sources_say_a_record_takes_it() {
        let long = "ü\u{202e}\n".repeat(4000);
        let mut found = found();
        found.boot =
            json!({"image": {"name": long, "board": long, "version": long}, "slot": long, "model": long, "data": 5});
        found.updater = json!({"doing": long, "available": long});
        let conditions: Vec<Value> =
            (0..500).map(|n| json!({"name": format!("{n}{long}"), "state": "fails"})).collect();
        found.agent =
            json!({"conditions": conditions, "account": {"previous_ending": long}, "board": {"product": long}});
        found.load.clone_from(&long);
        let report = found.report(u64::MAX);
        assert!(!report.facts.is_empty() && fits(report));
        assert!(fits(Found::default().report(0)), "a machine that is no node has a report too");
        let nowhere = PathBuf::from("/nowhere");
        let sources = Sources { boot: nowhere.clone(), ..Sources::new(nowhere.clone(), nowhere, Duration::ZERO) };
        assert!(sources.report().release.is_empty());
    }

    #[test]
    fn what_moves_all_the_time_waits_for_the_next_report() {
        let (mut now, before) = (found(), found().report(5));
        now.uptime = "400.0 1".into();
        assert!(!matters(&before, &now.report(60)));
        now.boot["slot"] = "a".into();
        assert!(matters(&before, &now.report(60)));
    }
}
