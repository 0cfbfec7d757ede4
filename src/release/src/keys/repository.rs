//! A repository as its owners see it: what is published, what has been changed since, and who has to sign that.

use std::collections::{BTreeMap, BTreeSet};

use sha2::{Digest, Sha256};

use super::draft::Draft;
use super::{KeyError, Signer, edit};
use crate::tuf::metadata::Metadata;
use crate::tuf::signed::{Envelope, Held};
use crate::tuf::{
    Error, Hashes, Head, KeyId, Keys, MetaFile, PublicKey, Role, RoleKeys, Root, Snapshot, Target, Targets, Time,
    Timestamp, Trust,
};

/// How long new metadata is good for, in days.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Lifetimes {
    pub root: u32,
    pub targets: u32,
    pub snapshot: u32,
    pub timestamp: u32,
}

impl Default for Lifetimes {
    /// Roots and targets are signed by people, rarely; snapshot and timestamp by a machine that is always on, or each
    /// month by hand.
    fn default() -> Lifetimes {
        Lifetimes { root: 3 * 365, targets: 365, snapshot: 90, timestamp: 35 }
    }
}

impl Lifetimes {
    #[must_use]
    pub fn of(&self, role: &Role) -> u32 {
        match role {
            Role::Root => self.root,
            Role::Snapshot => self.snapshot,
            Role::Timestamp => self.timestamp,
            Role::Targets | Role::Delegated(_) => self.targets,
        }
    }
}

/// A new repository: keys and threshold of each role.
pub type Plan = BTreeMap<Role, (Vec<PublicKey>, u32)>;

/// Files of a repository as they are read.
#[derive(Clone, PartialEq, Eq, Debug, Default)]
pub struct Published {
    /// From version 1 on.
    pub roots: Vec<Vec<u8>>,
    pub targets: Option<Vec<u8>>,
    pub snapshot: Option<Vec<u8>>,
    pub timestamp: Option<Vec<u8>>,
}

/// A repository that is being edited.
#[derive(Clone, Debug)]
pub struct Repository {
    roots: Vec<Vec<u8>>,
    root: Option<Root>,
    targets: Option<Document<Targets>>,
    snapshot: Option<Document<Snapshot>>,
    timestamp: Option<Document<Timestamp>>,
    drafts: BTreeMap<Role, Draft>,
}

#[derive(Clone, Debug)]
struct Document<T> {
    bytes: Vec<u8>,
    value: T,
}

impl<T: Metadata> Document<T> {
    fn read(role: &Role, bytes: Vec<u8>) -> Result<Document<T>, Error> {
        Ok(Document { value: Envelope::parse(role, &bytes, T::LIMIT)?.read()?, bytes })
    }

    fn verifies(&self, role: &Role, root: &Root) -> bool {
        Held::<T>::verify(role, &self.bytes, &root.keys, &root.roles[role]).is_ok()
    }
}

/// Signatures that a draft lacks.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Waiting {
    pub role: Role,
    pub version: u64,
    pub valid: usize,
    pub needed: u32,
    /// Keys that may sign and have not.
    pub missing: Vec<KeyId>,
}

/// New files for a repository.
#[derive(Clone, PartialEq, Eq, Debug, Default)]
pub struct Signed {
    /// Name below the repository, and content; in the order in which they are to be written.
    pub files: Vec<(String, Vec<u8>)>,
    /// What lacks signatures. The files are good without it.
    pub waiting: Vec<Waiting>,
}

/// How a try to complete everything under one root ended.
enum Attempt {
    Complete(Vec<(String, Vec<u8>)>),
    Lacking,
}

impl Repository {
    /// A repository without targets. Nothing is signed yet.
    ///
    /// # Errors
    /// [`KeyError::Threshold`]; a key twice in one role.
    pub fn new(plan: &Plan, now: Time, lifetimes: &Lifetimes) -> Result<Repository, KeyError> {
        let head = Head { version: 1, expires: now.plus_days(lifetimes.root), signed_at: Some(now) };
        let empty = RoleKeys { ids: Vec::new(), threshold: 0 };
        let roles = Role::TOP.into_iter().map(|role| (role, empty.clone())).collect();
        let mut root = Root { head, keys: Keys::new(), roles, consistent_snapshot: true };
        for role in Role::TOP {
            let (keys, threshold) = plan.get(&role).map_or((&[][..], 0), |(keys, n)| (keys.as_slice(), *n));
            for key in keys {
                edit::add_key(&mut root, &role, key)?;
            }
            edit::set_threshold(&mut root, &role, threshold)?;
        }
        let drafts = BTreeMap::from([(Role::Root, Draft::new(Role::Root, &root))]);
        Ok(Repository { roots: Vec::new(), root: None, targets: None, snapshot: None, timestamp: None, drafts })
    }

