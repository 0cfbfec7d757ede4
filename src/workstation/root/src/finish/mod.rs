//! Finishing: the effects that packages' maintainer scripts would have had, one small step each.

pub mod accounts;
mod adduser;
mod alternatives;
mod base_files;
mod base_passwd;
mod busybox;
pub(crate) mod capability;
pub mod certificates;
mod effects;
mod identity;
mod nsswitch;
mod pam;
mod small_files;
mod ssh;
mod sysusers;
pub mod units;
pub mod users;

use fruit_image::tree::Tree;

pub use identity::{Identity, Release};

use crate::edit::{TreeEditor, names};
use crate::scripts::Command;
use crate::{Error, PackageScripts, scripts};

/// Makes `tree`, in which all of `packages` are unpacked, what an installation would have left, except for units
/// ([`units::configure`]) and the recipe's users ([`users::add`]), which come after the overlays.
///
/// # Errors
/// A file of a package that is not as its format says, or an identity that this root cannot have.
pub fn finish(tree: &mut Tree, packages: &[PackageScripts], identity: &Identity, epoch: i64) -> Result<(), Error> {
    let scripts = scripts::read(packages);
    let root = &mut TreeEditor::new(tree, epoch);
    let mut accounts = base_passwd::accounts(root)?;
    sysusers::apply(root, &mut accounts)?;
    adduser::apply(root, &scripts, &mut accounts)?;
    accounts.store(root)?;
    base_files::apply(root, &accounts)?;
    nsswitch::apply(root, packages)?;
    pam::apply(root)?;
    alternatives::apply(root, &scripts)?;
    busybox::applets(root)?;
    small_files::apply(root)?;
    ssh::sshd_config(root)?;
    certificates::bundle(root)?;
    effects::apply(root, &scripts, &accounts)?;
    identity::apply(root, identity)
}

/// As [`finish`], for a tree to which the packages' scripts have done their work ([`crate::finish::accounts::renumber`] has given the
/// accounts their ids): only what scripts leave to the first start of a machine, and what is the recipe's.
///
/// # Errors
/// As [`finish`].
pub fn complete(tree: &mut Tree, identity: &Identity, epoch: i64) -> Result<(), Error> {
    let root = &mut TreeEditor::new(tree, epoch);
    let mut accounts = base_passwd::accounts(root)?;
    // Those of fruitbuild's own programs.
    sysusers::apply(root, &mut accounts)?;
    accounts.store(root)?;
    base_files::apply(root, &accounts)?;
    busybox::applets(root)?;
    small_files::apply(root)?;
    certificates::bundle(root)?;
    identity::apply(root, identity)
}

/// Whether a step reproduces `command`; `allowed` when the reviewed table lets an uncertain change happen.
pub(crate) fn reproduces(command: &Command, allowed: bool) -> bool {
    adduser::reproduces(command) || alternatives::reproduces(command) || effects::reproduces(command, allowed)
}

/// Whether a shared library of this name is in one of the multiarch directories.
fn library(root: &TreeEditor, name: &str) -> bool {
    names(root.tree, "usr/lib").iter().any(|dir| root.exists(&format!("usr/lib/{dir}/{name}")))
}
