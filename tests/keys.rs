//! `fruitbuild keys` and `fruitbuild sign`: from nothing to a repository that a node follows, with keys in several hands.

mod harness;
#[path = "harness/project.rs"]
mod project;

use std::fs;
use std::path::{Path, PathBuf};
use std::process::{Child, Stdio};
use std::time::{Duration, Instant};

use fruit_release::tuf::{Clock, Error, Freshness, Time, Trust};
use harness::{succeed, tool};
use project::Project;

/// 2026-01-01, and some days later.
fn day(days: u32) -> String {
    (1_767_225_600 + u64::from(days) * 86_400).to_string()
}

fn shop(today: u32) -> Project {
    let project = Project::empty().variable("SOURCE_DATE_EPOCH", &day(today));
    let file = project.write("passphrase", "correct horse\n");
    project.variable("FRUITBUILD_PASSPHRASE_FILE", file.to_str().unwrap())
}

/// What a node makes of the repository that day.
fn follow(project: &Project, repository: &str, today: u32) -> Result<(u64, Freshness), Error> {
    let file = |name: &str| fs::read(project.path(repository).join(name)).ok();
    let mut trust = Trust::from_root(&file("metadata/1.root.json").unwrap())?;
    let now = Time::from_seconds(day(today).parse().unwrap());
    let mut refresh = trust.refresh(Clock::Trusted(now));
    while let Some(want) = refresh.want() {
        refresh.give(file(&want.name).as_deref())?;
    }
    let freshness = refresh.freshness();
    Ok((trust.root_version(), freshness))
}

#[test]
fn keys_are_made_listed_changed_and_renewed() {
    let project = shop(0);
    let made = project.succeed(&["keys", "init", "--root", "1/2", "--json"]).json();
    assert_eq!(made["waiting"].as_array().unwrap().len(), 0, "{made}");
    assert_eq!(follow(&project, "releases", 1), Ok((1, Freshness::Fresh)));
    project.fail(&["keys", "init"], 7, &["already"]);
    for name in ["root-1", "root-2", "targets-1", "snapshot-1", "timestamp-1"] {
        assert!(fs::read_to_string(project.path(&format!("keys/{name}.key"))).unwrap().contains("OPENSSH PRIVATE KEY"));
    }
    let list = project.succeed(&["keys", "list", "--json"]).json();
    let root = list["roles"].as_array().unwrap().iter().find(|role| role["role"] == "root").unwrap().clone();
    assert_eq!((&root["threshold"], &root["expires"]), (&1.into(), &"2028-12-31T00:00:00Z".into()));
    assert_eq!(root["keys"][0]["held"], "file");

    project.succeed(&["keys", "rotate", "timestamp", "timestamp-1", "timestamp-2"]);
    project.succeed(&["keys", "add", "root", "root-3", "--threshold", "2"]);
    project.succeed(&["keys", "revoke", "root", "root-2"]);
    assert_eq!(follow(&project, "releases", 1), Ok((4, Freshness::Fresh)));
    project.fail(&["keys", "revoke", "root", "root-1"], 1, &["1 keys and a threshold of 2"]);
    project.fail(&["keys", "rotate", "timestamp", "timestamp-1", "x"], 1, &["is no key of timestamp"]);
    project.fail(&["keys", "rotate", "mirrors", "timestamp-2", "x"], 3, &["no role"]);
    assert_eq!(follow(&project, "releases", 1), Ok((4, Freshness::Fresh)));

    // The timestamp is good for 35 days; signing renews it.
    assert!(matches!(follow(&project, "releases", 36), Err(Error::Expired { .. })));
    let later = project.variable("SOURCE_DATE_EPOCH", &day(36));
    assert!(later.succeed(&["keys", "list"]).stdout.contains("expired 2026-02-05"));
    let signed = later.succeed(&["sign", "--json", "--expires", "timestamp=10"]).json();
    assert!(signed["written"].to_string().contains("timestamp.json"), "{signed}");
    assert_eq!(follow(&later, "releases", 45), Ok((4, Freshness::Fresh)));
    assert!(matches!(follow(&later, "releases", 46), Err(Error::Expired { .. })));

    // A wrong passphrase, and none.
    let wrong = later.write("wrong", "no\n");
    let arguments = ["sign", "--passphrase-file", wrong.to_str().unwrap()];
    later.fail(&arguments, 1, &["the passphrase is wrong"]);
    fs::write(&wrong, "\n").unwrap();
    later.fail(&arguments, 1, &["no passphrase in the first line"]);
}

