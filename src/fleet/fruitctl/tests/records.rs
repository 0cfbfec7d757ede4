//! What a review of the verbs about fleets found: mistakes, thefts and accidents, each as somebody would type it.

mod machine;

use fruit_record::body::Body;
use fruit_record::{Draft, Invite, Outcome, Record, Replica, words};
use machine::{Machine, id, mode, text};
use std::fs;
use std::os::unix::fs::PermissionsExt;

const ONE_ROOT: [&str; 2] = ["--root", "1/1"];

/// A fleet whose operators anna and berta have their keys on one machine.
fn with_berta(roles: &str, more: &[&str]) -> Machine {
    let machine = Machine::with_fleet("orchard", &ONE_ROOT);
    let key = machine.ok(&["operator", "key", "berta"]);
    machine.ok(&[&["operator", "add", "berta", "--key", key.trim(), "--roles", roles], more].concat());
    machine
}

fn open_invites(machine: &Machine) -> usize {
    let list = machine.json(&["node", "list", "--invites"]);
    list["invites"].as_array().unwrap().iter().filter(|invite| invite["state"] == "open").count()
}

#[test]
fn what_a_removed_operator_has_signed_is_void_or_signed_anew_as_is_said() {
    let machine = with_berta("enrol", &[]);
    let invite = machine.ok(&["node", "invite", "--as", "berta", "--uses", "0", "--expires", "never"]);
    let before = fs::read(machine.fleet("orchard").join("fleet.records")).unwrap();
    machine.fail(&["operator", "remove", "berta", "--as", "anna"], 1, &["1 of class invite", "--keep", "--void"]);
    assert_eq!(fs::read(machine.fleet("orchard").join("fleet.records")).unwrap(), before, "nothing was changed");
    // Kept: the text on cards that are out there admits as before.
    let removed = machine.json(&["operator", "remove", "berta", "--as", "anna", "--keep"]);
    assert_eq!((&removed["signed_anew"], &removed["void"]), (&1.into(), &0.into()));
    let request = machine.request(&invite, 30, "pi-1");
    machine.ok(&["node", "approve", &request]);
    // Stolen: void, with the root key alone, on a machine without any operator's key.
    let machine = with_berta("enrol", &[]);
    let invite = machine.ok(&["node", "invite", "--as", "berta", "--uses", "0"]);
    let away = machine.path("anna.key");
    fs::rename(machine.fleet("orchard").join("keys/anna.key"), &away).unwrap();
    fs::remove_file(machine.fleet("orchard").join("keys/berta.key")).unwrap();
    let removed = machine.json(&["operator", "remove", "berta", "--void"]);
    assert_eq!((&removed["signed_anew"], &removed["void"]), (&0.into(), &1.into()));
    let request = machine.request(&invite, 30, "pi-1");
    machine.fail(&["node", "approve", &request, "--key-file", "anna.key"], 7, &["signed by 0"]);
}

#[test]
fn narrowing_an_operator_destroys_nothing_in_passing() {
    let machine = Machine::with_fleet("orchard", &ONE_ROOT);
    machine.ok(&["node", "invite", "--count", "3"]);
    machine.fail(&["operator", "add", "anna", "--roles", "config", "-q"], 1, &["3 of class invite", "--void"]);
    // Nobody may sign them any more.
    machine.fail(&["operator", "add", "anna", "--roles", "config", "--keep"], 1, &["you may not sign them"]);
    assert_eq!(open_invites(&machine), 3);
    machine.fail(&["operator", "add", "anna", "--roles", "all"], 1, &["what the charter says already"]);
    machine.ok(&["operator", "add", "anna", "--roles", "config", "--void"]);
    assert_eq!(open_invites(&machine), 0);
}

