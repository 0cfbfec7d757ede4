//! `fruitctl fleet`, `operator` and `node` as an operator types them: in a home of their own, with real key files.

mod machine;

use fruit_record::{Invite, Replica};
use machine::{Machine, id, mode, text};
use std::fs;
use std::process::{Child, Command, Output, Stdio};

#[test]
fn a_fleet_is_made_and_shown() {
    let machine = Machine::new();
    let output = machine.run(&["fleet", "init", "orchard", "--operator", "anna"]);
    assert!(output.status.success(), "{}", text(&output.stderr));
    assert!(text(&output.stderr).contains("3 of the root keys are in"), "{}", text(&output.stderr));
    let show = machine.json(&["fleet", "show"]);
    assert_eq!(
        (&show["name"], &show["charter"]["version"], &show["charter"]["threshold"]),
        (&"orchard".into(), &1.into(), &2.into())
    );
    assert_eq!(show["charter"]["root_keys_together"], true);
    assert_eq!(show["charter"]["operators"][0]["name"], "anna");
    let id = show["id"].as_str().unwrap();
    assert!(text(&output.stdout).contains(id) && machine.ok(&["fleet", "show"]).contains(id));
    assert_eq!(machine.json(&["fleet", "list"])[0]["id"], id);

    // Keys are for nobody else's eyes, and have a passphrase.
    let keys = machine.fleet("orchard").join("keys");
    assert_eq!((mode(&machine.fleet("orchard")), mode(&keys)), (0o700, 0o700));
    for name in ["root-1", "root-2", "root-3", "anna"] {
        let file = keys.join(format!("{name}.key"));
        assert_eq!(mode(&file), 0o600);
        let bytes = fs::read(&file).unwrap();
        assert!(fruit_release::keys::SecretKey::is_encrypted(&bytes).unwrap());
    }
    // Two root keys moved away: nobody who takes the folder has the fleet any more.
    for name in ["root-2", "root-3"] {
        fs::rename(keys.join(format!("{name}.key")), machine.path(&format!("{name}.key"))).unwrap();
    }
    let output = machine.run(&["fleet", "show"]);
    assert!(text(&output.stdout).contains("moved away") && text(&output.stderr).is_empty(), "{output:?}");
}

#[test]
fn what_is_wrong_about_a_new_fleet_is_said_and_leaves_nothing() {
    let machine = Machine::new();
    for (args, code, says) in [
        (&["fleet", "init", "a/b", "--operator", "anna"][..], 2, "the fleet's name"),
        (&["fleet", "init", "orchard"], 2, "name one with --operator"),
        (&["fleet", "init", "orchard", "--operator", "root-1"], 2, "the name of a root key"),
        (&["fleet", "init", "orchard", "--operator", "anna", "--root", "3/2"], 2, "--root 3/2"),
        (&["fleet", "init", "orchard", "--operator", "anna", "--agent", "x=y"], 2, "root-1, root-2, root-3 and anna"),
        (&["fleet", "init", "orchard", "--operator", "anna", "--agent", "root-1=none.pub"], 1, "none.pub"),
        (&["fleet", "init", "orchard", "--operator", "anna", "--relay", "host=00"], 2, "no SHA-256"),
        (&["fleet", "init", "orchard", "--operator", "anna", "--release", "p=none.json"], 2, "none.json"),
        (&["fleet", "init", "orchard", "--operator", "anna", "--passphrase-file", "none"], 1, "none: No such file"),
    ] {
        machine.fail(args, code, &[says]);
    }
    let mut command = machine.command(&["fleet", "init", "orchard", "--operator", "anna"]);
    let output = command.env_remove("FRUITCTL_PASSPHRASE_FILE").output().unwrap();
    assert_eq!(output.status.code(), Some(1));
    assert!(text(&output.stderr).contains("there is no terminal; name a file with --passphrase-file"));
    // Root keys that are elsewhere cannot sign the first charter.
    let other = Machine::with_fleet("other", &["--root", "1/1"]);
    let far = format!("root-1={}", other.fleet("other").join("keys/anna.pub").display());
    let elsewhere = ["fleet", "init", "orchard", "--operator", "anna", "--root", "1/1", "--elsewhere", &far];
    machine.fail(&elsewhere, 1, &["signed by 0", "Make the fleet where 1 of its root keys can sign"]);
    assert!(!machine.fleet("orchard").exists());
    let fleets = machine.path(".config/fruit/fleets");
    let left: Vec<_> =
        fs::read_dir(&fleets).map(|all| all.map(|e| e.unwrap().file_name()).collect()).unwrap_or_default();
    assert!(left.iter().all(|name| name == ".lock"), "{left:?}");
}

