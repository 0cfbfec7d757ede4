//! The real `fruitctl` against simulated boards, over a pseudo-terminal and over TCP. The line is instant and the
//! boards' clock accelerated or stopped, so nothing here waits for long; nothing here asserts how long it took.

use fruit_stack::command::Pi;
use fruit_stack::error_code::ErrorCode;
use fruit_stack_simulator::{Amount, Endpoints, Fault, FaultKind, LineConfig, Simulator, StackConfig};
use std::io::{BufRead, BufReader, Read, Write};
use std::net::TcpStream;
use std::os::unix::net::UnixStream;
use std::path::Path;
use std::process::{Child, Command, Output, Stdio};

fn simulator(ids: impl IntoIterator<Item = u8>, clock: f64) -> Simulator {
    let endpoints =
        Endpoints { tcp: Some(([127, 0, 0, 1], 0).into()), line: LineConfig::instant(), clock, ..Endpoints::default() };
    Simulator::start(&StackConfig::with_ids(ids), &endpoints).unwrap()
}

fn fruitctl(args: &[&str]) -> Output {
    let mut command = Command::new(env!("CARGO_BIN_EXE_fruitctl"));
    command.arg("stack").args(args).stdin(Stdio::null()).env_remove("FRUITCTL_STACKS").output().unwrap()
}

fn on_pty(simulator: &Simulator, args: &[&str]) -> Output {
    let port = simulator.pty().unwrap().to_str().unwrap();
    fruitctl(&[args, &["--port", port]].concat())
}

fn on_tcp(simulator: &Simulator, args: &[&str]) -> Output {
    let port = format!("tcp://{}", simulator.tcp().unwrap());
    fruitctl(&[args, &["--port", &port]].concat())
}

fn text(bytes: &[u8]) -> String {
    String::from_utf8(bytes.to_vec()).unwrap()
}

#[track_caller]
fn stdout_of(output: &Output) -> String {
    assert!(output.status.success(), "{:?}: {}", output.status, text(&output.stderr));
    text(&output.stdout)
}

#[track_caller]
fn json_of(output: &Output) -> serde_json::Value {
    serde_json::from_str(&stdout_of(output)).unwrap()
}

#[test]
fn scan_finds_the_boards_over_pty_and_tcp() {
    // All sixteen, as each id that is missing costs its answer windows.
    let simulator = simulator(0..16, 0.0);
    for found in [on_pty(&simulator, &["scan", "--json"]), on_tcp(&simulator, &["scan", "--json"])] {
        let found = json_of(&found);
        let boards: Vec<u64> = found.as_array().unwrap().iter().map(|board| board["board"].as_u64().unwrap()).collect();
        assert_eq!(boards, (0..16).collect::<Vec<u64>>());
        assert_eq!(found[3]["hardware"], 3);
    }
    assert!(stdout_of(&on_pty(&simulator, &["scan"])).contains("stack/15"));
}

#[test]
fn a_port_may_be_a_path_from_the_folder_that_the_command_runs_in() {
    let simulator = simulator([0], 0.0);
    let folder = tempfile::tempdir().unwrap();
    std::fs::create_dir(folder.path().join("ports")).unwrap();
    for name in ["board", "ports/board"] {
        std::os::unix::fs::symlink(simulator.pty().unwrap(), folder.path().join(name)).unwrap();
    }
    let status = |directory: &str, port: &str| {
        let mut command = Command::new(env!("CARGO_BIN_EXE_fruitctl"));
        command.current_dir(folder.path().join(directory)).args(["stack", "status", "0", "--json", "--port", port]);
        command.stdin(Stdio::null()).env_remove("FRUITCTL_STACKS").output().unwrap()
    };
    for (directory, port) in
        [(".", "board"), (".", "./board"), (".", "ports/board"), ("ports", "../board"), ("ports", "board")]
    {
        assert_eq!(json_of(&status(directory, port))[0]["boards"][0]["board"], 0, "{port} in {directory}");
    }
    // What is not there is named with what a port looks like.
    for (port, says) in [("bord", "tcp://host:port"), ("./bord", "is the adapter plugged in?"), ("tcp://host", "port")]
    {
        let output = status(".", port);
        assert!(!output.status.success() && text(&output.stderr).contains(says), "{}", text(&output.stderr));
    }
}

