//! Who asks that the node is not disturbed: a file for each in a folder, and what systemd-logind knows.
//!
//! A file's name is its holder's, its lines are `WHO`, `WHY` and the process id of the holder: with that process gone, the
//! file no longer counts. A file that somebody wrote by hand has no process id and counts until it is removed.

use std::fs;
use std::io;
use std::os::unix::process::CommandExt;
use std::path::{Path, PathBuf};
use std::process::{Command, ExitStatus};
use std::time::Duration;

use fruit_device::systemd::SYSTEM_BUS;
use fruit_device::systemd::bus::{Bus, Call, Fault, Reader};

/// Where the files are on a node.
pub const FOLDER: &str = "/run/fruit/update/inhibit.d";
/// Most bytes of a file, and most files that are read.
const FILE_MAX: usize = 4096;
const FILES_MAX: usize = 256;
/// Most characters of a name or reason.
const TEXT_MAX: usize = 200;
const LOGIND_TIME: Duration = Duration::from_secs(5);

/// Why a command could not be run under an inhibitor.
#[derive(Debug, thiserror::Error)]
pub enum InhibitError {
    #[error("{path}: {source}")]
    File { path: String, source: io::Error },
    #[error("{program}: {source}")]
    Run { program: String, source: io::Error },
}

/// One who asks.
#[derive(Clone, PartialEq, Eq, Debug, serde::Serialize)]
pub struct Inhibitor {
    pub who: String,
    pub why: String,
}

impl std::fmt::Display for Inhibitor {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "{} ({})", self.who, self.why)
    }
}

fn text(line: &str) -> String {
    line.chars().filter(|c| !c.is_control()).take(TEXT_MAX).collect::<String>().trim().to_owned()
}

/// Everyone in `folder` who still counts. `proc`: `/proc`.
pub fn files(folder: &Path, proc: &Path) -> Vec<Inhibitor> {
    let Ok(entries) = fs::read_dir(folder) else { return Vec::new() };
    let mut paths: Vec<PathBuf> = entries.flatten().map(|entry| entry.path()).take(FILES_MAX).collect();
    paths.sort();
    paths.iter().filter_map(|path| file(path, proc)).collect()
}

fn file(path: &Path, proc: &Path) -> Option<Inhibitor> {
    let name = path.file_name()?.to_string_lossy();
    // A file that is being written.
    if name.starts_with('.') {
        return None;
    }
    let mut bytes = fs::read(path).ok()?;
    bytes.truncate(FILE_MAX);
    let content = String::from_utf8_lossy(&bytes);
    let mut lines = content.lines();
    let who = lines.next().map(text).filter(|who| !who.is_empty()).unwrap_or_else(|| text(&name));
    let why = lines.next().map(text).filter(|why| !why.is_empty()).unwrap_or_else(|| "no reason given".into());
    if let Some(pid) = lines.next().and_then(|line| line.trim().parse::<u32>().ok())
        && !proc.join(pid.to_string()).exists()
    {
        return None;
    }
    Some(Inhibitor { who, why })
}

/// Everyone who blocks a shutdown at systemd-logind; nobody where there is none.
pub fn logind(bus: &Path) -> Vec<Inhibitor> {
    ask_logind(bus).unwrap_or_default()
}

fn ask_logind(bus: &Path) -> Result<Vec<Inhibitor>, Fault> {
    let call = Call {
        destination: "org.freedesktop.login1",
        path: "/org/freedesktop/login1",
        interface: "org.freedesktop.login1.Manager",
        member: "ListInhibitors",
        signature: "",
        body: &[],
    };
    let answer = Bus::connect(bus, false, LOGIND_TIME)?.call(&call, LOGIND_TIME)?;
    inhibitors(&answer)
}

/// a(ssssuu): what, who, why, mode, user and process (org.freedesktop.login1(5)).
fn inhibitors(answer: &[u8]) -> Result<Vec<Inhibitor>, Fault> {
    let mut answer = Reader::new(answer);
    let end = answer.array(8)?;
    let mut found = Vec::new();
    while answer.position() < end {
        answer.align(8)?;
        let what = answer.string()?;
        let (who, why) = (text(answer.string()?), text(answer.string()?));
        let mode = answer.string()?;
        answer.u32()?;
        answer.u32()?;
        if mode == "block" && what.split(':').any(|one| one == "shutdown") {
            found.push(Inhibitor { who, why });
        }
    }
    Ok(found)
}