    /// What is published, verified as a node would, and the drafts that were kept with it. A draft that does not follow
    /// what is published is left out.
    ///
    /// # Errors
    /// A root or targets that are not signed as they must be.
    pub fn open(published: Published, drafts: Vec<Vec<u8>>) -> Result<Repository, KeyError> {
        let root = verified_root(&published.roots)?;
        let mut repository = Repository {
            roots: published.roots,
            root,
            targets: published.targets.map(|bytes| Document::read(&Role::Targets, bytes)).transpose()?,
            snapshot: published.snapshot.map(|bytes| Document::read(&Role::Snapshot, bytes)).transpose()?,
            timestamp: published.timestamp.map(|bytes| Document::read(&Role::Timestamp, bytes)).transpose()?,
            drafts: BTreeMap::new(),
        };
        let mut read = Vec::new();
        for bytes in drafts {
            read.push(Draft::read(&bytes)?);
        }
        // The root first: its keys may sign the others.
        read.sort_by(|(a, _), (b, _)| a.role().cmp(b.role()));
        for (draft, signatures) in read {
            if draft.head().version == repository.next_version(draft.role()) {
                repository.drafts.insert(draft.role().clone(), draft.clone());
                for (id, signature) in signatures {
                    repository.add_signature(draft.role(), &id, &signature);
                }
            }
        }
        repository.check_targets()?;
        Ok(repository)
    }

    /// New targets build on those that are published, so these must be genuine: or there is a signed draft of their
    /// successor, after a crash while a new root was being written.
    fn check_targets(&self) -> Result<(), KeyError> {
        let authorities = self.authorities();
        let (Some(targets), Some(authority)) = (&self.targets, authorities.first()) else { return Ok(()) };
        let draft = self.drafts.get(&Role::Targets);
        let signed = |root: &Root| draft.is_some_and(|draft| self.lacks(draft, &Some(root.clone())).is_none());
        if authorities.iter().any(|root| targets.verifies(&Role::Targets, root) || signed(root)) {
            return Ok(());
        }
        let keys = &authority.roles[&Role::Targets];
        let envelope = Envelope::parse(&Role::Targets, &targets.bytes, Targets::LIMIT)?;
        let valid = envelope.valid_signatures(&authority.keys, keys);
        Err(Error::Threshold { role: Role::Targets, valid, needed: keys.threshold }.into())
    }

    /// The roots that may be in force once all is signed: the draft's if it is complete, then the published one.
    fn authorities(&self) -> Vec<Root> {
        let draft = self.drafts.get(&Role::Root).filter(|draft| self.lacks(draft, &self.root).is_none());
        let draft = draft.and_then(|draft| draft.value::<Root>().ok());
        draft.into_iter().chain(self.root.clone()).collect()
    }

    /// The root as it will be: with the changes that are not signed yet.
    ///
    /// # Errors
    /// None in practice: a draft was read before it was kept.
    pub fn root(&self) -> Result<Root, KeyError> {
        match (self.drafts.get(&Role::Root), &self.root) {
            (Some(draft), _) => Ok(draft.value()?),
            (None, Some(root)) => Ok(root.clone()),
            (None, None) => Err(Error::Order { role: Role::Root }.into()),
        }
    }

    /// The targets as they will be.
    ///
    /// # Errors
    /// As [`Repository::root`].
    pub fn targets(&self) -> Result<BTreeMap<String, Target>, KeyError> {
        match (self.drafts.get(&Role::Targets), &self.targets) {
            (Some(draft), _) => Ok(draft.value::<Targets>()?.targets),
            (None, Some(document)) => Ok(document.value.targets.clone()),
            (None, None) => Ok(BTreeMap::new()),
        }
    }

    /// What waits for signatures.
    pub fn drafts(&self) -> impl Iterator<Item = &Draft> {
        self.drafts.values()
    }

