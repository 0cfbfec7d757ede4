//! `fruitbuild keys` and `fruitbuild sign`: from nothing to a repository that a node follows, with keys in several hands.

mod harness;
#[path = "harness/project.rs"]
mod project;
#[path = "harness/small.rs"]
mod small;

use std::fs;
use std::os::unix::fs::FileExt;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

use fruit_image::disk::DiskFile;
use fruit_release::tuf::{Clock, Error, Freshness, Time, Trust};
use harness::{succeed, tool};
use project::{Answer, Project};
use small::Small;

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

/// A repository with keys of its own, and images of these versions.
fn publisher(images: &[Small]) -> (Project, Vec<String>) {
    // Dated today, for `verify` goes by this machine's clock.
    let project = Project::empty();
    let file = project.write("passphrase", "correct horse\n");
    let project = project.variable("FRUITBUILD_PASSPHRASE_FILE", file.to_str().unwrap());
    project.succeed(&["keys", "init", "--root", "1/1"]);
    let images = images.iter().map(|image| image.write(&project.path("")).to_str().unwrap().to_owned()).collect();
    (project, images)
}

fn versions(project: &Project) -> Vec<String> {
    let seen = project.succeed(&["inspect", "releases", "--json"]).json();
    let releases = seen["releases"].as_array().unwrap();
    releases.iter().map(|release| release["version"].as_str().unwrap().to_owned()).collect()
}

fn drafts(project: &Project) -> usize {
    fs::read_dir(project.path("keys/drafts")).map_or(0, Iterator::count)
}

#[test]
fn releases_that_are_published_at_once_are_all_published() {
    let names = ["1.0", "2.0", "3.0", "4.0"];
    let (project, images) = publisher(&names.map(Small::new));
    let running: Vec<Child> = images
        .iter()
        .map(|image| project.command(&["publish", image]).stdout(Stdio::null()).spawn().unwrap())
        .collect();
    for mut child in running {
        assert!(child.wait().unwrap().success());
    }
    assert_eq!(versions(&project), names);
    project.succeed(&["verify", "releases"]);
}

#[test]
fn a_command_waits_for_another_that_changes_the_repository_and_says_so() {
    let (project, images) = publisher(&[Small::new("1.0")]);
    let lock = fs::File::options().write(true).open(project.path("releases/.lock")).unwrap();
    lock.lock().unwrap();
    let child =
        project.command(&["publish", &images[0]]).stdout(Stdio::piped()).stderr(Stdio::piped()).spawn().unwrap();
    std::thread::sleep(Duration::from_millis(500));
    drop(lock);
    let answer = Answer::of(child.wait_with_output().unwrap());
    assert_eq!(answer.code, 0, "{}", answer.stderr);
    assert!(answer.stderr.contains("waiting for another fruitbuild"), "{}", answer.stderr);
}

/// Files below a folder, with those that are being written.
fn count(folder: &Path) -> usize {
    let entries = fs::read_dir(folder).into_iter().flatten().flatten();
    entries.map(|entry| if entry.path().is_dir() { count(&entry.path()) } else { 1 }).sum()
}

#[test]
fn a_publish_that_is_ended_in_any_phase_leaves_a_good_repository_and_nothing_that_is_completed_later() {
    // Of several chunks, so that there are phases enough.
    let (project, images) = publisher(&[Small::new("1.0"), Small { extra: 2_500_000, ..Small::new("2.0") }]);
    project.succeed(&["publish", &images[0]]);
    let releases = project.path("releases");
    succeed(tool("cp", "coreutils").arg("-a").arg(&releases).arg(project.path("before")));
    let before = count(&releases);
    let mut ended = 0;
    for more in 1.. {
        // Chunks, manifest and metadata come one by one: each new file is another phase.
        let mut child = project.command(&["publish", &images[1]]).stdout(Stdio::null()).spawn().unwrap();
        let whole = loop {
            if let Some(status) = child.try_wait().unwrap() {
                break status.success();
            }
            if count(&releases) >= before + more {
                let signal = if more % 2 == 0 { rustix::process::Signal::TERM } else { rustix::process::Signal::KILL };
                let _ = rustix::process::kill_process(rustix::process::Pid::from_child(&child), signal);
                break child.wait().unwrap().success();
            }
        };
        project.succeed(&["verify", "releases"]);
        let listed = versions(&project);
        assert!(listed == ["1.0"] || listed == ["1.0", "2.0"], "{listed:?}");
        project.succeed(&["sign"]);
        assert_eq!((versions(&project), drafts(&project)), (listed, 0));
        if whole {
            assert_eq!(versions(&project), ["1.0", "2.0"]);
            break;
        }
        ended += 1;
        assert!(more < 200, "it writes no more files, and does not end");
        fs::remove_dir_all(&releases).unwrap();
        succeed(tool("cp", "coreutils").arg("-a").arg(project.path("before")).arg(&releases));
    }
    assert!(ended >= 4, "ended in {ended} phases only");
}

