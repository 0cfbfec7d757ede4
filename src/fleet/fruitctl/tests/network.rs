//! A laptop and nodes on the loopback network, with the commands that a person types: nothing is carried by hand.

mod carry;
mod machine;
mod nat;
mod node;
mod relays;
#[path = "../../../shared/release/tests/harness/mod.rs"]
mod repository;
mod sshd;

use fruit_base::Sha256;
use fruit_release::folder::Folder;
use fruit_release::frame;
use fruit_release::keys::Repository;
use fruit_release::local::{Answer, repository_id};
use fruit_release::manifest::{Manifest, Verity, Volume, VolumeKind};
use fruit_release::name::Name;
use fruit_release::tuf::Target;
use machine::{Machine, mode, text};
use node::{Background, Node, until};
use sshd::{Sshd, user};
use std::collections::BTreeSet;
use std::io::{Read, Write};
use std::net::{TcpListener, TcpStream};
use std::path::{Path, PathBuf};

/// On this machine alone.
const HERE: [&str; 3] = ["--listen", "127.0.0.1", "--no-mdns"];
/// With one root key: charters change often here.
const ONE_ROOT: [&str; 2] = ["--root", "1/1"];

#[test]
fn node() {
    node::run();
}

/// With patience for a busy machine, unless the test is about having none.
fn with<'a>(args: &[&'a str]) -> Vec<&'a str> {
    let wait: &[&str] = if args.contains(&"--wait") { &[] } else { &["--wait", "60s"] };
    [args, &HERE, wait].concat()
}

fn member_state(machine: &Machine, name: usize) -> serde_json::Value {
    machine.json(&["node", "list"])[name]["state"].clone()
}

/// A repository as `fruitbuild publish` writes it, with one release of three chunks; its id, and the names of all pieces.
fn published(folder: &Path) -> (Sha256, Vec<Name>) {
    let pieces = Folder::new(folder);
    let mut names = Vec::new();
    let mut chunk = |n: u8, len: usize| {
        // Nothing that can be made smaller on the way.
        let blocks = (0..len as u32 / 32).flat_map(|at| Sha256::of(&[&at.to_be_bytes()[..], &[n]].concat()).0);
        let content: Vec<u8> = blocks.collect();
        let digest = Sha256::of(&content);
        let name = Name::Chunk(digest);
        pieces.put(&name, &frame::encode(&content, 1).unwrap()).unwrap();
        names.push(name);
        digest
    };
    let root = vec![chunk(1, 1 << 20), chunk(2, 4096)];
    let boot = vec![chunk(3, 4096)];
    let verity = Verity { uuid: "00".repeat(16), parameters: "1:1:00:00".into() };
    let volumes = vec![
        Volume { kind: VolumeKind::Root, len: (1 << 20) + 4096, verity: Some(verity), chunks: root },
        Volume { kind: VolumeKind::Boot, len: 4096, verity: None, chunks: boot },
    ];
    let manifest = Manifest {
        format: 1,
        product: "pistack".into(),
        board: "raspberrypi3".into(),
        version: "1.0".into(),
        build_id: "ab".repeat(16),
        build_time: 1_767_225_600,
        notes: String::new(),
        packages: Default::default(),
        slot_sizes: None,
        volumes,
    };
    let bytes = manifest.write().unwrap();
    let (path, digest) = ("pistack-raspberrypi3-1.0/release", Sha256::of(&bytes));
    let target = Target::new(path, bytes.len() as u64, digest.0, &repository::release("1.0")).unwrap();
    let name: Name = target.file().parse().unwrap();
    pieces.put(&name, &bytes).unwrap();
    names.push(name);
    let since = std::time::UNIX_EPOCH.elapsed().unwrap().as_secs() - 1_767_225_600;
    let today = repository::day((since / 86_400) as u32);
    let mut shop = Repository::new(&repository::plan(), today, &repository::LIVES).unwrap();
    shop.add_targets(vec![target], today, &repository::LIVES).unwrap();
    let mut signer = repository::Seeds(vec![1, 2, 3, 4, 5, 6]);
    let signed = shop.sign(&mut signer, &BTreeSet::new(), today, &repository::LIVES).unwrap();
    let mut id = None;
    for (file, bytes) in signed.files {
        let name: Name = file.parse().unwrap();
        if name == Name::Root(1) {
            id = Some(repository_id(&bytes));
        }
        pieces.put(&name, &bytes).unwrap();
    }
    (id.unwrap(), names)
}

