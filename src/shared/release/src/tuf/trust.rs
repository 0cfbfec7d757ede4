//! What a node trusts, and the checks that new metadata has to pass before it is: TUF 1.0, section 5.

use super::clock::{Clock, Freshness, Time};
use super::error::{Error, Role};
use super::hashes::{Check, Mismatch};
use super::metadata::{MetaFile, Metadata, Root, Snapshot, Targets, Timestamp};
use super::roles::{Keys, RoleKeys};
use super::signed::{Envelope, Held};
use super::target::Target;
use super::verified::Verified;

/// Verified metadata of one repository. It only ever moves forward, by [`Trust::refresh`].
#[derive(Clone, Debug)]
pub struct Trust {
    root: Held<Root>,
    timestamp: Option<Held<Timestamp>>,
    snapshot: Option<Held<Snapshot>>,
    targets: Option<Held<Targets>>,
    newest_signed: Option<Time>,
}

/// What a node keeps on its disk: the files as they came, so that they are verified anew when they are read.
#[derive(Clone, PartialEq, Eq, Debug, Default)]
pub struct Stored {
    pub root: Vec<u8>,
    pub timestamp: Option<Vec<u8>>,
    pub snapshot: Option<Vec<u8>>,
    pub targets: Option<Vec<u8>>,
    /// Part of the clock of a node that has none.
    pub newest_signed: Option<Time>,
}

impl Trust {
    /// Trusts a root that came with the image, or from another place that is beyond doubt. It must be signed by its own
    /// keys; it may have expired.
    ///
    /// # Errors
    /// It is no root, or not signed by enough of its keys.
    pub fn from_root(bytes: &[u8]) -> Result<Trust, Error> {
        let envelope = Envelope::parse(&Role::Root, bytes, Root::LIMIT)?;
        let root: Root = envelope.read()?;
        envelope.require(&root.keys, &root.roles[&Role::Root])?;
        let newest_signed = root.head.signed_at;
        let root = Held { bytes: bytes.to_vec(), value: root };
        Ok(Trust { root, timestamp: None, snapshot: None, targets: None, newest_signed })
    }

    /// Verifies what was stored. Files that do not pass any more, since they were damaged or since a newer root was
    /// stored before a crash, are left out; the second value says why.
    ///
    /// # Errors
    /// Only the root's.
    pub fn load(stored: &Stored) -> Result<(Trust, Vec<Error>), Error> {
        let mut trust = Trust::from_root(&stored.root)?;
        let mut left_out = Vec::new();
        trust.timestamp = trust.reload(&Role::Timestamp, stored.timestamp.as_deref(), &mut left_out);
        trust.snapshot = trust.reload(&Role::Snapshot, stored.snapshot.as_deref(), &mut left_out);
        trust.targets = trust.reload(&Role::Targets, stored.targets.as_deref(), &mut left_out);
        if left_out.is_empty() {
            trust.newest_signed = trust.newest_signed.max(stored.newest_signed);
        }
        trust.note_signed_times();
        Ok((trust, left_out))
    }

    /// As [`Trust::load`], with the root that came with the image as well: the newer one of the two counts, and if the
    /// stored one is unusable, the image's.
    ///
    /// # Errors
    /// Only those of `anchor`.
    pub fn resume(anchor: &[u8], stored: &Stored) -> Result<(Trust, Vec<Error>), Error> {
        let from_image = Trust::from_root(anchor)?;
        match Trust::load(stored) {
            Ok((trust, left_out)) if trust.root_version() >= from_image.root_version() => Ok((trust, left_out)),
            Ok(_) => Trust::load(&Stored { root: anchor.to_vec(), ..stored.clone() }),
            Err(error) => {
                let (trust, mut left_out) = Trust::load(&Stored { root: anchor.to_vec(), ..stored.clone() })?;
                left_out.insert(0, error);
                Ok((trust, left_out))
            }
        }
    }

    fn reload<T: Metadata>(&self, role: &Role, bytes: Option<&[u8]>, left_out: &mut Vec<Error>) -> Option<Held<T>> {
        match Held::verify(role, bytes?, &self.root.value.keys, self.keys_of(role)) {
            Ok(held) => Some(held),
            Err(error) => {
                left_out.push(error);
                None
            }
        }
    }

