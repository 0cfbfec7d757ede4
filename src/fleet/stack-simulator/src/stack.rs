//! The boards of a stack, their time, and what they put on the line.

use super::board::{Board, BoardConfig};
use super::electric::{Electric, Supply};
use super::fault::{Dice, Fault, FaultKind, Faults};
use super::flash::Flash;
use super::pi::{Change, PiModel, PiState, Position};
use crate::SimulateError;
use fruit_stack::command::{Command, Pi};
use fruit_stack::error_code::ErrorCode;
use fruit_stack::frame;
use serde::Serialize;
use std::collections::VecDeque;
use std::time::Duration;

/// How a simulated stack is made.
#[derive(Clone, Debug, PartialEq)]
pub struct StackConfig {
    /// At most 16, each with its own id.
    pub boards: Vec<BoardConfig>,
    pub supply: Supply,
    /// How far the boards' readings may be off, as a fraction: 0.02 is two per cent.
    pub tolerance: f64,
    /// Decides the tolerances and the faults: the same seed gives the same run.
    pub seed: u64,
}

impl Default for StackConfig {
    fn default() -> Self {
        Self { boards: vec![BoardConfig::new(0)], supply: Supply::default(), tolerance: 0.0, seed: 1 }
    }
}

impl StackConfig {
    /// Boards with these ids and everything else as it comes.
    pub fn with_ids(ids: impl IntoIterator<Item = u8>) -> Self {
        Self { boards: ids.into_iter().map(BoardConfig::new).collect(), ..Self::default() }
    }
}

/// Something that happened at a board, for those who drive its Pis.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct Happening {
    /// Seconds of the boards' time since the stack was switched on.
    pub at: f64,
    /// The id that the board was started with.
    pub board: u8,
    pub pi: Pi,
    #[serde(flatten)]
    pub event: Event,
}

/// What happened.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
#[serde(tag = "event", rename_all = "kebab-case")]
pub enum Event {
    /// The Pi's power was switched.
    Power { on: bool, reason: &'static str },
    /// The signal line changed; `high` is its level.
    Signal { high: bool },
    /// The heartbeat line changed; `high` is its level.
    Heartbeat { high: bool },
}

/// A board as it is now.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct BoardSnapshot {
    /// The id that the board was started with.
    pub board: u8,
    /// The id that it answers to.
    pub id: u8,
    pub leds: bool,
    pub debug_led: [u8; 3],
    pub boot_count: u16,
    pub error_count: u16,
    pub pis: Vec<PiSnapshot>,
}

/// A Pi position as it is now.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct PiSnapshot {
    pub powered: bool,
    pub state: PiState,
    pub model: PiModel,
    /// Level of the heartbeat line.
    pub heartbeat: bool,
    /// What the board answers when asked for the heartbeat.
    pub heartbeat_seen: bool,
    /// Level of the signal line.
    pub signal: bool,
    /// Amps drawn; `None` without power.
    pub amps: Option<f64>,
}

/// A simulated stack. It has no clock: [`Stack::advance_to`] is its time.
#[derive(Debug)]
pub struct Stack {
    boards: Vec<Board>,
    supply: Supply,
    faults: Faults,
    now: Duration,
    happenings: VecDeque<Happening>,
    stray: Vec<u8>,
}

/// What the boards put on the line in answer to a request.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Heard {
    /// Empty for silence.
    pub bytes: Vec<u8>,
    /// How much later than usual it begins.
    pub late: Duration,
}

/// Beyond the answer window of any master.
const LATE: Duration = Duration::from_millis(700);
/// Happenings that nobody collects are dropped, the oldest first.
const HAPPENINGS_KEPT: usize = 4096;

impl Stack {
    /// Switches a stack on.
    ///
    /// # Errors
    /// More than 16 boards, two with the same id, or one with the master's address.
    pub fn new(config: &StackConfig, flash: &Flash) -> Result<Self, SimulateError> {
        if config.boards.len() > 16 {
            return Err(SimulateError::TooManyBoards(config.boards.len()));
        }
        let mut dice = Dice::new(config.seed);
        let mut boards: Vec<Board> = Vec::new();
        for board in &config.boards {
            if board.id == frame::MASTER {
                return Err(SimulateError::MasterId);
            }
            if boards.iter().any(|other| other.started_as == board.id) {
                return Err(SimulateError::SameId(board.id));
            }
            let mut made = Board::new(board, Electric::new(board.hardware, config.tolerance, &mut dice));
            flash.restore(&mut made);
            made.boot(Duration::ZERO);
            boards.push(made);
        }
        let mut stack = Self {
            boards,
            supply: config.supply,
            faults: Faults::new(dice.next()),
            now: Duration::ZERO,
            happenings: VecDeque::new(),
            stray: Vec::new(),
        };
        stack.collect();
        Ok(stack)
    }