#[test]
fn a_root_key_that_is_elsewhere_signs_what_is_exported() {
    let project = shop(0);
    // Somebody far away makes a key, and gives the public half.
    project.succeed(&["keys", "init", "--root", "1/1", "--keys", "far", "--repository", "scratch"]);
    fs::remove_dir_all(project.path("scratch")).unwrap();
    let public = project.path("far/root-1.pub");
    let elsewhere = format!("root-2={}", public.display());
    let made = project.succeed(&["keys", "init", "--root", "2/2", "--elsewhere", &elsewhere, "--json"]).json();
    assert_eq!(made["waiting"][0]["missing"], serde_json::json!(["root-2"]), "{made}");
    assert!(!project.path("releases/metadata").exists());

    let exported = project.succeed(&["sign", "--export", "stick"]);
    assert!(exported.stderr.contains("+ root: 2 of 2 keys must sign"), "{}", exported.stderr);
    // Not without being asked.
    let draft = ["sign", "--draft", "stick/1.root.json", "--keys", "far", "--with", "root-1"];
    project.fail(&draft, 7, &["--yes"]);
    let unsigned = fs::read(project.path("stick/1.root.json")).unwrap();
    project.succeed(&[&draft[..], &["--yes"]].concat());
    project.succeed(&["sign", "--import", "stick/1.root.json"]);
    assert_eq!(follow(&project, "releases", 1), Ok((1, Freshness::Fresh)));

    // A signature that does not fit is refused, by its exit code too.
    project.succeed(&["keys", "add", "targets", "targets-2"]);
    fs::write(project.path("stray.sig"), [7; 64]).unwrap();
    project.fail(&["sign", "--import", "stray.sig"], 4, &["stray.sig", "none of a key"]);
    fs::write(project.path("old.json"), unsigned).unwrap();
    project.fail(&["sign", "--import", "old.json"], 4, &["old.json", "another root"]);
    // And a repository that somebody changed is not signed anew.
    let targets = project.path("releases/metadata/1.targets.json");
    let text = fs::read_to_string(&targets).unwrap();
    let changed = text.replace("2027-01-01", "2037-01-01");
    assert_ne!(changed, text);
    fs::write(&targets, changed).unwrap();
    project.fail(&["sign"], 4, &["targets: signed by 0 of its keys"]);
}

/// OpenSSH's agent, until it is dropped.
struct Agent {
    process: Child,
    folder: tempfile::TempDir,
}

impl Agent {
    fn start() -> Agent {
        let folder = tempfile::tempdir().unwrap();
        let mut agent = tool("ssh-agent", "openssh-client");
        let process =
            agent.arg("-D").arg("-a").arg(folder.path().join("socket")).stdout(Stdio::null()).spawn().unwrap();
        let agent = Agent { process, folder };
        let start = Instant::now();
        while !agent.socket().exists() {
            assert!(start.elapsed() < Duration::from_secs(60), "ssh-agent does not listen");
            std::thread::sleep(Duration::from_millis(20));
        }
        agent
    }

    fn socket(&self) -> PathBuf {
        self.folder.path().join("socket")
    }

    /// Makes a key that only the agent has; the file of its public half.
    fn key(&self, name: &str) -> PathBuf {
        let file = self.folder.path().join(name);
        succeed(tool("ssh-keygen", "openssh-client").args(["-q", "-t", "ed25519", "-N", "", "-f"]).arg(&file));
        self.tell(&["-q"], &file);
        fs::remove_file(&file).unwrap();
        file.with_extension("pub")
    }

    fn tell(&self, options: &[&str], file: &Path) {
        succeed(tool("ssh-add", "openssh-client").args(options).arg(file).env("SSH_AUTH_SOCK", self.socket()));
    }
}

impl Drop for Agent {
    fn drop(&mut self) {
        let _ = self.process.kill();
        let _ = self.process.wait();
    }
}

#[test]
fn keys_that_ssh_agent_holds_sign_and_are_missed_by_name_when_it_does_not_hold_them() {
    let agent = Agent::start();
    let (root, targets) = (agent.key("root"), agent.key("targets"));
    let project = shop(0).variable("SSH_AUTH_SOCK", agent.socket().to_str().unwrap());
    let held = |name: &str, file: &Path| format!("{name}={}", file.display());
    let (root_held, targets_held) = (held("root-1", &root), held("targets-1", &targets));
    let made = ["keys", "init", "--root", "1/1", "--agent", &root_held, "--agent", &targets_held, "--json"];
    assert_eq!(project.succeed(&made).json()["waiting"].as_array().unwrap().len(), 0);
    assert_eq!(follow(&project, "releases", 1), Ok((1, Freshness::Fresh)));
    assert!(!project.path("keys/root-1.key").exists() && project.path("keys/timestamp-1.key").exists());
    let list = project.succeed(&["keys", "list", "--json"]).json();
    let role = list["roles"].as_array().unwrap().iter().find(|role| role["role"] == "root").unwrap();
    assert_eq!(role["keys"][0]["held"], "agent", "{list:#}");

    // The root key in the agent signs a new root.
    project.succeed(&["keys", "rotate", "timestamp", "timestamp-1", "timestamp-2"]);
    assert_eq!(follow(&project, "releases", 1), Ok((2, Freshness::Fresh)));

    agent.tell(&["-q", "-d"], &root);
    let without = project.run(&["keys", "rotate", "timestamp", "timestamp-2", "timestamp-3"]);
    assert!(without.stderr.contains("root-1") && without.stderr.contains("ssh-add"), "{}", without.stderr);
    // What nodes follow is as good as it was.
    assert_eq!(follow(&project, "releases", 1), Ok((2, Freshness::Fresh)));
}
