//! From images to signed releases: slots are read out of card images, cut into chunks, coded against older ones, signed
//! into a repository, and packed into bundles.

pub mod advice;
pub mod check;
pub mod error;
pub mod export;
pub mod lock;
pub mod passphrase;
pub mod pieces;
pub mod prune;
pub mod reference;
pub mod release;
pub mod signing;
pub mod slot;
pub mod trusted;

pub use error::Error;
