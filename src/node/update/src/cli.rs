//! The command line of `fruit-update`. The tables below are both what is understood and what `--help` says: a crate that
//! knows of commands and help would be a twentieth of the program.

use std::ffi::OsString;
use std::path::PathBuf;

use fruit_contract::update::config::CONFIG_PATH;
use lexopt::{Arg, Parser};

const ABOUT: &str = "\
Updates this node.

A release is installed into the slot that is not running and boots on trial. It is committed when its health checks
pass; otherwise the node falls back to the previous release.
";

const STATUSES: &str = "
Exit statuses:
  0  done; for `check`: a newer release is available
  1  this node has a fault
  2  wrong command line
  3  nothing to do: no newer release, nothing to cancel
  4  refused: not for this node, not now, expired, or older than what this node has seen; nothing was written
  5  the source cannot be reached, lacks a file that it lists, or was truncated or altered
  6  stopped by a signal; the next attempt continues from there
  7  another fruit-update has been at work for 30 s
The running system never changes; `fruit-update status` shows the state of the node.
";

/// Boots that a release may get to prove itself.
const TRIES: std::ops::RangeInclusive<u32> = 1..=7;

/// What is to be done.
#[derive(PartialEq, Eq, Debug)]
pub struct Cli {
    pub command: Command,
    /// File of the configuration.
    pub config: PathBuf,
    /// JSON to standard output.
    pub json: bool,
    /// No progress.
    pub quiet: bool,
}

/// The commands, as [`VERBS`] explains them.
#[derive(PartialEq, Eq, Debug)]
pub enum Command {
    Install {
        from: Option<String>,
        release: Option<String>,
        force: bool,
        tries: Option<u32>,
        restart: bool,
    },
    Check {
        from: Option<String>,
    },
    Status,
    Commit,
    Rollback {
        force: bool,
        restart: bool,
    },
    Cancel,
    Clone {
        force: bool,
    },
    History,
    Restart,
    Daemon,
    CheckConfig,
    /// `command` has at least one word.
    Inhibit {
        who: String,
        why: String,
        command: Vec<String>,
    },
}

/// A command line that makes sense.
#[derive(PartialEq, Eq, Debug)]
pub enum Asked {
    Do(Cli),
    /// Only this text is wanted.
    Text(String),
}

struct Flag {
    name: &'static str,
    short: Option<&'static str>,
    /// What its value is called.
    value: Option<&'static str>,
    about: &'static str,
}

struct Verb {
    name: &'static str,
    about: &'static str,
    /// Names and explanations of what follows it; a name in brackets may be left out.
    operands: &'static [(&'static str, &'static str)],
    flags: &'static [Flag],
    /// Whether a command with its arguments comes after `--`.
    runs: bool,
    command: fn(Words) -> Result<Command, String>,
}

const fn flag(name: &'static str, about: &'static str) -> Flag {
    Flag { name, short: None, value: None, about }
}

const fn short(name: &'static str, short: &'static str, about: &'static str) -> Flag {
    Flag { name, short: Some(short), value: None, about }
}

const fn value(name: &'static str, value: &'static str, about: &'static str) -> Flag {
    Flag { name, short: None, value: Some(value), about }
}

const fn verb(name: &'static str, about: &'static str, command: fn(Words) -> Result<Command, String>) -> Verb {
    Verb { name, about, operands: &[], flags: &[], runs: false, command }
}

const RESTART: Flag = flag("--restart", "Restarts into it immediately");

const GLOBAL: [Flag; 5] = [
    value("--config", "FILE", "Configuration [default: /etc/fruit/update.yaml]"),
    flag("--json", "Prints JSON to standard output"),
    short("--quiet", "-q", "Shows no progress"),
    short("--help", "-h", "Shows this text; after a command, the help of that command"),
    short("--version", "-V", "Shows the version of fruit-update"),
];