#[test]
fn status_shows_units_and_json_agrees() {
    let simulator = simulator([0, 1], 0.0);
    simulator.stack().set_load(1, Pi::One, Some(0.5)).unwrap();
    stdout_of(&on_pty(&simulator, &["on", "1.1"]));
    let status = json_of(&on_tcp(&simulator, &["status", "0-1", "--json"]));
    let board = &status[0]["boards"][1];
    assert_eq!(board["board"], 1);
    assert_eq!(board["hardware"], "v3");
    assert!((board["input_volts"].as_f64().unwrap() - 24.0).abs() < 0.01, "{board}");
    assert!((board["pis"][1]["amps"].as_f64().unwrap() - 0.5).abs() < 0.01, "{board}");
    assert_eq!((&board["pis"][0]["powered"], &board["pis"][1]["powered"]), (&false.into(), &true.into()));
    assert_eq!(board["failures"], serde_json::json!({}));
    let table = stdout_of(&on_pty(&simulator, &["status", "1"]));
    assert!(table.contains("24.00") && table.contains("0.50") && table.contains("on"), "{table}");
    assert!(!table.contains('\x1b'), "no colours into a pipe");
    let watched = stdout_of(&on_pty(&simulator, &["status", "1", "--watch", "--count", "2", "--interval", "10ms"]));
    assert_eq!(watched, format!("{table}{table}"));
}

#[test]
fn the_told_revision_is_converted_for() {
    let simulator = simulator([0], 0.0);
    stdout_of(&on_pty(&simulator, &["on", "0.0"]));
    let volts = |revision: &str| {
        let status = json_of(&on_pty(&simulator, &["status", "0", "--json", "--hardware", revision]));
        status[0]["boards"][0]["pis"][0]["volts"].as_f64().unwrap()
    };
    // The same reading: V2 divides by 3/5, V3 by 39/72.
    assert!((volts("v3") / volts("v2") - (72.0 / 39.0) / (5.0 / 3.0)).abs() < 1e-9);
}

#[test]
fn a_failed_read_is_null_with_its_reason_and_an_exit_code() {
    let simulator = simulator([0], 0.0);
    let output = on_pty(&simulator, &["status", "0,7", "--json"]);
    assert_eq!(output.status.code(), Some(4), "board 7 does not answer");
    let status: serde_json::Value = serde_json::from_slice(&output.stdout).unwrap();
    let absent = &status[0]["boards"][1];
    assert_eq!(
        (&absent["input_volts"], &absent["pis"][0]["powered"]),
        (&serde_json::Value::Null, &serde_json::Value::Null)
    );
    assert_eq!(absent["failures"]["input_volts"], "no answer");
    assert_eq!(text(&output.stderr), "fruitctl: stack/7: no answer\n", "one line, not one per value");
    let table = text(&on_pty(&simulator, &["status", "7"]).stdout);
    assert!(table.contains('?') && !table.contains("0.00"), "{table}");
}

