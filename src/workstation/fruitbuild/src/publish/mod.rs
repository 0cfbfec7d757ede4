//! From images to signed releases: slots are read out of card images, cut into chunks, coded against older ones, signed
//! into a repository, and packed into bundles.

pub mod advice;
pub mod check;
pub mod export;
pub mod folder;
pub mod pieces;
pub mod prune;
#[allow(clippy::module_inception, reason = "the act in the folder of all that has to do with it")]
pub mod publish;
pub mod reference;
pub mod slot;
pub mod trusted;
