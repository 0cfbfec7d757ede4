//! From images to signed releases: slots are read out of card images, cut into chunks, coded against older ones, signed
//! into a repository, and packed into bundles.

pub mod check;
pub mod export;
pub mod folder;
pub mod pieces;
pub mod prune;
pub mod publish;
pub mod reference;
pub mod slot;
pub mod trusted;