#[test]
fn a_node_is_taken_in_over_the_network_and_gets_a_release_from_the_laptop() {
    let machine = Machine::with_fleet("orchard", &ONE_ROOT);
    let invite = machine.ok(&["node", "invite", "--labels", "site=berlin"]);
    let node = Node::start("node", &invite);
    node.is("pending");
    let contact = node.contact();

    // Its request comes over the network, and is shown offline.
    let synced = machine.json(&with(&["sync", "--peer", &contact]));
    assert_eq!(synced["requests"], 1, "{synced}");
    let pending = machine.json(&["node", "pending"]);
    assert_eq!((&pending[0]["words"], pending.as_array().unwrap().len()), (&node.status().words.into(), 1));
    // The key of this machine, and what vouches for it, are for its owner alone.
    let files: Vec<PathBuf> = walk(&machine.fleet("orchard").join("machines"));
    assert!(files.len() == 3 && files.iter().all(|file| mode(file) == 0o600), "{files:?}");

    // Approved, and told at once; where the node is, is known from before. The pass is not signed anew.
    let words = node.status().words;
    machine.ok(&with(&["node", "approve", &words, "--name", "pi-1", "--sync"]));
    node.is("member");
    let list = &machine.json(&["node", "list"])[0];
    assert!(list["state"] == "member" && list["seen"].as_u64().is_some_and(|at| at > 1_767_225_600), "{list}");
    assert_eq!(machine.json(&["node", "pending"]).as_array().unwrap().len(), 0);

    // What the laptop's part of the network says, while no other command has it.
    let doctor: serde_json::Value =
        serde_json::from_str(&text(&machine.run(&with(&["net", "doctor", "--json"])).stdout)).unwrap();
    let verdict =
        |what: &str| doctor.as_array().unwrap().iter().find(|one| one["what"] == what).unwrap()["verdict"].clone();
    assert_eq!(
        [verdict("clock"), verdict("UDP"), verdict("nodes")],
        ["good"; 3].map(serde_json::Value::from),
        "{doctor}"
    );
    assert_eq!(verdict("relay"), "limited", "{doctor}");

    // A release: handed on by `serve`, which hears of it while it runs.
    let log = machine.path("serve.log");
    let mut serve = Background::start(machine.command(&with(&["serve"])), &log);
    until("it serves", || std::fs::read_to_string(&log).unwrap().contains("are connected").then_some(()));
    let releases = machine.path("releases");
    let (id, names) = published(&releases);
    let output = machine.run(&["release", "add", "releases"]);
    assert!(output.status.success() && text(&output.stderr).contains("fruitctl fleet accept pistack"), "{output:?}");
    machine.ok(&["fleet", "accept", "pistack", "releases"]);
    let listed = machine.json(&["release", "list"]);
    assert_eq!((&listed[0]["id"], &listed[0]["products"][0]["accepted"]), (&id.to_string().into(), &true.into()));
    until("the node knows the charter", || (node.status().charter == 2).then_some(()));
    let shown = machine.json(&["release", "show"]);
    assert_eq!((&shown[0]["pieces"], &shown[0]["nodes"][0][1]), (&4.into(), &0.into()), "{shown}");
    for name in &names {
        until("the piece has come", || matches!(node.piece(&id, name), Answer::Here(_)).then_some(()));
    }
    let shown = machine.json(&["release", "show"]);
    assert_eq!(shown[0]["nodes"][0][1], 4, "{shown}");
    assert!(machine.ok(&["release", "show"]).contains("1 of 1 nodes that are connected have all of it"));
    machine.ok(&["release", "add", "releases", "--until", "1"]);

    // One at a time speaks for this machine; the others ask it.
    machine.fail(&with(&["serve"]), 1, &["runs already"]);
    let peers = machine.json(&["net", "peers"]);
    assert_eq!((&peers[0]["name"], &peers[0]["path"]), (&"pi-1".into(), &"direct".into()), "{peers}");
    let output = machine.run(&["sync"]);
    assert!(output.status.success() && text(&output.stderr).contains("`fruitctl serve` runs"), "{output:?}");
    // What is signed beside it goes out by itself.
    machine.ok(&["node", "remove", "pi-1", "--yes"]);
    node.is("revoked");
    machine.ok(&["release", "drop", "releases"]);
    assert_eq!(machine.json(&["release", "list"]).as_array().unwrap().len(), 0);
    assert_eq!(serve.end(), Some(0), "{}", std::fs::read_to_string(&log).unwrap());
    assert!(!machine.fleet("orchard").join("serve.sock").exists());
    // Who was revoked is not called any more.
    machine.fail(&with(&["sync", "--wait", "2s"]), 4, &["no node of the fleet was reached in 2s"]);
}

