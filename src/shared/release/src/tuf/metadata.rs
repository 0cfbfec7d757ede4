//! The four kinds of metadata as types, from their JSON and back. TUF 1.0, section 4.

use std::collections::BTreeMap;

use super::clock::Time;
use super::delegation::Delegations;
use super::error::{Error, Role};
use super::fields::Fields;
use super::hashes::Hashes;
use super::json::Json;
use super::limits;
use super::roles::{Keys, RoleKeys, keys_from_fields, limited};
use super::target::Target;

/// The version of the specification that we write.
pub const SPEC_VERSION: &str = "1.0.31";

/// What all metadata says of itself.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Head {
    /// From 1, one more with each change.
    pub version: u64,
    pub expires: Time,
    /// When it was signed. Not of the specification, which has no such field: it is what a node without a clock learns
    /// the time from. Metadata made by others has none.
    pub signed_at: Option<Time>,
}

/// Metadata that a role signs.
pub(crate) trait Metadata: Sized {
    /// What `_type` says.
    const TYPE: &'static str;
    /// Bytes of the largest document that is read.
    const LIMIT: usize;

    /// The type from the members of `signed`.
    ///
    /// # Errors
    /// [`Error::Field`], [`Error::TooMany`].
    fn from_fields(head: Head, fields: Fields) -> Result<Self, Error>;

    fn head(&self) -> &Head;

    /// Reads `signed`.
    ///
    /// # Errors
    /// [`Error::Type`], [`Error::SpecVersion`], and those of [`Metadata::from_fields`].
    fn from_json(role: &Role, signed: &Json) -> Result<Self, Error> {
        let fields = Fields::of(role, "signed", signed)?;
        let found = fields.text("_type")?;
        if found != Self::TYPE {
            return Err(Error::Type { role: role.clone(), found: shortened(found) });
        }
        let spec = fields.text("spec_version")?;
        let mut numbers = spec.split('.');
        if numbers.next() != Some("1") || !numbers.all(|n| !n.is_empty() && n.bytes().all(|b| b.is_ascii_digit())) {
            return Err(Error::SpecVersion { role: role.clone(), found: shortened(spec) });
        }
        let head = Head {
            version: fields.positive("version")?,
            expires: fields.time("expires")?,
            signed_at: fields.optional("signed_at", Fields::time)?,
        };
        if head.signed_at.is_some_and(|time| time > head.expires) {
            return Err(fields.error("signed_at", "is later than expires"));
        }
        Self::from_fields(head, fields)
    }
}

fn shortened(text: &str) -> String {
    text.chars().take(40).collect()
}

/// Which keys each role has.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Root {
    pub head: Head,
    pub keys: Keys,
    /// The four top-level roles.
    pub roles: BTreeMap<Role, RoleKeys>,
    /// Whether file names carry versions and hashes.
    pub consistent_snapshot: bool,
}

impl Metadata for Root {
    const TYPE: &'static str = "root";
    const LIMIT: usize = limits::ROOT;

    fn from_fields(head: Head, fields: Fields) -> Result<Root, Error> {
        let object = fields.object("roles")?;
        let all = Fields { place: "roles", object, ..fields };
        let mut roles = BTreeMap::new();
        for role in Role::TOP {
            let entry = Fields { place: role.name(), object: all.object(role.name())?, ..all };
            roles.insert(role.clone(), RoleKeys::from_fields(entry)?);
        }
        Ok(Root {
            head,
            keys: keys_from_fields(fields)?,
            roles,
            consistent_snapshot: fields.optional("consistent_snapshot", Fields::bool)?.unwrap_or(false),
        })
    }

    fn head(&self) -> &Head {
        &self.head
    }
}

/// What metadata says about the metadata below it.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct MetaFile {
    pub version: u64,
    /// Bytes.
    pub length: Option<u64>,
    pub hashes: Option<Hashes>,
}

impl MetaFile {
    fn from_fields(fields: Fields) -> Result<MetaFile, Error> {
        let hashes = fields.optional("hashes", Fields::object)?;
        Ok(MetaFile {
            version: fields.positive("version")?,
            length: fields.optional("length", Fields::positive)?,
            hashes: hashes.map(Hashes::from_json).transpose().map_err(|why| fields.error("hashes", why))?,
        })
    }
}

/// Which snapshot is the current one.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Timestamp {
    pub head: Head,
    pub snapshot: MetaFile,
}

impl Metadata for Timestamp {
    const TYPE: &'static str = "timestamp";
    const LIMIT: usize = limits::TIMESTAMP;

    fn from_fields(head: Head, fields: Fields) -> Result<Timestamp, Error> {
        let meta = Fields { place: "meta", object: fields.object("meta")?, ..fields };
        let snapshot = Fields { place: "snapshot.json", object: meta.object("snapshot.json")?, ..fields };
        Ok(Timestamp { head, snapshot: MetaFile::from_fields(snapshot)? })
    }

    fn head(&self) -> &Head {
        &self.head
    }
}

/// The versions of all targets metadata that belong together.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Snapshot {
    pub head: Head,
    /// By file name: `targets.json` and those of delegated roles.
    pub meta: BTreeMap<String, MetaFile>,
}

impl Metadata for Snapshot {
    const TYPE: &'static str = "snapshot";
    const LIMIT: usize = limits::SNAPSHOT;

    fn from_fields(head: Head, fields: Fields) -> Result<Snapshot, Error> {
        let entries = fields.object("meta")?;
        limited(fields.role, "listed files", entries.len(), limits::SNAPSHOT_COUNT)?;
        let mut meta = BTreeMap::new();
        for (name, entry) in entries {
            meta.insert(name.clone(), MetaFile::from_fields(Fields::of(fields.role, name, entry)?)?);
        }
        Ok(Snapshot { head, meta })
    }

    fn head(&self) -> &Head {
        &self.head
    }
}

/// What there is to install, and who else may say so.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Targets {
    pub head: Head,
    /// By path.
    pub targets: BTreeMap<String, Target>,
    pub delegations: Option<Delegations>,
}

impl Metadata for Targets {
    const TYPE: &'static str = "targets";
    const LIMIT: usize = limits::TARGETS;

    fn from_fields(head: Head, fields: Fields) -> Result<Targets, Error> {
        let entries = fields.object("targets")?;
        limited(fields.role, "targets", entries.len(), limits::TARGET_COUNT)?;
        let mut targets = BTreeMap::new();
        for (path, entry) in entries {
            targets.insert(path.clone(), Target::from_fields(path, Fields::of(fields.role, path, entry)?)?);
        }
        let delegations = fields.optional("delegations", |f, name| {
            Fields::of(f.role, "delegations", f.json(name)?).and_then(Delegations::from_fields)
        })?;
        Ok(Targets { head, targets, delegations })
    }

    fn head(&self) -> &Head {
        &self.head
    }
}