    /// What to store. After every step of a refresh, so that what was verified holds after a power cut, and rollback
    /// to before it is refused.
    #[must_use]
    pub fn stored(&self) -> Stored {
        Stored {
            root: self.root.bytes.clone(),
            timestamp: self.timestamp.as_ref().map(|held| held.bytes.clone()),
            snapshot: self.snapshot.as_ref().map(|held| held.bytes.clone()),
            targets: self.targets.as_ref().map(|held| held.bytes.clone()),
            newest_signed: self.newest_signed,
        }
    }

    #[must_use]
    pub fn root_version(&self) -> u64 {
        self.root.value.head.version
    }

    /// Version of a top-level role's metadata, if there is some.
    #[must_use]
    pub fn version(&self, role: &Role) -> Option<u64> {
        match role {
            Role::Root => Some(self.root_version()),
            Role::Timestamp => self.timestamp.as_ref().map(|held| held.value.head.version),
            Role::Snapshot => self.snapshot.as_ref().map(|held| held.value.head.version),
            Role::Targets => self.targets.as_ref().map(|held| held.value.head.version),
            Role::Delegated(_) => None,
        }
    }

    /// When a top-level role's metadata expires, if there is some.
    #[must_use]
    pub fn expires(&self, role: &Role) -> Option<Time> {
        match role {
            Role::Root => Some(self.root.value.head.expires),
            Role::Timestamp => self.timestamp.as_ref().map(|held| held.value.head.expires),
            Role::Snapshot => self.snapshot.as_ref().map(|held| held.value.head.expires),
            Role::Targets => self.targets.as_ref().map(|held| held.value.head.expires),
            Role::Delegated(_) => None,
        }
    }

    #[must_use]
    pub fn root(&self) -> &Root {
        &self.root.value
    }

    /// The newest time in verified metadata at which something was signed.
    #[must_use]
    pub fn newest_signed(&self) -> Option<Time> {
        self.newest_signed
    }

    /// How current the metadata is. `Unknown` until a refresh has gone through once.
    #[must_use]
    pub fn freshness(&self, clock: &Clock) -> Freshness {
        if self.complete().is_err() {
            return Freshness::Unknown;
        }
        // `complete` means that there are all four.
        let Some(first) = Role::TOP.iter().filter_map(|role| self.expires(role)).min() else {
            return Freshness::Unknown;
        };
        if first <= clock.now(self.newest_signed) {
            Freshness::StaleSince(first)
        } else if clock.is_trusted() {
            Freshness::Fresh
        } else {
            Freshness::Unknown
        }
    }

    /// All targets of the repository.
    ///
    /// # Errors
    /// [`Error::Order`] if no refresh has gone through, [`Error::Expired`] by a trusted clock.
    pub fn targets(&self, clock: &Clock) -> Result<Vec<Verified<Target>>, Error> {
        let targets = self.usable_targets(clock)?;
        Ok(targets.targets.values().map(|target| Verified::vouch(target.clone())).collect())
    }

    /// The target at `path`.
    ///
    /// # Errors
    /// Those of [`Trust::targets`], and [`Error::NoTarget`].
    pub fn target(&self, path: &str, clock: &Clock) -> Result<Verified<Target>, Error> {
        let found = self.usable_targets(clock)?.targets.get(path);
        found.map(|t| Verified::vouch(t.clone())).ok_or_else(|| Error::NoTarget { path: path.to_owned() })
    }

    /// Where a target's bytes are in this repository.
    #[must_use]
    pub fn file_of(&self, target: &Verified<Target>) -> String {
        target.file_in(self.root.value.consistent_snapshot)
    }

    pub(super) fn usable_targets(&self, clock: &Clock) -> Result<&Targets, Error> {
        let targets = self.complete()?;
        for role in &Role::TOP {
            if let Some(expires) = self.expires(role) {
                self.check_expiry(role, expires, clock)?;
            }
        }
        Ok(targets)
    }

    /// The targets, if all metadata is there and belongs together.
    fn complete(&self) -> Result<&Targets, Error> {
        match &self.targets {
            Some(held) if self.snapshot_is_current() && self.targets_are_current() => Ok(&held.value),
            _ => Err(Error::Order { role: Role::Targets }),
        }
    }

    pub(super) fn keys(&self) -> &Keys {
        &self.root.value.keys
    }

