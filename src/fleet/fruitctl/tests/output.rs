//! What cannot be printed is an error of the program, and no panic.

use std::fs::File;
use std::process::{Command, Stdio};

/// `/dev/full` answers every write with "No space left on device".
#[test]
fn a_full_disk_behind_standard_output_is_told() {
    for arguments in [&["--version"][..], &["completions", "bash"]] {
        let full = File::options().write(true).open("/dev/full").unwrap();
        let mut command = Command::new(env!("CARGO_BIN_EXE_fruitctl"));
        let output = command.args(arguments).stdout(full).stderr(Stdio::piped()).output().unwrap();
        let said = String::from_utf8(output.stderr).unwrap();
        assert_eq!(output.status.code(), Some(1), "{said}");
        assert!(said.contains("fruitctl: standard output cannot be written: No space left on device"), "{said}");
    }
}
