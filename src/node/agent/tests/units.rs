//! The units, as systemd's own checkers see them.

use std::fs;
use std::path::Path;
use std::process::Command;

use crate::checkers;
use crate::checkers::analyze;
use fruit_contract::agent::files::{FILES, PROGRAM_PATH};
use fruit_contract::installed::Content;

/// Exposure that `systemd-analyze security` may find at most, of 100.
const EXPOSURE_MAX: &str = "20";

fn root() -> tempfile::TempDir {
    let root = checkers::root(FILES, PROGRAM_PATH);
    // Units that ours are ordered by: the distribution's own.
    let units = Path::new("/usr/lib/systemd/system");
    for name in [
        "basic.target",
        "shutdown.target",
        "sysinit.target",
        "paths.target",
        "multi-user.target",
        "umount.target",
        "local-fs.target",
        "system.slice",
        "-.slice",
        "systemd-sysusers.service",
        "systemd-udev-trigger.service",
    ] {
        if units.join(name).exists() {
            fs::copy(units.join(name), root.path().join("usr/lib/systemd/system").join(name)).unwrap();
        }
    }
    root
}

fn units() -> impl Iterator<Item = &'static str> {
    let texts = FILES.iter().filter(|file| matches!(file.content, Content::Text(_)));
    texts.filter_map(|file| file.path.strip_prefix("usr/lib/systemd/system/"))
}

#[test]
fn systemd_finds_no_mistake_in_the_units() {
    let root = root();
    let at = format!("--root={}", root.path().display());
    assert_eq!(units().count(), 4);
    for unit in units() {
        let output = analyze(&["verify", "--man=no", "--recursive-errors=no", &at, unit]);
        let said = String::from_utf8_lossy(&output.stderr);
        assert!(!said.contains("fruit-agent"), "{unit}: {said}");
    }
    // The checker does look: a mistake is found.
    let broken = root.path().join("usr/lib/systemd/system/fruit-agent.service");
    fs::write(&broken, "[Service]\nTypo=yes\nExecStart=/usr/bin/fruit-agent run\n").unwrap();
    let output = analyze(&["verify", "--man=no", "--recursive-errors=no", &at, "fruit-agent.service"]);
    assert!(String::from_utf8_lossy(&output.stderr).contains("Typo"));
}

#[test]
fn the_services_are_hardened() {
    let root = root();
    let at = format!("--root={}", root.path().display());
    for unit in units().filter(|unit| unit.ends_with(".service")) {
        let threshold = format!("--threshold={EXPOSURE_MAX}");
        let output = analyze(&["security", "--offline=true", &threshold, "--no-pager", &at, unit]);
        let said = String::from_utf8_lossy(&output.stdout);
        assert!(output.status.success(), "{unit}: {}", said.lines().last().unwrap_or_default());
    }
}

#[test]
fn links_of_the_image_lead_to_files_of_the_image() {
    let root = root();
    for file in FILES {
        assert!(fs::metadata(root.path().join(file.path)).is_ok(), "{}", file.path);
    }
}

#[test]
fn sysusers_makes_the_user_and_puts_it_into_its_groups() {
    let root = root();
    fs::create_dir_all(root.path().join("etc")).unwrap();
    let users = Command::new("systemd-sysusers")
        .arg(format!("--root={}", root.path().display()))
        .arg(root.path().join("usr/lib/sysusers.d/fruit-agent.conf"))
        .output()
        .expect("systemd-sysusers does not start; install the Debian package systemd");
    assert!(users.status.success(), "{}", String::from_utf8_lossy(&users.stderr));
    let group = fs::read_to_string(root.path().join("etc/group")).unwrap();
    assert!(group.lines().any(|line| line.starts_with("gpio:") && line.ends_with(":fruit-agent")), "{group}");
    assert!(fs::read_to_string(root.path().join("etc/passwd")).unwrap().contains("fruit-agent:"));
}