fn walk(folder: &Path) -> Vec<PathBuf> {
    let entries = std::fs::read_dir(folder).unwrap().map(|entry| entry.unwrap().path());
    entries.flat_map(|path| if path.is_dir() { walk(&path) } else { vec![path] }).collect()
}

#[test]
fn invites_that_need_no_approval_take_in_as_many_as_they_say() {
    let machine = Machine::with_fleet("orchard", &ONE_ROOT);
    let invite = machine.ok(&["node", "invite", "--auto", "--uses", "1", "--labels", "site=bonn"]);
    let nodes = [Node::start("node", &invite), Node::start("node", &invite)];
    let contacts: Vec<String> = nodes.iter().map(Node::contact).collect();
    let synced = machine.json(&with(&["sync", "--peer", &contacts[0]]));
    assert_eq!((&synced["admitted"], member_state(&machine, 0)), (&1.into(), "member".into()));
    let synced = machine.json(&with(&["sync", "--peer", &contacts[1]]));
    assert_eq!(synced["admitted"], 0, "the invite is used up: {synced}");
    nodes[0].is("member");
    let states: Vec<String> = nodes.iter().map(|node| node.status().state).collect();
    assert_eq!(states, ["member", "pending"]);
}

#[test]
fn commands_at_once_and_commands_that_are_killed_lose_nothing() {
    let machine = Machine::with_fleet("orchard", &ONE_ROOT);
    let invite = machine.ok(&["node", "invite", "--auto", "--uses", "0"]);
    let node = Node::start("node", &invite);
    let contact = node.contact();
    machine.ok(&with(&["sync", "--peer", &contact]));
    // Two that are connected take turns, and both go on while others sign.
    let logs = ["one.log", "two.log"].map(|name| machine.path(name));
    let mut both = logs.each_ref().map(|log| Background::start(machine.command(&with(&["sync"])), log));
    for _ in 0..3 {
        machine.ok(&["node", "invite"]);
    }
    // One is killed in the middle.
    both[0].kill();
    let waited = both[1].wait();
    assert_eq!(waited, Some(0), "{}", std::fs::read_to_string(&logs[1]).unwrap());
    machine.ok(&with(&["sync"]));
    let list = machine.json(&["node", "list", "--invites"]);
    assert_eq!((list["invites"].as_array().unwrap().len(), &list["nodes"][0]["state"]), (4, &"member".into()));
    until("the node has them all", || (node.status().records >= 5).then_some(()));
    // A machine with the fleet's folder of another one has a key of its own: see `machines/`.
    assert_eq!(std::fs::read_dir(machine.fleet("orchard").join("machines")).unwrap().count(), 1);
}

#[test]
fn what_is_in_the_way_is_said() {
    let machine = Machine::with_fleet("orchard", &ONE_ROOT);
    machine.fail(&["sync", "--fleet", "pear"], 2, &["there is no fleet in this folder"]);
    machine.fail(&["sync", "--peer", "somewhere:4433"], 2, &["expected ID@HOST:PORT"]);
    machine.fail(&with(&["sync", "--wait", "1s"]), 4, &["no node of the fleet was reached in 1s", "net doctor"]);
    let output = machine.run(&with(&["net", "doctor", "--wait", "1s"]));
    assert_eq!(output.status.code(), Some(4), "{output:?}");
    assert!(text(&output.stdout).contains("none was reached; last contact: never"), "{output:?}");
    machine.fail(&["sync", "--listen", "192.0.2.77", "--no-mdns"], 3, &["cannot be opened for other nodes"]);
    // Releases.
    machine.fail(&["release", "add", "nowhere"], 1, &["nowhere: No such file"]);
    machine.fail(&["release", "add", "."], 2, &["no repository of releases", "fruitbuild publish"]);
    machine.fail(&["release", "drop", "nowhere"], 2, &["not handed on"]);
    published(&machine.path("releases"));
    std::fs::write(machine.path("releases/metadata/timestamp.json"), "{}").unwrap();
    machine.fail(&["release", "add", "releases"], 7, &["releases"]);
    machine.fail(&["fleet", "accept", "pistack"], 2, &["REPOSITORY"]);
    machine.fail(&["fleet", "accept", "pistack", "--remove"], 2, &["accepts no such releases"]);
    machine.fail(&["fleet", "seed", "pi-9@192.0.2.1:4433"], 2, &["no member of this fleet"]);
    // Nobody vouches for a machine without an operator's key, as soon as its pass has ended.
    std::fs::remove_dir_all(machine.fleet("orchard").join("machines")).unwrap();
    std::fs::rename(machine.fleet("orchard").join("keys/anna.key"), machine.path("anna.key")).unwrap();
    machine.fail(&with(&["sync", "--wait", "1s"]), 2, &["the key of no operator of this fleet is here"]);
}