const VERBS: [Verb; 12] = [
    Verb {
        operands: &[(
            "[FROM]",
            "A bundle, the folder or URL of a repository, the URL of a bundle,\nor `-` for a bundle from standard input; \
             default: the configured sources",
        )],
        flags: &[
            value("--release", "VERSION", "Installs this version instead of the newest"),
            flag("--force", "Installs even the running version, or one that failed on this node"),
            value("--tries", "TRIES", "Number of trial boots, 1 to 7; default: as configured"),
            RESTART,
        ],
        ..verb("install", "Installs a release into the other slot; the next boot tries it", |mut words| {
            Ok(Command::Install {
                force: words.has("--force"),
                restart: words.has("--restart"),
                release: words.value("--release"),
                tries: words.value("--tries").map(|text| tries(&text)).transpose()?,
                from: words.operands.pop(),
            })
        })
    },
    Verb {
        operands: &[("[FROM]", "As for install")],
        ..verb("check", "Checks for a newer release and installs nothing", |mut words| {
            Ok(Command::Check { from: words.operands.pop() })
        })
    },
    verb("status", "Shows the state of the node: releases, slots, trial, daemon", |_| Ok(Command::Status)),
    verb("commit", "Commits the running release, which is on trial: it boots from now on", |_| Ok(Command::Commit)),
    Verb {
        flags: &[
            flag("--force", "Goes back even to a release of an older security epoch, or one that failed on this node"),
            RESTART,
        ],
        ..verb("rollback", "Goes back to the previous release", |words| {
            Ok(Command::Rollback { force: words.has("--force"), restart: words.has("--restart") })
        })
    },
    verb(
        "cancel",
        "Cancels a release that is installed and not tried yet,\nor an install that was interrupted",
        |_| Ok(Command::Cancel),
    ),
    Verb {
        flags: &[flag("--force", "Overwrites even a good release, or one that is to be tried")],
        ..verb("clone", "Copies the running slot to the other one, so that both are good", |words| {
            Ok(Command::Clone { force: words.has("--force") })
        })
    },
    verb("history", "Lists the installs, trials, commits and fallbacks of this node", |_| Ok(Command::History)),
    verb("restart", "Restarts the node, into the release that is to be tried, if any", |_| Ok(Command::Restart)),
    verb(
        "daemon",
        "Checks the health of a release on trial, looks for newer ones, installs\nthem and restarts the node, as configured",
        |_| Ok(Command::Daemon),
    ),
    verb("check-config", "Checks a configuration file", |_| Ok(Command::CheckConfig)),
    Verb {
        operands: &[("WHO", "Who inhibits updates"), ("WHY", "The reason, which `status` shows")],
        runs: true,
        ..verb(
            "inhibit",
            "Runs a command during which the daemon installs nothing and does\nnot restart the node",
            |mut words| {
                let (why, who) = (words.operands.pop(), words.operands.pop());
                Ok(Command::Inhibit { who: who.unwrap_or_default(), why: why.unwrap_or_default(), command: words.rest })
            },
        )
    },
];

fn tries(text: &str) -> Result<u32, String> {
    let number = text.parse().ok().filter(|number| TRIES.contains(number));
    number.ok_or_else(|| format!("--tries {text}: not a number from {} to {}", TRIES.start(), TRIES.end()))
}

/// The words of a command line, told apart.
#[derive(Default)]
struct Words {
    operands: Vec<String>,
    /// Names as in the tables, and values, empty for those without.
    flags: Vec<(&'static str, String)>,
    /// What comes after `--`, for verbs that run something.
    rest: Vec<String>,
}

impl Words {
    fn has(&self, name: &str) -> bool {
        self.flags.iter().any(|(flag, _)| *flag == name)
    }

    fn value(&mut self, name: &str) -> Option<String> {
        let at = self.flags.iter().position(|(flag, _)| *flag == name)?;
        Some(self.flags.swap_remove(at).1)
    }
}

/// Takes apart the words after the program's name.
///
/// # Errors
/// A sentence without the program's name: what makes no sense.
pub fn parse(given: impl Iterator<Item = OsString>) -> Result<Asked, String> {
    let mut parser = Parser::from_args(given);
    let (mut verb, mut words) = (None, Words::default());
    loop {
        // Behind it stand operands, or a command to run with options of its own.
        if let Some(raw) = parser.try_raw_args()
            && raw.peek().is_some_and(|word| word == "--")
        {
            words.rest = raw.skip(1).map(utf8).collect::<Result<_, _>>()?;
            break;
        }
        let name = match parser.next().map_err(senseless)? {
            None => break,
            Some(Arg::Long(name)) => format!("--{name}"),
            Some(Arg::Short(letter)) => format!("-{letter}"),
            Some(Arg::Value(word)) if verb.is_some() => {
                words.operands.push(utf8(word)?);
                continue;
            }
            Some(Arg::Value(word)) => {
                let word = utf8(word)?;
                let found = VERBS.iter().find(|verb| verb.name == word);
                verb = Some(found.ok_or_else(|| format!("there is no command `{word}`"))?);
                continue;
            }
        };
        let flag = flag_named(verb, &name)?;
        let value = match flag.value {
            None => String::new(),
            Some(what) => utf8(parser.value().map_err(|_| format!("{name} needs a {what}"))?)?,
        };
        match flag.name {
            "--help" => return Ok(Asked::Text(verb.map_or_else(help, help_of))),
            "--version" => return Ok(Asked::Text(concat!("fruit-update ", env!("CARGO_PKG_VERSION"), "\n").into())),
            name if words.has(name) => return Err(format!("{name} is there twice")),
            name => words.flags.push((name, value)),
        }
    }
    command(verb.ok_or("a command is missing")?, words).map(Asked::Do)
}

fn utf8(word: OsString) -> Result<String, String> {
    word.into_string().map_err(|word| format!("{}: not UTF-8", word.display()))
}

fn senseless(error: lexopt::Error) -> String {
    match error {
        lexopt::Error::UnexpectedValue { option, value } => format!("{option} takes no value: {}", value.display()),
        other => other.to_string(),
    }
}

/// The option of that name, of `verb` or of all.
fn flag_named(verb: Option<&Verb>, name: &str) -> Result<&'static Flag, String> {
    let own: &[Flag] = verb.map_or(&[], |verb| verb.flags);
    let flag = GLOBAL.iter().chain(own).find(|flag| flag.name == name || flag.short == Some(name));
    flag.ok_or_else(|| match verb {
        Some(verb) => format!("{} has no option {name}", verb.name),
        None => format!("there is no option {name} in front of a command"),
    })
}

