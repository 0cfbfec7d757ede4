//! The configuration of the agent: what a person may write, and where the message points when it is wrong.

use fruit_contract::agent::config::{AgentConfig, Board, Chip, Stall, SystemdCondition, WatchdogDevice, Window};
use fruit_contract::values::Percent;
use proptest::prelude::*;

fn error(text: &str) -> String {
    AgentConfig::from_yaml(text, "agent.yaml").unwrap_err().to_string()
}

#[test]
fn an_empty_file_is_the_fields_timing() {
    for text in ["", "# nothing\n", "{}"] {
        let config = AgentConfig::from_yaml(text, "agent.yaml").unwrap();
        assert_eq!(config, AgentConfig::default());
        assert_eq!((config.heartbeat.high.millis(), config.heartbeat.interval.millis()), (200, 5_000));
        assert_eq!((config.lines.heartbeat, config.lines.signal), (5, 6));
        assert_eq!(config.watchdog.device, WatchdogDevice::None);
        assert_eq!(config.board, Board::Auto);
    }
}

#[test]
fn every_key_is_read() {
    let text = "\
board: force
lines: { chip: unix:/run/sim, heartbeat: 17, signal: 27 }
heartbeat: { high: 100ms, interval: 2s, priority: 80 }
signal: { glitch: 0ms, width: 50ms }
health:
  check: 1s
  patience: 3s
  grace: 0ms
  shutdown: 1min
  systemd: not-degraded
  units: [ssh.service, systemd-networkd.service]
  memory: { stall: some, window: 10s, limit: 40% }
  overlay: { limit: 95% }
watchdog: { device: /dev/watchdog0, timeout: 15s }
metrics: { socket: /run/a.sock, listen: '[::]:9110' }
state: /data/agent
";
    let config = AgentConfig::from_yaml(text, "agent.yaml").unwrap();
    assert_eq!(config.lines.chip, Chip::Socket("/run/sim".into()));
    assert_eq!(config.health.systemd, SystemdCondition::NotDegraded);
    assert_eq!(config.health.units.len(), 2);
    let memory = config.health.memory.as_ref().unwrap();
    assert_eq!((memory.stall, memory.window, memory.limit), (Stall::Some, Window::Avg10, Percent::of(40)));
    assert_eq!(config.health.overlay.as_ref().unwrap().path.path().to_str(), Some("/"));
    assert_eq!(config.metrics.listen.unwrap().port(), 9110);
    assert_eq!(AgentConfig::from_yaml(&config.to_yaml(), "again").unwrap(), config);
}

#[test]
fn mistakes_are_located_and_say_the_remedy() {
    for (text, at, says) in [
        ("heartbeet: {}\n", "agent.yaml:1:1:", "heartbeat"),
        ("heartbeat:\n  hihg: 1s\n", "agent.yaml:2:3:", "high"),
        ("heartbeat:\n  high: 5\n", "agent.yaml:2:9:", "5ms or 5s"),
        ("heartbeat:\n  high: 1ms\n", "agent.yaml:2:9:", "from 5ms to 10s"),
        ("heartbeat:\n  high: 5s\n", "agent.yaml:2:3:", "shorter than heartbeat.interval"),
        ("heartbeat: { priority: 100 }\n", "agent.yaml:1:12:", "1 to 99"),
        ("lines: { signal: 5 }\n", "agent.yaml:1:8:", "two wires"),
        ("lines: { signal: 64 }\n", "agent.yaml:1:8:", "0 to 63"),
        ("lines:\n  chip: gpiochip0\n", "agent.yaml:2:9:", "/dev/gpiochip0"),
        ("board: maybe\n", "agent.yaml:1:8:", "force"),
        ("health:\n  units: [ssh]\n", "agent.yaml:2:11:", "ssh.service"),
        ("health:\n  memory: { limit: 140% }\n", "agent.yaml:2:20:", "1% to 100%"),
        ("health:\n  memory: {}\n", "agent.yaml:2:11:", "limit"),
        ("watchdog: { device: watchdog0 }\n", "agent.yaml:1:21:", "none"),
        ("metrics:\n  listen: here\n", "agent.yaml:2:11:", "socket address"),
        ("state: var/lib\n", "agent.yaml:1:8:", "start with /"),
        ("board: auto\nboard: force\n", "agent.yaml:2:1:", "board"),
        ("board: [\n", "agent.yaml:", ""),
    ] {
        let error = error(text);
        assert!(error.starts_with(at), "{text:?}: {error}");
        assert!(error.contains(says), "{text:?}: {error}");
        assert!(!error.contains('\n') || text.contains('['), "{text:?}: {error}");
    }
}

#[test]
fn a_missing_file_is_named() {
    let error = AgentConfig::read(std::path::Path::new("/nowhere/agent.yaml")).unwrap_err().to_string();
    assert!(error.starts_with("/nowhere/agent.yaml: "), "{error}");
}

proptest! {
    #[test]
    fn any_text_is_read_or_refused_without_a_panic(text in "[ -~\n]{0,200}") {
        let _ = AgentConfig::from_yaml(&text, "agent.yaml");
    }

    #[test]
    fn what_is_written_is_read_back(
        high in 5u64..2_000, interval in 2_001u64..250_000, priority in 1u8..=99, heartbeat in 0u8..32, signal in 32u8..64,
        limit in 1u8..=100, glitch in 0u64..=1_000, units in prop::collection::vec("[a-z][a-z0-9@-]{0,12}\\.service", 0..4),
        port in proptest::option::of(1u16..),
    ) {
        let units: Vec<String> = units.iter().map(|unit| format!("'{unit}'")).collect();
        let listen = port.map_or(String::new(), |port| format!("  listen: 0.0.0.0:{port}\n"));
        let text = format!(
            "lines: {{ heartbeat: {heartbeat}, signal: {signal} }}\n\
             heartbeat: {{ high: {high}ms, interval: {interval}ms, priority: {priority} }}\n\
             signal: {{ glitch: {glitch}ms }}\n\
             health:\n  units: [{}]\n  overlay: {{ limit: {limit}% }}\n\
             metrics:\n  socket: /run/x\n{listen}",
            units.join(", ")
        );
        let config = AgentConfig::from_yaml(&text, "agent.yaml").unwrap();
        prop_assert_eq!(config.heartbeat.high.millis(), high);
        prop_assert_eq!(config.health.units.len(), units.len());
        prop_assert_eq!(AgentConfig::from_yaml(&config.to_yaml(), "again").unwrap(), config);
    }
}