    /// The published roots, from version 1.
    #[must_use]
    pub fn published_roots(&self) -> &[Vec<u8>] {
        &self.roots
    }

    /// When the published metadata of a role expires.
    #[must_use]
    pub fn expires(&self, role: &Role) -> Option<Time> {
        self.published_head(role).map(|head| head.expires)
    }

    fn published_head(&self, role: &Role) -> Option<&Head> {
        match role {
            Role::Root => self.root.as_ref().map(|root| &root.head),
            Role::Targets => self.targets.as_ref().map(|document| &document.value.head),
            Role::Snapshot => self.snapshot.as_ref().map(|document| &document.value.head),
            Role::Timestamp => self.timestamp.as_ref().map(|document| &document.value.head),
            Role::Delegated(_) => None,
        }
    }

    fn next_version(&self, role: &Role) -> u64 {
        self.published_head(role).map_or(1, |head| head.version.saturating_add(1))
    }

    fn next_head(&self, role: &Role, now: Time, lifetimes: &Lifetimes) -> Head {
        let version = self.next_version(role);
        Head { version, expires: now.plus_days(lifetimes.of(role)), signed_at: Some(now) }
    }

    /// Changes the root. What it had of signatures is void then.
    fn edit_root<T>(
        &mut self,
        now: Time,
        lifetimes: &Lifetimes,
        edit: impl FnOnce(&mut Root) -> Result<T, KeyError>,
    ) -> Result<T, KeyError> {
        let mut root = self.root()?;
        root.head = self.next_head(&Role::Root, now, lifetimes);
        let result = edit(&mut root)?;
        self.drafts.insert(Role::Root, Draft::new(Role::Root, &root));
        Ok(result)
    }

    /// Gives `role` another key.
    ///
    /// # Errors
    /// [`KeyError::OfRoleAlready`].
    pub fn add_key(&mut self, role: &Role, key: &PublicKey, now: Time, lives: &Lifetimes) -> Result<KeyId, KeyError> {
        self.edit_root(now, lives, |root| edit::add_key(root, role, key))
    }

    /// Takes a key away from `role`.
    ///
    /// # Errors
    /// [`KeyError::NotOfRole`]; [`KeyError::Threshold`] if too few would be left.
    pub fn revoke(&mut self, role: &Role, key: &KeyId, now: Time, lives: &Lifetimes) -> Result<(), KeyError> {
        self.edit_root(now, lives, |root| edit::revoke(root, role, key))
    }

    /// Puts one key in the place of another.
    ///
    /// # Errors
    /// [`KeyError::NotOfRole`], [`KeyError::OfRoleAlready`].
    pub fn rotate(
        &mut self,
        role: &Role,
        old: &KeyId,
        new: &PublicKey,
        now: Time,
        lives: &Lifetimes,
    ) -> Result<KeyId, KeyError> {
        self.edit_root(now, lives, |root| {
            let id = edit::add_key(root, role, new)?;
            edit::revoke(root, role, old)?;
            Ok(id)
        })
    }

    /// # Errors
    /// [`KeyError::Threshold`].
    pub fn set_threshold(&mut self, role: &Role, threshold: u32, now: Time, lives: &Lifetimes) -> Result<(), KeyError> {
        self.edit_root(now, lives, |root| edit::set_threshold(root, role, threshold))
    }

    fn edit_targets(
        &mut self,
        now: Time,
        lives: &Lifetimes,
        edit: impl FnOnce(&mut BTreeMap<String, Target>) -> Result<(), KeyError>,
    ) -> Result<(), KeyError> {
        let delegations = self.targets.as_ref().and_then(|document| document.value.delegations.clone());
        let mut targets =
            Targets { head: self.next_head(&Role::Targets, now, lives), targets: self.targets()?, delegations };
        edit(&mut targets.targets)?;
        self.drafts.insert(Role::Targets, Draft::new(Role::Targets, &targets));
        Ok(())
    }

    /// Adds targets, in the place of those with the same path.
    ///
    /// # Errors
    /// As [`Repository::root`].
    pub fn add_targets(&mut self, add: Vec<Target>, now: Time, lives: &Lifetimes) -> Result<(), KeyError> {
        self.edit_targets(now, lives, |targets| {
            targets.extend(add.into_iter().map(|target| (target.path().to_owned(), target)));
            Ok(())
        })
    }

