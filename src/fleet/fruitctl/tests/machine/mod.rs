//! An operator's machine, with a home of its own and real key files.
#![allow(dead_code)]

use ed25519_dalek::SigningKey;
use fruit_record::{Invite, KeyId, Request};
use std::collections::BTreeMap;
use std::fs;
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};
use std::process::{Command, Output, Stdio};
use std::sync::{Mutex, PoisonError};

/// An operator's machine.
pub struct Machine {
    home: PathBuf,
    _temporary: Option<tempfile::TempDir>,
}

impl Machine {
    pub fn new() -> Machine {
        let home = tempfile::tempdir().unwrap();
        Machine::at(home.path().to_owned(), Some(home))
    }

    fn at(home: PathBuf, _temporary: Option<tempfile::TempDir>) -> Machine {
        fs::write(home.join("passphrase"), "correct horse\n").unwrap();
        Machine { home, _temporary }
    }

    /// With a fleet that `args` make: a copy of one that was made for another test, for keys with passphrases take their time.
    /// Two with the same arguments are the same fleet.
    pub fn with_fleet(name: &str, more: &[&str]) -> Machine {
        static MADE: Mutex<BTreeMap<String, Machine>> = Mutex::new(BTreeMap::new());
        let args = [&["fleet", "init", name, "--operator", "anna"], more].concat();
        let mut made = MADE.lock().unwrap_or_else(PoisonError::into_inner);
        let number = made.len();
        let first = made.entry(args.join(" ")).or_insert_with(|| {
            // Nobody removes it when the tests end: it stands where the next run clears it away.
            let tests = std::env::current_exe().unwrap().file_name().unwrap().to_owned();
            let home = Path::new(env!("CARGO_TARGET_TMPDIR")).join(tests).join(number.to_string());
            let _ = fs::remove_dir_all(&home);
            fs::create_dir_all(&home).unwrap();
            let machine = Machine::at(home, None);
            machine.ok(&args);
            machine
        });
        let machine = Machine::new();
        copy(&first.path(".config"), &machine.path(".config"));
        machine
    }

    pub fn path(&self, name: &str) -> PathBuf {
        self.home.join(name)
    }

    pub fn fleet(&self, name: &str) -> PathBuf {
        self.path(&format!(".config/fruit/fleets/{name}"))
    }

    pub fn command(&self, args: &[&str]) -> Command {
        let mut command = Command::new(env!("CARGO_BIN_EXE_fruitctl"));
        command.args(args).current_dir(&self.home).stdin(Stdio::null());
        command.env("HOME", &self.home).env("FRUITCTL_PASSPHRASE_FILE", self.path("passphrase"));
        for name in ["XDG_CONFIG_HOME", "FRUITCTL_FLEET", "FRUITCTL_FLEETS", "SSH_AUTH_SOCK", "USER", "LOGNAME"] {
            command.env_remove(name);
        }
        command
    }

    pub fn run(&self, args: &[&str]) -> Output {
        self.command(args).output().unwrap()
    }

    /// What it prints.
    #[track_caller]
    pub fn ok(&self, args: &[&str]) -> String {
        let output = self.run(args);
        assert!(output.status.success(), "{args:?}: {:?}: {}", output.status, text(&output.stderr));
        text(&output.stdout)
    }

    #[track_caller]
    pub fn json(&self, args: &[&str]) -> serde_json::Value {
        serde_json::from_str(&self.ok(&[args, &["--json"]].concat())).unwrap()
    }

    /// Fails with this code, and says all of this.
    #[track_caller]
    pub fn fail(&self, args: &[&str], code: i32, says: &[&str]) {
        let output = self.run(args);
        let said = text(&output.stderr);
        assert_eq!(output.status.code(), Some(code), "{args:?}: {said}");
        for part in says {
            assert!(said.contains(part), "{args:?}: `{part}` is not in: {said}");
        }
        assert!(!said.contains("panicked"), "{said}");
    }

    /// As [`Machine::fail`], with a file by the name that stands third.
    #[track_caller]
    pub fn fail_with(&self, bytes: &[u8], args: &[&str], code: i32, says: &str) {
        fs::write(self.path(args[2]), bytes).unwrap();
        self.fail(args, code, &[says]);
    }

    /// The request of a node that found `invite` on its card, in a file.
    pub fn request(&self, invite: &str, node: u8, name: &str) -> String {
        let invite = Invite::from_text(invite).unwrap();
        let key = SigningKey::from_bytes(&[node; 32]);
        let bytes = Request::make(&invite.fleet, &key, [name, &format!("serial{node}"), "Pi 4"], &invite).unwrap();
        let path = self.path(&format!("{name}.request"));
        fs::write(&path, bytes).unwrap();
        path.to_str().unwrap().to_owned()
    }
}

fn copy(from: &Path, to: &Path) {
    fs::create_dir(to).unwrap();
    fs::set_permissions(to, fs::metadata(from).unwrap().permissions()).unwrap();
    for entry in fs::read_dir(from).unwrap() {
        let entry = entry.unwrap();
        let to = to.join(entry.file_name());
        match entry.file_type().unwrap().is_dir() {
            true => copy(&entry.path(), &to),
            false => assert!(fs::copy(entry.path(), to).is_ok()),
        }
    }
}

pub fn text(bytes: &[u8]) -> String {
    String::from_utf8(bytes.to_vec()).unwrap()
}

pub fn mode(path: &Path) -> u32 {
    fs::metadata(path).unwrap().permissions().mode() & 0o777
}

pub fn id(seed: u8) -> KeyId {
    SigningKey::from_bytes(&[seed; 32]).verifying_key().into()
}
