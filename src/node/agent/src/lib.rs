//! `fruit-agent`: what a node on a Pi Stack board does for its board and its operator. It beats the heartbeat line
//! while the node is healthy, shuts the node down when the board asks, tells the board when the node goes down by
//! itself, feeds the hardware watchdog, keeps an account across boots, and offers metrics.

pub mod account;
pub mod beat;
pub mod board;
pub mod clock;
pub mod condition;
pub mod daemon;
pub mod health;
pub mod line;
pub mod metrics;
pub mod realtime;
pub mod serve;
pub mod shared_state;
pub mod shutdown;
pub mod signal;
pub mod status;
pub mod vitals;
pub mod watchdog;
