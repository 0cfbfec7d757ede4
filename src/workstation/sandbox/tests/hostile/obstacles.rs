//! A machine that allows no sandbox: what is in the way is named, with what to do.

use std::process::Command;

use fruit_sandbox::Sandbox;

use crate::Test;
use crate::fixture::tool;

pub const TESTS: &[Test] = &[
    ("a_container_that_hides_proc_is_told_what_to_allow", a_container_that_hides_proc_is_told_what_to_allow),
    ("a_user_without_ids_is_told_how_to_get_them", a_user_without_ids_is_told_how_to_get_them),
];

const PROBE: &str = "FRUIT_SANDBOX_PROBE";

/// Where this program has been started to find an obstacle: tells it.
pub fn probe() {
    if std::env::var_os(PROBE).is_some() {
        println!("{}", Sandbox::probe().map_or_else(|reason| reason.to_string(), |sandbox| sandbox.to_string()));
        std::process::exit(0);
    }
}

/// What is said behind an obstacle, which only root can set up.
fn behind(program: &str, package: &str, arguments: &[&str]) -> Option<String> {
    if !rustix::process::geteuid().is_root() {
        return None;
    }
    let mut command = Command::new(tool(program, package));
    command.args(arguments).arg(std::env::current_exe().unwrap()).env(PROBE, "1").current_dir("/");
    Some(String::from_utf8(command.output().unwrap().stdout).unwrap())
}

fn a_container_that_hides_proc_is_told_what_to_allow() {
    let script = "mount -t tmpfs none /proc/fs && exec \"$@\"";
    let arguments = ["--mount", "--propagation", "private", "sh", "-ec", script, "sh"];
    let Some(said) = behind("unshare", "util-linux", &arguments) else { return };
    assert!(said.contains("hides parts of /proc") && said.contains("systempaths=unconfined"), "{said}");
}

fn a_user_without_ids_is_told_how_to_get_them() {
    let arguments = ["--reuid", "54323", "--regid", "54323", "--clear-groups"];
    let Some(said) = behind("setpriv", "util-linux", &arguments) else { return };
    for part in ["/etc/subuid gives `54323` no range", "usermod --add-subuids", "usermod --add-subgids"] {
        assert!(said.contains(part), "{part} in {said}");
    }
}
