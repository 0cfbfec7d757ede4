//! A release repository and its keys, opened for a verb that changes it.

use std::collections::BTreeSet;
use std::path::{Path, PathBuf};

use fruit_progress::Progress;
use fruit_release::keys::{
    Draft, Entry, Held, KeyError, KeyStore, Lifetimes, Repository, Signed, Signer, finish_interrupted,
};
use fruit_release::tuf::{KeyId, Role, Time};

use crate::error::Error;
use crate::lock::Lock;
use crate::passphrase;

/// Where a repository and its keys are, and how the keys are opened.
#[derive(Clone, Debug)]
pub struct Access {
    /// Folder of the release repository.
    pub repository: PathBuf,
    /// Folder of the keys, and of what waits for signatures.
    pub keys: PathBuf,
    /// File whose first line is the passphrase of the keys; none: of the environment, or the terminal.
    pub passphrase_file: Option<PathBuf>,
    /// How long new metadata is good for.
    pub lifetimes: Lifetimes,
}

/// What signing works with.
pub struct SigningSession {
    pub repository: Repository,
    pub store: KeyStore,
    pub now: Time,
    pub lifetimes: Lifetimes,
    folder: PathBuf,
    passphrase_file: Option<PathBuf>,
    _lock: Lock,
}

impl SigningSession {
    /// Waits for its turn; opens the repository, verifying it, and the key folder.
    ///
    /// # Errors
    /// There is no repository, no key of it in the key folder, it is not signed as it must be, or the clock that was given is none.
    pub fn open(access: &Access, progress: &dyn Progress) -> Result<SigningSession, Error> {
        if !access.repository.is_dir() {
            return Err(no_repository(access));
        }
        let store = KeyStore::open(&access.keys)?;
        if store.entries().is_empty() {
            return Err(Error::input(format!(
                "{}: there are no keys in this folder; name the key folder of this repository: --keys DIR",
                access.keys.display()
            )));
        }
        let lock = Lock::take(&access.repository, &access.keys, progress)?;
        for name in finish_interrupted(&access.repository, &access.keys)? {
            progress.say(&format!("finished what an interrupted command had signed: {name}"));
        }
        let repository = Repository::read(&access.repository, &access.keys)?;
        let Ok(root) = repository.root() else { return Err(no_repository(access)) };
        if !store.entries().iter().any(|entry| root.keys.contains_key(&entry.id)) {
            return Err(Error::input(format!(
                "{}: none of these keys is one of {}; name its key folder: --keys DIR",
                access.keys.display(),
                access.repository.display()
            )));
        }
        for draft in repository.void() {
            progress.say(&format!(
                "note: the draft {} does not follow what was published since; it is dropped, with its signatures",
                draft.name()
            ));
        }
        SigningSession::with(access, repository, lock)
    }

    /// With a repository that was just made.
    ///
    /// # Errors
    /// As [`SigningSession::open`].
    pub fn with(access: &Access, repository: Repository, lock: Lock) -> Result<SigningSession, Error> {
        Ok(SigningSession {
            repository,
            store: KeyStore::open(&access.keys)?,
            now: now()?,
            lifetimes: access.lifetimes,
            folder: access.repository.clone(),
            passphrase_file: access.passphrase_file.clone(),
            _lock: lock,
        })
    }

    /// Refuses to go on while changes of `role` wait for signatures: they would be signed in passing.
    ///
    /// # Errors
    /// What waits, and what can be done about it.
    pub fn expect_no_draft(&self, role: &Role) -> Result<(), Error> {
        let Some(draft) = self.repository.drafts().find(|draft| draft.role() == role) else { return Ok(()) };
        let changes = self.repository.changes(draft, &|id| self.store.name_of(id));
        let message = format!(
            "{}: an earlier change waits for signatures ({}):\n  {}\nSign it with `fruitbuild sign --yes`, or drop it \
             with `fruitbuild discard`",
            self.folder.display(),
            draft.name(),
            changes.join("\n  ")
        );
        Err(Error::refused(message))
    }