/// Everyone on this node.
pub fn all() -> Vec<Inhibitor> {
    let mut found = files(Path::new(FOLDER), Path::new("/proc"));
    found.extend(logind(Path::new(SYSTEM_BUS)));
    found
}

/// A file of this process in the folder, until it is dropped.
struct Held(PathBuf);

impl Drop for Held {
    fn drop(&mut self) {
        // Without it the file counts no longer either: this process is gone then.
        let _ = fs::remove_file(&self.0);
    }
}

fn hold(folder: &Path, who: &str, why: &str) -> Result<Held, InhibitError> {
    let pid = std::process::id();
    let path = folder.join(pid.to_string());
    let wrong = |source| InhibitError::File { path: path.display().to_string(), source };
    fs::create_dir_all(folder).map_err(wrong)?;
    let content = format!("{}\n{}\n{pid}\n", text(who), text(why));
    fruit_base::replace_volatile(&path, content.as_bytes()).map_err(wrong)?;
    Ok(Held(path))
}

/// Runs a command; while it runs, the node is not restarted and nothing is installed by itself.
///
/// # Errors
/// The file can't be written, or the command not be started.
pub fn during(
    folder: &Path,
    who: &str,
    why: &str,
    program: &str,
    arguments: &[String],
) -> Result<ExitStatus, InhibitError> {
    let _held = hold(folder, who, why)?;
    let status = Command::new(program).arg0(program).args(arguments).status();
    status.map_err(|source| InhibitError::Run { program: program.to_owned(), source })
}

#[cfg(test)]
mod tests {
    use fruit_device::systemd::bus::Writer;

    use super::*;

    #[test]
    fn an_inhibitor_counts_while_its_command_runs() {
        let folder = tempfile::tempdir().unwrap();
        let inhibitors = folder.path().join("inhibit.d");
        let seen = folder.path().join("seen");
        let script = format!("cat {}/* > {}; exit 7", inhibitors.display(), seen.display());
        let status = during(&inhibitors, "backup", "copies the\ndata", "/bin/sh", &["-c".into(), script]).unwrap();
        assert_eq!(status.code(), Some(7));
        let pid = std::process::id();
        assert_eq!(fs::read_to_string(seen).unwrap(), format!("backup\ncopies thedata\n{pid}\n"));
        assert_eq!(files(&inhibitors, Path::new("/proc")), []);
    }

    #[test]
    fn a_file_without_its_process_counts_no_longer() {
        let folder = tempfile::tempdir().unwrap();
        fs::write(folder.path().join("a"), format!("alive\nworks\n{}\n", std::process::id())).unwrap();
        fs::write(folder.path().join("b"), "dead\nworked\n4194999\n").unwrap();
        fs::write(folder.path().join("by-hand"), "").unwrap();
        fs::write(folder.path().join(".half"), "half\nwritten\n").unwrap();
        let found: Vec<String> = files(folder.path(), Path::new("/proc")).iter().map(ToString::to_string).collect();
        assert_eq!(found, ["alive (works)", "by-hand (no reason given)"]);
    }

    #[test]
    fn nobody_asks_where_there_is_no_folder_and_no_bus() {
        let folder = tempfile::tempdir().unwrap();
        assert!(files(&folder.path().join("none"), Path::new("/proc")).is_empty());
        assert!(logind(&folder.path().join("bus")).is_empty());
    }

    #[test]
    fn of_logind_those_count_that_block_a_shutdown() {
        let mut body = Vec::new();
        for (what, who, mode) in
            [("shutdown:sleep", "apt", "block"), ("sleep", "music", "block"), ("shutdown", "NetworkManager", "delay")]
        {
            // Each element is 8-aligned; strings and numbers are 4-aligned.
            body.resize(body.len().next_multiple_of(8), 0);
            let mut element = Writer::default();
            for word in [what, who, "busy", mode] {
                element.string(word);
            }
            let mut element = element.bytes().to_vec();
            element.resize(element.len().next_multiple_of(4) + 8, 0);
            body.extend(element);
        }
        let mut answer = (body.len() as u32).to_le_bytes().to_vec();
        answer.resize(8, 0);
        answer.extend(body);
        let found = inhibitors(&answer).unwrap();
        assert_eq!(found, [Inhibitor { who: "apt".into(), why: "busy".into() }]);
        for cut in 0..answer.len() {
            assert!(inhibitors(&answer[..cut]).is_err(), "{cut}");
        }
    }
}
