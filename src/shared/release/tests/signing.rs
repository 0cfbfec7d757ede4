//! Keys where OpenSSH keeps them, thresholds whose keys are in several hands, and repositories on disk.

use std::collections::BTreeSet;
use std::fs;
use std::os::unix::fs::PermissionsExt;
use std::path::Path;
use std::process::{Child, Command, Output};
use std::time::{Duration, Instant};

use crate::harness;
use crate::harness::*;
use fruit_release::keys::{Agent, Entry, Held, KeyError, KeyStore, Passphrase, Repository, SecretKey, Signer};
use fruit_release::tuf::{Role, Trust};

fn run(program: &str, arguments: &[&str]) -> Output {
    let output = Command::new(program).args(arguments).output();
    output.unwrap_or_else(|error| panic!("{program} is missing ({error}); it is in the Debian package openssh-client"))
}

fn passphrase() -> Passphrase {
    Passphrase::new("correct horse".into())
}

fn text(path: &Path) -> String {
    fs::read_to_string(path).unwrap()
}

#[test]
fn ssh_keygen_opens_our_key_files_and_we_open_its() {
    let folder = tempfile::tempdir().unwrap();
    let mut store = KeyStore::open(folder.path()).unwrap();
    store.make("ours", &passphrase()).unwrap();
    let ours = folder.path().join("ours.key");
    assert_eq!(fs::metadata(&ours).unwrap().permissions().mode() & 0o777, 0o600);
    let public = run("ssh-keygen", &["-y", "-P", "correct horse", "-f", ours.to_str().unwrap()]);
    assert_eq!(String::from_utf8(public.stdout).unwrap(), text(&folder.path().join("ours.pub")));
    let wrong = run("ssh-keygen", &["-y", "-P", "wrong", "-f", ours.to_str().unwrap()]);
    assert!(!wrong.status.success());

    let theirs = folder.path().join("theirs.key");
    let arguments = ["-q", "-t", "ed25519", "-N", "correct horse", "-C", "theirs", "-f", theirs.to_str().unwrap()];
    assert!(run("ssh-keygen", &arguments).status.success());
    let line = text(&folder.path().join("theirs.key.pub"));
    let entry = store.note("theirs", &line, Held::File).unwrap().clone();
    let mut asked = 0;
    let mut unlock = |_: &Entry| {
        asked += 1;
        Ok(passphrase())
    };
    let signature = store.signer(&mut unlock).sign(&entry.public, b"message").unwrap().unwrap();
    assert_eq!(asked, 1);
    let key = SecretKey::from_openssh(&fs::read(&theirs).unwrap(), Some(&passphrase())).unwrap();
    assert_eq!(key.sign(b"message"), signature);
    // A wrong passphrase, and a key of another kind.
    let mut wrong = |_: &Entry| Ok(Passphrase::new("x".into()));
    let refused = store.signer(&mut wrong).sign(&entry.public, b"message");
    assert!(matches!(refused, Err(KeyError::Passphrase { .. })));
    let rsa = folder.path().join("rsa.key");
    assert!(run("ssh-keygen", &["-q", "-t", "ecdsa", "-N", "", "-f", rsa.to_str().unwrap()]).status.success());
    assert!(SecretKey::from_openssh(&fs::read(&rsa).unwrap(), None).is_err());
    assert!(store.note("rsa", &text(&folder.path().join("rsa.key.pub")), Held::File).is_err());
    assert!(matches!(store.make("open", &Passphrase::new(String::new())), Err(KeyError::NoPassphrase)));
}

#[test]
fn the_index_reads_back_and_names_are_safe_as_file_names() {
    let folder = tempfile::tempdir().unwrap();
    let mut store = KeyStore::open(&folder.path().join("new/keys")).unwrap();
    store.make("root-1", &passphrase()).unwrap();
    let line = text(&store.folder().join("root-1.pub"));
    for name in ["", ".", "..", "../x", "a/b", "a b", ".hidden", "ä"] {
        assert!(matches!(store.make(name, &passphrase()), Err(KeyError::KeyName(_))), "{name}");
    }
    assert!(matches!(store.make("root-1", &passphrase()), Err(KeyError::KeyExists(_))));
    assert!(matches!(store.note("again", &line, Held::Elsewhere), Err(KeyError::KeyExists(_))));
    store.save(None).unwrap();
    assert_eq!(KeyStore::open(store.folder()).unwrap().entries(), store.entries());
    fs::write(store.folder().join("keys.json"), "{").unwrap();
    assert!(matches!(KeyStore::open(store.folder()), Err(KeyError::File { .. })));
}