    pub(super) fn keys_of(&self, role: &Role) -> &RoleKeys {
        // Reading a root fails unless it has all top-level roles, and only those are asked for.
        &self.root.value.roles[role]
    }

    pub(super) fn consistent_snapshot(&self) -> bool {
        self.root.value.consistent_snapshot
    }

    /// The snapshot that the timestamp wants.
    pub(super) fn wanted_snapshot(&self) -> Option<&MetaFile> {
        self.timestamp.as_ref().map(|held| &held.value.snapshot)
    }

    /// The targets metadata of `file` that the snapshot wants.
    pub(super) fn wanted_targets(&self, file: &str) -> Option<&MetaFile> {
        self.snapshot.as_ref().and_then(|held| held.value.meta.get(file))
    }

    pub(super) fn snapshot_is_current(&self) -> bool {
        is_current(self.snapshot.as_ref(), self.wanted_snapshot())
    }

    pub(super) fn targets_are_current(&self) -> bool {
        is_current(self.targets.as_ref(), self.wanted_targets("targets.json"))
    }

    /// Freeze: metadata that has expired. Refused only by a clock that can be trusted.
    pub(super) fn check_expiry(&self, role: &Role, expires: Time, clock: &Clock) -> Result<(), Error> {
        let now = clock.now(self.newest_signed);
        if clock.is_trusted() && expires <= now {
            return Err(Error::Expired { role: role.clone(), at: expires, now });
        }
        Ok(())
    }

    /// [`Trust::check_expiry`] of what is held already.
    pub(super) fn check_held_expiry(&self, role: &Role, clock: &Clock) -> Result<(), Error> {
        self.expires(role).map_or(Ok(()), |expires| self.check_expiry(role, expires, clock))
    }

    /// Sections 5.3.3 to 5.3.11 but for expiry, which only the last root is asked for.
    pub(crate) fn update_root(&mut self, bytes: &[u8]) -> Result<(), Error> {
        let role = Role::Root;
        let envelope = Envelope::parse(&role, bytes, Root::LIMIT)?;
        let old = self.keys_of(&role);
        let valid = envelope.valid_signatures(self.keys(), old);
        if valid < old.threshold as usize {
            return Err(Error::OldThreshold { role, valid, needed: old.threshold });
        }
        let new: Root = envelope.read()?;
        envelope.require(&new.keys, &new.roles[&role])?;
        // A held version is below 2^63: numbers from JSON are.
        let expected = self.root_version() + 1;
        match new.head.version {
            found if found < expected => {
                return Err(Error::Rollback { role, trusted: self.root_version(), found });
            }
            found if found > expected => return Err(Error::Version { role, expected, found }),
            _ => self.root = Held { bytes: bytes.to_vec(), value: new },
        }
        self.forget_what_lost_its_keys();
        self.note_signed_times();
        Ok(())
    }

    /// Section 5.3.11: recovery from versions that were driven up with stolen keys. What the new root's keys have not
    /// signed is forgotten, and its versions and its time with it.
    fn forget_what_lost_its_keys(&mut self) {
        let (keys, roles) = (&self.root.value.keys, &self.root.value.roles);
        let signed = |role: &Role, bytes: &[u8]| {
            Envelope::parse(role, bytes, usize::MAX).and_then(|e| e.require(keys, &roles[role])).is_ok()
        };
        let timestamp_holds = self.timestamp.as_ref().is_none_or(|held| signed(&Role::Timestamp, &held.bytes));
        let snapshot_holds = self.snapshot.as_ref().is_none_or(|held| signed(&Role::Snapshot, &held.bytes));
        let targets_hold = self.targets.as_ref().is_none_or(|held| signed(&Role::Targets, &held.bytes));
        if !timestamp_holds || !snapshot_holds {
            self.timestamp = None;
            self.snapshot = None;
        }
        if !targets_hold {
            self.targets = None;
        }
        if !timestamp_holds || !snapshot_holds || !targets_hold {
            self.newest_signed = None;
        }
    }

    fn note_signed_times(&mut self) {
        let times = [
            self.root.value.head.signed_at,
            self.timestamp.as_ref().and_then(|held| held.value.head.signed_at),
            self.snapshot.as_ref().and_then(|held| held.value.head.signed_at),
            self.targets.as_ref().and_then(|held| held.value.head.signed_at),
        ];
        self.newest_signed = times.into_iter().fold(self.newest_signed, Ord::max);
    }