#[test]
fn pis_go_on_off_and_round() {
    // 100 seconds of the boards per real one: an off delay of 30 s is over in 0.3 s.
    let simulator = simulator([0, 1], 100.0);
    let boards = ["--boards", "0-1"];
    let on = stdout_of(&on_pty(&simulator, &[&["on", "all", "--stagger", "10ms"][..], &boards].concat()));
    assert_eq!(on, "stack/0.0: on\nstack/0.1: on\nstack/1.0: on\nstack/1.1: on\n");
    let again = stdout_of(&on_pty(&simulator, &[&["on", "0.1"][..], &boards].concat()));
    assert_eq!(again, "stack/0.1: is on already\n");
    let off = stdout_of(&on_tcp(&simulator, &["off", "0"]));
    assert!(off.contains("stack/0.0: shutdown signalled, power goes in 30 s\n"), "{off}");
    assert!(off.contains("stack/0.0: off after") && off.contains("stack/0.1: off after"), "{off}");
    let cycle = stdout_of(&on_tcp(&simulator, &["cycle", "1.1", "--pause", "10ms", "--json"]));
    let stages: Vec<String> = cycle
        .lines()
        .map(|line| serde_json::from_str::<serde_json::Value>(line).unwrap()["stage"].as_str().unwrap().to_owned())
        .collect();
    assert_eq!((stages.first().unwrap().as_str(), stages.last().unwrap().as_str()), ("signalled", "on"));
    assert!(stages.contains(&"off".to_owned()), "{stages:?}");
}

#[test]
fn power_is_not_cut_by_force_without_an_answer() {
    let simulator = simulator([0], 0.0);
    stdout_of(&on_pty(&simulator, &["on", "0.0"]));
    let asked = on_pty(&simulator, &["off", "0.0", "--force"]);
    assert_eq!(asked.status.code(), Some(6));
    assert!(text(&asked.stderr).contains("--yes"));
    assert!(simulator.stack().pi(0, Pi::Zero).unwrap().powered);
    stdout_of(&on_pty(&simulator, &["off", "0.0", "--force", "--yes"]));
    assert!(!simulator.stack().pi(0, Pi::Zero).unwrap().powered);
}

#[test]
fn no_headroom_is_given_up_on_with_its_own_exit_code() {
    let simulator = simulator([0], 0.0);
    let on = ["on", "0.0", "--max-amps", "0.1", "--patience", "0s", "--boards", "0"];
    let output = on_pty(&simulator, &on);
    assert_eq!(output.status.code(), Some(5), "{}", text(&output.stderr));
    assert!(!simulator.stack().pi(0, Pi::Zero).unwrap().powered);
    let enough = ["on", "0.0", "--max-amps", "5A", "--boards", "0"];
    stdout_of(&on_pty(&simulator, &enough));
}

#[test]
fn settings_are_set_read_back_and_refused() {
    let simulator = simulator([2], 0.0);
    let set = stdout_of(&on_pty(&simulator, &["config", "set", "2.0", "heartbeat-timeout", "45"]));
    assert_eq!(set, "stack/2.0: heartbeat-timeout is 45\n");
    stdout_of(&on_pty(&simulator, &["config", "set", "2", "start-up", "on"]));
    let get = json_of(&on_pty(&simulator, &["config", "get", "2", "--json"]));
    assert_eq!((&get[0]["heartbeat-timeout"], &get[1]["heartbeat-timeout"]), (&45.into(), &30.into()));
    assert_eq!(get[1]["start-up"], true);
    for wrong in [["2", "off-delay", "256"], ["2", "start-up", "maybe"], ["2", "prefix", "0x21"]] {
        let output = on_pty(&simulator, &[&["config", "set"][..], &wrong].concat());
        assert_eq!(output.status.code(), Some(2), "{wrong:?}");
    }
    stdout_of(&on_pty(&simulator, &["config", "set", "2", "prefix", "0x30"]));
    assert_eq!(json_of(&on_pty(&simulator, &["config", "get", "0x32.0", "prefix", "--json"]))[0]["prefix"], 0x30);
}

#[test]
fn a_prefix_that_would_take_another_boards_id_or_the_masters_is_refused() {
    let simulator = simulator([0x0F, 0x1F], 0.0);
    for (prefix, says) in [("0xf0", "master"), ("0x10", "already")] {
        let output = on_pty(&simulator, &["config", "set", "15", "prefix", prefix]);
        assert_eq!(output.status.code(), Some(2));
        assert!(text(&output.stderr).contains(says), "{}", text(&output.stderr));
    }
    assert_eq!(simulator.stack().snapshot()[0].id, 0x0F);
}