#[test]
fn the_fleet_that_is_meant_is_found_or_asked_for() {
    let machine = Machine::new();
    machine.fail(&["fleet", "show"], 2, &["fruitctl fleet init NAME", "fruitctl fleet join FILE"]);
    machine.ok(&["fleet", "init", "one", "--operator", "anna", "--root", "1/1"]);
    assert_eq!(machine.json(&["fleet", "show"])["name"], "one");
    machine.ok(&["fleet", "init", "two", "--operator", "anna", "--root", "1/1", "--fleet", "./elsewhere/two"]);
    assert_eq!(machine.json(&["fleet", "show"])["name"], "one", "a folder elsewhere is meant by its path only");
    assert_eq!(machine.json(&["fleet", "show", "--fleet", "./elsewhere/two"])["name"], "two");
    machine.ok(&["fleet", "init", "three", "--operator", "anna", "--root", "1/1"]);
    machine.fail(&["fleet", "show"], 2, &["--fleet", "one, three"]);
    machine.fail(&["fleet", "show", "--fleet", "four"], 2, &["no fleet in this folder", "one, three"]);
    machine.fail(&["fleet", "show", "--fleet", "."], 2, &["no fleet in this folder"]);
    machine.fail(&["fleet", "init", "one", "--operator", "anna"], 1, &["something already"]);
    let mut command = machine.command(&["fleet", "show", "--json"]);
    let output = command.env("FRUITCTL_FLEET", "three").output().unwrap();
    assert!(text(&output.stdout).contains("\"three\""));
    let output = machine.command(&["fleet", "show"]).env_remove("HOME").output().unwrap();
    assert!(text(&output.stderr).contains("HOME is not set"), "{output:?}");
}

#[test]
fn what_is_damaged_or_half_there_is_told() {
    let machine = Machine::with_fleet("orchard", &["--root", "1/1"]);
    let folder = machine.fleet("orchard");
    let records = folder.join("fleet.records");
    let good = fs::read(&records).unwrap();
    for (bytes, code, says) in [
        (&good[..good.len() - 1], 1, "cut off"),
        (&b"something else"[..], 1, "does not begin as one"),
        (&b""[..], 1, "does not begin as one"),
        (&b"fruit records 1\n"[..], 1, "the fleet's first charter is missing"),
    ] {
        fs::write(&records, bytes).unwrap();
        machine.fail(&["fleet", "show"], code, &["fleet.records", says]);
    }
    // A bit of the charter: it is another fleet, which nobody has signed.
    let mut other = good.clone();
    other[40] ^= 1;
    fs::write(&records, other).unwrap();
    let output = machine.run(&["fleet", "show"]);
    assert!(!output.status.success());
    fs::write(&records, &good).unwrap();
    machine.ok(&["fleet", "show"]);
    fs::write(folder.join("keys/keys.json"), "{").unwrap();
    machine.fail(&["fleet", "show"], 1, &["keys.json"]);
    fs::remove_dir_all(folder.join("keys")).unwrap();
    machine.ok(&["fleet", "show"]);
    machine.fail(&["node", "invite"], 2, &["the key of no operator of this fleet is here", "operator key"]);
    // What a killed `init` left does not stand in the way.
    let left = machine.path(".config/fruit/fleets/.pear.new");
    fs::create_dir_all(left.join("keys")).unwrap();
    fs::write(left.join("keys/root-1.key"), "half").unwrap();
    machine.ok(&["fleet", "init", "pear", "--operator", "anna", "--root", "1/1"]);
    assert!(!left.exists());
}

