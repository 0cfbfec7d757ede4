//! From images to signed releases: slots are read out of card images, cut into chunks, coded against older ones, signed
//! into a repository, and packed into bundles.

pub mod repository;
pub mod slot;
