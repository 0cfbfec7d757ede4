//! Orders to a running simulator, one JSON object per line, for test harnesses and bridges to emulated machines.

use super::electric::Supply;
use super::fault::{Amount, Fault, FaultKind};
use super::pi::PiModel;
use super::stack::Stack;
use crate::SimulateError;
use fruit_stack::command::Pi;
use fruit_stack::error_code::ErrorCode;
use serde::Deserialize;
use serde_json::{Value, json};
use std::time::Duration;

/// One order. Boards are named by the id that they were started with. On the wire, as an example:
/// `{"do":"heartbeat","board":3,"pi":1,"high":true}`.
#[derive(Clone, Copy, Debug, PartialEq, Deserialize)]
#[serde(tag = "do", rename_all = "kebab-case", deny_unknown_fields)]
pub enum Order {
    /// Answers all boards and Pis as they are now.
    State,
    /// From now on, this connection is told what happens, one JSON object per line with `event` in it.
    Watch,
    /// Level of a Pi's heartbeat line.
    Heartbeat { board: u8, pi: Pi, high: bool },
    /// A whole beat: up and down again.
    Beat { board: u8, pi: Pi },
    /// The Pi pulls its signal line low, or lets go of it.
    Signal { board: u8, pi: Pi, low: bool },
    /// Plugs in a `healthy` Pi, or one that is driven from outside (`external`).
    Model { board: u8, pi: Pi, model: PiModel },
    /// A modelled Pi stops dead.
    Crash { board: u8, pi: Pi },
    /// A modelled Pi shuts down by itself.
    PowerOff { board: u8, pi: Pi },
    /// Amps that a Pi draws while it has power; without `amps`, what its state draws.
    Load { board: u8, pi: Pi, amps: Option<f64> },
    /// Volts of the supply.
    Supply { volts: f64 },
    /// Disturbs exchanges: `next` so many, or each with the probability `rate`; of one board or of all.
    Fault { kind: FaultKind, board: Option<u8>, next: Option<u32>, rate: Option<f64> },
    /// Ends all faults.
    ClearFaults,
    /// Puts rubbish on the line, unasked.
    Babble { bytes: u8 },
    /// Resets a board.
    Reset { board: u8 },
    /// Enters a code in a board's error log.
    LogError { board: u8, code: u8 },
    /// Lets the boards' time pass by so many seconds: with a clock factor of 0 the only way that it does.
    Advance { seconds: f64 },
}

/// The longest order that a connection may send, in bytes.
pub(super) const LONGEST_ORDER: usize = 4096;
/// One order cannot make the boards older than a year.
const LONGEST_ADVANCE: f64 = 365.0 * 86400.0;

impl Order {
    /// Reads one line.
    ///
    /// # Errors
    /// The line is no JSON object, or no order.
    pub fn parse(line: &[u8]) -> Result<Self, SimulateError> {
        serde_json::from_slice(line).map_err(|error| SimulateError::Order(error.to_string()))
    }

    /// Does it and says what came of it. [`Order::Watch`] is the connection's own matter.
    ///
    /// # Errors
    /// There is no such board, or a number is out of its range.
    pub fn obey(self, stack: &mut Stack) -> Result<Value, SimulateError> {
        let range = |message: &str| Err(SimulateError::Order(message.to_owned()));
        match self {
            Self::State => {
                return Ok(json!({ "ok": true, "at": stack.now().as_secs_f64(), "boards": stack.snapshot() }));
            }
            Self::Watch => {}
            Self::Heartbeat { board, pi, high } => stack.set_heartbeat(board, pi, high)?,
            Self::Beat { board, pi } => {
                stack.set_heartbeat(board, pi, true)?;
                stack.set_heartbeat(board, pi, false)?;
            }
            Self::Signal { board, pi, low } => stack.pull_signal(board, pi, low)?,
            Self::Model { board, pi, model } => stack.set_model(board, pi, model)?,
            Self::Crash { board, pi } => stack.crash(board, pi)?,
            Self::PowerOff { board, pi } => stack.power_off(board, pi)?,
            Self::Load { amps: Some(amps), .. } if !(0.0..=100.0).contains(&amps) => {
                return range("`amps` must be from 0 to 100");
            }
            Self::Load { board, pi, amps } => stack.set_load(board, pi, amps)?,
            Self::Supply { volts } if !(0.0..=100.0).contains(&volts) => return range("`volts` must be from 0 to 100"),
            Self::Supply { volts } => stack.set_supply(Supply { volts }),
            Self::Fault { kind, board, next, rate } => {
                let amount = match (next, rate) {
                    (Some(next), None) => Amount::Next(next),
                    (None, Some(rate)) if (0.0..=1.0).contains(&rate) => Amount::Rate(rate),
                    _ => return range("a fault needs either `next` (a number) or `rate` (from 0 to 1)"),
                };
                stack.add_fault(Fault { kind, board, amount });
            }
            Self::ClearFaults => stack.clear_faults(),
            Self::Babble { bytes } => stack.babble(bytes),
            Self::Reset { board } => stack.reset(board)?,
            Self::LogError { board, code } => stack.log_error(board, ErrorCode(code))?,
            Self::Advance { seconds } if !(0.0..=LONGEST_ADVANCE).contains(&seconds) => {
                return range("`seconds` must be from 0 to a year");
            }
            Self::Advance { seconds } => stack.advance(Duration::from_secs_f64(seconds)),
        }
        Ok(json!({ "ok": true }))
    }
}