/// The command, started by another one: `WRAPPER fruitbuild …`.
fn within(command: &Command, wrapper: &[&str]) -> Command {
    let mut outer = tool(wrapper[0], "util-linux");
    outer.args(&wrapper[1..]).arg(command.get_program()).args(command.get_args());
    outer.current_dir(command.get_current_dir().unwrap());
    for (name, value) in command.get_envs() {
        match value {
            Some(value) => outer.env(name, value),
            None => outer.env_remove(name),
        };
    }
    outer
}

/// KiB of a file system in memory that the files of a folder take.
fn pages(folder: &Path) -> u64 {
    let entries = fs::read_dir(folder).unwrap().map(|entry| entry.unwrap().path());
    entries
        .map(|path| if path.is_dir() { pages(&path) } else { path.metadata().unwrap().len().div_ceil(4096) * 4 })
        .sum()
}

#[test]
fn on_a_full_disk_nothing_is_published_and_the_file_and_the_remedy_are_named() {
    let (project, images) = publisher(&[Small::new("1.0"), Small::new("2.0")]);
    project.succeed(&["publish", &images[0]]);
    fs::rename(project.path("releases"), project.path("before")).unwrap();
    let used = pages(&project.path("before"));
    let script = "mkdir -p releases && mount -t tmpfs -o size=\"$1\"k tmpfs releases && cp -a before/. releases/ && shift && \
                  \"$@\"; code=$?; cp -a releases after && exit $code";
    let mut failed = 0;
    for free in (0..).step_by(4) {
        let size = (used + free).to_string();
        let publish = project.command(&["publish", &images[1]]);
        let mut publish = within(&publish, &["unshare", "--map-root-user", "--mount", "sh", "-c", script, "sh", &size]);
        let answer = Answer::of(publish.output().unwrap());
        fs::remove_dir_all(project.path("releases")).unwrap();
        fs::rename(project.path("after"), project.path("releases")).unwrap();
        project.succeed(&["verify", "releases"]);
        assert_eq!(drafts(&project), 0);
        if answer.code == 0 {
            assert_eq!(versions(&project), ["1.0", "2.0"]);
            break;
        }
        failed += 1;
        assert_eq!((answer.code, versions(&project)), (1, vec!["1.0".to_owned()]), "{}", answer.stderr);
        for word in ["releases/", "No space left on device", "make room"] {
            assert!(answer.stderr.contains(word), "{free} KiB free: expected {word:?} in:\n{}", answer.stderr);
        }
        assert!(free < 4000, "{}", answer.stderr);
    }
    assert!(failed >= 4, "the disk was full in {failed} phases only");
}

/// Runs a command while the key folder is on a disk of that size; what it left there stays.
fn with_keys_on_a_disk_of(project: &Project, kib: u64, arguments: &[&str]) -> Answer {
    let script = "mkdir -p keys && cp -a keys before && mount -t tmpfs -o size=\"$1\"k tmpfs keys && cp -a before/. keys/ && \
                  shift && \"$@\"; code=$?; cp -a keys after && exit $code";
    let size = kib.to_string();
    let command = project.command(arguments);
    let mut command = within(&command, &["unshare", "--map-root-user", "--mount", "sh", "-c", script, "sh", &size]);
    let answer = Answer::of(command.output().unwrap());
    for name in ["before", "keys"] {
        fs::remove_dir_all(project.path(name)).unwrap();
    }
    fs::rename(project.path("after"), project.path("keys")).unwrap();
    answer
}