    /// Section 5.4. Whether the timestamp is a new one.
    pub(super) fn update_timestamp(&mut self, bytes: &[u8], clock: &Clock) -> Result<bool, Error> {
        let role = Role::Timestamp;
        let new: Held<Timestamp> = Held::verify(&role, bytes, self.keys(), self.keys_of(&role))?;
        if let Some(held) = &self.timestamp {
            let (trusted, found) = (held.value.head.version, new.value.head.version);
            if found < trusted {
                return Err(Error::Rollback { role, trusted, found });
            }
            if found == trusted {
                self.check_held_expiry(&role, clock)?;
                return Ok(false);
            }
            let (trusted, found) = (held.value.snapshot.version, new.value.snapshot.version);
            if found < trusted {
                return Err(Error::Rollback { role: Role::Snapshot, trusted, found });
            }
        }
        self.check_expiry(&role, new.value.head.expires, clock)?;
        self.timestamp = Some(new);
        self.note_signed_times();
        Ok(true)
    }

    /// Section 5.5.
    pub(super) fn update_snapshot(&mut self, bytes: &[u8], clock: &Clock) -> Result<(), Error> {
        let role = Role::Snapshot;
        let wanted = self.wanted_snapshot().ok_or_else(|| Error::Order { role: role.clone() })?;
        let new: Held<Snapshot> = self.verify_listed(&role, bytes, wanted, self.keys(), self.keys_of(&role))?;
        if let Some(held) = &self.snapshot {
            for (file, old) in &held.value.meta {
                let new = new.value.meta.get(file).ok_or_else(|| Error::Vanished { file: file.clone() })?;
                if new.version < old.version {
                    let name = file.strip_suffix(".json").unwrap_or(file);
                    let role = Role::from_name(name).unwrap_or_else(|| Role::Delegated(name.to_owned()));
                    return Err(Error::Rollback { role, trusted: old.version, found: new.version });
                }
            }
        }
        self.check_expiry(&role, new.value.head.expires, clock)?;
        self.snapshot = Some(new);
        self.note_signed_times();
        Ok(())
    }

    /// Section 5.6.
    pub(super) fn update_targets(&mut self, bytes: &[u8], clock: &Clock) -> Result<(), Error> {
        let role = Role::Targets;
        if !self.snapshot_is_current() {
            return Err(Error::Order { role });
        }
        let wanted = self.wanted_targets("targets.json").ok_or_else(|| Error::NotListed { role: role.clone() })?;
        let new: Held<Targets> = self.verify_listed(&role, bytes, wanted, self.keys(), self.keys_of(&role))?;
        self.check_expiry(&role, new.value.head.expires, clock)?;
        self.targets = Some(new);
        self.note_signed_times();
        Ok(())
    }

    /// Checks metadata against what the metadata above it says: bytes, signatures, version.
    pub(super) fn verify_listed<T: Metadata>(
        &self,
        role: &Role,
        bytes: &[u8],
        wanted: &MetaFile,
        keys: &Keys,
        by: &RoleKeys,
    ) -> Result<Held<T>, Error> {
        bytes_fit(bytes, wanted).map_err(|why| Error::Mismatch { role: role.clone(), why })?;
        let new: Held<T> = Held::verify(role, bytes, keys, by)?;
        let found = new.value.head().version;
        if found != wanted.version {
            return Err(Error::Version { role: role.clone(), expected: wanted.version, found });
        }
        Ok(new)
    }
}

fn bytes_fit(bytes: &[u8], wanted: &MetaFile) -> Result<(), Mismatch> {
    if let Some(length) = wanted.length.filter(|&length| bytes.len() as u64 > length) {
        return Err(Mismatch::Longer(length));
    }
    match &wanted.hashes {
        Some(hashes) => {
            let mut check = Check::new(None, hashes);
            check.update(bytes)?;
            check.finish()
        }
        None => Ok(()),
    }
}

fn is_current<T: Metadata>(held: Option<&Held<T>>, wanted: Option<&MetaFile>) -> bool {
    held.zip(wanted).is_some_and(|(held, wanted)| {
        held.value.head().version == wanted.version && bytes_fit(&held.bytes, wanted).is_ok()
    })
}
