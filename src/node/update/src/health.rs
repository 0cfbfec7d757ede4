//! Whether a new release does its work on this node: what the recipe names is looked at until all of it holds for a
//! while, or until it is too late. No check can take longer than its time.

mod command;
mod gateway;

use std::net::{TcpStream, ToSocketAddrs};
use std::path::{Path, PathBuf};
use std::sync::atomic::AtomicBool;
use std::sync::atomic::Ordering::Relaxed;
use std::sync::mpsc;
use std::thread;
use std::time::{Duration, Instant};

use fruit_contract::agent::config::SOCKET_PATH;
use fruit_contract::agent::files::PROGRAM;
use fruit_contract::agent::status::Status;
use fruit_contract::update::config::{AgentCheck, FailedUnits, HealthChecks, Reach};
use fruit_device::socket;
use fruit_device::systemd::{PRIVATE_SOCKET, Systemd};

/// Time that systemd has for an answer.
const SYSTEMD_TIME: Duration = Duration::from_secs(10);
/// Time for something on the network to answer, and for its name to be looked up.
const REACH_TIME: Duration = Duration::from_secs(5);
/// Between two looks at whether to stop.
const LOOK: Duration = Duration::from_millis(100);

/// Where the things are that are asked.
#[derive(Clone, Debug)]
pub struct Endpoints {
    /// systemd's own socket, or a bus.
    pub systemd: PathBuf,
    /// Of the power agent.
    pub agent: PathBuf,
    /// `/proc/net`
    pub routes: PathBuf,
}

impl Default for Endpoints {
    fn default() -> Endpoints {
        Endpoints { systemd: PRIVATE_SOCKET.into(), agent: SOCKET_PATH.into(), routes: "/proc/net".into() }
    }
}

/// How the outside takes part.
pub struct Hooks<'h> {
    /// Set to end it.
    pub stop: &'h AtomicBool,
    /// Told several times a second.
    pub alive: &'h dyn Fn(),
    /// Told when something changes.
    pub say: &'h mut dyn FnMut(&str),
}

/// What came out.
#[derive(Clone, PartialEq, Eq, Debug)]
pub enum Verdict {
    Good,
    /// Why not, in words.
    Bad(String),
    /// It was ended before there was a verdict.
    Stopped,
}

/// Evaluates every check once. What does not hold, in words; nothing if all is well.
pub fn evaluate(checks: &HealthChecks, endpoints: &Endpoints, stop: &AtomicBool, alive: &dyn Fn()) -> Vec<String> {
    let mut wrong = Vec::new();
    if checks.need_systemd() {
        systemd(checks, &endpoints.systemd, &mut wrong);
    }
    if checks.agent == AgentCheck::Healthy {
        alive();
        wrong.extend(agent(&endpoints.agent).err());
    }
    for reach in &checks.reach {
        alive();
        let reached = match reach {
            Reach::Gateway => gateway::reach(&endpoints.routes, REACH_TIME),
            Reach::Port(address) => port(address, REACH_TIME),
        };
        wrong.extend(reached.err());
    }
    for check in &checks.commands {
        if stop.load(Relaxed) {
            break;
        }
        wrong.extend(command::run(&check.run, check.timeout.duration(), stop, alive).err());
    }
    wrong
}

/// Looks until all checks have held for the soak time without a break, or no such time can begin any more.
pub fn prove(checks: &HealthChecks, endpoints: &Endpoints, hooks: &mut Hooks<'_>) -> Verdict {
    let start = Instant::now();
    let latest = start + checks.within.duration();
    let mut good_since: Option<Instant> = None;
    let mut said = None;
    loop {
        let begun = Instant::now();
        let wrong = evaluate(checks, endpoints, hooks.stop, hooks.alive);
        if hooks.stop.load(Relaxed) {
            return Verdict::Stopped;
        }
        let now = Instant::now();
        if wrong.is_empty() {
            // Counted from the moment at which the first good look was over.
            let since = *good_since.get_or_insert(now);
            if said.take().is_some() || since == now {
                (hooks.say)("all checks hold");
            }
            if now - since >= checks.soak.duration() {
                return Verdict::Good;
            }
        } else {
            let why = wrong.join("; ");
            if now >= latest {
                let broke = if good_since.is_some() { "the checks held, then failed: " } else { "" };
                return Verdict::Bad(format!("{broke}{why}"));
            }
            good_since = None;
            if said.as_ref() != Some(&why) {
                (hooks.say)(&format!("not yet: {why}"));
                said = Some(why);
            }
        }
        let soaked = good_since.map(|since| since + checks.soak.duration());
        let next = (begun + checks.interval.duration()).min(soaked.unwrap_or(latest.max(now))).max(now);
        if !rest(next, hooks) {
            return Verdict::Stopped;
        }
    }
}

