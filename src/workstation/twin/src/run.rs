//! One run of all scripts in the sandbox.

use std::io::Read;
use std::path::Path;

use fruit_base::AtPath;
use fruit_debian::PackageContents;
use fruit_image::tree::{Inode, Tree};
use fruit_sandbox::{Cause, Command, Limits, Root, Sandbox};

use crate::answers::{Answer, questions};
use crate::archive;
use crate::database::{DIR, Order};
use crate::error::Error;

/// What runs in the root.
pub(crate) const SCRIPT: &str = include_str!("run.sh");

/// Folder of the run's own files in the root.
fn place(name: &str) -> String {
    format!("{DIR}/fruitbuild/{name}")
}

/// Lines of a script's output that an error shows.
const SHOWN: usize = 12;

/// Bytes of output that are remembered.
const REMEMBERED: usize = 8 << 20;

/// Puts what the run needs into the tree.
pub(crate) fn prepare(
    tree: &mut Tree,
    order: &Order,
    architecture: &str,
    answers: &[Answer],
    epoch: i64,
) -> Result<(), Error> {
    tree.make_dirs(&format!("{DIR}/fruitbuild"), 0o755, epoch)?;
    let lines = |names: &[String]| names.iter().map(|name| format!("{name}\n")).collect::<String>();
    let answers: String = answers.iter().map(Answer::line).collect();
    let files = [
        ("run.sh", SCRIPT.to_owned()),
        ("preinst", lines(&order.preinst)),
        ("essential", lines(&order.essential)),
        ("architecture", format!("{architecture}\n")),
        ("answers", answers),
    ];
    for (name, text) in files {
        tree.insert(&place(name), Inode::file(text.as_str(), 0o644, epoch))?;
    }
    // Nothing is started while an image is made (Debian policy 9.3.3.2).
    let no_service = Inode::file("#!/bin/sh\nexit 101\n", 0o755, epoch);
    tree.insert("usr/sbin/policy-rc.d", no_service)?;
    Ok(())
}

/// The environment of all scripts: nothing of the workstation's, and nothing that differs from run to run.
fn environment(epoch: i64) -> Vec<(String, String)> {
    let epoch = epoch.to_string();
    let all = [
        ("PATH", "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin"),
        ("HOME", "/root"),
        ("LC_ALL", "C.UTF-8"),
        ("LANG", "C.UTF-8"),
        ("TERM", "dumb"),
        ("TZ", "UTC0"),
        ("DEBIAN_FRONTEND", "noninteractive"),
        ("DEBCONF_NONINTERACTIVE_SEEN", "true"),
        ("DEBCONF_NOWARNINGS", "yes"),
        ("SOURCE_DATE_EPOCH", &epoch),
        ("PERL_HASH_SEED", "0"),
        ("PYTHONHASHSEED", "0"),
        ("PYTHONDONTWRITEBYTECODE", "1"),
    ];
    all.map(|(name, value)| (name.to_owned(), value.to_owned())).to_vec()
}

/// A root in which the scripts have run.
pub(crate) struct Ran {
    root: Root,
}

/// Runs the scripts over `tree`. `work` is a folder that may be filled; the output goes to `log`.
///
/// # Errors
/// A script that fails, asks or hangs: named, with the end of its output and what to do.
pub(crate) fn run(
    sandbox: &Sandbox,
    tree: &Tree,
    packages: &[PackageContents],
    limits: &Limits,
    epoch: i64,
    (work, log): (&Path, &Path),
) -> Result<Ran, Error> {
    let root = sandbox.root(work)?;
    let (reader, writer) = std::io::pipe().map_err(|e| Error::Other(format!("a pipe: {e}")))?;
    let unpacked = std::thread::scope(|scope| {
        let writing = scope.spawn(|| archive::write(tree, writer));
        let unpacked = root.unpack(reader);
        let written = writing.join().map_err(|_| Error::Other("a thread panicked".to_owned()))?;
        // Who does not read on makes the writer fail, too: the reader's error is the one that says why.
        unpacked?;
        written.map_err(|e| Error::Other(format!("the packages' files cannot be read: {e}")))
    });
    unpacked?;
    let command = Command {
        argv: vec!["/usr/bin/dash".into(), format!("/{}", place("run.sh"))],
        env: environment(epoch),
        cwd: "/".into(),
        stdin: Vec::new(),
    };
    let mut output = Vec::new();
    let ended = root.run(&command, limits, &mut |piece| {
        let room = REMEMBERED.saturating_sub(output.len());
        output.extend(&piece[..piece.len().min(room)]);
    })?;
    let text = String::from_utf8_lossy(&output).into_owned();
    fruit_base::replace(log, text.as_bytes()).at(log)?;
    if ended.well() { Ok(Ran { root }) } else { Err(failure(&text, ended.cause, packages, log)) }
}

impl Ran {
    /// The root as it is now, to `read` as an archive.
    ///
    /// # Errors
    /// What `read` has, or what keeps the root from being read.
    pub fn read<T>(self, read: impl FnOnce(&mut dyn Read) -> Result<T, Error>) -> Result<T, Error> {
        let (mut reader, writer) = std::io::pipe().map_err(|e| Error::Other(format!("a pipe: {e}")))?;
        let outcome = std::thread::scope(|scope| {
            let exporting = scope.spawn(|| self.root.export(writer));
            let outcome = read(&mut reader);
            // So that a reader that gave up does not leave the other side waiting.
            drop(reader);
            let exported = exporting.join().map_err(|_| Error::Other("a thread panicked".to_owned()))?;
            let outcome = outcome?;
            exported?;
            Ok(outcome)
        });
        self.root.remove()?;
        outcome
    }
}