#[test]
fn commands_at_once_take_turns() {
    let machine = Machine::new();
    let start = |args: &[&str]| -> Child {
        machine.command(args).stdout(Stdio::piped()).stderr(Stdio::piped()).spawn().unwrap()
    };
    let init = ["fleet", "init", "orchard", "--operator", "anna", "--root", "1/1"];
    let children: Vec<Child> = (0..3).map(|_| start(&init)).collect();
    let outputs: Vec<Output> = children.into_iter().map(|child| child.wait_with_output().unwrap()).collect();
    assert_eq!(outputs.iter().filter(|output| output.status.success()).count(), 1, "{outputs:?}");
    let invite = ["node", "invite", "--count", "2", "--labels", "site=berlin"];
    let children: Vec<Child> = (0..4).map(|_| start(&invite)).collect();
    for child in children {
        assert!(child.wait_with_output().unwrap().status.success());
    }
    assert_eq!(machine.json(&["fleet", "show"])["records"]["invite"], 8, "none was lost");
}

#[test]
fn nodes_come_by_invites_and_go_by_revocation() {
    let machine = Machine::with_fleet("orchard", &["--root", "1/1"]);
    let invites = machine.ok(&["node", "invite", "--count", "2", "--labels", "site=berlin,rack=1"]);
    let invites: Vec<&str> = invites.lines().collect();
    let request = machine.request(invites[0], 30, "pi-1");
    assert_eq!(
        machine.ok(&["node", "approve", &request]),
        format!("pi-1 ({}): a member; rack=1,site=berlin\n", id(30).short())
    );
    // The invite was for one node.
    let late = machine.request(invites[0], 31, "pi-2");
    machine.fail(&["node", "approve", &late], 1, &["pi-2.request", "good for 1 nodes"]);
    let twin = machine.request(invites[1], 32, "pi-1");
    machine.fail(&["node", "approve", &twin], 1, &["is called \"pi-1\" already", "--name"]);
    machine.ok(&["node", "approve", &twin, "--name", "pi-3"]);

    let list = machine.json(&["node", "list"]);
    let names: Vec<&str> = list.as_array().unwrap().iter().map(|node| node["name"].as_str().unwrap()).collect();
    assert_eq!(names, ["pi-1", "pi-3"]);
    assert_eq!((&list[0]["labels"]["site"], &list[0]["serial"]), (&"berlin".into(), &"serial30".into()));
    assert!(machine.ok(&["node", "list"]).contains("never"), "no node has said anything yet");
    assert_eq!(machine.json(&["node", "list", "site=bonn"]).as_array().unwrap().len(), 0);
    assert_eq!(machine.json(&["node", "list", &format!("node={}", id(30))]).as_array().unwrap().len(), 1);

    machine.fail(&["node", "remove", "pi-1"], 6, &["confirm with --yes"]);
    machine.fail(&["node", "remove", "pi-9", "--yes"], 2, &["pi-9"]);
    machine.ok(&["node", "remove", "pi-1", "--yes", "--reason", "stolen"]);
    assert_eq!(machine.json(&["node", "list"])[0]["state"], "revoked");
    let again = machine.run(&["node", "remove", &id(30).short(), "--yes"]);
    assert!(again.status.success() && text(&again.stderr).contains("revoked already"));
    // An invite goes the same way.
    let open = machine.ok(&["node", "invite"]);
    let invite = Invite::from_text(&open).unwrap();
    machine.ok(&["node", "remove", &invite.id().to_string(), "--yes"]);
    let late = machine.request(&open, 33, "pi-4");
    machine.fail(&["node", "approve", &late], 7, &["was revoked"]);
    let states = machine.json(&["node", "list", "--invites"]);
    let states: Vec<&str> =
        states["invites"].as_array().unwrap().iter().map(|i| i["state"].as_str().unwrap()).collect();
    assert_eq!(
        (states.iter().filter(|s| **s == "used up").count(), states.iter().filter(|s| **s == "revoked").count()),
        (2, 1)
    );
}

