//! The Pi Stack's agent, as a process. One program: each one more would be linked with everything that it needs.

#[path = "../../device/tests/checkers/mod.rs"]
mod checkers;
mod node;

mod board;
mod heartbeat;
mod output;
mod serve;
mod shutdown;
mod units;