    /// # Errors
    /// [`KeyError::NoTarget`].
    pub fn remove_targets(&mut self, paths: &[String], now: Time, lives: &Lifetimes) -> Result<(), KeyError> {
        self.edit_targets(now, lives, |targets| {
            for path in paths {
                targets.remove(path).ok_or_else(|| KeyError::NoTarget(path.clone()))?;
            }
            Ok(())
        })
    }

    /// Forgets the changes of a role that are not published.
    pub fn discard(&mut self, role: &Role) {
        self.drafts.remove(role);
    }

    /// Keys that may sign a draft, each once.
    fn signers_of(&self, draft: &Draft) -> BTreeMap<KeyId, PublicKey> {
        let mut keys = BTreeMap::new();
        let mut take = |root: &Root| {
            let ids = root.roles.get(draft.role()).map(|role| role.ids.as_slice()).unwrap_or_default();
            keys.extend(ids.iter().filter_map(|id| Some((id.clone(), *root.keys.get(id)?))));
        };
        if draft.role() == &Role::Root {
            draft.value::<Root>().iter().for_each(&mut take);
            self.root.iter().for_each(&mut take);
        } else {
            self.root().iter().for_each(&mut take);
            self.root.iter().for_each(&mut take);
        }
        keys
    }

    /// Whether a signature is one that a draft of `role` waits for; it is kept then.
    fn add_signature(&mut self, role: &Role, id: &KeyId, signature: &str) -> bool {
        let Some(draft) = self.drafts.get(role) else { return false };
        let Some(key) = self.signers_of(draft).remove(id) else { return false };
        self.drafts.get_mut(role).is_some_and(|draft| draft.add(id, &key, signature))
    }

    /// Takes signatures that were made elsewhere: a draft's file with signatures in it. Says whose they are.
    ///
    /// # Errors
    /// [`KeyError::OtherDraft`], [`KeyError::NoDraft`], [`KeyError::Stray`] if no signature in it is of use.
    pub fn import(&mut self, bytes: &[u8]) -> Result<Vec<KeyId>, KeyError> {
        let (other, signatures) = Draft::read(bytes)?;
        let ours = self.drafts.get(other.role()).ok_or_else(|| KeyError::NoDraft(other.name()))?;
        if ours.message() != other.message() {
            return Err(KeyError::OtherDraft { role: other.role().clone() });
        }
        let mut taken = Vec::new();
        for (id, signature) in signatures {
            if self.add_signature(other.role(), &id, &signature) {
                taken.push(id);
            }
        }
        if taken.is_empty() { Err(KeyError::Stray) } else { Ok(taken) }
    }

    /// Takes a bare signature, of whatever key over whatever draft it is. Says which.
    ///
    /// # Errors
    /// [`KeyError::Stray`].
    pub fn import_raw(&mut self, signature: &[u8; 64]) -> Result<(Role, KeyId), KeyError> {
        for role in Role::TOP {
            let Some(draft) = self.drafts.get(&role) else { continue };
            let signers = self.signers_of(draft);
            let Some(draft) = self.drafts.get_mut(&role) else { continue };
            for (id, key) in &signers {
                if draft.add_raw(id, key, signature) {
                    return Ok((role, id.clone()));
                }
            }
        }
        Err(KeyError::Stray)
    }

    /// What a draft lacks under `authority`; for a root, under itself as well.
    fn lacks(&self, draft: &Draft, authority: &Option<Root>) -> Option<Waiting> {
        let own = if draft.role() == &Role::Root { draft.value::<Root>().ok() } else { None };
        // The old root's threshold first: without it the new one's counts for nothing.
        authority.iter().chain(&own).find_map(|root| {
            let role = &root.roles[draft.role()];
            let valid = draft.valid(&root.keys, role);
            let signed: BTreeSet<&KeyId> = draft.signers().collect();
            (valid < role.threshold as usize).then(|| Waiting {
                role: draft.role().clone(),
                version: draft.head().version,
                valid,
                needed: role.threshold,
                missing: role.ids.iter().filter(|id| !signed.contains(id)).cloned().collect(),
            })
        })
    }

