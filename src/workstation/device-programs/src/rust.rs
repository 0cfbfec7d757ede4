//! Rust's own programs, and a compilation that tells how far it is.

use std::ffi::OsString;
use std::io::{self, Read};
use std::path::{Path, PathBuf};
use std::process::{Command, Output, Stdio};

/// Bytes of a compiler's talk that are kept for an error.
const KEPT: usize = 64 << 10;

/// A program of Rust's: on the PATH, or where rustup puts it. Cron and services of CI start commands with a short PATH.
pub fn rust_tool(name: &str) -> Option<PathBuf> {
    let path = std::env::var_os("PATH").unwrap_or_default();
    let of_rustup = [folder("CARGO_HOME"), folder("HOME").map(|home| home.join(".cargo"))];
    let of_rustup = of_rustup.into_iter().flatten().map(|home| home.join("bin"));
    std::env::split_paths(&path).chain(of_rustup).map(|folder| folder.join(name)).find(|file| file.is_file())
}

/// Where cargo keeps the sources of crates.
pub fn cargo_home() -> Option<PathBuf> {
    folder("CARGO_HOME").or_else(|| Some(folder("HOME")?.join(".cargo")))
}

/// The folder that a variable of the environment names.
fn folder(variable: &str) -> Option<PathBuf> {
    std::env::var_os(variable).filter(|value| !value.is_empty()).map(PathBuf::from)
}

/// The PATH for programs of Rust's, which call each other.
pub fn path_with(tool: &Path) -> OsString {
    let path = std::env::var_os("PATH").unwrap_or_default();
    let folders = std::env::split_paths(&path).chain(tool.parent().map(Path::to_owned));
    std::env::join_paths(folders).unwrap_or(path)
}

/// What `rustc ARGUMENTS` prints.
///
/// # Errors
/// A sentence: there is no rustc, or what it says of why it does not work.
pub fn rustc(arguments: &[&str]) -> Result<Vec<u8>, String> {
    let Some(tool) = rust_tool("rustc") else {
        return Err("rustc is neither on the PATH nor in ~/.cargo/bin".to_owned());
    };
    let output = Command::new(&tool).args(arguments).env("PATH", path_with(&tool)).output();
    let Output { status, stdout, stderr } = output.map_err(|error| format!("{}: {error}", tool.display()))?;
    if status.success() {
        return Ok(stdout);
    }
    let said = String::from_utf8_lossy(&stderr);
    Err(format!("{}: {}", tool.display(), said.lines().next().unwrap_or("it ended with an error and said nothing")))
}

/// Runs cargo and calls `report` with the crates that are done and all of them. What else it said comes with an error.
///
/// # Errors
/// Cargo cannot be run (outer), or failed (inner).
pub fn watch(command: &mut Command, report: &mut dyn FnMut(u64, u64)) -> io::Result<Result<(), String>> {
    // Cargo draws its bar for a terminal of any width, and only when asked where there is none.
    command.env("CARGO_TERM_PROGRESS_WHEN", "always").env("CARGO_TERM_PROGRESS_WIDTH", "100");
    command.env("CARGO_TERM_COLOR", "never").env_remove("CARGO_TERM_QUIET").env_remove("CARGO_TERM_VERBOSE");
    let mut child = command.stdin(Stdio::null()).stdout(Stdio::null()).stderr(Stdio::piped()).spawn()?;
    let mut said = Vec::new();
    if let Some(mut talk) = child.stderr.take() {
        let (mut line, mut buf) = (Vec::new(), [0; 4096]);
        loop {
            let count = talk.read(&mut buf)?;
            for &byte in &buf[..count] {
                if byte != b'\r' && byte != b'\n' {
                    line.push(byte);
                    continue;
                }
                hear(&line, &mut said, report);
                line.clear();
            }
            if count == 0 {
                hear(&line, &mut said, report);
                break;
            }
        }
    }
    let status = child.wait()?;
    Ok(if status.success() { Ok(()) } else { Err(String::from_utf8_lossy(&said).into_owned()) })
}

fn hear(line: &[u8], said: &mut Vec<u8>, report: &mut dyn FnMut(u64, u64)) {
    let text = String::from_utf8_lossy(line);
    if let Some((done, total)) = of_bar(&text) {
        report(done, total);
        return;
    }
    let steps = ["Compiling ", "Downloading ", "Downloaded ", "Locking ", "Updating ", "Building [", "Finished "];
    let text = text.trim_start_matches("\u{1b}[K");
    if text.trim().is_empty() || steps.iter().any(|step| text.trim_start().starts_with(step)) {
        return;
    }
    if said.len() < KEPT {
        said.extend_from_slice(text.as_bytes());
        said.push(b'\n');
    }
}

/// `    Building [=====>      ] 34/99: serde, …`
fn of_bar(line: &str) -> Option<(u64, u64)> {
    let (_, counts) = line.split_once("Building [")?.1.split_once("] ")?;
    let (done, rest) = counts.split_once('/')?;
    let total: String = rest.chars().take_while(char::is_ascii_digit).collect();
    Some((done.trim().parse().ok()?, total.parse().ok()?))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn cargos_bar_is_read_and_its_errors_are_kept() {
        let script = "printf '   Compiling a v1\\n    Building [===>    ] 3/17: a, b\\r\\033[K    Building [======] 17/17\\r' >&2
            echo 'error: No space left on device (os error 28)' >&2; exit 101";
        let mut seen = Vec::new();
        let result = watch(Command::new("sh").args(["-c", script]), &mut |done, total| seen.push((done, total)));
        assert_eq!(seen, [(3, 17), (17, 17)]);
        assert_eq!(result.unwrap().unwrap_err(), "error: No space left on device (os error 28)\n");
        assert!(watch(Command::new("true").arg("x"), &mut |_, _| {}).unwrap().is_ok());
    }
}
