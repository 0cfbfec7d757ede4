//! The Pi Stack: boards that power and watch two Raspberry Pis each, on one RS-485 bus.

pub mod address;
pub mod board;
pub mod command;
pub mod convert;
pub mod crc;
pub mod error_code;
pub mod frame;
pub mod master;
pub mod metrics;
pub mod power;
pub mod stacks;
pub mod status;
pub mod timestamp;
pub mod transport;