#[test]
fn expired_operators_sign_nothing_and_are_told() {
    let machine = with_berta("enrol", &["--expires", "365d"]);
    machine.fail(
        &["operator", "add", "berta", "--expires", "2020-01-01"],
        2,
        &["2020-01-01 is over", "operator remove"],
    );
    let output = machine.run(&["operator", "add", "berta", "--expires", "90d"]);
    assert!(text(&output.stderr).contains("members too (0 so far)"), "{output:?}");
    let invite = machine.ok(&["node", "invite", "--as", "berta"]);
    let request = machine.request(&invite, 30, "pi-1");
    machine.ok(&["node", "approve", &request, "--as", "berta"]);
    let member = &machine.json(&["node", "list"])[0];
    assert!(member["state"] == "member" && member["expires"].is_string(), "{member}");
}

#[test]
fn a_root_key_that_fails_is_in_the_way_only_if_it_is_needed() {
    let machine = Machine::with_fleet("orchard", &[]);
    let keys = machine.fleet("orchard").join("keys");
    fs::write(keys.join("root-1.key"), "garbage\n").unwrap();
    let key = machine.ok(&["operator", "key", "berta"]);
    machine.ok(&["operator", "add", "berta", "--key", key.trim(), "--roles", "view"]);
    fs::write(keys.join("root-2.key"), "garbage\n").unwrap();
    machine.fail(&["operator", "add", "berta", "--roles", "run"], 1, &["root-", "no private key"]);
}

#[test]
fn nothing_is_overwritten_and_nothing_half_made_is_left() {
    let machine = Machine::with_fleet("orchard", &ONE_ROOT);
    machine.ok(&["node", "invite", "--count", "2", "--csv", "i.csv"]);
    let before = fs::read(machine.path("i.csv")).unwrap();
    machine.fail(&["node", "invite", "--csv", "i.csv"], 2, &["i.csv: it is there already"]);
    assert_eq!(fs::read(machine.path("i.csv")).unwrap(), before);
    // No invite is made that cannot be written down.
    machine.fail(&["node", "invite", "--count", "40", "--csv", "none/i.csv"], 1, &["none/i.csv"]);
    machine.fail(&["node", "invite", "--csv", "new.csv", "--as", "nobody"], 2, &["nobody"]);
    assert!(!machine.path("new.csv").exists());
    assert_eq!((open_invites(&machine), mode(&machine.path("i.csv"))), (2, 0o600));
    // Nor one that no node can read.
    let serials: Vec<String> = (0..60).map(|n| format!("{n:056}")).collect();
    let mut many = vec!["node", "invite", "--csv", "long.csv"];
    serials.iter().for_each(|serial| many.extend(["--serial", serial]));
    machine.fail(&many, 1, &["at most 4096 characters"]);
    assert!(open_invites(&machine) == 2 && !machine.path("long.csv").exists());
    // A key that the index does not know.
    let stray = machine.fleet("orchard").join("keys/carla.key");
    fs::write(&stray, "somebody's\n").unwrap();
    machine.fail(&["operator", "key", "carla"], 1, &["carla.key", "move it away"]);
    assert_eq!(fs::read_to_string(&stray).unwrap(), "somebody's\n");
    // A key that others can read signs, and it is said.
    let keys = machine.fleet("orchard").join("keys");
    fs::set_permissions(keys.join("anna.key"), fs::Permissions::from_mode(0o644)).unwrap();
    let output = machine.run(&["node", "invite"]);
    assert!(output.status.success() && text(&output.stderr).contains("others can read this key (mode 644)"));
}