#[test]
fn on_a_full_disk_no_key_is_half_made_and_the_command_completes_when_there_is_room() {
    let (project, images) = publisher(&[Small::new("1.0")]);
    for folder in ["keys", "releases"] {
        fs::remove_dir_all(project.path(folder)).unwrap();
    }
    let full = |answer: &Answer| {
        assert_eq!(answer.code, 1, "{}", answer.stderr);
        for word in ["keys/", "No space left on device", "make room there and give the same command again"] {
            assert!(answer.stderr.contains(word), "expected {word:?} in:\n{}", answer.stderr);
        }
        assert_eq!(answer.stderr.matches("make room").count(), 1, "{}", answer.stderr);
    };
    // Room for one file more each time, on what the time before has left: each key has two.
    for kib in [4, 8, 16, 28] {
        full(&with_keys_on_a_disk_of(&project, kib, &["keys", "init", "--root", "1/1"]));
        assert!(!project.path("releases/metadata/1.root.json").exists());
    }
    project.succeed(&["keys", "init", "--root", "1/1"]);
    project.succeed(&["verify", "releases"]);

    let used = pages(&project.path("keys"));
    full(&with_keys_on_a_disk_of(&project, used, &["keys", "rotate", "targets", "targets-1", "targets-2"]));
    project.succeed(&["verify", "releases"]);
    full(&with_keys_on_a_disk_of(&project, used, &["publish", &images[0]]));
    project.succeed(&["verify", "releases"]);
    assert_eq!(versions(&project), [""; 0]);
    project.succeed(&["keys", "rotate", "targets", "targets-1", "targets-2"]);
    project.succeed(&["publish", &images[0]]);
    project.succeed(&["verify", "releases"]);
    assert_eq!(versions(&project), ["1.0"]);
}

#[test]
fn an_image_that_was_damaged_after_its_build_is_neither_published_nor_bundled() {
    let (project, images) = publisher(&[Small::new("1.0")]);
    let image = fs::File::options().read(true).write(true).open(&images[0]).unwrap();
    let layout = fruit_image::gpt::read(&DiskFile::open(Path::new(&images[0])).unwrap()).unwrap().layout;
    for (name, what) in [("root-a", "data block 24 of its root"), ("boot-a", "boot partition")] {
        let partition = layout.partitions.iter().find(|partition| partition.name == name).unwrap();
        let at = partition.start() + 100_000;
        let mut byte = [0];
        image.read_exact_at(&mut byte, at).unwrap();
        image.write_all_at(&[byte[0] ^ 1], at).unwrap();
        for verb in [&["publish"][..], &["bundle"], &["bundle", "--publish"]] {
            let words = ["1.0", &format!("damaged: {what} is not what"), "build the image again"];
            project.fail(&[verb, &[&images[0]]].concat(), 3, &words);
        }
        assert_eq!(versions(&project), [""; 0]);
        image.write_all_at(&byte, at).unwrap();
    }
    project.succeed(&["publish", &images[0]]);
}

#[test]
fn who_has_no_right_to_a_repository_or_its_keys_changes_nothing_and_is_told_so() {
    let (project, images) = publisher(&[Small::new("1.0"), Small::new("2.0")]);
    project.succeed(&["publish", &images[0]]);
    // In a user namespace root has no more rights than anybody.
    let refused = |words: &[&str]| {
        let publish = project.command(&["publish", &images[1]]);
        let answer = Answer::of(within(&publish, &["unshare", "--user"]).output().unwrap());
        assert_eq!(answer.code, 1, "{}", answer.stderr);
        for word in ["Permission denied", "owner"].iter().chain(words) {
            assert!(answer.stderr.contains(word), "expected {word:?} in:\n{}", answer.stderr);
        }
    };
    let chmod = |mode: &str, path: &str| succeed(tool("chmod", "coreutils").args(["-R", mode]).arg(project.path(path)));
    chmod("a-w", "releases");
    refused(&["releases/"]);
    chmod("u+w", "releases");
    chmod("a-rwx", "keys/targets-1.key");
    refused(&["keys/targets-1.key"]);
    chmod("u+rw", "keys/targets-1.key");
    chmod("a-w", "releases/metadata");
    refused(&["releases/metadata/"]);
    chmod("u+w", "releases/metadata");
    project.succeed(&["verify", "releases"]);
    project.succeed(&["sign"]);
    assert_eq!((versions(&project), drafts(&project)), (vec!["1.0".to_owned()], 0));
    project.succeed(&["publish", &images[1]]);
    assert_eq!(versions(&project), ["1.0", "2.0"]);
}

#[test]
fn a_change_of_keys_that_was_killed_is_finished_by_the_next_command() {
    let project = shop(0);
    project.succeed(&["keys", "init", "--root", "1/1"]);
    for (i, millis) in [1, 3, 6, 10, 20, 40, 80, 120, 160, 200].into_iter().enumerate() {
        let list = project.succeed(&["keys", "list", "--json"]).json();
        let role = list["roles"].as_array().unwrap().iter().find(|role| role["role"] == "targets").unwrap().clone();
        let old = role["keys"][0]["name"].as_str().unwrap().to_owned();
        let new = format!("new-{i}");
        let mut child = project.command(&["keys", "rotate", "targets", &old, &new]).spawn().unwrap();
        std::thread::sleep(Duration::from_millis(millis));
        let _ = child.kill();
        child.wait().unwrap();
        project.succeed(&["sign"]);
        assert!(follow(&project, "releases", 1).is_ok());
    }
}