#[test]
fn a_unit_runs_the_same_for_a_person_and_systemd_takes_it() {
    let machine = Machine::with_fleet("orchard", &ONE_ROOT);
    let printed = machine.ok(&["serve", "--print-unit", "--as", "anna"]);
    let written = machine.ok(&["serve", "--install-unit", "--as", "anna"]);
    let path = machine.path(".config/systemd/user/fruitctl-orchard.service");
    assert_eq!(written.trim(), path.to_str().unwrap());
    assert_eq!(std::fs::read_to_string(&path).unwrap(), printed);
    let command = printed.lines().find(|line| line.starts_with("ExecStart=")).unwrap();
    assert!(command.contains(" serve --fleet ") && command.contains("--as \"anna\""), "{command}");
    let arguments = ["verify", "--user", "--man=no", "--recursive-errors=no"];
    let checked = std::process::Command::new("systemd-analyze").args(arguments).arg(&path).output();
    let checked = checked.unwrap_or_else(|_| panic!("systemd-analyze is missing: apt install systemd"));
    let said = text(&checked.stderr);
    assert!(!said.contains("fruitctl-orchard") && !said.contains("Unknown"), "{said}");
}

/// The node `pi-1` at `site=berlin` with an ssh server, of which the laptop has a report.
fn with_shell(machine: &Machine, sshd: &Sshd, more: &str) -> Node {
    let invite = machine.ok(&["node", "invite", "--labels", "site=berlin"]);
    let (port, key) = (sshd.port, sshd.path("host.pub"));
    let config = format!("report: 1s\nssh: 127.0.0.1:{port}\nhost_key: {}\n{more}", key.display());
    let node = Node::start_with("node", &invite, &config);
    machine.ok(&with(&["sync", "--peer", &node.contact()]));
    let words = node.status().words;
    machine.ok(&with(&["node", "approve", &words, "--name", "pi-1", "--sync"]));
    until("the node's report has come", || {
        machine.ok(&with(&["sync"]));
        machine.json(&["node", "list"])[0]["facts"]["ssh-ed25519"].as_str().map(drop)
    });
    node
}

fn words(owned: &[String]) -> Vec<&str> {
    owned.iter().map(String::as_str).collect()
}

/// An agent that says this.
fn agent(path: &Path, status: serde_json::Value) {
    let listener = std::os::unix::net::UnixListener::bind(path).unwrap();
    std::thread::spawn(move || {
        for mut stream in listener.incoming().flatten() {
            let _ = stream.read(&mut [0; 512]);
            let _ = stream.write_all(format!("HTTP/1.1 200 OK\r\n\r\n{status}").as_bytes());
        }
    });
}