    /// The boards' time since they were switched on.
    pub fn now(&self) -> Duration {
        self.now
    }

    /// When a board or a modelled Pi next does something by itself.
    pub fn next_due(&self) -> Option<Duration> {
        self.boards.iter().flat_map(|board| &board.pis).filter_map(Position::due).min()
    }

    /// Lets time pass up to `now`, with everything that happens on the way happening at its own time.
    pub fn advance_to(&mut self, now: Duration) {
        while let Some(due) = self.next_due().filter(|&due| due <= now) {
            self.now = self.now.max(due);
            let at = self.now;
            for position in self.boards.iter_mut().flat_map(|board| &mut board.pis) {
                if position.due().is_some_and(|due| due <= at) {
                    position.step(at);
                }
            }
            self.collect();
        }
        self.now = self.now.max(now);
    }

    /// Lets this much time pass.
    pub fn advance(&mut self, by: Duration) {
        self.advance_to(self.now.saturating_add(by));
    }

    fn collect(&mut self) {
        let at = self.now.as_secs_f64();
        for board in &mut self.boards {
            for (position, pi) in board.pis.iter_mut().zip(Pi::BOTH) {
                for change in position.changes.drain(..) {
                    let event = match change {
                        Change::PowerOn(reason) => Event::Power { on: true, reason },
                        Change::PowerCut(reason) => Event::Power { on: false, reason },
                        Change::Signal(high) => Event::Signal { high },
                        Change::Heartbeat(high) => Event::Heartbeat { high },
                    };
                    self.happenings.push_back(Happening { at, board: board.started_as, pi, event });
                }
            }
        }
        let surplus = self.happenings.len().saturating_sub(HAPPENINGS_KEPT);
        self.happenings.drain(..surplus);
    }

    /// What has happened since this was last asked.
    pub fn take_happenings(&mut self) -> Vec<Happening> {
        self.happenings.drain(..).collect()
    }

    /// One request as it left the master: what the boards put on the line in answer.
    pub fn hear(&mut self, request: &[u8]) -> Heard {
        let named = request.get(1).copied().unwrap_or(frame::MASTER);
        if self.faults.strikes(FaultKind::Silence, named) {
            return Heard::default();
        }
        let mut heard = request.to_vec();
        if self.faults.strikes(FaultKind::RequestNoise, named) {
            self.faults.damage(&mut heard);
        }
        let mut answer = Vec::new();
        for board in &mut self.boards {
            if let Some(bytes) = answer_of(board, &heard, self.supply, self.now) {
                overlay(&mut answer, &bytes);
            }
        }
        self.collect();
        if answer.is_empty() || self.faults.strikes(FaultKind::Mute, named) {
            return Heard::default();
        }
        if self.faults.strikes(FaultKind::Noise, named) {
            self.faults.damage(&mut answer);
        }
        if self.faults.strikes(FaultKind::LostByte, named) {
            self.faults.lose(&mut answer);
        }
        if self.faults.strikes(FaultKind::Babble, named) {
            self.faults.babble_around(&mut answer);
        }
        let late = if self.faults.strikes(FaultKind::Late, named) { LATE } else { Duration::ZERO };
        Heard { bytes: answer, late }
    }

    /// The flash of the boards, to be kept.
    pub fn flash(&self) -> Flash {
        Flash::of(&self.boards)
    }

    /// All boards as they are now, in the order they were given.
    pub fn snapshot(&self) -> Vec<BoardSnapshot> {
        self.boards
            .iter()
            .map(|board| BoardSnapshot {
                board: board.started_as,
                id: board.id(),
                leds: board.leds,
                debug_led: board.debug_led,
                boot_count: board.boot_count,
                error_count: board.log.count(),
                pis: board.pis.iter().map(|position| pi_snapshot(position, self.now)).collect(),
            })
            .collect()
    }

    /// One Pi position as it is now.
    ///
    /// # Errors
    /// No board was started with this id.
    pub fn pi(&self, board: u8, pi: Pi) -> Result<PiSnapshot, SimulateError> {
        let found = self.boards.iter().find(|found| found.started_as == board);
        let found = found.ok_or(SimulateError::NoSuchBoard(board))?;
        Ok(pi_snapshot(&found.pis[pi.index()], self.now))
    }

    fn board(&mut self, id: u8) -> Result<&mut Board, SimulateError> {
        self.boards.iter_mut().find(|board| board.started_as == id).ok_or(SimulateError::NoSuchBoard(id))
    }

    fn at(&mut self, board: u8, pi: Pi, action: impl FnOnce(&mut Position, Duration)) -> Result<(), SimulateError> {
        let now = self.now;
        action(&mut self.board(board)?.pis[pi.index()], now);
        self.collect();
        Ok(())
    }