#[test]
fn what_could_not_be_signed_leaves_no_draft() {
    let (project, images) = publisher(&[Small::new("1.0"), Small::new("2.0")]);
    let wrong = project.write("wrong", "another passphrase\n");
    project.fail(&["publish", &images[0], "--passphrase-file", wrong.to_str().unwrap()], 1, &["passphrase is wrong"]);
    let key = project.path("keys/targets-1.key");
    let away = project.path("targets-1.key");
    fs::rename(&key, &away).unwrap();
    let words = ["keys/targets-1.key", "Put the file back", "keys rotate targets targets-1"];
    project.fail(&["publish", &images[0]], 1, &words);
    fs::rename(&away, &key).unwrap();
    assert_eq!(drafts(&project), 0);
    project.succeed(&["sign"]);
    project.succeed(&["publish", &images[1]]);
    assert_eq!(versions(&project), ["2.0"]);
}

#[test]
fn a_lost_key_is_replaced_with_the_others() {
    let project = shop(0);
    project.succeed(&["keys", "init"]);
    fs::remove_file(project.path("keys/root-2.key")).unwrap();
    project.succeed(&["keys", "rotate", "root", "root-2", "root-4"]);
    assert_eq!(follow(&project, "releases", 1), Ok((2, Freshness::Fresh)));
}

#[test]
fn folders_without_the_right_keys_or_repository_are_named_and_not_made() {
    let (project, images) = publisher(&[Small::new("1.0")]);
    project.fail(&["publish", &images[0], "--keys", "typo"], 3, &["typo", "no keys", "--keys DIR"]);
    assert!(!project.path("typo").exists());
    project.fail(&["publish", "elsewhere", &images[0]], 3, &["elsewhere", "Change to the folder of your project"]);
    assert!(!project.path("elsewhere").exists());
    project.succeed(&["keys", "init", "--root", "1/1", "--keys", "other-keys", "--repository", "other"]);
    project.fail(&["publish", &images[0], "--keys", "other-keys"], 3, &["other-keys", "none of these keys"]);
    assert_eq!(versions(&project), Vec::<String>::new());
}

#[test]
fn a_draft_waits_in_its_own_repository_is_shown_and_never_signed_in_passing() {
    let project = shop(0);
    project.succeed(&["keys", "init", "--root", "1/1", "--keys", "far", "--repository", "scratch"]);
    let far = format!("targets-2={}", project.path("far/targets-1.pub").display());
    project.succeed(&["keys", "init", "--root", "1/1", "--targets", "2/2", "--elsewhere", &far]);
    project.succeed(&["sign", "--export", "stick"]);
    project.succeed(&["sign", "--draft", "stick/1.targets.json", "--keys", "far", "--with", "targets-1", "--yes"]);
    project.succeed(&["sign", "--import", "stick/1.targets.json"]);
    let [one, two] = ["1.0", "2.0"].map(|v| Small::new(v).write(&project.path("")).to_str().unwrap().to_owned());
    // It waits for the far key.
    let answer = project.succeed(&["publish", &one]);
    assert!(answer.stdout.is_empty() && answer.stderr.contains("not published yet"), "{}", answer.stderr);
    assert_eq!((drafts(&project), versions(&project).len()), (1, 0));
    // A copy of the repository, with the same keys, knows nothing of it.
    assert!(
        std::process::Command::new("cp")
            .args(["-r", "releases", "copy"])
            .current_dir(project.path(""))
            .status()
            .unwrap()
            .success()
    );
    let shown = project.succeed(&["inspect", "releases", "--json"]).json();
    assert!(!shown["waiting"].as_array().unwrap().is_empty(), "{shown:#}");
    let copy = project.succeed(&["inspect", "copy", "--json"]).json();
    assert_eq!(copy["waiting"].as_array().map_or(0, Vec::len), 0, "{copy:#}");

    project.fail(&["publish", &two], 7, &["waits for signatures", "fruitbuild discard"]);
    let signed = project.succeed(&["sign"]);
    assert!(signed.stderr.contains("not signed in passing"), "{}", signed.stderr);
    assert_eq!(drafts(&project), 1);
    assert!(project.succeed(&["discard"]).stdout.contains("dropped"));
    assert_eq!(drafts(&project), 0);
}

