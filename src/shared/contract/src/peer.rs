//! The node's part of its fleet's network, `fruit-peer`: its configuration, the files that an image needs for it, and what it
//! says of itself.

pub mod config;
pub mod files;
pub mod status;