    /// The Pi sets its heartbeat line (GPIO 5).
    ///
    /// # Errors
    /// This and every method below: no board was started with this id.
    pub fn set_heartbeat(&mut self, board: u8, pi: Pi, high: bool) -> Result<(), SimulateError> {
        self.at(board, pi, |position, now| position.set_heartbeat(now, high))
    }

    /// The Pi pulls its signal line (GPIO 6) low, or lets go of it.
    ///
    /// # Errors
    /// No board was started with this id.
    pub fn pull_signal(&mut self, board: u8, pi: Pi, low: bool) -> Result<(), SimulateError> {
        self.at(board, pi, |position, now| position.pull_signal(now, low))
    }

    /// Changes what is plugged in.
    ///
    /// # Errors
    /// No board was started with this id.
    pub fn set_model(&mut self, board: u8, pi: Pi, model: PiModel) -> Result<(), SimulateError> {
        self.at(board, pi, |position, _| position.set_model(model))
    }

    /// A modelled Pi stops dead.
    ///
    /// # Errors
    /// No board was started with this id.
    pub fn crash(&mut self, board: u8, pi: Pi) -> Result<(), SimulateError> {
        self.at(board, pi, |position, _| position.crash())
    }

    /// A modelled Pi shuts down by itself, and pulls its signal line when it has.
    ///
    /// # Errors
    /// No board was started with this id.
    pub fn power_off(&mut self, board: u8, pi: Pi) -> Result<(), SimulateError> {
        self.at(board, pi, Position::own_shutdown)
    }

    /// What a Pi draws while it has power, in amps; `None` for what its state draws.
    ///
    /// # Errors
    /// No board was started with this id.
    pub fn set_load(&mut self, board: u8, pi: Pi, amps: Option<f64>) -> Result<(), SimulateError> {
        self.at(board, pi, |position, _| position.load = amps)
    }

    /// Resets a board: its Pis lose their power, and come back if their start-up setting says so.
    ///
    /// # Errors
    /// No board was started with this id.
    pub fn reset(&mut self, board: u8) -> Result<(), SimulateError> {
        let now = self.now;
        self.board(board)?.reset(now);
        self.collect();
        Ok(())
    }

    /// Enters a code in a board's error log.
    ///
    /// # Errors
    /// No board was started with this id.
    pub fn log_error(&mut self, board: u8, code: ErrorCode) -> Result<(), SimulateError> {
        self.board(board)?.log.enter(code);
        Ok(())
    }

    /// Changes the supply.
    pub fn set_supply(&mut self, supply: Supply) {
        self.supply = supply;
    }

    /// Puts a fault in force.
    pub fn add_fault(&mut self, fault: Fault) {
        self.faults.add(fault);
    }

    /// Ends all faults.
    pub fn clear_faults(&mut self) {
        self.faults.clear();
    }

    /// Puts so many bytes of rubbish on the line, unasked.
    pub fn babble(&mut self, bytes: u8) {
        let rubbish = self.faults.rubbish(usize::from(bytes));
        self.stray.extend(rubbish);
    }

    pub(super) fn take_stray(&mut self) -> Vec<u8> {
        std::mem::take(&mut self.stray)
    }
}

fn pi_snapshot(position: &Position, now: Duration) -> PiSnapshot {
    PiSnapshot {
        powered: position.powered(),
        state: position.state,
        model: position.model,
        heartbeat: position.heartbeat(),
        heartbeat_seen: position.heartbeat_seen(now),
        signal: position.signal(),
        amps: position.draw(),
    }
}

/// What one board makes of a request: `None` if it is not addressed.
fn answer_of(board: &mut Board, heard: &[u8], supply: Supply, now: Duration) -> Option<Vec<u8>> {
    let result = match frame::scan_request(heard, super::board::BUFFER) {
        frame::RequestScan::Whole { board: named, opcode, arguments, crc_fits, .. } => {
            if named != board.id() {
                return None;
            }
            if crc_fits { Command::decode(opcode, arguments) } else { Err(ErrorCode::CRC) }
        }
        frame::RequestScan::Incomplete => {
            let (named, code) = frame::broken_request(heard, super::board::BUFFER)?;
            if named != board.id() {
                return None;
            }
            Err(code)
        }
    };
    let result = result.and_then(|command| board.obey(command, supply, now)).map_err(|code| board.refuse(code));
    // Nothing that a board answers is longer than its buffer, so an answer always fits its length byte.
    frame::answer(&result).ok()
}

/// Two transmitters at once: a 0 wins, as it is the driven level of both.
fn overlay(line: &mut Vec<u8>, bytes: &[u8]) {
    for (at, byte) in bytes.iter().enumerate() {
        match line.get_mut(at) {
            Some(other) => *other &= byte,
            None => line.push(*byte),
        }
    }
}