#[test]
fn folders_are_taken_for_what_they_are() {
    let machine = Machine::with_fleet("orchard", &ONE_ROOT);
    // Somebody's folder with the name of one that a killed command leaves.
    fs::create_dir_all(machine.path(".x.new/precious")).unwrap();
    let init = ["fleet", "init", "x", "--operator", "a", "--root", "1/1", "--fleet", "./x"];
    machine.fail(&init, 1, &["precious", "move it away"]);
    assert!(machine.path(".x.new/precious").exists() && !machine.path("x").exists());
    // The variable names fleets that are there, not the folder of a new one.
    let mut command = machine.command(&["fleet", "init", "pear", "--operator", "a", "--root", "1/1"]);
    assert!(command.env("FRUITCTL_FLEET", "orchard").status().unwrap().success());
    assert!(machine.fleet("pear").join("fleet.records").is_file());
    // Records of another fleet in the folder.
    let (ours, theirs) = (machine.fleet("orchard").join("fleet.records"), machine.fleet("pear").join("fleet.records"));
    let good = fs::read(&ours).unwrap();
    fs::copy(&theirs, &ours).unwrap();
    machine.fail(&["fleet", "show", "--fleet", "orchard"], 7, &["fleet.records", "no charter of the fleet"]);
    // One that is broken hides no other.
    let output = machine.run(&["fleet", "list"]);
    assert_eq!(output.status.code(), Some(7));
    assert!(text(&output.stdout).contains("pear") && text(&output.stderr).contains("no charter of the fleet"));
    fs::write(&ours, &good).unwrap();
    // A link, into a folder that is synchronised, stays one.
    let real = machine.path("synced.records");
    fs::rename(&ours, &real).unwrap();
    std::os::unix::fs::symlink(&real, &ours).unwrap();
    machine.ok(&["node", "invite", "--fleet", "orchard"]);
    assert!(ours.symlink_metadata().unwrap().is_symlink() && fs::read(&real).unwrap().len() > good.len());
    fs::remove_file(machine.fleet("orchard").join("fleet.id")).unwrap();
    machine.fail(&["fleet", "show", "--fleet", "orchard"], 1, &["fleet.id: it is missing"]);
}

/// Appends a record to a file of records.
fn append(file: &std::path::Path, record: &[u8]) {
    let mut bytes = fruit_record::wire::Writer(fs::read(file).unwrap());
    bytes.bytes(record);
    fs::write(file, bytes.0).unwrap();
}

#[test]
fn records_of_a_newer_program_are_not_lost() {
    let machine = Machine::with_fleet("orchard", &ONE_ROOT);
    let records = machine.fleet("orchard").join("fleet.records");
    append(&records, &[1, 200, 0, 1, 2, 3]);
    let before = fs::read(&records).unwrap();
    machine.ok(&["fleet", "show"]);
    for verb in [&["node", "invite"][..], &["fleet", "export", "x.records"]] {
        machine.fail(verb, 1, &["a newer fruitctl has written records"]);
    }
    assert_eq!(fs::read(&records).unwrap(), before);
}

#[test]
fn a_hostile_file_costs_little_and_says_little() {
    let machine = Machine::with_fleet("orchard", &ONE_ROOT);
    machine.ok(&["fleet", "export", "e.records"]);
    let good = fs::read(machine.path("e.records")).unwrap();
    fs::write(machine.path("few"), [&good[..], &[0; 1000]].concat()).unwrap();
    let output = machine.run(&["fleet", "import", "few"]);
    let said = text(&output.stderr);
    assert_eq!((output.status.code(), said.lines().count()), (Some(7), 11), "{said}");
    assert!(said.ends_with("and 990 more\n"), "{said}");
    let hash = machine.json(&["fleet", "show"])["charter"]["hash"].as_str().unwrap().to_owned();
    let joined = machine.run(&["fleet", "join", "few", "--charter", &hash, "--name", "joined"]);
    assert_eq!((joined.status.code(), text(&joined.stderr).lines().count()), (Some(7), 11));
    fs::write(machine.path("many"), [&good[..], &vec![0; 4 << 20]].concat()).unwrap();
    machine.fail(&["fleet", "import", "many", "--fleet", "orchard"], 7, &["many", "at most"]);
}