#[test]
fn invites_for_a_batch_are_a_file_for_one_pair_of_eyes() {
    let machine =
        Machine::with_fleet("orchard", &["--root", "1/1", "--relay", &format!("192.0.2.1:443={}", "ab".repeat(32))]);
    let made = machine.json(&[
        "node",
        "invite",
        "--count",
        "40",
        "--csv",
        "invites.csv",
        "--serial",
        "b",
        "--serial",
        "a",
        "--auto",
    ]);
    assert_eq!((made.as_array().unwrap().len(), &made[0]["invite"]), (40, &serde_json::Value::Null));
    assert_eq!(mode(&machine.path("invites.csv")), 0o600);
    let text = fs::read_to_string(machine.path("invites.csv")).unwrap();
    let lines: Vec<&str> = text.lines().collect();
    assert_eq!((lines.len(), lines[0]), (41, "number,id,invite"));
    for line in &lines[1..] {
        let invite = Invite::from_text(line.rsplit(',').next().unwrap()).unwrap();
        assert_eq!(invite.relays[0].address, "192.0.2.1:443");
    }
    // Another board than the ones that were named.
    let request = machine.request(lines[1].rsplit(',').next().unwrap(), 30, "pi-1");
    machine.fail(&["node", "approve", &request], 7, &["other serial numbers", "serial30"]);
    for (args, says) in [
        (&["--count", "0"][..], "0 is not in 1..=1000"),
        (&["--labels", "site"], "KEY=VALUE"),
        (&["--labels", "node=x"], "a node has the label `node` by itself"),
        (&["--expires", "soon"], "expected a time from now on"),
    ] {
        machine.fail(&[&["node", "invite"], args].concat(), 2, &[says]);
    }
    machine.fail(&["node", "invite", "--csv", "no/such/folder.csv"], 1, &["no/such/folder.csv"]);
    machine.fail(&["node", "invite", "--csv", "invites.csv"], 2, &["invites.csv: it is there already"]);
    assert_eq!(fs::read_to_string(machine.path("invites.csv")).unwrap(), text);
}

#[test]
fn an_export_overwrites_nothing_but_an_export() {
    let machine = Machine::with_fleet("orchard", &["--root", "1/1"]);
    let precious = machine.path("precious.key");
    fs::write(&precious, "a key").unwrap();
    machine.fail(&["fleet", "export", "precious.key"], 2, &["precious.key: it is there already"]);
    assert_eq!(fs::read_to_string(&precious).unwrap(), "a key");
    machine.fail(&["fleet", "export", "fleet.records"], 2, &["fleet.records", "under this name"]);
    machine.ok(&["fleet", "export", "all.records"]);
    machine.ok(&["fleet", "export", "all.records"]);
}

#[test]
fn passphrases_and_key_files_are_checked() {
    let machine = Machine::with_fleet("orchard", &["--root", "1/1"]);
    fs::write(machine.path("wrong"), "battery staple\n").unwrap();
    machine.fail(&["node", "invite", "--passphrase-file", "wrong"], 1, &["anna.key: the passphrase is wrong"]);
    machine.fail(&["node", "invite", "--passphrase-file", "none"], 1, &["none"]);
    machine.fail(&["node", "invite", "--as", "berta"], 2, &["\"berta\" is no operator", "anna"]);
    let keys = machine.fleet("orchard").join("keys");
    // The key on a stick.
    fs::rename(keys.join("anna.key"), machine.path("stick.key")).unwrap();
    machine.fail(&["node", "invite"], 2, &["--key-file"]);
    machine.ok(&["node", "invite", "--key-file", "stick.key"]);
    machine.fail(&["node", "invite", "--key-file", "passphrase"], 1, &["passphrase: it is no private key"]);
    // The key of somebody else in its place.
    fs::copy(keys.join("root-1.key"), keys.join("anna.key")).unwrap();
    machine.fail(&["node", "invite"], 1, &["another key than keys.json says"]);
}

