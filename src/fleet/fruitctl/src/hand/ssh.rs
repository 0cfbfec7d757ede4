//! `fruitctl ssh`, and how ssh is told to reach a node.

use crate::failure::{Code, EXIT_CODES, Failure};
use crate::fleet::{Opened, Options, at, candidates, usage};
use crate::net::{Contact, open_way};
use crate::select::{Narrow, Node, nodes};
use clap::Args;
use clap_complete::engine::ArgValueCandidates;
use fruit_base::replace;
use fruit_record::KeyId;
use std::path::Path;
use std::process::{Command, ExitStatus};

/// In the fleet's folder: host keys of nodes, as their reports tell them.
const KNOWN_HOSTS: &str = "known_hosts";
/// The fact of a report that is the host key, and how each such key begins.
const FACT: &str = "ssh-ed25519";
const BEGINS: &str = "AAAAC3NzaC1lZDI1NTE5AAAAI";

#[derive(Args)]
#[command(after_help = EXIT_CODES)]
pub struct SshArgs {
    #[command(flatten)]
    options: Options,
    #[command(flatten)]
    contact: Contact,
    /// Node: its name, its id, or 8 digits of its beginning; with the account before it, as in `root@pi-1`.
    #[arg(value_name = "[USER@]NODE", add = ArgValueCandidates::new(candidates::nodes))]
    node: String,
    /// Options of ssh, and the command to run there; without it, a shell.
    #[arg(trailing_var_arg = true, allow_hyphen_values = true, value_name = "ARGUMENTS")]
    arguments: Vec<String>,
}

impl SshArgs {
    pub fn run(self) -> Result<(), Failure> {
        let (user, name) = account(&self.node);
        let target = Reach::of(&self.options, name)?;
        let way = open_way(&self.options, &self.contact)?;
        let mut command = target.command("ssh");
        let (flags, words) = flags(&self.arguments);
        command.args(flags).arg(with_user(user, &target.name)).args(words);
        let ended = run(&mut command);
        way.end(&self.options)?;
        ended
    }
}

/// Options stand before the host, the command after it.
fn flags(arguments: &[String]) -> (&[String], &[String]) {
    const WITH_VALUE: &str = "BbcDEeFIiJLlmOoPpQRSWw";
    let mut at = 0;
    while let Some(letters) = arguments.get(at).and_then(|word| word.strip_prefix('-')).filter(|rest| *rest != "-") {
        let takes = letters.find(|letter| WITH_VALUE.contains(letter));
        at += if takes.is_some_and(|found| found + 1 == letters.len()) { 2 } else { 1 };
    }
    let (flags, words) = arguments.split_at(at.min(arguments.len()));
    (flags, if words.first().is_some_and(|word| word == "--") { &words[1..] } else { words })
}

/// `USER@NODE`, taken apart.
pub fn account(text: &str) -> (Option<&str>, &str) {
    text.rsplit_once('@').map_or((None, text), |(user, node)| (Some(user), node))
}

pub fn with_user(user: Option<&str>, name: &str) -> String {
    user.map_or(name.to_owned(), |user| format!("{user}@{name}"))
}

/// A node that ssh is told to reach.
pub struct Reach {
    /// As ssh calls it.
    pub name: String,
    options: Vec<String>,
}

impl Reach {
    /// The one member that is named.
    pub fn of(options: &Options, text: &str) -> Result<Reach, Failure> {
        let opened = Opened::read(options)?;
        let id = opened.member_named(text)?;
        let chosen = Narrow::default().choose(&opened, &[id.to_string()])?;
        let node = chosen.first().ok_or_else(|| usage(format!("{text:?} is no node of this fleet")))?;
        write_known_hosts(&opened)?;
        Reach::node(options, node)
    }

    /// A node whose host key stands in [`KNOWN_HOSTS`].
    pub fn node(options: &Options, node: &Node<'_>) -> Result<Reach, Failure> {
        if host_key(node).is_none() {
            let name = node.name();
            let message = format!(
                "{name}: no report with its ssh host key has come here: `fruitctl sync` gets it, if the node has an ssh server"
            );
            return Err(Failure::new(Code::NoAnswer, message));
        }
        let set = settings(options, &node.id)?.into_iter();
        let options = set.flat_map(|(name, value)| ["-o".to_owned(), format!("{name}={value}")]).collect();
        Ok(Reach { name: node.name(), options })
    }