#[test]
fn nodes_are_removed_by_whatever_names_them() {
    let machine = Machine::with_fleet("orchard", &ONE_ROOT);
    let invite = machine.ok(&["node", "invite", "--uses", "0"]);
    let request = machine.request(&invite, 30, "pi-1");
    machine.ok(&["node", "approve", &request, "--name", "pi"]);
    // Once more: it keeps its name.
    let again = machine.run(&["node", "approve", &request]);
    assert!(again.status.success() && text(&again.stderr).contains("is a member already"));
    assert_eq!(machine.json(&["node", "list"])[0]["name"], "pi");
    // Twice in one command is once; a whole id is enough for a node that is not known here.
    let long = id(30).to_string();
    machine.ok(&["node", "remove", "pi", &long, &"ab".repeat(32), "--yes", "--reason", "stolen"]);
    assert_eq!(machine.json(&["fleet", "show"])["records"]["revocation"], 2);
    assert_eq!(machine.json(&["node", "list"])[0]["state"], "revoked");
    // The name is free again, and means the new node.
    let request = machine.request(&invite, 31, "pi-2");
    machine.ok(&["node", "approve", &request, "--name", "pi"]);
    assert_eq!(machine.json(&["node", "show", "pi"])["id"], id(31).to_string());
    assert_eq!(machine.json(&["node", "show", &long])["revocations"][0]["reason"], "stolen");
}

#[test]
fn who_may_approve_is_in_the_invite() {
    let machine = with_berta("enrol", &["--scope", "site=berlin"]);
    let (whole, part) =
        (["node", "invite", "--as", "anna", "--labels", "site=berlin,rack=1"], ["--domain", "site=berlin"]);
    let invite = machine.ok(&whole);
    let request = machine.request(&invite, 30, "pi-1");
    machine.fail(
        &["node", "approve", &request, "--as", "berta"],
        7,
        &["its invite wants an operator for all nodes", "berta: site=berlin", "node invite --domain"],
    );
    machine.fail(&[&whole[..], &["--domain", "site=bonn"]].concat(), 2, &["not all among --labels"]);
    let wide = ["node", "invite", "--as", "berta", "--labels", "site=bonn", "--domain", "site=bonn"];
    machine.fail(&wide, 7, &["outside the scope", "berta: site=berlin"]);
    let invite = machine.ok(&[&whole[..], &part].concat());
    let request = machine.request(&invite, 31, "pi-2");
    machine.ok(&["node", "approve", &request, "--as", "berta"]);
    let watched = machine.ok(&["node", "list", "--watch", "--count", "2", "--interval", "10ms"]);
    assert_eq!(watched.matches("pi-2").count(), 2, "{watched}");
    let shown = machine.json(&["node", "show", "pi-2"]);
    assert_eq!(shown["memberships"][0]["signed_by"][0], "berta");
    assert_eq!(
        (&shown["memberships"][0]["domain"], &shown["reported"]),
        (&"site=berlin".into(), &serde_json::Value::Null)
    );
    assert!(machine.ok(&["node", "show", "pi-2"]).contains("signed by: berta"));
}

#[test]
fn a_conflict_is_told_when_it_is_met() {
    let machine = Machine::with_fleet("orchard", &ONE_ROOT);
    let invite = machine.ok(&["node", "invite", "--uses", "0"]);
    let request = machine.request(&invite, 30, "pi-1");
    machine.ok(&["fleet", "export", "before.records"]);
    let hash = machine.json(&["fleet", "show"])["charter"]["hash"].as_str().unwrap().to_owned();
    machine.ok(&["fleet", "join", "before.records", "--charter", &hash, "--name", "second"]);
    let key = machine.fleet("orchard").join("keys/anna.key");
    machine.ok(&["node", "approve", &request, "--name", "a", "--fleet", "orchard"]);
    let second = ["node", "approve", &request, "--name", "b", "--fleet", "second", "--key-file", key.to_str().unwrap()];
    machine.ok(&second);
    machine.ok(&["fleet", "export", "b.records", "--fleet", "second"]);
    let output = machine.run(&["fleet", "import", "b.records", "--fleet", "orchard"]);
    let said = text(&output.stderr);
    assert!(output.status.success() && said.contains("conflict: two of version 1 of member"), "{said}");
    // A charter that comes may make void what is here, and that is told.
    let root = machine.fleet("orchard").join("keys/root-1.key");
    let narrow = ["operator", "add", "anna", "--roles", "config", "--void", "--fleet", "second"];
    machine.ok(&[&narrow[..], &["--key-file", root.to_str().unwrap()]].concat());
    machine.ok(&["fleet", "export", "b.records", "--fleet", "second"]);
    let output = machine.run(&["fleet", "import", "b.records", "--fleet", "orchard"]);
    let said = text(&output.stderr);
    assert!(output.status.success() && said.contains("1 records of class member are void"), "{said}");
}