#[test]
fn operators_work_within_their_scope_on_machines_of_their_own() {
    let anna = Machine::with_fleet("orchard", &[]);
    let hash = anna.json(&["fleet", "show"])["charter"]["hash"].as_str().unwrap().to_owned();
    anna.ok(&["fleet", "export", "to-berta.records"]);
    let berta = Machine::new();
    let export = anna.path("to-berta.records");
    let export = export.to_str().unwrap();
    berta.fail(&["fleet", "join", export, "--charter", &"0".repeat(64)], 7, &["no charter in it has the hash 0000"]);
    berta.fail(&["fleet", "join", export, "--charter", "abc"], 2, &["no hash of a charter"]);
    berta.ok(&["fleet", "join", export, "--charter", &hash]);
    berta.fail(&["node", "invite"], 2, &["the key of no operator of this fleet is here"]);
    let key = berta.ok(&["operator", "key", "berta"]);
    assert!(key.starts_with("ssh-ed25519 AAAA") && berta.ok(&["operator", "key", "berta"]) == key);

    anna.fail(&["operator", "add", "berta", "--key", key.trim()], 2, &["--roles"]);
    anna.fail(
        &["operator", "add", "berta", "--key", key.trim(), "--roles", "boss"],
        2,
        &["\"boss\" is no role", "enrol"],
    );
    anna.fail(&["operator", "add", "berta", "--key", "ssh-rsa AAAA", "--roles", "all"], 2, &["ssh-ed25519"]);
    // One root key is here, one on a stick.
    let keys = anna.fleet("orchard").join("keys");
    for name in ["root-1", "root-2"] {
        fs::rename(keys.join(format!("{name}.key")), anna.path(&format!("{name}.key"))).unwrap();
    }
    let add = ["operator", "add", "berta", "--key", key.trim(), "--roles", "enrol,view", "--scope", "site=berlin"];
    anna.fail(&add, 1, &["needs 2 root keys, and 1 are here", "--key-file", "root-1, root-2"]);
    anna.ok(&[&add[..], &["--key-file", "root-2.key"]].concat());
    assert_eq!(anna.json(&["operator", "list"])[1]["scope"], "site=berlin");
    anna.ok(&["fleet", "export", "to-berta.records"]);
    let taken = berta.json(&["fleet", "import", export]);
    assert_eq!((&taken["new"], &taken["refused"]), (&1.into(), &0.into()));

    berta.fail(&["node", "invite"], 7, &["outside the scope", "berta: site=berlin"]);
    berta.fail(&["node", "invite", "--labels", "site=bonn"], 7, &["site=bonn", "outside the scope"]);
    let invite = berta.ok(&["node", "invite", "--labels", "site=berlin,rack=2"]);
    let request = berta.request(&invite, 40, "pi-40");
    berta.ok(&["node", "approve", &request]);
    berta.ok(&["fleet", "export", "to-anna.records"]);
    let back = berta.path("to-anna.records");
    anna.ok(&["fleet", "import", back.to_str().unwrap()]);
    assert_eq!(anna.json(&["node", "list"])[0]["name"], "pi-40");

    // When berta goes, what she has signed stays, signed by anna.
    let remove = ["operator", "remove", "berta", "--key-file", "root-2.key"];
    anna.fail(&remove, 1, &["1 of class member, 1 of class invite", "--keep", "--void", "nothing was changed"]);
    let removed = anna.json(&[&remove[..], &["--keep"]].concat());
    assert_eq!((&removed["signed_anew"], &removed["void"]), (&2.into(), &0.into()));
    assert_eq!(anna.json(&["node", "list"])[0]["state"], "member");
    anna.ok(&["fleet", "export", "to-berta.records"]);
    berta.ok(&["fleet", "import", export]);
    assert_eq!(berta.json(&["node", "list"])[0]["state"], "member");
    berta.fail(&["node", "invite", "--labels", "site=berlin"], 2, &["the key of no operator"]);
}

