//! The program on the node. `fruit-update --help` tells its commands.

mod cli;
mod show;

use std::path::Path;
use std::process::ExitCode;
use std::sync::Arc;
use std::time::Duration;

use fruit_contract::update::config::{RootPath, SourceAddress, UpdateConfig};
use fruit_contract::update::report::{REPORT_PATH, Report};
use fruit_device::journal;
use fruit_output::{Finished, talk};
use fruit_release::{Digest, Source};
use fruit_update::anchor::Anchor;
use fruit_update::clone::CloneError;
use fruit_update::daemon::{self, Installation, Node};
use fruit_update::http::Settings;
use fruit_update::install::{self, ExitStatus, Hooks, InstallError, Outcome, Request};
use fruit_update::lock::{self, Lock, LockError};
use fruit_update::shared::{Shared, Sharing};
use fruit_update::sources::Sources;
use fruit_update::trial::{Next, TrialError};
use fruit_update::updater::Updater;
use fruit_update::{inhibit, origin, progress, status};
use serde_json::{Value, json};

use cli::{Asked, Cli, Command};

/// A command line that makes no sense.
const USAGE: u8 = 2;
const NOTHING_TO_DO: u8 = 3;
const REFUSED: u8 = 4;
const SOURCE: u8 = 5;
const STOPPED: u8 = 6;
const BUSY: u8 = 7;

/// How long a command waits for another that is at work: longer than the daemon takes to ask its sources.
const PATIENCE: Duration = Duration::from_secs(30);

/// A sentence, and the exit status.
struct Failure(u8, String);

impl<E: std::error::Error> From<E> for Failure {
    fn from(error: E) -> Failure {
        Failure(1, error.to_string())
    }
}

fn of_install(error: &InstallError) -> Failure {
    let status = match error.outcome() {
        ExitStatus::Failed => 1,
        ExitStatus::Refused => REFUSED,
        ExitStatus::Source => SOURCE,
        ExitStatus::Stopped => STOPPED,
    };
    Failure(status, error.to_string())
}

fn of_trial(error: &TrialError) -> Failure {
    let status = match error {
        TrialError::Check { .. } | TrialError::Card(_) | TrialError::State(_) => 1,
        TrialError::NothingArmed => NOTHING_TO_DO,
        _ => REFUSED,
    };
    Failure(status, error.to_string())
}

fn main() -> ExitCode {
    let code = asked();
    match fruit_output::finish("fruit-update") {
        Finished::Incomplete if code == ExitCode::SUCCESS => ExitCode::FAILURE,
        _ => code,
    }
}

fn asked() -> ExitCode {
    let cli = match cli::parse(std::env::args_os().skip(1)) {
        Ok(Asked::Do(cli)) => cli,
        Ok(Asked::Text(text)) => {
            show::say(text.trim_end());
            return ExitCode::SUCCESS;
        }
        Err(error) => {
            talk(format_args!("fruit-update: {error}; see fruit-update --help"));
            return ExitCode::from(USAGE);
        }
    };
    match run(&cli) {
        Ok(code) => code,
        Err(Failure(status, error)) => {
            if cli.json {
                show::json(&json!({ "error": error, "status": status }));
            }
            journal::error(&error);
            ExitCode::from(status)
        }
    }
}

fn run(cli: &Cli) -> Result<ExitCode, Failure> {
    match &cli.command {
        Command::Daemon => daemon::run(&cli.config, Path::new("/"))?,
        Command::CheckConfig => {
            UpdateConfig::read(&cli.config)?;
            show::say(&format!("{}: good", cli.config.display()));
        }
        Command::Inhibit { who, why, command } => return under_inhibitor(who, why, command),
        _ => return Context::new(cli)?.run(),
    }
    Ok(ExitCode::SUCCESS)
}

/// Ends as the command ended.
fn under_inhibitor(who: &str, why: &str, command: &[String]) -> Result<ExitCode, Failure> {
    let Some((program, arguments)) = command.split_first() else { return Ok(ExitCode::FAILURE) };
    let status = inhibit::during(Path::new(inhibit::FOLDER), who, why, program, arguments)?;
    Ok(ExitCode::from(status.code().and_then(|code| u8::try_from(code).ok()).unwrap_or(1)))
}

/// What is done with a source; `None` if it has nothing.
type Visit<'v, T> = dyn FnMut(&mut dyn Source) -> Result<Option<T>, InstallError> + 'v;

/// This node, for one command.
struct Context<'c> {
    cli: &'c Cli,
    config: UpdateConfig,
    node: Node,
}

