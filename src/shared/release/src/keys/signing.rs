//! From drafts to published files: who has signed, what follows from it, and in which order it may be shown.

use std::collections::BTreeSet;

use sha2::{Digest, Sha256};

use super::draft::Draft;
use super::repository::{Document, Lifetimes, Repository};
use super::{KeyError, Signer};
use crate::tuf::{Hashes, KeyId, MetaFile, Role, Root, Snapshot, Time, Timestamp};

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
    /// What a draft lacks under `authority`; for a root, under itself as well.
    pub(super) fn lacks(&self, draft: &Draft, authority: &Option<Root>) -> Option<Waiting> {
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