/// Root keys on two machines: none of them has enough.
#[test]
fn a_charter_is_signed_on_several_machines() {
    let anna = Machine::with_fleet("orchard", &["--root", "2/2"]);
    let keys = anna.fleet("orchard").join("keys");
    let carla = Machine::new();
    fs::rename(keys.join("root-2.key"), carla.path("root-2.key")).unwrap();
    let hash = anna.json(&["fleet", "show"])["charter"]["hash"].as_str().unwrap().to_owned();
    anna.ok(&["fleet", "export", "all.records"]);
    let export = anna.path("all.records");
    carla.ok(&["fleet", "join", export.to_str().unwrap(), "--charter", &hash]);

    let key = anna.ok(&["operator", "key", "berta"]);
    let add = ["operator", "add", "berta", "--key", key.trim(), "--roles", "enrol", "--scope", "site=berlin"];
    anna.fail(&add, 1, &["needs 2 root keys, and 1 are here", "--draft FILE"]);
    let output = anna.run(&[&add[..], &["--draft", "next.charter"]].concat());
    let said = text(&output.stderr);
    assert!(output.status.success() && said.contains("signed by root-1; 1 more"), "{said}");
    assert_eq!(anna.json(&["fleet", "show"])["charter"]["version"], 1, "nothing counts yet");
    anna.fail(&[&add[..], &["--draft", "next.charter"]].concat(), 2, &["it is there already"]);

    fs::copy(anna.path("next.charter"), carla.path("next.charter")).unwrap();
    let sign = ["fleet", "sign", "next.charter", "--key-file", "root-2.key"];
    carla.fail(&sign, 6, &["+ operator berta: enrol for site=berlin", "confirm with --yes"]);
    carla.fail(&["fleet", "sign", "next.charter", "--yes"], 1, &["no root key is here"]);
    let signed = carla.json(&[&sign[..], &["--yes"]].concat());
    assert_eq!((&signed["version"], &signed["complete"]), (&2.into(), &true.into()));
    assert_eq!(carla.json(&["fleet", "show"])["charter"]["version"], 2);
    // Back on the first machine the file is complete, and counts there too, as an export would.
    fs::copy(carla.path("next.charter"), anna.path("next.charter")).unwrap();
    anna.ok(&["fleet", "sign", "next.charter", "--yes"]);
    assert_eq!(anna.json(&["operator", "list"])[1]["name"], "berta");
    let again = anna.run(&["fleet", "sign", "next.charter", "--yes"]);
    assert!(again.status.success() && text(&again.stderr).contains("counts here already"));

    // What is changed on the way, of another fleet or out of date is not signed.
    let good = fs::read(anna.path("next.charter")).unwrap();
    let other = Machine::with_fleet("other", &ONE_ROOT);
    fs::write(other.path("next.charter"), &good).unwrap();
    other.fail(&["fleet", "sign", "next.charter", "--yes"], 7, &["does not follow charter 1"]);
    other.fail(&["fleet", "sign", "passphrase", "--yes"], 2, &["no charter that waits"]);
    other.fail(&["fleet", "sign", "none", "--yes"], 2, &["no such file"]);
    let mut cut = good;
    cut.pop();
    other.fail_with(&cut, &["fleet", "sign", "cut", "--yes"], 7, "cut off");
}

