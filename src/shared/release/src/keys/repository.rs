//! A repository as its owners see it: what is published, what has been changed since, and who has to sign that.

use std::collections::BTreeMap;

use super::draft::Draft;
use super::{KeyError, describe, edit};
use crate::tuf::metadata::Metadata;
use crate::tuf::signed::{Envelope, Held};
use crate::tuf::{
    Error, Head, KeyId, Keys, PublicKey, Role, RoleKeys, Root, Snapshot, Target, Targets, Time, Timestamp, Trust,
    limits,
};

/// Bytes that signatures add to a file of targets: those of a few keys.
const SIGNATURES_ROOM: usize = 4 << 10;

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

/// A repository that is being edited. The default one is not there yet.
#[derive(Clone, Debug, Default)]
pub struct Repository {
    pub(super) roots: Vec<Vec<u8>>,
    pub(super) root: Option<Root>,
    pub(super) targets: Option<Document<Targets>>,
    pub(super) snapshot: Option<Document<Snapshot>>,
    pub(super) timestamp: Option<Document<Timestamp>>,
    pub(super) drafts: BTreeMap<Role, Draft>,
    /// Drafts that do not follow what is published: nobody can use their signatures any more.
    void: Vec<Draft>,
}

#[derive(Clone, Debug)]
pub(super) struct Document<T> {
    pub bytes: Vec<u8>,
    pub value: T,
}

impl<T: Metadata> Document<T> {
    pub(super) fn read(role: &Role, bytes: Vec<u8>) -> Result<Document<T>, Error> {
        Ok(Document { value: Envelope::parse(role, &bytes, T::LIMIT)?.read()?, bytes })
    }

    pub(super) fn verifies(&self, role: &Role, root: &Root) -> bool {
        Held::<T>::verify(role, &self.bytes, &root.keys, &root.roles[role]).is_ok()
    }
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
        Ok(Repository {
            roots: Vec::new(),
            root: None,
            targets: None,
            snapshot: None,
            timestamp: None,
            drafts,
            void: Vec::new(),
        })
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
            void: Vec::new(),
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
            } else {
                repository.keep_void(draft);
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
    pub(super) fn authorities(&self) -> Vec<Root> {
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

    /// Notes a draft that does not follow what is published.
    ///
    /// # Errors
    /// Bytes that are no draft.
    pub(super) fn note_void(&mut self, bytes: &[u8]) -> Result<(), KeyError> {
        self.keep_void(Draft::read(bytes)?.0);
        Ok(())
    }

    /// A draft that was published, by a command that was interrupted before it removed it, is no loss.
    fn keep_void(&mut self, draft: Draft) {
        let published = match draft.role() {
            Role::Root => self.roots.last(),
            Role::Targets => self.targets.as_ref().map(|document| &document.bytes),
            // These follow from the others, and are made anew.
            _ => return,
        };
        let same =
            published.and_then(|bytes| Draft::read(bytes).ok()).is_some_and(|(p, _)| p.message() == draft.message());
        if !same {
            self.void.push(draft);
        }
    }

    /// Drafts that were left behind by what others published since; they are dropped when the drafts are written.
    #[must_use]
    pub fn void(&self) -> &[Draft] {
        &self.void
    }

    /// Takes the drafts of a role away, so that signing passes them by, until [`Repository::put_back`].
    pub fn set_aside(&mut self, role: &Role) -> Option<Draft> {
        self.drafts.remove(role)
    }

    /// Undoes [`Repository::set_aside`].
    pub fn put_back(&mut self, draft: Draft) {
        self.drafts.entry(draft.role().clone()).or_insert(draft);
    }

    /// The published targets, without changes that wait.
    #[must_use]
    pub fn published_targets(&self) -> BTreeMap<String, Target> {
        self.targets.as_ref().map(|document| document.value.targets.clone()).unwrap_or_default()
    }

    /// Targets, and bytes of their file, as they will be.
    ///
    /// # Errors
    /// As [`Repository::root`].
    pub fn targets_size(&self) -> Result<(usize, usize), KeyError> {
        let bytes = match (self.drafts.get(&Role::Targets), &self.targets) {
            (Some(draft), _) => draft.to_bytes().len(),
            (None, Some(document)) => document.bytes.len(),
            (None, None) => 0,
        };
        Ok((self.targets()?.len(), bytes))
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

    pub(super) fn next_version(&self, role: &Role) -> u64 {
        self.published_head(role).map_or(1, |head| head.version.saturating_add(1))
    }

    pub(super) fn next_head(&self, role: &Role, now: Time, lifetimes: &Lifetimes) -> Head {
        let version = self.next_version(role);
        Head { version, expires: now.plus_days(lifetimes.of(role)), signed_at: Some(now) }
    }

    /// Changes the root. What it had of signatures is void then.
    pub(super) fn edit_root<T>(
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

    pub(super) fn edit_targets(
        &mut self,
        now: Time,
        lives: &Lifetimes,
        edit: impl FnOnce(&mut BTreeMap<String, Target>) -> Result<(), KeyError>,
    ) -> Result<(), KeyError> {
        let delegations = self.targets.as_ref().and_then(|document| document.value.delegations.clone());
        let mut targets =
            Targets { head: self.next_head(&Role::Targets, now, lives), targets: self.targets()?, delegations };
        edit(&mut targets.targets)?;
        let draft = Draft::new(Role::Targets, &targets);
        let (count, bytes) = (targets.targets.len(), draft.to_bytes().len() + SIGNATURES_ROOM);
        if count > limits::TARGET_COUNT || bytes > limits::TARGETS {
            return Err(KeyError::TooManyTargets { count, bytes });
        }
        self.drafts.insert(Role::Targets, draft);
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

    /// What a draft changes against what is published, a line each, for the person who is to sign it.
    #[must_use]
    pub fn changes(&self, draft: &Draft, name: &dyn Fn(&KeyId) -> String) -> Vec<String> {
        let before = match draft.role() {
            Role::Root => self.root.as_ref().map(|root| describe::root(root, name)),
            Role::Targets => self.targets.as_ref().map(|document| describe::targets(&document.value)),
            _ => return draft.content(name),
        };
        let before = before.unwrap_or_default();
        let after = draft.content(name);
        let gone = before.iter().filter(|line| !after.contains(line)).map(|line| format!("- {line}"));
        gone.chain(after.iter().filter(|line| !before.contains(line)).map(|line| format!("+ {line}"))).collect()
    }

    /// Forgets the changes of a role that are not published.
    pub fn discard(&mut self, role: &Role) {
        self.drafts.remove(role);
    }

    /// Keys that may sign a draft, each once.
    pub(super) fn signers_of(&self, draft: &Draft) -> BTreeMap<KeyId, PublicKey> {
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