    /// Signs what waits, with the keys at hand, and makes what follows: a snapshot for new targets, a timestamp for a new
    /// snapshot, and new ones of the roles in `renew`. The files are to be written in their order; the drafts that are
    /// left are to be kept.
    ///
    /// A new root goes out with everything that its keys have to sign, or not at all: until then the old one stays.
    ///
    /// # Errors
    /// Those of the signer.
    pub fn sign(
        &mut self,
        signer: &mut dyn Signer,
        renew: &BTreeSet<Role>,
        now: Time,
        lives: &Lifetimes,
    ) -> Result<Signed, KeyError> {
        if renew.contains(&Role::Root) && !self.drafts.contains_key(&Role::Root) {
            self.edit_root(now, lives, |_| Ok(()))?;
        }
        if renew.contains(&Role::Targets) && !self.drafts.contains_key(&Role::Targets) {
            self.edit_targets(now, lives, |_| Ok(()))?;
        }
        self.sign_draft(&Role::Root, signer)?;
        self.sign_draft(&Role::Targets, signer)?;
        for authority in self.authorities() {
            if let Attempt::Complete(files) = self.attempt(&authority, signer, renew, now, lives)? {
                return Ok(Signed { files, waiting: self.waiting() });
            }
        }
        Ok(Signed { files: Vec::new(), waiting: self.waiting() })
    }

    /// What lacks signatures, and which.
    #[must_use]
    pub fn waiting(&self) -> Vec<Waiting> {
        let complete = self.authorities().into_iter().next();
        let authority = |role: &Role| if role == &Role::Root { self.root.clone() } else { complete.clone() };
        self.drafts.values().filter_map(|draft| self.lacks(draft, &authority(draft.role()))).collect()
    }

    fn sign_draft(&mut self, role: &Role, signer: &mut dyn Signer) -> Result<(), KeyError> {
        let Some(mut draft) = self.drafts.remove(role) else { return Ok(()) };
        let message = draft.message();
        let signers = self.signers_of(&draft);
        for (id, key) in signers {
            if draft.signers().any(|signed| signed == &id) {
                continue;
            }
            match signer.sign(&key, &message) {
                Ok(Some(signature)) if draft.add_raw(&id, &key, &signature) => {}
                Ok(Some(_)) => {
                    self.drafts.insert(role.clone(), draft);
                    return Err(KeyError::Stray);
                }
                Ok(None) => {}
                Err(error) => {
                    self.drafts.insert(role.clone(), draft);
                    return Err(error);
                }
            }
        }
        self.drafts.insert(role.clone(), draft);
        Ok(())
    }

    fn attempt(
        &mut self,
        authority: &Root,
        signer: &mut dyn Signer,
        renew: &BTreeSet<Role>,
        now: Time,
        lives: &Lifetimes,
    ) -> Result<Attempt, KeyError> {
        let some = Some(authority.clone());
        let mut files = Vec::new();
        // Targets: the draft if it is signed, else those that are published, if they are good under this root.
        let draft = self.drafts.get(&Role::Targets).filter(|draft| self.lacks(draft, &some).is_none()).cloned();
        let held = self.targets.as_ref().filter(|document| document.verifies(&Role::Targets, authority));
        let held = held.map(|document| document.bytes.clone());
        if draft.is_none() && held.is_none() && !self.drafts.contains_key(&Role::Targets) {
            self.edit_targets(now, lives, |_| Ok(()))?;
            self.sign_draft(&Role::Targets, signer)?;
            return self.attempt(authority, signer, renew, now, lives);
        }
        let (targets, version) = match (&draft, held) {
            (Some(draft), _) => (draft.to_bytes(), draft.head().version),
            (None, Some(bytes)) => (bytes, self.next_version(&Role::Targets) - 1),
            (None, None) => return Ok(Attempt::Lacking),
        };
        if draft.is_some() {
            files.push((format!("metadata/{version}.targets.json"), targets.clone()));
        }
        // Snapshot: anew if it is not one of these targets.
        let mut meta = self.snapshot.as_ref().map(|document| document.value.meta.clone()).unwrap_or_default();
        meta.insert("targets.json".into(), meta_file(version, &targets));
        let held = self.snapshot.as_ref().filter(|document| {
            document.value.meta == meta
                && document.verifies(&Role::Snapshot, authority)
                && !renew.contains(&Role::Snapshot)
        });
        let held = held.map(|document| (document.bytes.clone(), document.value.head.version));
        let (snapshot, version) = match held {
            Some(held) => held,
            None => {
                let kept = self.drafts.get(&Role::Snapshot).and_then(|draft| draft.value::<Snapshot>().ok());
                if kept.is_none_or(|kept| kept.meta != meta || kept.head.expires <= now) {
                    let value = Snapshot { head: self.next_head(&Role::Snapshot, now, lives), meta };
                    self.drafts.insert(Role::Snapshot, Draft::new(Role::Snapshot, &value));
                }
                let Some(file) = self.completed(&Role::Snapshot, &some, signer)? else { return Ok(Attempt::Lacking) };
                files.push((format!("metadata/{}.snapshot.json", file.1), file.0.clone()));
                file
            }
        };
        // Timestamp: anew if it is not one of this snapshot.
        let listed = meta_file(version, &snapshot);
        let held = self.timestamp.as_ref().is_some_and(|document| {
            document.value.snapshot == listed
                && document.verifies(&Role::Timestamp, authority)
                && !renew.contains(&Role::Timestamp)
        });
        if !held {
            let kept = self.drafts.get(&Role::Timestamp).and_then(|draft| draft.value::<Timestamp>().ok());
            if kept.is_none_or(|kept| kept.snapshot != listed || kept.head.expires <= now) {
                let value = Timestamp { head: self.next_head(&Role::Timestamp, now, lives), snapshot: listed };
                self.drafts.insert(Role::Timestamp, Draft::new(Role::Timestamp, &value));
            }
            let Some(file) = self.completed(&Role::Timestamp, &some, signer)? else { return Ok(Attempt::Lacking) };
            files.push(("metadata/timestamp.json".into(), file.0));
        }
        self.adopt(authority, &mut files)?;
        Ok(Attempt::Complete(files))
    }

