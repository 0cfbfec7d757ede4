//! One file that signed metadata vouches for.

use super::error::Error;
use super::fields::Fields;
use super::hashes::{Check, Hashes};
use super::json::{Json, number};
use super::limits;
use super::release::{self, NotARelease, Release};
use super::verified::Verified;

/// A file of the repository: its path there, and what its bytes are.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Target {
    path: String,
    length: u64,
    pub(super) hashes: Hashes,
    /// All of it, so that a targets file can be signed anew without loss.
    custom: Option<Json>,
    release: Result<Release, NotARelease>,
}

impl Target {
    /// A target that is to be signed.
    ///
    /// # Errors
    /// A path that no repository of ours may have: see [`is_plain_path`].
    pub fn new(path: &str, length: u64, sha256: [u8; 32], release: &Release) -> Result<Target, Error> {
        let role = super::Role::Targets;
        let entry = Json::from([
            ("length", number(length)),
            ("hashes", Hashes::sha256(sha256).to_json()),
            ("custom", release.to_custom()),
        ]);
        let target = Target::from_fields(path, Fields::of(&role, path, &entry)?)?;
        match &target.release {
            Ok(_) => Ok(target),
            Err(why) => Err(Error::field(&role, path, why.to_string())),
        }
    }

    pub(super) fn from_fields(path: &str, fields: Fields) -> Result<Target, Error> {
        if !is_plain_path(path) {
            return Err(Error::field(fields.role, "targets", format!("{path:?} is no plain relative path")));
        }
        let custom = fields.object.get("custom");
        let release = match custom.and_then(Json::object).and_then(|members| members.get(release::MEMBER)) {
            Some(ours) => match Fields::of(fields.role, path, ours) {
                Ok(fields) => Release::from_fields(fields),
                Err(error) => Err(NotARelease::Wrong(error.to_string())),
            },
            None => Err(NotARelease::Other),
        };
        let hashes = Hashes::from_json(fields.object("hashes")?).map_err(|why| fields.error("hashes", why));
        Ok(Target {
            path: path.to_owned(),
            length: fields.count("length")?,
            hashes: hashes?,
            custom: custom.cloned(),
            release,
        })
    }

    /// As in the metadata, relative to the repository's `targets/`.
    #[must_use]
    pub fn path(&self) -> &str {
        &self.path
    }

    /// Bytes.
    #[must_use]
    pub fn length(&self) -> u64 {
        self.length
    }

    /// `None` in repositories of others that use SHA-512 only.
    #[must_use]
    pub fn sha256(&self) -> Option<&[u8; 32]> {
        self.hashes.as_sha256()
    }

    /// What the metadata says beyond length and hashes, ours and others'.
    #[must_use]
    pub fn custom(&self) -> Option<&Json> {
        self.custom.as_ref()
    }

    /// What the target is to us.
    ///
    /// # Errors
    /// It is none of ours, or of a later kind.
    pub fn release(&self) -> Result<&Release, &NotARelease> {
        self.release.as_ref()
    }

    /// The file in a repository with consistent snapshots: `targets/FOLDERS/HASH.NAME`.
    #[must_use]
    pub fn file(&self) -> String {
        self.file_in(true)
    }

    pub(super) fn file_in(&self, consistent: bool) -> String {
        match (consistent, self.path.rsplit_once('/')) {
            (false, _) => format!("targets/{}", self.path),
            (true, None) => format!("targets/{}.{}", self.hashes.prefix(), self.path),
            (true, Some((folders, name))) => format!("targets/{folders}/{}.{name}", self.hashes.prefix()),
        }
    }
}

impl Verified<Target> {
    /// Checks the target's bytes piece by piece.
    #[must_use]
    pub fn check(&self) -> Check {
        Check::new(Some(self.length), &self.hashes)
    }

    /// The target's whole content, once it fits.
    ///
    /// # Errors
    /// [`Error::Target`].
    pub fn accept(&self, bytes: Vec<u8>) -> Result<Verified<Vec<u8>>, Error> {
        let mut check = self.check();
        let fits = check.update(&bytes).and_then(|()| check.finish());
        fits.map_err(|why| Error::Target { path: self.path.clone(), why })?;
        Ok(Verified::vouch(bytes))
    }
}

/// Whether a path stays below the folder that it is looked up in, on any file system: segments that are not empty, `.`
/// or `..`, no backslash, no control characters, at most [`limits::NAME`] bytes.
#[must_use]
pub fn is_plain_path(path: &str) -> bool {
    path.len() <= limits::NAME
        && path.split('/').all(|segment| !matches!(segment, "" | "." | ".."))
        && !path.chars().any(|c| c == '\\' || c.is_control())
}