#[test]
fn rules_say_how_many_operators_sign() {
    let machine = with_berta("all", &[]);
    machine.fail(&["fleet", "rule", "revocation", "3"], 2, &["there are 2 (anna, berta)"]);
    machine.fail(&["fleet", "rule", "report", "2"], 2, &["no class that operators sign", "revocation"]);
    machine.fail(&["fleet", "rule", "job", "2", "--from", "10"], 2, &["only a plan says how many nodes"]);
    machine.ok(&["fleet", "rule", "revocation", "2"]);
    let rule = &machine.json(&["fleet", "show"])["charter"]["rules"][0];
    assert_eq!((&rule["class"], &rule["needed"]), (&"revocation".into(), &2.into()));
    let lost = "ab".repeat(32);
    machine.fail(&["node", "remove", &lost, "--yes", "--as", "anna"], 7, &["signed by 1", "2 are needed"]);
    machine.ok(&["node", "remove", &lost, "--yes", "--as", "anna", "--as", "berta"]);
    machine.ok(&["fleet", "rule", "revocation", "1"]);
    assert_eq!(machine.json(&["fleet", "show"])["charter"]["rules"].as_array().unwrap().len(), 0);
}

#[test]
fn root_keys_are_replaced() {
    let machine = Machine::with_fleet("orchard", &ONE_ROOT);
    let old = machine.fleet("orchard").join("fleet.records");
    let before = fs::read(&old).unwrap();
    let new = machine.ok(&["operator", "key", "vault"]);
    machine.fail(&["fleet", "root", "--replace", "root-9=x"], 2, &["\"root-9\" is no root key", "root-1"]);
    machine.ok(&["fleet", "root", "--replace", &format!("root-1={}", new.trim())]);
    let show = machine.json(&["fleet", "show"]);
    assert_eq!((&show["charter"]["root"][0]["name"], &show["charter"]["version"]), (&"vault".into(), &2.into()));
    // The old one signs no charter any more.
    fs::remove_file(machine.fleet("orchard").join("keys/vault.key")).unwrap();
    machine.fail(&["fleet", "rule", "recall", "1"], 1, &["what the charter says already"]);
    let key = machine.ok(&["operator", "key", "berta"]);
    let add = ["operator", "add", "berta", "--key", key.trim(), "--roles", "view"];
    machine.fail(&add, 1, &["needs 1 root keys, and 0 are here", "vault"]);
    // And who kept the records of before cannot go another way with it: the file is refused here.
    fs::create_dir(machine.path("thief")).unwrap();
    let folder = machine.path("thief/orchard");
    fs::create_dir(&folder).unwrap();
    fs::write(folder.join("fleet.records"), before).unwrap();
    fs::copy(machine.fleet("orchard").join("fleet.id"), folder.join("fleet.id")).unwrap();
    let root = machine.fleet("orchard").join("keys/root-1.key");
    let thief = ["--fleet", "./thief/orchard", "--key-file", root.to_str().unwrap()];
    machine.ok(&[&add[..], &thief].concat());
    machine.ok(&[&["operator", "add", "berta", "--roles", "all"], &thief[..]].concat());
    machine.ok(&["fleet", "export", "stolen.records", "--fleet", "./thief/orchard"]);
    machine.fail(&["fleet", "import", "stolen.records", "--fleet", "orchard"], 7, &["root keys that were replaced"]);
}

#[test]
fn nodes_that_ask_wait_and_are_known_by_four_words() {
    let machine = Machine::with_fleet("orchard", &ONE_ROOT);
    let invite = machine.ok(&["node", "invite", "--uses", "0", "--labels", "site=berlin"]);
    let [one, two] = [(30, "pi-1"), (31, "pi-2")].map(|(node, name)| machine.request(&invite, node, name));
    machine.ok(&["node", "pending", &one, &two]);
    fs::remove_file(&one).unwrap();
    let pending = machine.json(&["node", "pending"]);
    let spoken = words(&id(30)).join("-");
    assert_eq!((&pending[0]["words"], &pending[0]["labels"]), (&spoken.as_str().into(), &"site=berlin".into()));
    assert!(machine.ok(&["node", "pending"]).contains(&spoken));
    machine.fail(&["node", "approve", "abandon-abandon-abandon-abandon"], 2, &["no node that is pending"]);
    machine.ok(&["node", "approve", &spoken.replace('-', " ").to_uppercase()]);
    machine.ok(&["node", "approve", "pi-2"]);
    assert_eq!(machine.json(&["node", "pending"]).as_array().unwrap().len(), 0);
    assert_eq!(fs::read_dir(machine.fleet("orchard").join("requests")).unwrap().count(), 0);
    // What is no request is told, and the others are taken.
    machine.fail(&["node", "pending", "passphrase"], 7, &["passphrase:"]);
}