#[test]
fn errors_are_decoded_and_cleared() {
    let simulator = simulator([0], 0.0);
    simulator.stack().log_error(0, ErrorCode(0x40)).unwrap();
    let shown = stdout_of(&on_pty(&simulator, &["errors", "0"]));
    assert_eq!(shown, "stack/0: 1 errors, 1 boots\n  40 configuration crc\n");
    stdout_of(&on_pty(&simulator, &["errors", "clear", "0"]));
    let report = json_of(&on_pty(&simulator, &["errors", "0", "--json"]));
    assert_eq!(report[0]["errors"], serde_json::json!({ "count": 0, "boots": 0, "log": [] }));
}

#[test]
fn leds_follow() {
    let simulator = simulator([0], 0.0);
    stdout_of(&on_pty(&simulator, &["led", "0", "off"]));
    stdout_of(&on_pty(&simulator, &["led", "0", "#ff8001"]));
    let snapshot = simulator.stack().snapshot();
    assert_eq!((snapshot[0].leds, snapshot[0].debug_led), (false, [0xFF, 0x80, 0x01]));
    stdout_of(&on_pty(&simulator, &["identify", "0", "--for", "250ms"]));
    assert_eq!(simulator.stack().snapshot()[0].debug_led, [0; 3], "dark again");
}

#[test]
fn record_writes_csv_with_empty_fields_for_failures_and_ndjson() {
    let simulator = simulator([0], 0.0);
    let csv = on_pty(&simulator, &["record", "0", "--count", "2", "--interval", "10ms"]);
    let csv = stdout_of(&csv);
    let lines: Vec<&str> = csv.lines().collect();
    assert_eq!(lines.len(), 1 + 2 * 2, "a head, and two Pis twice: {csv}");
    assert!(lines[0].starts_with("time,stack,board,pi,powered"));
    assert!(lines.iter().all(|line| line.split(',').count() == 14), "{csv}");
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("record.ndjson");
    let args = ["record", "0", "--count", "1", "--format", "ndjson", "-o", path.to_str().unwrap()];
    stdout_of(&on_pty(&simulator, &args));
    stdout_of(&on_pty(&simulator, &args));
    let samples = std::fs::read_to_string(&path).unwrap();
    assert_eq!(samples.lines().count(), 2, "appended");
    let sample: serde_json::Value = serde_json::from_str(samples.lines().next().unwrap()).unwrap();
    assert!(sample["time"].as_str().unwrap().ends_with('Z') && sample["input_volts"].is_f64(), "{sample}");
    let absent = on_pty(&simulator, &["record", "9", "--count", "1"]);
    let row = text(&absent.stdout).lines().nth(1).unwrap().to_owned();
    assert!(row.ends_with(",9,0,,,,,,,,,,"), "{row}");
    assert_eq!(absent.status.code(), Some(4));
}

/// Ends a child at the end of a test, however that comes.
struct Running(Child);

