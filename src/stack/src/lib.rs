//! The Pi Stack: boards that power and watch two Raspberry Pis each, on one RS-485 bus.

pub mod command;
pub mod convert;
pub mod crc;
pub mod error_code;
pub mod frame;