/// Whose script it was, what it said last, and what to do.
fn failure(output: &str, cause: Cause, packages: &[PackageContents], log: &Path) -> Error {
    let output = fruit_base::invisible::for_a_terminal(output);
    let said = Said::of(&output);
    let by_itself = matches!(cause, Cause::Exit(_));
    let script = if said.script.is_empty() { "a script".to_owned() } else { said.script.clone() };
    let what = match (&said.package, by_itself) {
        (Some(package), true) => format!("{package}: its {script} failed"),
        (Some(package), false) => format!("{package}: its {script} {cause}"),
        (None, _) => format!("configuring the packages: the run {cause}"),
    };
    let mut advice = Vec::new();
    if let Some(package) = said.package.as_ref().and_then(|name| packages.iter().find(|p| p.name == *name)) {
        let asked: Vec<String> = questions(package).into_iter().take(4).collect();
        if !asked.is_empty() {
            advice.push(format!("answer what it asks under `debconf:` ({})", asked.join(", ")));
        }
        advice.push(format!("take {} out of the recipe", package.name));
    }
    advice.push(
        "write `scripts: never` into the recipe, and do what the scripts would have done in an overlay".to_owned(),
    );
    let lines: Vec<&str> = said.lines.iter().rev().take(SHOWN).rev().copied().collect();
    let output = lines.iter().map(|line| format!("  | {line}")).collect::<Vec<_>>().join("\n");
    Error::Script { what, output, advice: advice.join("; or "), log: log.to_owned() }
}

/// What the output says of the script that ended the run.
#[derive(Debug, Default, PartialEq, Eq)]
struct Said<'o> {
    package: Option<String>,
    script: String,
    lines: Vec<&'o str>,
}

impl<'o> Said<'o> {
    /// dpkg says whose turn it is (`Setting up NAME (VERSION) ...`) and what failed (`dpkg: error processing package NAME`);
    /// the first failure counts, without one the last turn.
    fn of(output: &'o str) -> Said<'o> {
        let mut now = Said::default();
        let without_architecture = |name: &str| name.split(':').next().unwrap_or(name).to_owned();
        let mut lines = output.lines().peekable();
        while let Some(line) = lines.next() {
            if let Some(rest) = line.strip_prefix("@@ ") {
                let words: Vec<&str> = rest.split(' ').collect();
                match words.as_slice() {
                    ["preinst", package] => {
                        now =
                            Said { package: Some((*package).to_owned()), script: "preinst".into(), lines: Vec::new() };
                    }
                    ["failed", ..] => return now,
                    ["configure"] => now = Said::default(),
                    ["answers"] => now = Said { package: None, script: "answers".into(), lines: Vec::new() },
                    _ => {}
                }
                continue;
            }
            if let Some(rest) =
                line.strip_prefix("Setting up ").or_else(|| line.strip_prefix("Processing triggers for "))
            {
                let name = rest.split(' ').next().unwrap_or_default();
                now = Said { package: Some(without_architecture(name)), script: "postinst".into(), lines: Vec::new() };
                continue;
            }
            if let Some(rest) = line.strip_prefix("dpkg: error processing package ") {
                let name = without_architecture(rest.split(' ').next().unwrap_or_default());
                if now.package.as_deref() != Some(&name) {
                    now = Said { package: Some(name), script: "postinst".into(), lines: now.lines };
                }
                now.lines.push(line);
                // How it ended stands in the next line.
                now.lines.extend(lines.next_if(|line| line.starts_with(' ')));
                return now;
            }
            now.lines.push(line);
        }
        now
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_package_that_ended_the_run_is_found_in_the_output() {
        let said = Said::of(
            "@@ configure\nSetting up a (1) ...\nfine\nSetting up b:amd64 (2) ...\nno\ndpkg: error processing package b:amd64 (--configure):\n sub\nSetting up c (3) ...\n",
        );
        assert_eq!(said.package.as_deref(), Some("b"));
        assert_eq!(said.lines, ["no", "dpkg: error processing package b:amd64 (--configure):", " sub"]);
        let hangs = Said::of("Setting up a (1) ...\nwhat is your name?\n");
        assert_eq!((hangs.package.as_deref(), hangs.lines.as_slice()), (Some("a"), &["what is your name?"][..]));
        let early = Said::of("@@ preinst x\nbad\n@@ failed x preinst 3\n@@ configure\n");
        assert_eq!((early.package.as_deref(), early.script.as_str(), early.lines.len()), (Some("x"), "preinst", 1));
    }

    #[test]
    fn an_error_says_whose_script_what_it_said_and_what_to_do() {
        let error = failure("Setting up a (1) ...\nask\n", Cause::Silence, &[], Path::new("/l")).to_string();
        for part in ["a: its postinst was stopped: it hangs", "  | ask", "scripts: never", "/l"] {
            assert!(error.contains(part), "{error}");
        }
    }
}