fn command(verb: &Verb, mut words: Words) -> Result<Cli, String> {
    if !verb.runs {
        words.operands.append(&mut words.rest);
    }
    let needed = verb.operands.iter().filter(|(name, _)| !name.starts_with('['));
    if let Some((missing, _)) = needed.clone().nth(words.operands.len()) {
        return Err(format!("{}: {missing} is missing", verb.name));
    }
    if let Some(word) = words.operands.get(verb.operands.len()) {
        return Err(format!("{}: `{word}` is too much", verb.name));
    }
    if verb.runs && words.rest.is_empty() {
        return Err(format!("{}: the command to run is missing, after `--`", verb.name));
    }
    let config = words.value("--config").map_or_else(|| CONFIG_PATH.into(), PathBuf::from);
    let (json, quiet) = (words.has("--json"), words.has("--quiet"));
    Ok(Cli { command: (verb.command)(words)?, config, json, quiet })
}

/// Two columns; lines of the right one stay in it.
fn rows<'r>(rows: impl Iterator<Item = (String, &'r str)>) -> String {
    rows.map(|(left, right)| format!("  {left:<21}  {}\n", right.replace('\n', &format!("\n{:25}", "")))).collect()
}

fn options(flags: &[Flag]) -> String {
    rows(flags.iter().map(|flag| {
        let short = flag.short.map_or_else(|| "    ".to_owned(), |short| format!("{short}, "));
        let value = flag.value.map_or_else(String::new, |value| format!(" {value}"));
        (format!("{short}{}{value}", flag.name), flag.about)
    }))
}

fn help() -> String {
    let verbs = rows(VERBS.iter().map(|verb| (verb.name.to_owned(), verb.about)));
    let options = options(&GLOBAL);
    format!("{ABOUT}\nUsage: fruit-update [OPTIONS] COMMAND\n\nCommands:\n{verbs}\nOptions:\n{options}{STATUSES}")
}

fn help_of(verb: &Verb) -> String {
    let mut text = format!("{}\n\nUsage: fruit-update {} [OPTIONS]", verb.about.replace('\n', " "), verb.name);
    for (name, _) in verb.operands {
        text.push_str(&format!(" {name}"));
    }
    text.push_str(if verb.runs { " -- COMMAND...\n" } else { "\n" });
    if !verb.operands.is_empty() {
        let operands = rows(verb.operands.iter().map(|(name, about)| ((*name).to_owned(), *about)));
        text.push_str(&format!("\nArguments:\n{operands}"));
    }
    if !verb.flags.is_empty() {
        text.push_str(&format!("\nOptions of {}:\n{}", verb.name, options(verb.flags)));
    }
    text.push_str(&format!("\nOptions:\n{}", options(&GLOBAL)));
    text
}

#[cfg(test)]
mod tests {
    use super::*;

    fn asked(line: &str) -> Result<Asked, String> {
        parse(line.split_whitespace().map(OsString::from))
    }

    fn cli(line: &str) -> Cli {
        match asked(line) {
            Ok(Asked::Do(cli)) => cli,
            other => panic!("{line}: {other:?}"),
        }
    }

    fn text(line: &str) -> String {
        match asked(line) {
            Ok(Asked::Text(text)) => text,
            other => panic!("{line}: {other:?}"),
        }
    }