/// Waits until `end`; false if it is to end before.
fn rest(end: Instant, hooks: &Hooks<'_>) -> bool {
    loop {
        (hooks.alive)();
        if hooks.stop.load(Relaxed) {
            return false;
        }
        let left = end.saturating_duration_since(Instant::now());
        if left.is_zero() {
            return true;
        }
        thread::sleep(left.min(LOOK));
    }
}

fn systemd(checks: &HealthChecks, socket: &Path, wrong: &mut Vec<String>) {
    let mut systemd = Systemd::at(socket, SYSTEMD_TIME);
    if !checks.units.is_empty() {
        let names: Vec<&str> = checks.units.iter().map(|unit| unit.as_str()).collect();
        match systemd.units(&names) {
            Ok(units) => {
                for name in names {
                    let found = units.iter().find(|unit| unit.name == name);
                    let state = found.map_or("not known to systemd", |unit| &unit.active);
                    if state != "active" {
                        wrong.push(format!("{name} is {state}"));
                    }
                }
            }
            Err(fault) => wrong.push(format!("systemd does not answer: {fault}")),
        }
    }
    if checks.failed_units == FailedUnits::None {
        match systemd.failed() {
            Ok(failed) if failed.is_empty() => {}
            Ok(failed) => wrong.push(format!("failed units: {}", failed.join(", "))),
            Err(fault) => wrong.push(format!("systemd does not answer: {fault}")),
        }
    }
}

/// Whether the power agent answers and gives its beats.
fn agent(socket: &Path) -> Result<(), String> {
    let answer = socket::ask(PROGRAM, socket, "GET", "/status").map_err(|error| format!("fruit-agent: {error}"))?;
    let status: Status = serde_json::from_str(&answer).map_err(|error| format!("fruit-agent's answer: {error}"))?;
    let failing: Vec<String> = status
        .conditions
        .iter()
        .filter(|condition| condition.state == "fails")
        .map(|condition| format!("{} {}", condition.name, condition.detail).trim_end().to_owned())
        .collect();
    if status.heartbeat.state == "withheld" || !failing.is_empty() {
        return Err(format!("fruit-agent withholds its beat: {}", failing.join(", ")));
    }
    Ok(())
}

/// Whether a TCP connection can be made. Names are looked up on a thread, since that can't be given a time.
fn port(address: &str, time: Duration) -> Result<(), String> {
    let end = Instant::now() + time;
    let (answer, wait) = mpsc::channel();
    let name = address.to_owned();
    let lookup = thread::Builder::new().name("lookup".into()).spawn(move || {
        // Nobody listens any more if it took too long.
        let _ = answer.send(name.to_socket_addrs().map(Vec::from_iter));
    });
    lookup.map_err(|error| format!("{address}: {error}"))?;
    let addresses = match wait.recv_timeout(time) {
        Ok(Ok(addresses)) => addresses,
        Ok(Err(error)) => return Err(format!("{address} is not known: {error}")),
        Err(_) => return Err(format!("{address}: its name could not be looked up in {} s", time.as_secs())),
    };
    let mut last = "it has no address".to_owned();
    for one in addresses {
        let left = end.saturating_duration_since(Instant::now());
        if left.is_zero() {
            break;
        }
        match TcpStream::connect_timeout(&one, left) {
            Ok(_) => return Ok(()),
            Err(error) => last = error.to_string(),
        }
    }
    Err(format!("{address} can't be reached: {last}"))
}

#[cfg(test)]
mod tests {
    use std::net::TcpListener;

    use super::*;

    fn checks(yaml: &str) -> HealthChecks {
        serde_saphyr::from_str(yaml).unwrap()
    }

