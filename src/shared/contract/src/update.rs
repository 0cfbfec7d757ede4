//! The updater, `fruit-update`: its configuration, the files that an image needs for it, and what it says of the node.

pub mod config;
pub mod files;
pub mod report;
pub mod status;
pub mod window;
