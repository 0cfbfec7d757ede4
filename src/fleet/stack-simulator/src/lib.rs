//! A simulated stack: up to 16 boards with two Pis each, on a bus that can be disturbed.
//!
//! The boards are a state machine without a clock of its own ([`Stack`]); [`Loopback`] drives it in virtual time for
//! tests, [`Simulator`] in real or accelerated time behind a pseudo-terminal, a TCP port and a control socket.
//!
//! # What the documents leave open, and what the boards here do
//! - A board answers only what names its own id, right or wrong: a request with a bad crc gets error 11 from the board
//!   whose id it carries, and is silence to the others. Status 02 (not this board's id) is never sent.
//! - A request ends with the byte that its length announces; a length that no request can have, or silence before the
//!   end, ends it as error 10 (fewer than three bytes, or a length below three), 21 (more bytes than the receive
//!   buffer holds) or 22 (fewer than announced). A single byte is noise and gets no answer.
//! - Checks come in this order: crc 11, command 12, number of arguments 13, Pi 14, value. A prefix with a low nibble is
//!   answered with 15: the table has no code for a bad value, and the board does not implement such a prefix.
//! - Every code from 10 up that a board answers is entered in its error log and counted. Codes up to 0F are not: that a
//!   board has booted shows in its boot count alone.
//! - The log is a ring; the pointer is the slot that the next entry goes to. Its answer carries the slots used so far
//!   in the order of the ring, or a single 00 for an empty log. Error count and boot count stop at 65535. Clearing the
//!   error count clears the boot count with it, as the field's client documents.
//! - A heartbeat timeout of 0 switches the watch off. A beat is a rising edge. Heartbeat "seen" means: a beat since
//!   power-on, the latest no longer ago than the timeout.
//! - The boot delay is a deadline for the first beat; after that the timeout counts. A missed one cuts the power for
//!   two seconds.
//! - `off` and `send shutdown signal` both pull the signal low for the signal width (milliseconds) and cut after the
//!   off delay: the documents say that a falling edge by the board means that power goes away. A Pi that pulls the
//!   line itself is cut after the signalled-off delay; when both happened the earlier cut counts. While a cut is
//!   pending the heartbeat is not watched. `on` withdraws a pending cut.
//! - Timers, start-up settings, prefix, log and counts are in flash and survive a reset of the board.
//! - On V2 hardware, where the Pi's divider differs from the rail's, power is the product of the Pi's current and the
//!   rail's voltage, since the one published formula for watts uses the rail's divider.
//! - Two boards with the same id answer over each other: the line carries the bitwise AND.

mod board;
mod control;
mod electric;
mod fault;
mod flash;
mod loopback;
mod pi;
mod server;
mod stack;
mod wire;

pub use board::{BoardConfig, ErrorLog};
pub use control::Order;
pub use electric::Supply;
pub use fault::{Amount, Fault, FaultKind};
pub use flash::Flash;
pub use loopback::Loopback;
pub use pi::{PiModel, PiState};
pub use server::{Endpoints, Simulator};
pub use stack::{BoardSnapshot, Event, Happening, Heard, PiSnapshot, Stack, StackConfig};
pub use wire::{LineConfig, Wire};

/// Why the simulator could not start or do what it was told.
#[derive(Debug, thiserror::Error)]
pub enum SimulateError {
    #[error("a bus has at most 16 simulated boards, {0} were asked for")]
    TooManyBoards(usize),
    #[error("two simulated boards cannot start with the same id {0:#04x}; give each board its own")]
    SameId(u8),
    #[error("board id 0xff is the master's address; give the board another prefix or DIP setting")]
    MasterId,
    #[error("the clock factor is {0}; it must be 0 (stopped) or a positive number")]
    Clock(f64),
    #[error("no simulated board was started with id {0:#04x}")]
    NoSuchBoard(u8),
    #[error("{0}")]
    Order(String),
    #[error("cannot {action} {path}: {source}")]
    Io { action: &'static str, path: String, source: std::io::Error },
    #[error("{path} does not hold the boards' flash as this simulator writes it: {reason}; delete it to start afresh")]
    Flash { path: String, reason: String },
}
