//! Records and releases on a stick, between two machines of one fleet that no network connects.

use crate::machine::{Machine, text};
use crate::{ONE_ROOT, published, walk};
use fruit_base::Sha256;
use fruit_release::folder::Folder;
use fruit_release::name::Name;
use std::fs;
use std::os::unix::fs::symlink;
use std::path::{Path, PathBuf};
use std::time::Duration;

/// Both have the operator's key, and a stick that is put into one and then into the other.
struct Two {
    first: Machine,
    second: Machine,
    stick: tempfile::TempDir,
    id: Sha256,
    names: Vec<Name>,
}

impl Two {
    fn new() -> Two {
        let [first, second] = [0; 2].map(|_| Machine::with_fleet("orchard", &ONE_ROOT));
        let (id, names) = published(&first.path("releases"));
        first.ok(&["fleet", "accept", "pistack", "releases"]);
        first.ok(&["release", "add", "releases"]);
        Two { first, second, stick: tempfile::tempdir().unwrap(), id, names }
    }

    fn stick(&self) -> &str {
        self.stick.path().to_str().unwrap()
    }

    #[track_caller]
    fn carry(&self, machine: &Machine) -> serde_json::Value {
        machine.json(&["carry", self.stick()])
    }

    /// The folder of the fleet on the stick.
    fn fleet(&self) -> PathBuf {
        fs::read_dir(self.stick.path().join("fruit-fleet")).unwrap().next().unwrap().unwrap().path()
    }

    fn on_stick(&self) -> PathBuf {
        self.fleet().join(format!("releases/{}", self.id))
    }

    fn arrived(&self) -> PathBuf {
        self.second.fleet("orchard").join(format!("releases/{}", self.id))
    }

    /// Whether all pieces are there, and what they were.
    fn is_whole(&self, folder: &Path) -> bool {
        let source = Folder::new(self.first.path("releases"));
        let there = Folder::new(folder);
        let same = |name: &Name| fs::read(there.path(name)).ok() == fs::read(source.path(name)).ok();
        self.names.iter().all(same) && same(&Name::Timestamp) && same(&Name::Root(1))
    }
}

#[test]
fn a_stick_carries_records_requests_and_releases_both_ways() {
    let two = Two::new();
    let given = two.carry(&two.first);
    assert_eq!((&given["given"]["pieces"], &given["received"]), (&4.into(), &0.into()), "{given}");
    // Again, and nothing is to be done.
    assert_eq!(two.carry(&two.first)["given"]["pieces"], 0);

    let invite = two.second.ok(&["node", "invite", "--labels", "site=berlin"]);
    let request = two.second.request(&invite, 60, "pi-1");
    two.second.ok(&["node", "pending", &request]);
    let taken = two.carry(&two.second);
    assert_eq!((&taken["taken"]["pieces"], &taken["sent"]), (&4.into(), &1.into()), "{taken}");
    assert!(two.is_whole(&two.arrived()) && two.is_whole(&two.on_stick()));
    let listed = two.second.json(&["release", "list"]);
    assert_eq!((&listed[0]["id"], &listed[0]["products"][0]["accepted"]), (&two.id.to_string().into(), &true.into()));

    // Back again, with what was signed there, and with the node that waits.
    let back = two.carry(&two.first);
    assert_eq!((&back["received"], &back["requests"], &back["given"]["pieces"]), (&1.into(), &1.into(), &0.into()));
    assert_eq!(two.first.json(&["node", "pending"])[0]["name"], "pi-1");
    // Nothing is left in the stick but what is documented, and of the keys nothing.
    let top = |folder: &Path| fs::read_dir(folder).unwrap().map(|entry| entry.unwrap().file_name()).collect::<Vec<_>>();
    let mut names = top(&two.fleet());
    names.sort();
    assert_eq!(names, ["records.0", "records.1", "releases", "requests"]);
    assert!(walk(two.stick.path()).iter().all(|file| !text_of(file).contains("PRIVATE KEY")));
    let output = two.second.run(&["carry", two.stick(), "--no-releases"]);
    assert!(text(&output.stdout).starts_with("from the stick: 0 records"), "{output:?}");
}

fn text_of(file: &Path) -> String {
    String::from_utf8_lossy(&fs::read(file).unwrap()).into_owned()
}