#[test]
fn a_bundle_publishes_nothing_unless_it_is_told_to() {
    let (project, images) = publisher(&[Small::new("1.0"), Small::new("2.0")]);
    project.fail(&["bundle", &images[0]], 7, &["not published", "--publish"]);
    project.fail(&["delta", &images[0], &images[1]], 7, &["not published", "--publish"]);
    assert_eq!((versions(&project), project.path("out/node-1.0-raspberrypi3.fruit").exists()), (Vec::new(), false));
    project.succeed(&["publish", &images[0]]);
    // As images are called; and it needs no keys.
    fs::rename(project.path("keys"), project.path("away")).unwrap();
    assert_eq!(project.succeed(&["bundle", "1.0"]).stdout.trim(), "out/node-1.0-raspberrypi3.fruit");
    fs::rename(project.path("away"), project.path("keys")).unwrap();
    project.fail(&["delta", &images[0], "2.0"], 3, &["2.0"]);
    let made = project.succeed(&["delta", "--publish", "1.0", &images[1]]);
    assert_eq!(made.stdout.trim(), "out/node-2.0-raspberrypi3-from-1.0.fruit");
    assert_eq!(versions(&project), ["1.0", "2.0"]);
    project.succeed(&["verify", "out/node-2.0-raspberrypi3-from-1.0.fruit", "--from", &images[0]]);
    let changes = project.succeed(&["diff", "1.0", "2.0", "--json"]).json();
    assert_eq!((&changes["old"], &changes["new"]), (&"1.0".into(), &"2.0".into()));
    project.fail(&["diff", "1.0", "9.9"], 3, &["9.9", "1.0, 2.0"]);
    let again = project.succeed(&["publish", &images[1], "--from", "1.0"]);
    assert!(again.stderr.contains("nothing to do") && again.stdout.is_empty(), "{}{}", again.stdout, again.stderr);
}

#[test]
fn a_repository_that_lacks_what_it_lists_is_not_good() {
    let (project, images) = publisher(&[Small::new("1.0"), Small::new("2.0")]);
    project.succeed(&["publish", &images[0]]);
    project.succeed(&["publish", &images[1], "--from", "1.0"]);
    project.succeed(&["verify", "releases"]);
    let lacks = |file: PathBuf, code: i32| {
        let away = project.path("away");
        fs::rename(&file, &away).unwrap();
        let name = file.file_name().unwrap().to_str().unwrap().to_owned();
        let words: &[&str] =
            if file.to_str().unwrap().contains("/targets/") { &["not there", &name] } else { &["lacks"] };
        project.fail(&["verify", "releases"], code, words);
        fs::rename(&away, &file).unwrap();
    };
    let below = |folder: &str, ending: &str| -> PathBuf {
        let mut todo = vec![project.path(folder)];
        while let Some(path) = todo.pop() {
            if path.is_dir() {
                todo.extend(fs::read_dir(path).unwrap().map(|entry| entry.unwrap().path()));
            } else if path.to_str().unwrap().ends_with(ending) {
                return path;
            }
        }
        panic!("no {ending} in {folder}");
    };
    lacks(below("releases/targets", ".release"), 1);
    lacks(below("releases/targets", ".delta"), 1);
    lacks(below("releases/blobs", ".zst"), 1);
    project.succeed(&["verify", "releases"]);
}

#[test]
fn what_older_cards_have_no_room_for_and_what_has_no_updater_is_warned_of() {
    let large = Small { extra: 6 << 20, root_size: 16, ..Small::new("2.0") };
    let bare = Small { updater: false, ..Small::new("3.0") };
    let (project, images) = publisher(&[Small::new("1.0"), large, bare]);
    let quiet = project.succeed(&["publish", &images[0]]);
    assert!(!quiet.stderr.contains("warning"), "{}", quiet.stderr);
    let said = project.succeed(&["publish", &images[1]]).stderr;
    assert!(
        said.contains("does not fit cards that were made with 1.0") && said.contains("partitions: {root:"),
        "{said}"
    );
    let said = project.succeed(&["delta", "--publish", "1.0", "2.0"]).stderr;
    assert!(said.contains("does not fit cards that were made with 1.0"), "{said}");
    let said = project.succeed(&["publish", &images[2]]).stderr;
    assert!(said.contains("no updater") && !said.contains("fit"), "{said}");
}
