//! By what releases are believed on this node: root metadata that the image came with, or that the fleet's charter accepts.

use std::fs;
use std::io;
use std::path::Path;

use fruit_release::tuf::{self, Trust};
use fruit_release::{Digest, Name, Source};

use crate::fleet::{self, Fleet, Membership};
use crate::install::InstallError;
use crate::store::Store;
use crate::trust::{self, TrustError};

/// The root metadata that a fleet's node began with.
const FIRST_ROOT: &str = "first-root.json";

/// Whom the node obeys in what it installs.
#[derive(Clone, PartialEq, Eq, Debug)]
pub enum Anchor {
    /// Whoever the image's root metadata says.
    Image(Vec<u8>),
    /// Whoever the fleet's charter says. The root metadata itself, once it has come.
    Fleet(Fleet, Option<Vec<u8>>),
    /// Nobody, which is as it should be until somebody gives it an invite; why.
    Nobody(String),
    /// Nobody yet: it has an invite; what is missing.
    Waiting(String),
}

impl Anchor {
    /// `root`: `/`. `image`: the image's root metadata, if it is to have some.
    ///
    /// # Errors
    /// Root metadata of the image, or what is remembered, can't be read.
    pub fn of(root: &Path, image: Option<&Path>, store: &dyn Store, product: &str) -> io::Result<Anchor> {
        if let Some(path) = image {
            let bytes = fs::read(path).map_err(|e| io::Error::new(e.kind(), format!("{}: {e}", path.display())))?;
            return Ok(Anchor::Image(bytes));
        }
        Ok(match fleet::membership(root, store, product)? {
            Membership::None(why) => Anchor::Nobody(why),
            Membership::Waiting(why) => Anchor::Waiting(why),
            Membership::Fleet(fleet) if fleet.roots.is_empty() => {
                Anchor::Waiting(format!("the charter of fleet {} accepts no releases of {product}", fleet.name))
            }
            Membership::Fleet(fleet) => {
                let kept = store.read(FIRST_ROOT, trust::LIMIT)?;
                let kept = kept.filter(|bytes| fleet.roots.contains(&Digest::of(bytes)));
                Anchor::Fleet(fleet, kept)
            }
        })
    }

    /// Why no release can be taken.
    pub fn obstacle(&self) -> Option<String> {
        match self {
            Anchor::Nobody(why) | Anchor::Waiting(why) => Some(format!("this node takes nobody's releases: {why}")),
            Anchor::Image(_) | Anchor::Fleet(..) => None,
        }
    }

    /// For whoever looks at the status.
    pub fn describe(&self) -> String {
        match self {
            Anchor::Image(_) => "the image's root metadata".into(),
            Anchor::Fleet(fleet, _) => format!("fleet {}, charter {}", fleet.name, fleet.charter),
            Anchor::Nobody(why) => format!("nobody: {why}"),
            Anchor::Waiting(why) => format!("nobody yet: {why}"),
        }
    }

    /// The root metadata, if it is here.
    pub fn known(&self) -> Option<&[u8]> {
        match self {
            Anchor::Image(bytes) | Anchor::Fleet(_, Some(bytes)) => Some(bytes),
            _ => None,
        }
    }

    /// The repositories that it stands for, by what peers call them.
    pub fn repositories(&self) -> Vec<Digest> {
        match self {
            // Peers call a repository by its first root metadata; which that was, a later one does not say.
            Anchor::Image(bytes) if Trust::from_root(bytes).is_ok_and(|trust| trust.root_version() == 1) => {
                vec![Digest::of(bytes)]
            }
            Anchor::Fleet(_, Some(bytes)) => vec![Digest::of(bytes)],
            Anchor::Fleet(fleet, None) => fleet.roots.clone(),
            _ => Vec::new(),
        }
    }

    /// The root metadata; that of a fleet is asked of `source` the first time, and kept.
    ///
    /// # Errors
    /// Nobody is obeyed; the source does not have it; it can't be kept.
    pub fn root(&mut self, source: &mut dyn Source, store: &dyn Store) -> Result<&[u8], InstallError> {
        if let Some(why) = self.obstacle() {
            return Err(TrustError::Nobody(why).into());
        }
        if let Anchor::Fleet(fleet, root @ None) = self {
            let (name, place) = (Name::Root(1), source.place());
            let bytes = source.get(&name, name.limit())?;
            let bytes = bytes.ok_or_else(|| InstallError::missing(&*source, name.to_string()))?;
            if !fleet.roots.contains(&Digest::of(&bytes)) {
                let error = tuf::Error::Absent(format!("{name} that fleet {} accepts", fleet.name));
                return Err(TrustError::Refused { place, error }.into());
            }
            *root = Some(bytes);
        }
        let Some(bytes) = self.known() else { return Err(TrustError::Nobody("no root metadata".into()).into()) };
        let of_fleet = matches!(self, Anchor::Fleet(..)).then_some(bytes);
        begin_with(of_fleet, store).map_err(TrustError::Store)?;
        Ok(bytes)
    }
}

/// What was trusted of another repository counts no longer: a node can leave its fleet for another one, and an image of one's own
/// for a fleet's. In this order, so that a power cut in between has it done again.
fn begin_with(of_fleet: Option<&[u8]>, store: &dyn Store) -> io::Result<()> {
    let before = store.read(FIRST_ROOT, trust::LIMIT)?.filter(|bytes| !bytes.is_empty());
    if before.as_deref() == of_fleet {
        return Ok(());
    }
    store.replace(trust::ROOT, b"")?;
    store.replace(FIRST_ROOT, of_fleet.unwrap_or_default())
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::store::Folder;

    #[test]
    fn what_another_repository_said_is_trusted_no_longer() {
        let folder = tempfile::tempdir().unwrap();
        let store = Folder::new(folder.path()).unwrap();
        let root = || store.read(trust::ROOT, 100).unwrap().unwrap_or_default();
        store.replace(trust::ROOT, b"of the image").unwrap();
        for (of_fleet, stays) in
            [(None, true), (Some("a"), false), (Some("a"), true), (Some("b"), false), (None, false), (None, true)]
        {
            begin_with(of_fleet.map(str::as_bytes), &store).unwrap();
            assert_eq!(!root().is_empty(), stays, "{of_fleet:?}");
            store.replace(trust::ROOT, b"newer").unwrap();
        }
    }
}
