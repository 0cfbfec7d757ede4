//! A release repository and its keys, opened for a verb that changes it.

use std::collections::BTreeSet;
use std::path::PathBuf;
use std::str::FromStr;
use std::time::{SystemTime, UNIX_EPOCH};

use fruit_release::keys::{Entry, KeyError, KeyStore, Lifetimes, Repository, Signed, Waiting};
use fruit_release::tuf::{KeyId, Role, Time};
use serde_json::{Value, json};

use crate::cli;
use crate::failure::Failure;
use crate::passphrase;
use crate::progress::Progress;

/// What a verb that signs works with.
pub struct Desk {
    pub repository: Repository,
    pub store: KeyStore,
    pub now: Time,
    pub lifetimes: Lifetimes,
    folder: PathBuf,
    passphrase_file: Option<PathBuf>,
}

impl Desk {
    /// Opens the repository, verifying it, and the key folder.
    ///
    /// # Errors
    /// There is no repository, it is not signed as it must be, or an option is wrong.
    pub fn open(options: &cli::Signing) -> Result<Desk, Failure> {
        let repository = Repository::read(&options.repository, &options.keys)?;
        if repository.root().is_err() {
            let message = format!(
                "{}: there is no release repository; make one with: fruitbuild keys init",
                options.repository.display()
            );
            return Err(Failure::input(message));
        }
        Desk::with(options, repository)
    }

    /// With a repository that was just made.
    ///
    /// # Errors
    /// As [`Desk::open`].
    pub fn with(options: &cli::Signing, repository: Repository) -> Result<Desk, Failure> {
        Ok(Desk {
            repository,
            store: KeyStore::open(&options.keys)?,
            now: now()?,
            lifetimes: lifetimes(&options.expires)?,
            folder: options.repository.clone(),
            passphrase_file: options.passphrase_file.clone(),
        })
    }

    /// Signs what waits, with new metadata of the roles in `renew`, and writes repository, drafts and key index.
    ///
    /// # Errors
    /// Keys that cannot be opened, files that cannot be written. What was changed waits as a draft then.
    pub fn finish(&mut self, renew: &BTreeSet<Role>) -> Result<Signed, Failure> {
        let keys = self.store.folder().to_owned();
        self.repository.write_drafts(&keys)?;
        let mut trouble = None;
        let file = self.passphrase_file.clone();
        let mut unlock = |entry: &Entry| {
            passphrase::ask(file.clone(), &format!("key {}", entry.name), false).map_err(|failure| {
                trouble = Some(failure);
                KeyError::NoPassphrase
            })
        };
        let store = self.store.clone();
        let signed = self.repository.sign(&mut store.signer(&mut unlock), renew, self.now, &self.lifetimes);
        if let Some(failure) = trouble {
            return Err(failure);
        }
        let signed = signed?;
        self.repository.write(&signed, &self.folder, &keys)?;
        self.store.save(self.repository.root().ok().as_ref())?;
        Ok(signed)
    }

    /// Says what was written and what waits.
    pub fn report(&self, signed: &Signed, as_json: bool, progress: &Progress) {
        let names: Vec<&str> = signed.files.iter().map(|(name, _)| name.as_str()).collect();
        if as_json {
            let waiting: Vec<Value> = signed.waiting.iter().map(|waiting| self.waiting_json(waiting)).collect();
            outln!("{:#}", json!({"written": names, "waiting": waiting}));
            return;
        }
        for name in names {
            progress.say(format!("wrote {}", self.folder.join(name).display()));
        }
        for waiting in &signed.waiting {
            progress.say(format!(
                "{} {} waits for signatures: {} of {} are there; keys that have not signed: {}",
                waiting.role,
                waiting.version,
                waiting.valid,
                waiting.needed,
                self.names(&waiting.missing).join(", ")
            ));
        }
        if !signed.waiting.is_empty() {
            progress.say("take it to them with: fruitbuild sign --export DIR");
        }
    }

    fn waiting_json(&self, waiting: &Waiting) -> Value {
        json!({
            "role": waiting.role.name(),
            "version": waiting.version,
            "valid": waiting.valid,
            "needed": waiting.needed,
            "missing": self.names(&waiting.missing),
        })
    }

    pub fn names(&self, ids: &[KeyId]) -> Vec<String> {
        ids.iter().map(|id| self.store.name_of(id)).collect()
    }

    /// The id of a key by its name here, or by its id or a beginning of that.
    ///
    /// # Errors
    /// No key of the root or of the folder has it.
    pub fn key(&self, name: &str) -> Result<KeyId, Failure> {
        if let Ok(entry) = self.store.entry(name) {
            return Ok(entry.id.clone());
        }
        let root = self.repository.root()?;
        let mut found = root.keys.keys().filter(|id| name.len() >= 8 && id.as_str().starts_with(name));
        match (found.next(), found.next()) {
            (Some(id), None) => Ok(id.clone()),
            _ => Err(KeyError::UnknownKey(name.to_owned()).into()),
        }
    }
}

/// The present, or `SOURCE_DATE_EPOCH`.
fn now() -> Result<Time, Failure> {
    match std::env::var("SOURCE_DATE_EPOCH") {
        Ok(text) => text.parse().map(Time::from_seconds).map_err(|_| {
            Failure::general(format!("SOURCE_DATE_EPOCH is {text:?}; expected seconds since 1970, or unset"))
        }),
        Err(_) => {
            let since = SystemTime::now().duration_since(UNIX_EPOCH).map_or(0, |since| since.as_secs());
            Ok(Time::from_seconds(i64::try_from(since).unwrap_or(i64::MAX)))
        }
    }
}

/// A top-level role by its name.
///
/// # Errors
/// There are four; this is another.
pub fn role(name: &str) -> Result<Role, Failure> {
    Role::from_name(name)
        .ok_or_else(|| Failure::input(format!("{name:?} is no role; there are root, targets, snapshot and timestamp")))
}

fn lifetimes(options: &[String]) -> Result<Lifetimes, Failure> {
    let mut lifetimes = Lifetimes::default();
    for option in options {
        let (name, days) = option
            .split_once('=')
            .ok_or_else(|| Failure::input(format!("--expires {option}: expected ROLE=DAYS, such as timestamp=30")))?;
        let days = u32::from_str(days).ok().filter(|&days| days > 0);
        let days = days.ok_or_else(|| Failure::input(format!("--expires {option}: the days are a number from 1")))?;
        match role(name)? {
            Role::Root => lifetimes.root = days,
            Role::Snapshot => lifetimes.snapshot = days,
            Role::Timestamp => lifetimes.timestamp = days,
            Role::Targets | Role::Delegated(_) => lifetimes.targets = days,
        }
    }
    Ok(lifetimes)
}
