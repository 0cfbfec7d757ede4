//! fruit-update: takes a node from one release to the next. A release goes into the slot that is not running, boots on
//! trial, and is committed or given up; whatever happens on the way, the node boots the old release or the new one.
//!
//! What comes from outside is verified before it is written, and what was written is read again before it is tried.
//! What installs knows nothing of where bytes come from: that is a `fruit_release::Source`.

pub mod anchor;
pub mod card;
pub mod clone;
pub mod daemon;
pub mod facts;
pub mod fleet;
pub mod folder;
pub mod health;
pub mod http;
pub mod inhibit;
pub mod install;
pub mod local_time;
pub mod lock;
pub mod origin;
pub mod peers;
pub mod pipe;
pub mod progress;
pub mod restart;
pub mod shared;
pub mod slot;
pub mod sources;
pub mod state;
pub mod status;
pub mod store;
pub mod trial;
pub mod trust;
pub mod tryboot;
pub mod updater;
pub mod usb;
