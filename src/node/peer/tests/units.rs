//! The unit, as systemd's own checkers see it.

#[path = "../../device/tests/checkers/mod.rs"]
mod checkers;

use std::fs;
use std::process::Command;

use checkers::analyze;
use fruit_contract::peer::files::{FILES, PROGRAM_PATH};

/// Exposure that `systemd-analyze security` may find at most, of 100: it faces the network, and is hardened as the agent is.
const EXPOSURE_MAX: &str = "20";
const UNIT: &str = "fruit-peer.service";

fn root() -> tempfile::TempDir {
    let root = checkers::root(FILES, PROGRAM_PATH);
    let units = root.path().join("usr/lib/systemd/system");
    for target in ["sysinit", "basic", "multi-user", "shutdown", "network", "local-fs"] {
        fs::write(units.join(format!("{target}.target")), "[Unit]\nDescription=x\n").unwrap();
    }
    root
}

#[test]
fn systemd_finds_no_mistake_in_the_unit_and_it_is_hardened() {
    let root = root();
    let at = format!("--root={}", root.path().display());
    let output = analyze(&["verify", "--man=no", "--recursive-errors=no", &at, UNIT]);
    let said = String::from_utf8_lossy(&output.stderr);
    assert!(!said.contains("fruit-peer") && !said.contains("Unknown"), "{said}");
    let threshold = format!("--threshold={EXPOSURE_MAX}");
    let output = analyze(&["security", "--offline=true", &threshold, "--no-pager", &at, UNIT]);
    let said = String::from_utf8_lossy(&output.stdout);
    assert!(output.status.success(), "{}", said.lines().last().unwrap_or_default());
}

#[test]
fn sysusers_makes_the_user_and_links_lead_to_files() {
    let root = root();
    for file in FILES {
        assert!(fs::metadata(root.path().join(file.path)).is_ok(), "{}", file.path);
    }
    fs::create_dir_all(root.path().join("etc")).unwrap();
    let users = Command::new("systemd-sysusers")
        .arg(format!("--root={}", root.path().display()))
        .arg(root.path().join("usr/lib/sysusers.d/fruit-peer.conf"))
        .output()
        .expect("systemd-sysusers does not start; install the Debian package systemd");
    assert!(users.status.success(), "{}", String::from_utf8_lossy(&users.stderr));
    assert!(fs::read_to_string(root.path().join("etc/passwd")).unwrap().contains("fruit-peer:"));
}