struct Running(Child);

impl Drop for Running {
    fn drop(&mut self) {
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}

#[test]
fn ssh_agent_signs() {
    let folder = tempfile::tempdir().unwrap();
    let file = |name: &str| folder.path().join(name).to_str().unwrap().to_owned();
    let agent =
        Command::new("ssh-agent").args(["-D", "-a", &file("socket")]).stdout(std::process::Stdio::null()).spawn();
    let _agent =
        Running(agent.unwrap_or_else(|error| {
            panic!("ssh-agent is missing ({error}); it is in the Debian package openssh-client")
        }));
    let started = Instant::now();
    while !Path::new(&file("socket")).exists() {
        assert!(started.elapsed() < Duration::from_secs(30), "ssh-agent does not start");
        std::thread::sleep(Duration::from_millis(20));
    }
    assert!(run("ssh-keygen", &["-q", "-t", "ed25519", "-N", "", "-C", "held", "-f", &file("id")]).status.success());
    let added =
        Command::new("ssh-add").args(["-q", &file("id")]).env("SSH_AUTH_SOCK", file("socket")).output().unwrap();
    assert!(added.status.success(), "{added:?}");
    let mut agent = Agent::connect(Path::new(&file("socket"))).unwrap();
    let held = agent.identities().unwrap();
    assert_eq!((held.len(), held[0].1.as_str()), (1, "held"));
    let key = SecretKey::from_openssh(&fs::read(file("id")).unwrap(), None).unwrap();
    assert_eq!(held[0].0, key.public());
    let message = vec![7; 100_000];
    assert_eq!(agent.sign(&key.public(), &message).unwrap(), key.sign(&message));
    // A key that it does not hold, and more than it takes; it is still there after both.
    assert!(matches!(agent.sign(&harness::key(1).public(), b""), Err(KeyError::Agent(_))));
    assert!(matches!(agent.sign(&key.public(), &vec![0; 1 << 20]), Err(KeyError::Agent(_))));
    assert_eq!(agent.sign(&key.public(), b"x").unwrap(), key.sign(b"x"));
}

fn sign(repository: &mut Repository, seeds: &[u8]) -> fruit_release::keys::Signed {
    repository.sign(&mut Seeds(seeds.to_vec()), &BTreeSet::new(), day(0), &LIVES).unwrap()
}

#[test]
fn a_root_is_signed_by_people_who_never_meet() {
    let folder = tempfile::tempdir().unwrap();
    let (place, keys) = (folder.path().join("repository"), folder.path().join("keys"));
    let mut repository = Repository::new(&plan(), day(0), &LIVES).unwrap();
    // Here are the keys of the machine. Root keys 1 and 2 are elsewhere.
    let online = [TARGETS, SNAPSHOT, TIMESTAMP];
    let signed = sign(&mut repository, &online);
    assert_eq!(signed.files, []);
    let waiting = &signed.waiting[0];
    assert_eq!((&waiting.role, waiting.valid, waiting.needed, waiting.missing.len()), (&Role::Root, 0, 2, 3));
    repository.write(&signed, &place, &keys).unwrap();
    assert!(!place.join("metadata").exists(), "nothing half signed is published");

    // The first signs the file, the second the bare bytes with another tool.
    let mut repository = Repository::read(&place, &keys).unwrap();
    let draft = repository.drafts().next().unwrap().clone();
    assert_eq!(draft.name(), "1.root");
    let one = forge(&draft.to_bytes(), &[1], |_| {});
    let other_content = forge(&draft.to_bytes(), &[1], set_version(7));
    assert!(matches!(repository.import(&other_content), Err(KeyError::OtherDraft { .. })));
    let stranger = forge(&draft.to_bytes(), &[99], |_| {});
    assert!(matches!(repository.import(&stranger), Err(KeyError::Stray)));
    assert_eq!(repository.import(&one).unwrap(), [key(1).public().id().unwrap()]);
    assert!(matches!(repository.import_raw(&key(99).sign(&draft.message())), Err(KeyError::Stray)));
    let (role, id) = repository.import_raw(&key(2).sign(&draft.message())).unwrap();
    assert_eq!((role, id), (Role::Root, key(2).public().id().unwrap()));
    repository.write_drafts(&place, &keys).unwrap();

    // The signatures outlive the restart; with the machine's keys all is complete.
    let mut repository = Repository::read(&place, &keys).unwrap();
    let signed = sign(&mut repository, &online);
    assert_eq!(signed.waiting, []);
    repository.write(&signed, &place, &keys).unwrap();
    let names: Vec<&str> = signed.files.iter().map(|(name, _)| name.as_str()).collect();
    let expected =
        ["metadata/1.targets.json", "metadata/1.snapshot.json", "metadata/1.root.json", "metadata/timestamp.json"];
    assert_eq!(names, expected);
    let mut node = Trust::from_root(&fs::read(place.join("metadata/1.root.json")).unwrap()).unwrap();
    follow(&mut node, &signed.files.into_iter().collect(), at(0)).unwrap();
    assert_eq!(fs::read_dir(keys.join("drafts")).unwrap().count(), 0);
}

#[test]
fn while_a_root_waits_for_signatures_the_old_one_goes_on() {
    let mut shop = Shop::open();
    shop.rotate(&Role::Timestamp, TIMESTAMP, 16);
    // Only one root key and the machine's keys are at hand.
    let hand = [1, TARGETS, SNAPSHOT, TIMESTAMP, 16];
    shop.add("1.1");
    let signed = sign(&mut shop.repository, &hand);
    assert_eq!(signed.waiting.iter().map(|w| (&w.role, w.valid)).collect::<Vec<_>>(), [(&Role::Root, 1)]);
    shop.files.extend(signed.files);
    let mut node = shop.node();
    follow(&mut node, &shop.files, at(0)).unwrap();
    assert_eq!(versions(&node), [1, 2, 2, 2]);
    // The second signature comes. What the machine signed meanwhile has the new key's signature too, so that nothing
    // but the root changes.
    let signed = sign(&mut shop.repository, &[2, 16]);
    assert_eq!(signed.waiting, []);
    let names: Vec<&str> = signed.files.iter().map(|(name, _)| name.as_str()).collect();
    assert_eq!(names, ["metadata/2.root.json"]);
    shop.files.extend(signed.files);
    follow(&mut node, &shop.files, at(0)).unwrap();
    assert_eq!(versions(&node), [2, 2, 2, 2]);
}

#[test]
fn a_new_root_waits_for_what_its_keys_have_to_sign() {
    let mut shop = Shop::open();
    shop.rotate(&Role::Targets, TARGETS, 14);
    // The new targets key is not at hand: under the new root there would be no valid targets.
    let signed = sign(&mut shop.repository, &[1, 2, SNAPSHOT, TIMESTAMP]);
    assert_eq!(signed.files, []);
    assert_eq!(signed.waiting.iter().map(|w| &w.role).collect::<Vec<_>>(), [&Role::Targets]);
    follow(&mut shop.node(), &shop.files, at(0)).unwrap();
    let signed = sign(&mut shop.repository, &[14, SNAPSHOT, TIMESTAMP]);
    assert_eq!(signed.waiting, []);
    shop.files.extend(signed.files);
    let mut node = shop.node();
    follow(&mut node, &shop.files, at(0)).unwrap();
    assert_eq!(versions(&node), [2, 2, 2, 2]);
}

#[test]
fn a_crash_between_any_two_files_is_mended_by_signing_again() {
    for files_written in 0..=4 {
        let folder = tempfile::tempdir().unwrap();
        let (place, keys) = (folder.path().join("repository"), folder.path().join("keys"));
        let mut repository = Repository::new(&plan(), day(0), &LIVES).unwrap();
        let all: Vec<u8> = (1..=16).collect();
        let signed = sign(&mut repository, &all);
        repository.write(&signed, &place, &keys).unwrap();
        // All keys change at once, and there is a new target.
        for (role, old, new) in
            [(Role::Targets, TARGETS, 14), (Role::Snapshot, SNAPSHOT, 15), (Role::Timestamp, TIMESTAMP, 16)]
        {
            let old = key(old).public().id().unwrap();
            repository.rotate(&role, &old, &key(new).public(), day(0), &LIVES).unwrap();
        }
        repository.add_targets(vec![target("1.1")], day(0), &LIVES).unwrap();
        let before = sign(&mut repository.clone(), &[1, 14]);
        assert_eq!(before.files, []);
        let mut half = repository.clone();
        sign(&mut half, &[1, 2, 14]);
        half.write_drafts(&place, &keys).unwrap();
        let mut signed = sign(&mut repository, &all);
        assert_eq!(signed.files.len(), 4);
        signed.files.truncate(files_written);
        for (name, bytes) in &signed.files {
            fruit_release::keys::write_atomically(&place.join(name), bytes).unwrap();
        }
        // Restarted.
        let mut repository = Repository::read(&place, &keys).unwrap();
        let signed = sign(&mut repository, &all);
        assert_eq!(signed.waiting, []);
        repository.write(&signed, &place, &keys).unwrap();
        let mut files = Files::new();
        for entry in fs::read_dir(place.join("metadata")).unwrap() {
            let entry = entry.unwrap();
            let name = format!("metadata/{}", entry.file_name().to_string_lossy());
            files.insert(name, fs::read(entry.path()).unwrap());
        }
        let mut node = Trust::from_root(&files["metadata/1.root.json"]).unwrap();
        follow(&mut node, &files, at(0)).unwrap();
        assert_eq!(node.root_version(), 2, "after {files_written} files");
        assert!(node.target(&path("1.1"), &at(0)).is_ok());
    }
}

#[test]
fn targets_that_somebody_slipped_in_are_not_signed_anew() {
    let folder = tempfile::tempdir().unwrap();
    let (place, keys) = (folder.path().join("repository"), folder.path().join("keys"));
    let shop = Shop::open();
    for (name, bytes) in &shop.files {
        fruit_release::keys::write_atomically(&place.join(name), bytes).unwrap();
    }
    assert!(Repository::read(&place, &keys).is_ok());
    let forged = forge(&shop.file("1.targets"), &[99], |_| {});
    fs::write(place.join("metadata/1.targets.json"), forged).unwrap();
    let error = Repository::read(&place, &keys).unwrap_err();
    assert!(error.is_untrusted(), "{error}");
    fs::write(place.join("metadata/1.root.json"), forge(&shop.file("1.root"), &[1, 99], |_| {})).unwrap();
    assert!(Repository::read(&place, &keys).unwrap_err().is_untrusted());
}

#[test]
fn the_same_keys_and_times_give_the_same_bytes() {
    assert_eq!(Shop::open().files, Shop::open().files);
    // Nothing changed, nothing is written.
    let mut shop = Shop::open();
    assert_eq!(sign(&mut shop.repository, &[1, 2, 3, 4, 5, 6]).files, []);
    // Expiry alone renews what is asked for and what lists it.
    let renew = BTreeSet::from([Role::Snapshot]);
    let signed = shop.repository.sign(&mut Seeds(vec![4, 5, 6]), &renew, day(20), &LIVES).unwrap();
    let names: Vec<&str> = signed.files.iter().map(|(name, _)| name.as_str()).collect();
    assert_eq!(names, ["metadata/2.snapshot.json", "metadata/timestamp.json"]);
    assert_eq!(shop.repository.expires(&Role::Timestamp), Some(day(50)));
}

#[test]
fn targets_are_added_replaced_and_removed() {
    let mut shop = Shop::open();
    shop.release("1.1");
    shop.release("1.1");
    assert_eq!(shop.repository.targets().unwrap().len(), 2);
    let gone = |path: String| shop.repository.clone().remove_targets(&[path], day(0), &LIVES);
    assert!(matches!(gone(path("9")), Err(KeyError::NoTarget(_))));
    shop.repository.remove_targets(&[path("1.0")], day(0), &LIVES).unwrap();
    shop.publish(&[]);
    let node = shop.current_node();
    assert!(node.target(&path("1.0"), &at(0)).is_err());
    assert!(node.target(&path("1.1"), &at(0)).is_ok());
}