    fn prove_with(checks: &HealthChecks, endpoints: &Endpoints, stop: &AtomicBool) -> (Verdict, Vec<String>) {
        let mut said = Vec::new();
        let mut say = |text: &str| said.push(text.to_owned());
        let verdict = prove(checks, endpoints, &mut Hooks { stop, alive: &|| {}, say: &mut say });
        (verdict, said)
    }

    #[test]
    fn without_checks_a_release_is_good_after_its_soak() {
        let start = Instant::now();
        let (verdict, _) = prove_with(&checks("{soak: 300ms}"), &Endpoints::default(), &AtomicBool::new(false));
        assert_eq!(verdict, Verdict::Good);
        assert!(start.elapsed() >= Duration::from_millis(300));
    }

    #[test]
    fn a_port_that_opens_in_time_is_waited_for() {
        let address = TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap();
        let opener = thread::spawn(move || {
            thread::sleep(Duration::from_millis(600));
            TcpListener::bind(address).unwrap()
        });
        let checks = checks(&format!("{{within: 20s, soak: 100ms, interval: 100ms, reach: ['{address}']}}"));
        let (verdict, said) = prove_with(&checks, &Endpoints::default(), &AtomicBool::new(false));
        assert_eq!(verdict, Verdict::Good);
        assert!(said[0].contains(&address.to_string()), "{said:?}");
        assert_eq!(said.last().unwrap(), "all checks hold");
        drop(opener.join());
    }

    #[test]
    fn what_fails_to_the_end_is_the_reason() {
        let checks = checks(
            "{within: 1s, interval: 100ms, commands: [{run: [/bin/sh, -c, 'echo the disk is odd >&2; exit 3']}, {run: [/nowhere]}]}",
        );
        let (verdict, _) = prove_with(&checks, &Endpoints::default(), &AtomicBool::new(false));
        let Verdict::Bad(why) = verdict else { panic!("{verdict:?}") };
        assert!(why.contains("the disk is odd") && why.contains('3') && why.contains("/nowhere"), "{why}");
    }

    #[test]
    fn a_check_that_breaks_during_the_soak_is_no_success() {
        let folder = tempfile::tempdir().unwrap();
        let mark = folder.path().join("mark");
        std::fs::write(&mark, "").unwrap();
        let remover = thread::spawn({
            let mark = mark.clone();
            move || {
                thread::sleep(Duration::from_millis(1500));
                std::fs::remove_file(mark).unwrap();
            }
        });
        let checks = checks(&format!(
            "{{within: 1s, soak: 1h, interval: 100ms, commands: [{{run: [/usr/bin/test, -e, {}]}}]}}",
            mark.display()
        ));
        let (verdict, _) = prove_with(&checks, &Endpoints::default(), &AtomicBool::new(false));
        let Verdict::Bad(why) = verdict else { panic!("{verdict:?}") };
        assert!(why.starts_with("the checks held, then failed"), "{why}");
        remover.join().unwrap();
    }

    #[test]
    fn a_stop_ends_it_soon_even_in_a_command() {
        let checks = checks("{within: 1h, commands: [{run: [/bin/sleep, '1000'], timeout: 30min}]}");
        let stop = AtomicBool::new(false);
        let start = Instant::now();
        thread::scope(|scope| {
            scope.spawn(|| {
                thread::sleep(Duration::from_millis(300));
                stop.store(true, Relaxed);
            });
            assert_eq!(prove_with(&checks, &Endpoints::default(), &stop).0, Verdict::Stopped);
        });
        assert!(start.elapsed() < Duration::from_secs(20));
    }

    #[test]
    fn no_systemd_and_no_agent_are_reasons() {
        let nowhere = tempfile::tempdir().unwrap();
        let endpoints = Endpoints {
            systemd: nowhere.path().join("private"),
            agent: nowhere.path().join("agent.sock"),
            routes: nowhere.path().to_owned(),
        };
        let checks = checks("{units: [ssh.service], failed_units: none, agent: healthy, reach: [gateway]}");
        let wrong = evaluate(&checks, &endpoints, &AtomicBool::new(false), &|| {});
        assert_eq!(wrong.len(), 4, "{wrong:?}");
        assert!(wrong.iter().any(|why| why.contains("agent.sock")) && wrong.iter().any(|why| why.contains("gateway")));
    }
}