#[test]
fn what_a_hostile_stick_holds_is_refused_and_harms_nobody() {
    let two = Two::new();
    two.first.fail(&["carry", two.stick(), "--most", "0"], 1, &["more pieces than --most allows"]);
    two.carry(&two.first);
    two.second.fail(&["carry", "nowhere"], 1, &["nowhere"]);
    let own = two.second.fleet("orchard");
    two.second.fail(&["carry", own.to_str().unwrap()], 2, &["the fleet's own folder"]);

    // Another content of a chunk; the rest is good.
    let chunk = Folder::new(two.on_stick()).path(&two.names[0]);
    let good = fs::read(&chunk).unwrap();
    let mut altered = good.clone();
    altered[good.len() / 2] ^= 1;
    fs::write(&chunk, &altered).unwrap();
    let taken = two.carry(&two.second);
    assert_eq!((&taken["taken"]["pieces"], &taken["taken"]["damaged"]), (&3.into(), &1.into()), "{taken}");
    assert!(!Folder::new(two.arrived()).has(&two.names[0]));
    // Whoever has it mends it.
    assert_eq!(two.first.json(&["carry", two.stick(), "--check"])["given"]["pieces"], 1);
    assert_eq!(fs::read(&chunk).unwrap(), good);
    assert_eq!(two.carry(&two.second)["taken"]["pieces"], 1);
    assert!(two.is_whole(&two.arrived()));

    // Metadata that nobody has signed: what is here stays.
    let timestamp = two.on_stick().join("metadata/timestamp.json");
    let signed = fs::read_to_string(&timestamp).unwrap();
    let altered = signed.replace("snapshot.json", "snapshot.jsom");
    assert_ne!(altered, signed);
    fs::write(&timestamp, &altered).unwrap();
    two.carry(&two.second);
    assert!(two.is_whole(&two.arrived()));
    // What was here has mended the stick. A machine that has nothing takes nothing.
    assert_eq!(fs::read_to_string(&timestamp).unwrap(), signed);
    fs::write(&timestamp, &altered).unwrap();
    fs::remove_dir_all(two.arrived()).unwrap();
    two.second.fail(&["carry", two.stick()], 7, &["releases"]);
    fs::write(&timestamp, &signed).unwrap();

    // Links: to be read from, and to be written to.
    let victim = two.second.path("victim");
    fs::write(&victim, "mine").unwrap();
    for file in ["records.0", "records.1", "requests", "releases", "unfinished"] {
        let (path, away) = (two.fleet().join(file), two.fleet().join("away"));
        let moved = fs::rename(&path, &away).is_ok();
        symlink(&victim, &path).unwrap();
        two.second.fail(&["carry", two.stick()], 7, &[file, "a link or a special file"]);
        fs::remove_file(&path).unwrap();
        if moved {
            fs::rename(&away, &path).unwrap();
        }
    }
    let blobs = two.on_stick().join("blobs");
    fs::rename(&blobs, two.fleet().join("away")).unwrap();
    symlink(two.first.path("releases/blobs"), &blobs).unwrap();
    two.second.fail(&["carry", two.stick()], 7, &["blobs", "a link or a special file"]);
    fs::remove_file(&blobs).unwrap();
    fs::rename(two.fleet().join("away"), &blobs).unwrap();
    assert_eq!(fs::read_to_string(&victim).unwrap(), "mine");

    // Records of nobody: both copies are garbage, then somebody else's.
    let other = Machine::with_fleet("pear", &ONE_ROOT);
    let elsewhere = tempfile::tempdir().unwrap();
    other.ok(&["carry", elsewhere.path().to_str().unwrap()]);
    let theirs = walk(elsewhere.path()).into_iter().find(|file| file.ends_with("records.0")).unwrap();
    let before = fs::read(own.join("fleet.records")).unwrap();
    for copy in ["records.0", "records.1"] {
        fs::copy(&theirs, two.fleet().join(copy)).unwrap();
    }
    two.second.fail(&["carry", two.stick()], 7, &["records"]);
    for copy in ["records.0", "records.1"] {
        fs::write(two.fleet().join(copy), [0x5a; 5000]).unwrap();
    }
    two.carry(&two.second);
    assert_eq!(fs::read(own.join("fleet.records")).unwrap(), before);
    assert!(two.is_whole(&two.arrived()));
}

#[test]
fn a_stick_that_is_pulled_out_at_any_moment_is_whole_the_next_time() {
    let two = Two::new();
    for round in 0..12u64 {
        two.first.ok(&["node", "invite"]);
        let mut child = two.first.command(&["carry", two.stick()]).spawn().unwrap();
        std::thread::sleep(Duration::from_millis(round * 7));
        let _ = child.kill();
        let _ = child.wait();
    }
    // The last one was cut in the middle of a piece.
    let _ = two.first.run(&["carry", two.stick()]);
    let chunk = Folder::new(two.on_stick()).path(&two.names[0]);
    let whole = fs::read(&chunk).unwrap();
    fs::write(&chunk, &whole[..whole.len() / 3]).unwrap();
    let records = two.fleet().join("records.0");
    let bytes = fs::read(&records).unwrap();
    fs::write(&records, &bytes[..bytes.len() / 2]).unwrap();
    fs::write(two.fleet().join("unfinished"), "").unwrap();
    two.carry(&two.first);
    assert!(two.is_whole(&two.on_stick()));
    let taken = two.carry(&two.second);
    assert_eq!((&taken["taken"]["pieces"], &taken["taken"]["damaged"]), (&4.into(), &0.into()), "{taken}");
    let invites = |machine: &Machine| machine.json(&["node", "list", "--invites"])["invites"].as_array().unwrap().len();
    assert_eq!((invites(&two.first), invites(&two.second)), (12, 12));
    assert!(!two.fleet().join("unfinished").exists());
}