impl Drop for Running {
    fn drop(&mut self) {
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}

fn running(args: &[&str]) -> Running {
    let mut command = Command::new(env!("CARGO_BIN_EXE_fruitctl"));
    command.arg("stack").args(args).stdin(Stdio::null()).stdout(Stdio::piped()).stderr(Stdio::piped());
    Running(command.spawn().unwrap())
}

/// Asks a server for `path`; `told` is the line in which it says where it listens.
fn get(told: &str, path: &str) -> String {
    let address = told.trim().strip_prefix("metrics on http://").unwrap().strip_suffix("/metrics").unwrap();
    let mut client = TcpStream::connect(address).unwrap();
    write!(client, "GET {path} HTTP/1.1\r\nHost: x\r\n\r\n").unwrap();
    let mut answer = String::new();
    client.read_to_string(&mut answer).unwrap();
    answer
}

#[test]
fn serve_survives_an_adapter_that_is_unplugged_and_plugged_in_again() {
    let folder = tempfile::tempdir().unwrap();
    let link = folder.path().join("tty");
    let plug_in = || {
        let endpoints = Endpoints { link: Some(link.clone()), line: LineConfig::instant(), ..Endpoints::default() };
        Simulator::start(&StackConfig::with_ids([4]), &endpoints).unwrap()
    };
    let up = "fruit_stack_board_up{stack=\"stack\",board=\"4\"} 1\n";
    let down = "fruit_stack_board_up{stack=\"stack\",board=\"4\"} 0\n";
    let simulator = plug_in();
    let port = link.to_str().unwrap();
    let mut served = running(&["serve", "4", "--listen", "127.0.0.1:0", "--interval", "20ms", "--port", port]);
    let mut told = BufReader::new(served.0.stderr.take().unwrap());
    let mut line = String::new();
    told.read_line(&mut line).unwrap();
    // Someone must read what the server says of its failures, or it stops at a full pipe.
    std::thread::spawn(move || std::io::copy(&mut told, &mut std::io::sink()));
    let until = |wanted: &str| {
        (0..2000).any(|_| {
            std::thread::sleep(std::time::Duration::from_millis(10));
            get(&line, "/metrics").contains(wanted)
        })
    };
    assert!(until(up), "at first");
    drop(simulator);
    assert!(until(down), "unplugged");
    let _simulator = plug_in();
    assert!(until(up), "plugged in again");
}

#[test]
fn serve_offers_metrics() {
    let simulator = simulator([4], 0.0);
    let port = simulator.pty().unwrap().to_str().unwrap();
    let mut served = running(&["serve", "4", "--listen", "127.0.0.1:0", "--port", port]);
    let mut line = String::new();
    BufReader::new(served.0.stderr.as_mut().unwrap()).read_line(&mut line).unwrap();
    let metrics = get(&line, "/metrics");
    assert!(metrics.starts_with("HTTP/1.1 200 OK\r\n"), "{metrics}");
    assert!(metrics.contains("fruit_stack_board_up{stack=\"stack\",board=\"4\"} 1\n"), "{metrics}");
    assert!(get(&line, "/else").starts_with("HTTP/1.1 404"));
}

#[test]
fn simulate_runs_as_a_program_and_takes_orders() {
    let folder = tempfile::tempdir().unwrap();
    let path = |name: &str| folder.path().join(name).to_str().unwrap().to_owned();
    let (link, control, flash) = (path("tty"), path("control"), path("flash.json"));
    let args = ["simulate", "--boards", "3", "--link", &link, "--control", &control, "--flash", &flash];
    let more = ["--tcp", "127.0.0.1:0", "--clock", "0", "--baud", "0", "--external", "--hardware", "v2", "--json"];
    let mut simulated = running(&[&args[..], &more].concat());
    let mut line = String::new();
    BufReader::new(simulated.0.stdout.as_mut().unwrap()).read_line(&mut line).unwrap();
    let told: serde_json::Value = serde_json::from_str(&line).unwrap();
    let mut orders = BufReader::new(UnixStream::connect(told["control"].as_str().unwrap()).unwrap());
    let mut order = |text: &str| -> serde_json::Value {
        orders.get_mut().write_all(format!("{text}\n").as_bytes()).unwrap();
        loop {
            let mut line = String::new();
            orders.read_line(&mut line).unwrap();
            let answer: serde_json::Value = serde_json::from_str(&line).unwrap();
            // What happens is told on the same connection.
            if answer.get("ok").is_some() {
                return answer;
            }
        }
    };
    stdout_of(&fruitctl(&["on", "3.1", "--port", &link]));
    let status = json_of(&fruitctl(&["status", "3", "--json", "--port", told["tcp"].as_str().unwrap()]));
    assert_eq!(status[0]["boards"][0]["hardware"], "v2");
    assert_eq!(status[0]["boards"][0]["pis"][1]["powered"], true);
    // The clock stands still but for orders: 120 s of boot delay, then two off.
    assert_eq!(order(r#"{"do":"advance","seconds":119}"#)["ok"], true);
    assert_eq!(order(r#"{"do":"state"}"#)["boards"][0]["pis"][1]["powered"], true);
    assert_eq!(order(r#"{"do":"beat","board":3,"pi":1}"#)["ok"], true);
    assert_eq!(order(r#"{"do":"advance","seconds":29}"#)["ok"], true);
    assert_eq!(order(r#"{"do":"state"}"#)["boards"][0]["pis"][1]["heartbeat_seen"], true);
    assert_eq!(order(r#"{"do":"advance","seconds":1}"#)["ok"], true);
    assert_eq!(order(r#"{"do":"state"}"#)["boards"][0]["pis"][1]["powered"], false);
    assert_eq!(order(r#"{"do":"beat","board":9,"pi":1}"#)["ok"], false);
    assert_eq!(order(r#"{"do":"fault","kind":"noise"}"#)["ok"], false);
    assert_eq!(order("nonsense")["ok"], false);
    stdout_of(&fruitctl(&["config", "set", "3.0", "off-delay", "9", "--port", &link]));
    assert!(std::fs::read_to_string(&flash).unwrap().contains("\"timers\":[30,120,9,20]"));
}

#[test]
fn a_connection_that_watches_is_told_of_power_and_signals() {
    let folder = tempfile::tempdir().unwrap();
    let control = folder.path().join("control");
    let endpoints =
        Endpoints { control: Some(control.clone()), clock: 0.0, line: LineConfig::instant(), ..Endpoints::default() };
    let simulator = Simulator::start(&StackConfig::with_ids([0]), &endpoints).unwrap();
    let mut watch = BufReader::new(UnixStream::connect(&control).unwrap());
    watch.get_mut().write_all(b"{\"do\":\"watch\"}\n").unwrap();
    let mut next = || {
        let mut line = String::new();
        watch.read_line(&mut line).unwrap();
        serde_json::from_str::<serde_json::Value>(&line).unwrap()
    };
    assert_eq!(next()["ok"], true);
    stdout_of(&on_pty(&simulator, &["on", "0.1"]));
    let event = next();
    assert_eq!((&event["event"], &event["on"], &event["pi"]), (&"power".into(), &true.into(), &1.into()), "{event}");
    simulator.stack().pull_signal(0, Pi::One, true).unwrap();
    let event = next();
    assert_eq!((&event["event"], &event["high"]), (&"signal".into(), &false.into()), "{event}");
    drop(simulator);
    assert!(!Path::new(&control).exists(), "the socket is taken away");
}

#[test]
fn a_noisy_line_is_repeated_until_the_values_are_right() {
    let simulator = simulator([0], 0.0);
    simulator.stack().add_fault(Fault { kind: FaultKind::Noise, board: None, amount: Amount::Next(2) });
    let status = json_of(&on_pty(&simulator, &["status", "0", "--json"]));
    assert_eq!(status[0]["boards"][0]["failures"], serde_json::json!({}));
    assert_eq!(status[0]["line"]["retries"], 2);
}

#[test]
fn mistakes_are_told_with_their_place_and_exit_code() {
    let folder = tempfile::tempdir().unwrap();
    let stacks = folder.path().join("stacks.yaml");
    std::fs::write(&stacks, "stacks:\n  rack1:\n    port: ttyUSB0\n").unwrap();
    let wrong = fruitctl(&["status", "--stacks", stacks.to_str().unwrap()]);
    assert_eq!(wrong.status.code(), Some(2));
    assert!(text(&wrong.stderr).contains("stacks.yaml:3:11: `ttyUSB0` is no port"), "{}", text(&wrong.stderr));
    let missing = fruitctl(&["status", "0", "--port", "/dev/no-such-port"]);
    assert_eq!(missing.status.code(), Some(3));
    assert!(text(&missing.stderr).contains("is the adapter plugged in?"), "{}", text(&missing.stderr));
    assert_eq!(fruitctl(&["status", "3.7", "--port", "/dev/null"]).status.code(), Some(2));
    assert_eq!(fruitctl(&["status", "0", "--port", "/dev/null"]).status.code(), Some(3), "no serial port");
}

#[test]
fn a_stacks_file_gives_names_and_the_boards_of_all() {
    let (one, two) = (simulator([0, 1], 0.0), simulator([5], 0.0));
    let folder = tempfile::tempdir().unwrap();
    let stacks = folder.path().join("stacks.yaml");
    let file = format!(
        "stacks:\n  left:\n    port: {}\n    boards: 0-1\n  right:\n    port: tcp://{}\n    boards: \"5\"\n",
        one.pty().unwrap().display(),
        two.tcp().unwrap()
    );
    std::fs::write(&stacks, file).unwrap();
    let stacks = stacks.to_str().unwrap();
    stdout_of(&fruitctl(&["on", "left/1.0,right/all.1", "--stacks", stacks]));
    assert!(one.stack().pi(1, Pi::Zero).unwrap().powered && two.stack().pi(5, Pi::One).unwrap().powered);
    let status = json_of(&fruitctl(&["status", "--json", "--stacks", stacks]));
    assert_eq!((&status[0]["stack"], &status[1]["stack"]), (&"left".into(), &"right".into()));
    assert_eq!(status[0]["boards"].as_array().unwrap().len(), 2);
}

/// What the field's own master does: write, wait, then read until the line has been silent for 0.1 s, and check length,
/// crc and address of everything that came as one answer.
#[test]
fn the_fields_master_gets_its_answers() {
    use fruit_stack::transport::{Port, open};
    use std::time::Duration;
    let endpoints = Endpoints::default();
    let simulator = Simulator::start(&StackConfig::with_ids([0]), &endpoints).unwrap();
    let mut line = open(&Port::Device(simulator.pty().unwrap().to_owned())).unwrap();
    let mut ask = |request: &[u8]| {
        line.send(&[request, &[fruit_stack::crc::crc8(request)]].concat()).unwrap();
        line.wait(Duration::from_millis(300));
        let mut answer = Vec::new();
        let mut buffer = [0; 64];
        loop {
            match line.receive(&mut buffer, Duration::from_millis(100)).unwrap() {
                0 => return answer,
                count => answer.extend_from_slice(&buffer[..count]),
            }
        }
    };
    let version = ask(&[0x03, 0x00, 0x03]);
    assert_eq!(version[..4], [0x00, 0xFF, 0x04, 0x03]);
    assert_eq!((version.len(), fruit_stack::crc::crc8(&version)), (5, 0));
    assert!(ask(&[0x03, 0x01, 0x03]).is_empty(), "a board that is not there");
    assert_eq!(ask(&[0x11, 0x00, 0x04, 0x07])[..4], [0x01, 0xFF, 0x04, 0x14]);
}

#[test]
fn help_names_verbs_addresses_and_exit_codes() {
    let help = stdout_of(&fruitctl(&["--help"]));
    for word in ["scan", "identify", "simulate", "rack1/3.1", "Exit codes", "--port"] {
        assert!(help.contains(word), "{word}: {help}");
    }
    let run = |args: &[&str]| Command::new(env!("CARGO_BIN_EXE_fruitctl")).args(args).output().unwrap();
    assert!(stdout_of(&run(&["completions", "bash"])).contains("fruitctl"));
    assert!(stdout_of(&run(&["man"])).contains(".TH fruitctl"));
    let folder = tempfile::tempdir().unwrap();
    let pages = folder.path().join("new");
    assert_eq!(stdout_of(&run(&["man", pages.to_str().unwrap()])), "");
    assert!(
        std::fs::read_to_string(pages.join("fruitctl-stack-status.1")).unwrap().contains(".TH fruitctl-stack-status")
    );
}
