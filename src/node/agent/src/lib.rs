//! `fruit-agent`: what a node on a Pi Stack board does for its board and its operator. It beats the heartbeat line
//! while the node is healthy, shuts the node down when the board asks, tells the board when the node goes down by
//! itself, feeds the hardware watchdog, keeps an account across boots, and offers metrics.
//!
//! Without the feature `daemon` the library is the configuration and the list of files that an image needs: all that
//! the image builder wants.

pub mod config;
pub mod files;

#[cfg(feature = "daemon")]
pub mod account;
#[cfg(feature = "daemon")]
pub mod beat;
#[cfg(feature = "daemon")]
pub mod board;
#[cfg(feature = "daemon")]
pub mod clock;
#[cfg(feature = "daemon")]
pub mod condition;
#[cfg(feature = "daemon")]
pub mod daemon;
#[cfg(feature = "daemon")]
pub mod health;
#[cfg(feature = "daemon")]
pub mod journal;
#[cfg(feature = "daemon")]
pub mod line;
#[cfg(feature = "daemon")]
pub mod live;
#[cfg(feature = "daemon")]
pub mod metrics;
#[cfg(feature = "daemon")]
pub mod realtime;
#[cfg(feature = "daemon")]
pub mod serve;
#[cfg(feature = "daemon")]
pub mod shutdown;
#[cfg(feature = "daemon")]
pub mod signal;
#[cfg(feature = "daemon")]
pub mod status;
#[cfg(feature = "daemon")]
pub mod systemd;
#[cfg(feature = "daemon")]
pub mod termination;
#[cfg(feature = "daemon")]
pub mod vitals;
#[cfg(feature = "daemon")]
pub mod watchdog;
