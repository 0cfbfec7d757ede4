//! fruit-update: takes a node from one release to the next. A release goes into the slot that is not running, boots on
//! trial, and is committed or given up; whatever happens on the way, the node boots the old release or the new one.
//!
//! What comes from outside is verified before it is written, and what was written is read again before it is tried.
//! What installs knows nothing of where bytes come from: that is a `fruit_release::Source`.
//!
//! Without the feature `daemon` the library is the configuration and the list of files that an image needs: all that
//! the image builder wants.

pub mod config;
#[cfg(feature = "daemon")]
pub mod daemon;
pub mod files;
pub mod window;

#[cfg(feature = "daemon")]
pub mod card;
#[cfg(feature = "daemon")]
pub mod clone;
#[cfg(feature = "daemon")]
pub mod facts;
#[cfg(feature = "daemon")]
pub mod folder;
#[cfg(feature = "daemon")]
pub mod health;
#[cfg(feature = "daemon")]
pub mod http;
#[cfg(feature = "daemon")]
pub mod inhibit;
#[cfg(feature = "daemon")]
pub mod install;
#[cfg(feature = "daemon")]
pub mod local_time;
#[cfg(feature = "daemon")]
pub mod lock;
#[cfg(feature = "daemon")]
pub mod origin;
#[cfg(feature = "daemon")]
pub mod pipe;
#[cfg(feature = "daemon")]
pub mod progress;
#[cfg(feature = "daemon")]
pub mod restart;
#[cfg(feature = "daemon")]
pub mod slot;
#[cfg(feature = "daemon")]
pub mod sources;
#[cfg(feature = "daemon")]
pub mod state;
#[cfg(feature = "daemon")]
pub mod status;
#[cfg(feature = "daemon")]
pub mod store;
#[cfg(feature = "daemon")]
pub mod trial;
#[cfg(feature = "daemon")]
pub mod trust;
#[cfg(feature = "daemon")]
pub mod tryboot;
#[cfg(feature = "daemon")]
pub mod updater;
#[cfg(feature = "daemon")]
pub mod usb;