    /// A program of OpenSSH's, told how to reach it.
    pub fn command(&self, program: &str) -> Command {
        let mut command = Command::new(program);
        command.args(&self.options);
        command
    }
}

/// Settings of ssh by which it reaches a node: as ssh's configuration has them.
pub fn settings(options: &Options, node: &KeyId) -> Result<Vec<(&'static str, String)>, Failure> {
    let folder = std::path::absolute(options.folder()?)?;
    let program = std::env::current_exe()?;
    let proxy = format!("{} proxy --quiet --fleet {} {node} ssh", word(&program)?, word(&folder)?);
    let known = folder.join(KNOWN_HOSTS);
    let known = known.to_str().ok_or_else(|| usage(format!("{}: it is not UTF-8", known.display())))?;
    Ok(vec![
        ("ProxyCommand", proxy),
        ("HostKeyAlias", node.to_string()),
        ("UserKnownHostsFile", format!("\"{}\"", known.replace('%', "%%"))),
        ("GlobalKnownHostsFile", "/dev/null".into()),
        ("StrictHostKeyChecking", "yes".into()),
        ("HostKeyAlgorithms", "ssh-ed25519".into()),
        ("UpdateHostKeys", "no".into()),
        ("CheckHostIP", "no".into()),
    ])
}

/// A word for the shell by which ssh starts its proxy.
fn word(path: &Path) -> Result<String, Failure> {
    let text = path.to_str().ok_or_else(|| usage(format!("{}: it is not UTF-8", path.display())))?;
    if text.chars().any(|c| c.is_control() || c == '"' || c == '\'') {
        return Err(usage(format!("{text:?}: ssh cannot be told of a path with quotes or control characters in it")));
    }
    // ssh puts values in for these.
    Ok(format!("'{}'", text.replace('%', "%%")))
}

/// The host key that a node has reported, if it looks like one.
fn host_key<'n>(node: &'n Node<'_>) -> Option<&'n str> {
    let key = node.fact(FACT);
    let plain = |c: char| c.is_ascii_alphanumeric() || matches!(c, '+' | '/' | '=');
    (key.starts_with(BEGINS) && key.chars().all(plain)).then_some(key)
}

/// Writes the host keys of all members, if they have changed.
pub fn write_known_hosts(opened: &Opened) -> Result<(), Failure> {
    let all = nodes(opened);
    let members = all.iter().filter(|node| node.state == "member");
    let line = |node: &Node<'_>| host_key(node).map(|key| format!("{} ssh-ed25519 {key}\n", node.id));
    let text: String = members.filter_map(line).collect();
    let path = opened.folder.join(KNOWN_HOSTS);
    if std::fs::read(&path).is_ok_and(|there| there == text.as_bytes()) {
        return Ok(());
    }
    replace(&path, text.as_bytes()).map_err(at(&path))
}

/// The program cannot be started.
pub fn not_started(command: &Command, error: &std::io::Error) -> Failure {
    let program = command.get_program().to_string_lossy();
    Failure::new(Code::Refused, format!("{program}: {error} (Debian: openssh-client)"))
}

/// Its exit code, as a shell would tell it.
pub fn code(status: ExitStatus) -> i32 {
    use std::os::unix::process::ExitStatusExt;
    status.code().or_else(|| status.signal().map(|signal| 128 + signal)).unwrap_or(1)
}

/// Runs it in this program's place, and ends as it does.
pub fn run(command: &mut Command) -> Result<(), Failure> {
    let status = command.status().map_err(|error| not_started(command, &error))?;
    match code(status) {
        0 => Ok(()),
        code => Err(Failure::as_program(u8::try_from(code).unwrap_or(1))),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn options_of_ssh_stand_before_the_host() {
        let split = |text: &str| {
            let words: Vec<String> = text.split_whitespace().map(str::to_owned).collect();
            let (flags, words) = flags(&words);
            (flags.join(" "), words.join(" "))
        };
        for (text, flags, words) in [
            ("", "", ""),
            ("uptime -p", "", "uptime -p"),
            ("-t -i key ls -l", "-t -i key", "ls -l"),
            ("-vi key -- -x", "-vi key", "-x"),
            ("-p22 true", "-p22", "true"),
            ("-i", "-i", ""),
        ] {
            assert_eq!(split(text), (flags.to_owned(), words.to_owned()), "{text}");
        }
        assert_eq!((account("root@pi-1"), account("pi-1")), ((Some("root"), "pi-1"), (None, "pi-1")));
    }
}