    /// The draft's file and version, if it is signed.
    fn completed(
        &mut self,
        role: &Role,
        authority: &Option<Root>,
        signer: &mut dyn Signer,
    ) -> Result<Option<(Vec<u8>, u64)>, KeyError> {
        self.sign_draft(role, signer)?;
        let draft = self.drafts.get(role).filter(|draft| self.lacks(draft, authority).is_none());
        Ok(draft.map(|draft| (draft.to_bytes(), draft.head().version)))
    }

    /// Makes the complete files the published ones.
    fn adopt(&mut self, authority: &Root, files: &mut Vec<(String, Vec<u8>)>) -> Result<(), KeyError> {
        if self.root.as_ref() != Some(authority)
            && let Some(draft) = self.drafts.remove(&Role::Root)
        {
            let bytes = draft.to_bytes();
            // Before the timestamp, which is where nodes see that there is something new; they ask for roots first.
            let at = files.iter().position(|(name, _)| name == "metadata/timestamp.json").unwrap_or(files.len());
            files.insert(at, (format!("metadata/{}.root.json", draft.head().version), bytes.clone()));
            self.roots.push(bytes);
            self.root = Some(authority.clone());
        }
        for (name, bytes) in files.iter() {
            match name.rsplit(['/', '.']).nth(1) {
                Some("targets") => {
                    self.targets = Some(Document::read(&Role::Targets, bytes.clone())?);
                    self.drafts.remove(&Role::Targets);
                }
                Some("snapshot") => self.snapshot = Some(Document::read(&Role::Snapshot, bytes.clone())?),
                Some("timestamp") => self.timestamp = Some(Document::read(&Role::Timestamp, bytes.clone())?),
                _ => {}
            }
        }
        // These follow from the others; what is left of them was made for another state.
        self.drafts.remove(&Role::Snapshot);
        self.drafts.remove(&Role::Timestamp);
        Ok(())
    }
}

fn meta_file(version: u64, bytes: &[u8]) -> MetaFile {
    let hashes = Some(Hashes::sha256(Sha256::digest(bytes).into()));
    MetaFile { version, length: Some(bytes.len() as u64), hashes }
}

/// The last of a chain of roots.
fn verified_root(roots: &[Vec<u8>]) -> Result<Option<Root>, KeyError> {
    let Some((first, rest)) = roots.split_first() else { return Ok(None) };
    let mut trust = Trust::from_root(first)?;
    for root in rest {
        trust.update_root(root)?;
    }
    Ok(Some(trust.root().clone()))
}
