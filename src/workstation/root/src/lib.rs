//! Turns a tree of unpacked Debian packages into a root that boots, without executing anything: the effects of
//! maintainer scripts as small functions ([`finish`]), an account of the scripts whose effects are not known
//! ([`scripts`], [`account`]), what a device does not need taken out ([`prune`]), kernel modules chosen and indexed ([`kernel`]),
//! the content of the initramfs ([`initramfs`]), overlays laid over it ([`overlay`]), and the records that scanners
//! and auditors read ([`records`], [`sbom`]).
//!
//! The order in which a build calls them: [`layout::seed`] before unpacking, then [`finish::finish`],
//! [`kernel::install`], [`prune::prune`], [`overlay::apply`], [`finish::units::configure`], [`finish::users::add`],
//! [`records::write`], [`last_check::finish`].

pub mod account;
mod edit;
mod error;
pub mod files;
pub mod finish;
pub mod glob;
pub mod initramfs;
pub mod kernel;
pub mod last_check;
pub mod layout;
pub mod overlay;
mod package;
pub mod prune;
pub mod records;
pub mod sbom;
pub mod scripts;

pub use error::Error;
pub use package::PackageScripts;
