//! The Pi Stack's boards, simulated. One program: each one more would be linked with everything that it needs.

mod commands;
mod examples;
mod faults;
mod power;
