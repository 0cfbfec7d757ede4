//! Devices of a node. One program: each one more would be linked with everything that it needs.

mod bus;
mod gpt;
