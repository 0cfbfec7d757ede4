//! fruit-update: takes a node from one release to the next. A release goes into the slot that is not running, boots on
//! trial, and is committed or given up; whatever happens on the way, the node boots the old release or the new one.
//!
//! What comes from outside is verified before it is written, and what was written is read again before it is tried.
//! Nothing here knows where bytes come from: that is a [`fruit_release::Source`].

pub mod card;
pub mod clone;
pub mod facts;
pub mod install;
pub mod lock;
pub mod pipe;
pub mod slot;
pub mod state;
pub mod status;
pub mod store;
pub mod trial;
pub mod trust;
pub mod updater;
