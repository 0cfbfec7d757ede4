//! Runs the real tools over our images.

use std::ffi::OsStr;
use std::io::ErrorKind;
use std::process::{Command, Output};

/// Runs `tool`, which Debian's `package` brings.
pub fn run<A: AsRef<OsStr>>(package: &str, tool: &str, args: impl IntoIterator<Item = A>) -> Output {
    match Command::new(tool).args(args).env("LC_ALL", "C.UTF-8").output() {
        Ok(output) => output,
        Err(e) if e.kind() == ErrorKind::NotFound => panic!("{tool} is missing: apt-get install {package}"),
        Err(e) => panic!("{tool}: {e}"),
    }
}

/// As [`run`], and the tool must be content. Returns what it printed to either stream.
pub fn passes<A: AsRef<OsStr>>(package: &str, tool: &str, args: impl IntoIterator<Item = A>) -> String {
    let output = run(package, tool, args);
    let text = String::from_utf8_lossy(&output.stdout).into_owned() + &String::from_utf8_lossy(&output.stderr);
    assert!(output.status.success(), "{tool}: {}\n{text}", output.status);
    text
}