    /// Signs new metadata of the roles in `renew` and the drafts of the roles in `complete`, and writes repository, drafts
    /// and key index. Drafts of other roles stay as they are.
    ///
    /// # Errors
    /// Keys that cannot be used, files that cannot be written. Nothing was changed then, and no draft is left.
    pub fn finish(&mut self, renew: &BTreeSet<Role>, complete: &[Role]) -> Result<Signed, Error> {
        let keys = self.store.folder().to_owned();
        let aside = [Role::Root, Role::Targets].into_iter().filter(|role| !complete.contains(role));
        let aside: Vec<_> = aside.filter_map(|role| self.repository.set_aside(&role)).collect();
        let (repository, now, lifetimes) = (&mut self.repository, self.now, &self.lifetimes);
        let signed = with_signer(&self.store, self.passphrase_file.as_deref(), |signer| {
            repository.sign(signer, renew, now, lifetimes)
        })?;
        self.expect_key_files(&signed)?;
        aside.into_iter().for_each(|draft| self.repository.put_back(draft));
        // Before the repository: one without an index of its keys could not be signed any more.
        self.store.save(self.repository.root().ok().as_ref())?;
        self.repository.write(&signed, &self.folder, &keys)?;
        Ok(signed)
    }

    /// What waits must wait for keys that are elsewhere, not for a file that should be here.
    fn expect_key_files(&self, signed: &Signed) -> Result<(), Error> {
        for waiting in &signed.waiting {
            let here = |id: &KeyId| self.store.entries().iter().find(|e| &e.id == id && e.held == Held::File);
            for entry in waiting.missing.iter().filter_map(here) {
                let path = self.store.key_file(entry);
                if !path.exists() {
                    return Err(Error::other(format!(
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

    /// The repository's folder.
    pub fn folder(&self) -> &Path {
        &self.folder
    }

    pub fn names(&self, ids: &[KeyId]) -> Vec<String> {
        ids.iter().map(|id| self.store.name_of(id)).collect()
    }

    /// The id of a key by its name here, or by its id or a beginning of that.
    ///
    /// # Errors
    /// No key of the root or of the folder has it.
    pub fn key(&self, name: &str) -> Result<KeyId, Error> {
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

/// Signs a draft with `entries` of a key folder; the names of those that could. Keys that are not at hand are passed over.
///
/// # Errors
/// A passphrase that is wrong or not given; an ssh-agent that refuses.
pub fn sign_with(
    draft: &mut Draft,
    store: &KeyStore,
    entries: &[Entry],
    passphrase_file: Option<&Path>,
) -> Result<Vec<String>, Error> {
    with_signer(store, passphrase_file, |signer| {
        let sign = |entry: &Entry| match draft.sign(&entry.id, &entry.public, signer) {
            Ok(true) => Some(Ok(entry.name.clone())),
            Ok(false) => None,
            Err(error) => Some(Err(error)),
        };
        entries.iter().filter_map(sign).collect()
    })
}

/// What `sign` makes with the keys of a folder. Why there is no passphrase is told instead of the error that follows from it.
fn with_signer<T>(
    store: &KeyStore,
    passphrase_file: Option<&Path>,
    sign: impl FnOnce(&mut dyn Signer) -> Result<T, KeyError>,
) -> Result<T, Error> {
    let mut trouble = None;
    let mut unlock = |entry: &Entry| {
        passphrase::ask(passphrase_file.map(Path::to_owned), &format!("key {}", entry.name), false).map_err(|failure| {
            trouble = Some(failure);
            KeyError::NoPassphrase
        })
    };
    let signed = sign(&mut store.signer(&mut unlock));
    match trouble {
        Some(failure) => Err(failure),
        None => Ok(signed?),
    }
}

/// In the wrong folder, keys that are made anew are of no use to anybody.
fn no_repository(access: &Access) -> Error {
    Error::input(format!(
        "{}: there is no release repository. Change to the folder of your project, or name it: --repository DIR --keys DIR. \
         A product that has no keys yet gets them with: fruitbuild keys init",
        access.repository.display()
    ))
}

/// The present, or `SOURCE_DATE_EPOCH`.
fn now() -> Result<Time, Error> {
    match std::env::var("SOURCE_DATE_EPOCH") {
        Ok(text) => text
            .parse()
            .map(Time::from_seconds)
            .map_err(|_| Error::other(format!("SOURCE_DATE_EPOCH is {text:?}; expected seconds since 1970, or unset"))),
        Err(_) => Ok(Time::from_seconds(fruit_base::now())),
    }
}

/// A top-level role by its name.
///
/// # Errors
/// There are four; this is another.
pub fn role(name: &str) -> Result<Role, Error> {
    Role::from_name(name)
        .ok_or_else(|| Error::input(format!("{name:?} is no role; there are root, targets, snapshot and timestamp")))
}