#[test]
fn an_invite_is_shown_as_a_code() {
    let machine = Machine::with_fleet("orchard", &ONE_ROOT);
    let shown = machine.ok(&["node", "invite", "--qr", "--labels", "site=berlin"]);
    let (invite, code) = shown.split_once('\n').unwrap();
    Invite::from_text(invite).unwrap();
    let widths: Vec<usize> = code.lines().filter(|line| !line.is_empty()).map(|line| line.chars().count()).collect();
    assert!(widths.iter().all(|width| *width == widths[0] && *width <= 100), "{widths:?}");
    assert!(code.contains('█') && code.contains('▄'));
}

#[test]
fn shells_offer_what_the_fleet_has() {
    let machine = with_berta("enrol", &[]);
    let invite = machine.ok(&["node", "invite", "--as", "anna", "--uses", "0", "--labels", "site=berlin"]);
    let request = machine.request(&invite, 30, "pi-1");
    machine.ok(&["node", "approve", &request, "--as", "anna"]);
    let request = machine.request(&invite, 31, "pi-2");
    machine.ok(&["node", "pending", &request]);
    let offered = |args: &[&str]| {
        let mut command = machine.command(&[&["--", "fruitctl"], args].concat());
        command.env("FRUITCTL_COMPLETE", "bash").env("_CLAP_COMPLETE_INDEX", args.len().to_string());
        command.env("_CLAP_IFS", "\n").env("_CLAP_COMPLETE_COMP_TYPE", "9").env("_CLAP_COMPLETE_SPACE", "true");
        text(&command.output().unwrap().stdout)
    };
    for (args, expected) in [
        (&["node", "show", ""][..], "pi-1"),
        (&["node", "remove", "pi"], "pi-1"),
        (&["node", "remove", ""], &Invite::from_text(&invite).unwrap().id().short()),
        (&["node", "list", "si"], "site=berlin"),
        (&["node", "approve", ""], &words(&id(31)).join("-")),
        (&["operator", "remove", "b"], "berta"),
        (&["fleet", "show", "--fleet", ""], "orchard"),
    ] {
        let said = offered(args);
        assert!(said.lines().any(|line| line == expected), "{args:?}: {expected} is not in {said}");
    }
    for shell in ["bash", "zsh", "fish"] {
        let script = machine.ok(&["completions", shell]);
        assert!(script.contains("FRUITCTL_COMPLETE"), "{script}");
    }
}

/// A replica takes what fruitctl has signed, as a node would.
#[test]
fn what_is_signed_here_counts_elsewhere() {
    let machine = Machine::with_fleet("orchard", &ONE_ROOT);
    let invite = machine.ok(&["node", "invite"]);
    let request = machine.request(&invite, 30, "pi-1");
    machine.ok(&["node", "approve", &request]);
    machine.ok(&["fleet", "export", "all.records"]);
    let bytes = fs::read(machine.path("all.records")).unwrap();
    let records = Replica::unpack(&bytes).unwrap();
    let invite = Invite::from_text(&invite).unwrap();
    let (mut replica, refused) = Replica::load(invite.fleet, &bytes).unwrap();
    assert!(refused.is_empty() && replica.is_member(&id(30)) && replica.trust().has(&invite.charter));
    let is_member = |record: &Record| matches!(record.body(), Body::Member(_));
    let member = records.iter().filter_map(|bytes| Record::parse(bytes).ok()).find(is_member).unwrap();
    assert_eq!(replica.offer(&member.encode()), Ok(Outcome::Known));
    assert!(Draft::new(member.head().clone(), member.body().clone()).is_ok());
}