impl Context<'_> {
    /// Without a configuration everything works but for the sources that it would name.
    fn new(cli: &Cli) -> Result<Context<'_>, Failure> {
        let config = match cli.config.exists() {
            true => UpdateConfig::read(&cli.config)?,
            false => UpdateConfig::new(Some(RootPath::of_image())),
        };
        let installation =
            Installation { root: "/".into(), anchor: config.root.as_ref().map(|path| path.path().to_owned()) };
        let node = Node::of_machine(installation, &config)?;
        Ok(Context { cli, config, node })
    }

    fn run(&self) -> Result<ExitCode, Failure> {
        match &self.cli.command {
            Command::Status => self.status(),
            Command::History => {
                show::history(&(self.node.open)()?.state().history, self.cli.json);
                Ok(ExitCode::SUCCESS)
            }
            Command::Check { from } => self.check(from.as_deref()),
            Command::Install { from, release, force, tries, restart } => {
                let tries = tries.unwrap_or(self.config.tries.get());
                let request = Request { version: release.clone(), force: *force, tries };
                self.install(from.as_deref(), &request, *restart)
            }
            Command::Commit => {
                let (_lock, mut updater) = self.locked()?;
                let release = updater.commit().map_err(|error| of_trial(&error))?;
                self.done(&json!({ "committed": release }), &format!("{} is committed", release.name()));
                Ok(ExitCode::SUCCESS)
            }
            Command::Rollback { force, restart } => self.roll_back(*force, *restart),
            Command::Cancel => {
                let (_lock, mut updater) = self.locked()?;
                let release = updater.cancel().map_err(|error| of_trial(&error))?;
                let text = format!("{} is taken back; {} boots next", release.name(), updater.running().name());
                self.done(&json!({ "cancelled": release }), &text);
                Ok(ExitCode::SUCCESS)
            }
            Command::Clone { force } => self.clone_slot(*force),
            Command::Restart => {
                let (lock, updater) = self.locked()?;
                self.restart(lock, &updater)
            }
            Command::Daemon | Command::CheckConfig | Command::Inhibit { .. } => Ok(ExitCode::SUCCESS),
        }
    }

    fn locked(&self) -> Result<(Lock, Updater), Failure> {
        let mut told = false;
        let lock = Lock::take_after(&self.node.lock, &mut |waited| {
            if !std::mem::replace(&mut told, true) {
                journal::info("waiting for another fruit-update");
            }
            waited < PATIENCE
        });
        let lock = lock.map_err(|error| match error {
            LockError::Held => Failure(BUSY, format!("{error}, for longer than {} s", PATIENCE.as_secs())),
            LockError::Open { .. } => error.into(),
        })?;
        Ok((lock, (self.node.open)()?))
    }

    fn done(&self, value: &Value, text: &str) {
        if self.cli.json { show::json(value) } else { show::say(text) }
    }

    fn status(&self) -> Result<ExitCode, Failure> {
        let updater = (self.node.open)()?;
        let progress =
            Lock::is_held(Path::new(lock::PATH)).then(|| progress::read(Path::new(progress::PATH))).flatten();
        // An image without root metadata has a status too.
        let anchor = self.node.anchor(&updater).unwrap_or_else(|_| Anchor::Image(Vec::new()));
        let status = status::under(&updater, &anchor, progress)?;
        let daemon = Report::read(Path::new(REPORT_PATH)).and_then(|report| serde_json::to_value(report).ok());
        show::status(&status, self.cli.json, daemon.as_ref());
        Ok(ExitCode::SUCCESS)
    }

    fn settings(&self) -> Result<Settings<'_>, Failure> {
        Ok(Settings { stop: daemon::stop_at_signals()?, ..Settings::of(&self.config, Path::new("/")) })
    }

    /// Whom the node obeys.
    fn anchor(&self, updater: &Updater) -> Result<Anchor, Failure> {
        let anchor = self.node.anchor(updater)?;
        match anchor.obstacle() {
            Some(why) => Err(Failure(REFUSED, why)),
            None => Ok(anchor),
        }
    }

    /// Calls `with` for what the operator names, or for the configured sources until one has something.
    fn ask_sources<T>(
        &self,
        from: Option<&str>,
        settings: &Settings<'_>,
        repositories: &[Digest],
        with: &mut Visit<'_, T>,
    ) -> Result<Option<T>, Failure> {
        if let Some(from) = from {
            let mut source = origin::open(from, settings).map_err(|error| Failure(SOURCE, error.to_string()))?;
            return with(&mut *source).map_err(|error| of_install(&error));
        }
        let mut sources = Sources::new(&self.config.sources, settings, &self.node.installation.root, &self.node.disk)?;
        let (mut found, mut trouble, mut asked) = (None, None, false);
        sources.visit(
            repositories,
            &mut |candidate| {
                asked = true;
                let place = candidate.place();
                let result = match candidate.source() {
                    Ok(mut source) => with(&mut *source).map_err(|error| of_install(&error)),
                    Err(error) => Err(Failure(SOURCE, format!("{place}: {error}"))),
                };
                match result {
                    Ok(Some(value)) => found = Some(value),
                    Ok(None) => {}
                    Err(failure) => {
                        journal::warn(&failure.1);
                        trouble.get_or_insert(failure);
                    }
                }
                found.is_none() && !settings.stop.load(std::sync::atomic::Ordering::Relaxed)
            },
            &mut |text| journal::warn(text),
        );
        match (found, trouble) {
            (Some(value), _) => Ok(Some(value)),
            (None, Some(failure)) => Err(failure),
            (None, None) if asked => Ok(None),
            (None, None) => Err(Failure(SOURCE, "no source is configured that is there now: name one".into())),
        }
    }

    fn check(&self, from: Option<&str>) -> Result<ExitCode, Failure> {
        let (_lock, mut updater) = self.locked()?;
        let (settings, mut anchor) = (self.settings()?, self.anchor(&updater)?);
        let found = self.ask_sources(from, &settings, &anchor.repositories(), &mut |source| {
            let root = anchor.root(source, &*updater.store)?;
            install::check(&mut updater, root, source, &Request::default())
        })?;
        let Some(found) = found else {
            let name = updater.running().name();
            self.done(&json!({ "available": null }), &format!("{name} runs; there is nothing newer"));
            return Ok(ExitCode::from(NOTHING_TO_DO));
        };
        let mut text = format!("{} is available; the metadata is {}", found.version, found.freshness);
        if let Some(refused) = &found.refused {
            text.push_str(&format!("\nit can't be installed: {refused}"));
        }
        if !found.notes.is_empty() {
            text.push_str(&format!("\n\n{}", found.notes.trim_end()));
        }
        let value = json!({
            "available": found.version, "refused": found.refused.as_ref().map(ToString::to_string),
            "freshness": found.freshness.to_string(), "notes": found.notes,
        });
        self.done(&value, &text);
        Ok(if found.refused.is_some() { ExitCode::from(REFUSED) } else { ExitCode::SUCCESS })
    }

    fn install(&self, from: Option<&str>, request: &Request, restart: bool) -> Result<ExitCode, Failure> {
        let (lock, mut updater) = self.locked()?;
        let (settings, mut anchor) = (self.settings()?, self.anchor(&updater)?);
        let shares = self.config.sources.contains(&SourceAddress::Peers);
        let mut line = show::Line::new(self.cli.quiet || self.cli.json);
        let stop = Arc::clone(&settings.stop);
        let result = self.ask_sources(from, &settings, &anchor.repositories(), &mut |source| {
            let root = anchor.root(source, &*updater.store)?.to_vec();
            let mut shared = shares.then(|| Shared::of(&self.node.installation.root, &anchor, &root, true)).flatten();
            let mut source = Sharing::new(source, shared.as_mut());
            let mut progress = |progress| line.tell(&progress);
            let mut hooks = Hooks { stop: &stop, progress: &mut progress, pace: &mut |_| {} };
            match install::install(&mut updater, &root, &mut source, request, &mut hooks)? {
                Outcome::Installed(installed) => Ok(Some(installed)),
                Outcome::UpToDate { .. } => Ok(None),
            }
        });
        drop(line);
        let Some(installed) = result? else {
            let name = updater.running().name();
            self.done(&json!({ "installed": null }), &format!("{name} runs; there is nothing newer"));
            return Ok(ExitCode::from(NOTHING_TO_DO));
        };
        show::installed(&installed, self.cli.json);
        if restart { self.restart(lock, &updater) } else { Ok(ExitCode::SUCCESS) }
    }

    fn roll_back(&self, force: bool, restart: bool) -> Result<ExitCode, Failure> {
        let (lock, mut updater) = self.locked()?;
        let next = updater.roll_back(self.config.tries.get(), force).map_err(|error| of_trial(&error))?;
        let name = match next {
            Next::Restart(name) => name,
            Next::Done => updater.running().name(),
        };
        self.done(&json!({ "rolled_back_to": name }), &format!("{name} boots next (fruit-update restart)"));
        if restart { self.restart(lock, &updater) } else { Ok(ExitCode::SUCCESS) }
    }

    fn clone_slot(&self, force: bool) -> Result<ExitCode, Failure> {
        let (_lock, mut updater) = self.locked()?;
        let stop = daemon::stop_at_signals()?;
        let mut line = show::Line::new(self.cli.quiet || self.cli.json);
        let mut progress = |progress| line.tell(&progress);
        let mut hooks = Hooks { stop: &stop, progress: &mut progress, pace: &mut |_| {} };
        let cloned = updater.clone_slot(force, &mut hooks).map_err(|error| {
            let status = match &error {
                CloneError::Stopped => STOPPED,
                CloneError::OnTrial(_) | CloneError::Armed(_) | CloneError::HasGood { .. } => REFUSED,
                _ => 1,
            };
            Failure(status, error.to_string())
        })?;
        drop(line);
        let text = format!("slot {} holds {} too, checked", cloned.slot, cloned.release.name());
        self.done(&json!({ "cloned": cloned }), &text);
        Ok(ExitCode::SUCCESS)
    }

    /// On boards whose firmware tries a slot, the try is counted here and the firmware is told.
    fn restart(&self, lock: Lock, updater: &Updater) -> Result<ExitCode, Failure> {
        let tries = self.node.count_try(updater)?;
        drop(lock);
        (self.node.restart)(tries)?;
        Ok(ExitCode::SUCCESS)
    }
}