#[test]
fn shells_commands_files_and_ports_of_nodes_are_reached_through_the_network() {
    let machine = Machine::with_fleet("orchard", &ONE_ROOT);
    let sshd = Sshd::start();
    let echo = TcpListener::bind("127.0.0.1:0").unwrap();
    let open = echo.local_addr().unwrap();
    std::thread::spawn(move || {
        for stream in echo.incoming().flatten() {
            let _ = std::io::copy(&mut &stream, &mut &stream);
        }
    });
    let socket = machine.path("agent.sock");
    agent(&socket, serde_json::json!({"vitals": {"temperatures": [{"celsius": 61.5}]}, "conditions": []}));
    let node = with_shell(&machine, &sshd, &format!("forward: ['{open}']\nagent: {}\n", socket.display()));

    // What the node said of itself, offline.
    let shown = machine.ok(&["node", "show", "pi-1"]);
    assert!(shown.contains("\ntemperature: 61.5\n") && shown.contains("\nhealth: good\n"), "{shown}");
    let hot = ["node", "list", "pi-*", "-l", "site=berlin", "--filter", "/facts/temperature", ">", "60", "-o", "name"];
    assert_eq!(machine.ok(&hot), "pi-1\n");
    let csv = machine.ok(&["node", "list", "-o", "csv"]);
    assert!(csv.starts_with("name,id,state,labels,") && csv.contains("\npi-1,"), "{csv}");

    // A command, its input and its exit code.
    let (id, account) = (sshd.identity(), format!("{}@pi-1", user()));
    let as_me = [account.as_str(), "-i", &id];
    let ssh = |command| [&["ssh"][..], &with(&[]), &as_me, &[command]].concat();
    assert_eq!(machine.ok(&ssh("echo hello")), "hello\n");
    assert_eq!(machine.run(&ssh("exit 7")).status.code(), Some(7));
    // A file, both ways.
    std::fs::write(machine.path("there"), "pears").unwrap();
    let at = format!("{account}:{}", machine.path("copied").display());
    machine.ok(&with(&["cp", "-i", &id, "there", &at]));
    machine.ok(&with(&["cp", "-i", &id, &at, "back"]));
    assert_eq!(std::fs::read(machine.path("back")).unwrap(), b"pears");

    // Other commands use the contact of the one that has it: here `serve`.
    let log = machine.path("serve.log");
    let mut serve = Background::start(machine.command(&with(&["serve"])), &log);
    until("it serves", || std::fs::read_to_string(&log).unwrap().contains("are connected").then_some(()));
    let login = user();
    let exec = |option, command| {
        ["exec", "site=berlin", "-i", &id, "--login", &login, option, "--", command].map(str::to_owned)
    };
    let done: serde_json::Value =
        serde_json::from_str(&machine.ok(&words(&exec("--json", "echo out; echo err >&2")))).unwrap();
    assert_eq!(
        (&done[0]["exit"], &done[0]["stdout"], &done[0]["stderr"]),
        (&0.into(), &"out\n".into(), &"err\n".into())
    );
    machine.fail(&words(&exec("--ordered", "exit 3")), 1, &["0 of 1 nodes: done; failed: pi-1 (3)"]);
    machine.fail(&words(&exec("--timeout=1s", "sleep 20")), 4, &["did not answer: pi-1", "not done in time"]);
    machine.fail(&["exec", "pi-9", "--", "true"], 2, &["\"pi-9\" is no node of this fleet"]);

    // ssh itself, by its configuration.
    let config = machine.path("ssh_config");
    std::fs::write(&config, machine.ok(&["ssh-config", "--login", &login])).unwrap();
    let mut plain = std::process::Command::new("ssh");
    plain.arg("-F").arg(&config).args(["-i", &id, "pi-1", "echo", "plain"]);
    let output = plain.env("FRUITCTL_PASSPHRASE_FILE", machine.path("passphrase")).output().unwrap();
    assert_eq!(text(&output.stdout), "plain\n", "{}", text(&output.stderr));

    // A port that the node's configuration names, and one that it does not.
    let log = machine.path("forward.log");
    let port = format!("0:{}", open.port());
    let mut forward = Background::start(machine.command(&["forward", "pi-1", &port]), &log);
    let local = until("the port is open", || {
        let said = std::fs::read_to_string(&log).unwrap();
        said.split_once(" leads to").map(|(address, _)| address.to_owned())
    });
    let mut stream = TcpStream::connect(local).unwrap();
    stream.write_all(b"apples").unwrap();
    let mut back = [0; 6];
    stream.read_exact(&mut back).unwrap();
    assert_eq!(&back, b"apples");
    drop(stream);
    assert_eq!(forward.end(), Some(0));
    machine.fail(&["forward", "pi-1", "0:9"], 7, &["127.0.0.1:9 is not among `forward:`"]);

    // Who is revoked is cut off in the middle of it.
    let log = machine.path("sleep.log");
    let mut sleeping = Background::start(machine.command(&ssh("echo here; sleep 300")), &log);
    until("it sleeps", || std::fs::read_to_string(&log).unwrap().contains("here").then_some(()));
    machine.ok(&["node", "remove", "pi-1", "--yes"]);
    node.is("revoked");
    assert_eq!(sleeping.wait(), Some(255));
    assert_eq!(serve.end(), Some(0));
}

#[test]
fn a_node_refuses_operators_without_the_role_or_outside_their_scope() {
    let machine = Machine::with_fleet("orchard", &ONE_ROOT);
    let sshd = Sshd::start();
    let node = with_shell(&machine, &sshd, "");
    for (operator, roles, scope) in [("berta", "view,deploy", "all"), ("carla", "run", "site=bonn")] {
        let key = machine.ok(&["operator", "key", operator]);
        machine.ok(&[
            "operator",
            "add",
            operator,
            "--key",
            key.trim(),
            "--roles",
            roles,
            "--scope",
            scope,
            "--as",
            "anna",
        ]);
    }
    machine.ok(&with(&["sync", "--as", "anna"]));
    until("the node knows the charter", || (node.status().charter == 3).then_some(()));
    for (operator, why) in [
        ("berta", "the node refuses: berta does not have the role `run`"),
        ("carla", "the node refuses: the node is outside the scope of carla"),
    ] {
        machine.fail(&[&["ssh", "--as", operator], &with(&[])[..], &["pi-1", "true"]].concat(), 255, &[why]);
    }
}
