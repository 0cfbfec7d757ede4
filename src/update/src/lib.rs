//! fruit-update: takes a node from one release to the next. A release goes into the slot that is not running, boots on
//! trial, and is committed or given up; whatever happens on the way, the node boots the old release or the new one.
//!
//! Without the feature `daemon` the library is the configuration and the list of files that an image needs: all that
//! the image builder wants.

pub mod config;
pub mod window;

#[cfg(feature = "daemon")]
pub mod health;
#[cfg(feature = "daemon")]
pub mod http;
#[cfg(feature = "daemon")]
pub mod inhibit;
#[cfg(feature = "daemon")]
pub mod local_time;