    #[test]
    fn every_option_of_install_is_taken_wherever_it_stands() {
        let install = Command::Install {
            from: Some("-".into()),
            release: Some("2.0".into()),
            force: true,
            tries: Some(7),
            restart: true,
        };
        for line in [
            "--json -q --config a.yaml install - --release 2.0 --force --tries 7 --restart",
            "install --restart --tries=7 --force --release=2.0 --quiet --json --config=a.yaml -- -",
            "-q install --json --config a.yaml --force --restart --release 2.0 --tries 7 -",
        ] {
            let given = cli(line);
            assert_eq!(given.command, install, "{line}");
            assert_eq!((given.config, given.json, given.quiet), ("a.yaml".into(), true, true), "{line}");
        }
    }

    #[test]
    fn without_options_the_defaults_count() {
        let wanted = Command::Install { from: None, release: None, force: false, tries: None, restart: false };
        assert_eq!(cli("install"), Cli { command: wanted, config: CONFIG_PATH.into(), json: false, quiet: false });
    }

    #[test]
    fn every_command_is_understood() {
        for (line, wanted) in [
            ("check", Command::Check { from: None }),
            ("check https://host/", Command::Check { from: Some("https://host/".into()) }),
            ("status", Command::Status),
            ("commit", Command::Commit),
            ("rollback --force", Command::Rollback { force: true, restart: false }),
            ("rollback --restart", Command::Rollback { force: false, restart: true }),
            ("cancel", Command::Cancel),
            ("clone", Command::Clone { force: false }),
            ("clone --force", Command::Clone { force: true }),
            ("history", Command::History),
            ("restart", Command::Restart),
            ("daemon", Command::Daemon),
            ("check-config", Command::CheckConfig),
        ] {
            assert_eq!(cli(line).command, wanted, "{line}");
        }
    }

    #[test]
    fn options_of_an_inhibited_command_are_its_own() {
        let (who, why) = ("backup".to_owned(), "running".to_owned());
        let command = ["rsync", "--help", "--", "-q"].map(str::to_owned).to_vec();
        let given = cli("inhibit backup running -- rsync --help -- -q");
        assert_eq!(given.command, Command::Inhibit { who, why, command });
        assert!(!given.quiet);
    }

    #[test]
    fn what_makes_no_sense_is_refused() {
        for (line, why) in [
            ("", "a command is missing"),
            ("--json", "a command is missing"),
            ("instal", "there is no command `instal`"),
            ("--force install", "there is no option --force in front of a command"),
            ("status --force", "status has no option --force"),
            ("install --tries", "--tries needs a TRIES"),
            ("install --tries 0", "--tries 0: not a number from 1 to 7"),
            ("install --tries 8", "--tries 8: not a number from 1 to 7"),
            ("install --tries -1", "--tries -1: not a number from 1 to 7"),
            ("install --force --force", "--force is there twice"),
            ("install --force=no", "--force takes no value: no"),
            ("status -qx", "status has no option -x"),
            ("status -q=x", "-q takes no value: x"),
            ("install a b", "install: `b` is too much"),
            ("status a", "status: `a` is too much"),
            ("inhibit", "inhibit: WHO is missing"),
            ("inhibit who", "inhibit: WHY is missing"),
            ("inhibit who why", "inhibit: the command to run is missing, after `--`"),
            ("inhibit who why --", "inhibit: the command to run is missing, after `--`"),
            ("inhibit who why command", "inhibit: `command` is too much"),
        ] {
            assert_eq!(asked(line), Err(why.to_owned()), "{line}");
        }
    }

    #[test]
    fn help_tells_every_command_option_and_exit_status_within_a_terminal() {
        let top = text("--help");
        assert_eq!(top, text("-h"));
        assert!(top.contains(CONFIG_PATH) && top.contains("\n  7  another fruit-update"));
        for verb in &VERBS {
            assert!(top.contains(&format!("\n  {} ", verb.name)), "{top}");
            let own = text(&format!("{} --help", verb.name));
            let names = GLOBAL.iter().chain(verb.flags).map(|flag| flag.name);
            for name in names.chain(verb.operands.iter().map(|(name, _)| *name)) {
                assert!(own.contains(name), "{name} in {own}");
            }
            assert!(own.lines().all(|line| line.len() <= 120), "{own}");
        }
        assert!(top.lines().all(|line| line.len() <= 120), "{top}");
    }

    #[test]
    fn the_version_is_that_of_the_package() {
        assert_eq!(text("-V"), format!("fruit-update {}\n", env!("CARGO_PKG_VERSION")));
    }
}
