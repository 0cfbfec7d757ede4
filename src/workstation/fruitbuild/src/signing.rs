//! A release repository and its keys, opened for a verb that changes it.

use std::collections::BTreeSet;
use std::path::PathBuf;
use std::str::FromStr;
use std::time::{SystemTime, UNIX_EPOCH};

use fruit_release::keys::{
    Entry, Held, KeyError, KeyStore, Lifetimes, Repository, Signed, Waiting, finish_interrupted,
};
use fruit_release::tuf::{KeyId, Role, Time};
use serde_json::{Value, json};

use crate::cli;
use crate::failure::Failure;
use crate::lock::Lock;
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
    _lock: Lock,
}

impl Desk {
    /// Waits for its turn; opens the repository, verifying it, and the key folder.
    ///
    /// # Errors
    /// There is no repository, no key of it in the key folder, it is not signed as it must be, or an option is wrong.
    pub fn open(options: &cli::Signing, progress: &Progress) -> Result<Desk, Failure> {
        if !options.repository.is_dir() {
            return Err(no_repository(options));
        }
        let store = KeyStore::open(&options.keys)?;
        if store.entries().is_empty() {
            return Err(Failure::input(format!(
                "{}: there are no keys in this folder; name the key folder of this repository: --keys DIR",
                options.keys.display()
            )));
        }
        let lock = Lock::take(&options.repository, &options.keys, progress)?;
        for name in finish_interrupted(&options.repository, &options.keys)? {
            progress.say(format!("finished what an interrupted command had signed: {name}"));
        }
        let repository = Repository::read(&options.repository, &options.keys)?;
        let Ok(root) = repository.root() else { return Err(no_repository(options)) };
        if !store.entries().iter().any(|entry| root.keys.contains_key(&entry.id)) {
            return Err(Failure::input(format!(
                "{}: none of these keys is one of {}; name its key folder: --keys DIR",
                options.keys.display(),
                options.repository.display()
            )));
        }
        for draft in repository.void() {
            progress.say(format!(
                "note: the draft {} does not follow what was published since; it is dropped, with its signatures",
                draft.name()
            ));
        }
        Desk::with(options, repository, lock)
    }

    /// With a repository that was just made.
    ///
    /// # Errors
    /// As [`Desk::open`].
    pub fn with(options: &cli::Signing, repository: Repository, lock: Lock) -> Result<Desk, Failure> {
        Ok(Desk {
            repository,
            store: KeyStore::open(&options.keys)?,
            now: now()?,
            lifetimes: lifetimes(&options.expires)?,
            folder: options.repository.clone(),
            passphrase_file: options.passphrase_file.clone(),
            _lock: lock,
        })
    }

    /// Refuses to go on while changes of `role` wait for signatures: they would be signed in passing.
    ///
    /// # Errors
    /// What waits, and what can be done about it.
    pub fn expect_no_draft(&self, role: &Role) -> Result<(), Failure> {
        let Some(draft) = self.repository.drafts().find(|draft| draft.role() == role) else { return Ok(()) };
        let changes = self.repository.changes(draft, &|id| self.store.name_of(id));
        let message = format!(
            "{}: an earlier change waits for signatures ({}):\n  {}\nSign it with `fruitbuild sign --yes`, or drop it \
             with `fruitbuild discard`",
            self.folder.display(),
            draft.name(),
            changes.join("\n  ")
        );
        Err(Failure::refused(message))
    }

    /// Signs new metadata of the roles in `renew` and the drafts of the roles in `complete`, and writes repository, drafts
    /// and key index. Drafts of other roles stay as they are.
    ///
    /// # Errors
    /// Keys that cannot be used, files that cannot be written. Nothing was changed then, and no draft is left.
    pub fn finish(&mut self, renew: &BTreeSet<Role>, complete: &[Role]) -> Result<Signed, Failure> {
        let keys = self.store.folder().to_owned();
        let aside = [Role::Root, Role::Targets].into_iter().filter(|role| !complete.contains(role));
        let aside: Vec<_> = aside.filter_map(|role| self.repository.set_aside(&role)).collect();
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
        self.expect_key_files(&signed)?;
        aside.into_iter().for_each(|draft| self.repository.put_back(draft));
        // Before the repository: one without an index of its keys could not be signed any more.
        self.store.save(self.repository.root().ok().as_ref())?;
        self.repository.write(&signed, &self.folder, &keys)?;
        Ok(signed)
    }

    /// What waits must wait for keys that are elsewhere, not for a file that should be here.
    fn expect_key_files(&self, signed: &Signed) -> Result<(), Failure> {
        for waiting in &signed.waiting {
            let here = |id: &KeyId| self.store.entries().iter().find(|e| &e.id == id && e.held == Held::File);
            for entry in waiting.missing.iter().filter_map(here) {
                let path = self.store.key_file(entry);
                if !path.exists() {
                    return Err(Failure::general(format!(
                        "{}: not there, and {} needs it; nothing was signed. Put the file back from your copy of the key \
                         folder, or, if it is lost, put a new key in its place: fruitbuild keys rotate {} {} NEW-NAME",
                        path.display(),
                        waiting.role,
                        waiting.role,
                        entry.name
                    )));
                }
            }
        }
        Ok(())
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

/// In the wrong folder, keys that are made anew are of no use to anybody.
fn no_repository(options: &cli::Signing) -> Failure {
    Failure::input(format!(
        "{}: there is no release repository. Change to the folder of your project, or name it: --repository DIR --keys DIR. \
         A product that has no keys yet gets them with: fruitbuild keys init",
        options.repository.display()
    ))
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