#[test]
fn records_of_another_fleet_are_refused() {
    let (ours, theirs) = (Machine::with_fleet("orchard", &["--root", "1/1"]), Machine::new());
    theirs.ok(&["fleet", "init", "orchard", "--operator", "anna", "--root", "1/1"]);
    theirs.ok(&["node", "invite"]);
    theirs.ok(&["fleet", "export", "all.records"]);
    let file = theirs.path("all.records");
    let before = fs::read(ours.fleet("orchard").join("fleet.records")).unwrap();
    ours.fail(&["fleet", "import", file.to_str().unwrap()], 7, &["all.records", "no charter of the fleet"]);
    ours.fail(&["fleet", "import", "passphrase"], 7, &["does not begin as one"]);
    ours.fail(&["fleet", "import", "none"], 2, &["none: there is no such file"]);
    // A record of theirs in a row of ours is left out, and said.
    let mut mixed = before.clone();
    let stranger = Replica::unpack(&fs::read(&file).unwrap()).unwrap()[1].to_vec();
    mixed.extend([stranger.len() as u8 & 0x7f | 0x80, (stranger.len() >> 7) as u8]);
    mixed.extend(stranger);
    fs::write(ours.path("mixed.records"), mixed).unwrap();
    ours.fail(&["fleet", "import", "mixed.records"], 7, &["a record is left out", "or it is of another fleet"]);
    assert_eq!(fs::read(ours.fleet("orchard").join("fleet.records")).unwrap(), before);
}

/// An operator's key in ssh-agent: nothing asks for its passphrase.
#[test]
fn keys_in_ssh_agent_sign() {
    let machine = Machine::new();
    let tool = |name: &str| {
        Command::new(name)
            .arg("-V")
            .output()
            .unwrap_or_else(|_| panic!("{name} is missing: apt install openssh-client"));
        name.to_owned()
    };
    let run = |command: &mut Command| {
        let output = command.output().unwrap();
        assert!(output.status.success(), "{output:?}");
    };
    let socket = machine.path("agent");
    let mut agent =
        Command::new(tool("ssh-agent")).arg("-D").arg("-a").arg(&socket).stdout(Stdio::null()).spawn().unwrap();
    for _ in 0..500 {
        if socket.exists() {
            break;
        }
        std::thread::sleep(std::time::Duration::from_millis(10));
    }
    let key = machine.path("id_ed25519");
    run(Command::new(tool("ssh-keygen")).args(["-q", "-t", "ed25519", "-N", "", "-f"]).arg(&key));
    run(Command::new("ssh-add").arg(&key).env("SSH_AUTH_SOCK", &socket));
    fs::remove_file(&key).unwrap();
    let with_agent = |args: &[&str]| machine.command(args).env("SSH_AUTH_SOCK", &socket).output().unwrap();
    let made = with_agent(&[
        "fleet",
        "init",
        "orchard",
        "--operator",
        "anna",
        "--root",
        "1/1",
        "--agent",
        "anna=id_ed25519.pub",
    ]);
    let invited = with_agent(&["node", "invite", "--passphrase-file", "none"]);
    agent.kill().unwrap();
    agent.wait().unwrap();
    assert!(made.status.success(), "{}", text(&made.stderr));
    assert!(invited.status.success(), "{}", text(&invited.stderr));
    Invite::from_text(&text(&invited.stdout)).unwrap();
    machine.fail(&["node", "invite"], 1, &["ssh-agent", "\"anna\""]);
}
