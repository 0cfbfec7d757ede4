//! Whether this machine allows a sandbox, and which.

use std::fmt;
use std::path::Path;

use crate::error::Error;
use crate::helper::{Data, Helper};
use crate::ids::Ids;
use crate::protocol::Task;
use crate::root::{self, Root};
use crate::unavailable::{Tried, Unavailable, diagnose};

/// What this machine allows: user namespaces, and ids for them.
#[derive(Clone, Debug)]
pub struct Sandbox {
    ids: Ids,
}

impl Sandbox {
    /// Finds whether this machine allows a sandbox, by making one with nothing in it.
    ///
    /// # Errors
    /// What was tried, why it failed, and what to do.
    pub fn probe() -> Result<Sandbox, Unavailable> {
        let uid = rustix::process::geteuid();
        let what =
            if uid.is_root() { "user namespace, made by root" } else { "user namespace with ids of /etc/subuid" };
        let tried = |reasons: Vec<(String, String)>| Unavailable {
            tried: reasons.into_iter().map(|(cause, remedy)| Tried { what: what.to_owned(), cause, remedy }).collect(),
        };
        let ids = if uid.is_root() {
            Ids::of_root().map_err(|cause| vec![(cause, "give the container 65,536 ids besides its root's".to_owned())])
        } else {
            Ids::of_user(uid.as_raw())
        };
        let ids = ids.map_err(tried)?;
        let helper = Helper::start(&ids, Path::new("/"), Task::Try, Data::None);
        match helper.and_then(Helper::finish) {
            Ok(_) => Ok(Sandbox { ids }),
            Err(error) => Err(tried(vec![diagnose(&error)])),
        }
    }

    /// Makes a root with nothing in it in the work folder `dir`, which must be absent, empty, or what a root that nobody uses any more has
    /// left. It takes as much room there as the tree has.
    ///
    /// # Errors
    /// The folder is in use, has something else in it, or cannot be written.
    pub fn root(&self, dir: &Path) -> Result<Root, Error> {
        Root::make(&self.ids, dir)
    }

    /// Removes from `parent` the work folders whose program was killed.
    ///
    /// # Errors
    /// Those of the file system.
    pub fn sweep(&self, parent: &Path) -> Result<(), Error> {
        root::sweep(&self.ids, parent)
    }
}

/// For reports: `user namespace, ids 100000 to 165534 of /etc/subuid`.
impl fmt::Display for Sandbox {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "user namespace, {}", self.ids)
    }
}
