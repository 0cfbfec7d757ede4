//! Switching Pis: on within the supply's limit, off with every stage told.

use crate::board::{Board, Reading};
use crate::command::{Command, Pi, Timer};
use crate::master::{AskError, Master};
use serde::Serialize;
use std::time::Duration;

/// How Pis are powered one after the other.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct OnPlan {
    /// Between one Pi and the next.
    pub stagger: Duration,
    /// Amps that all boards of the stack together may draw from the supply.
    pub max_amps: Option<f64>,
    /// Amps at the supply that one more Pi may need while it starts: so much must be left before it is powered.
    pub headroom: f64,
    /// How long to wait for the current to leave that headroom before giving up.
    pub patience: Duration,
}

impl Default for OnPlan {
    fn default() -> Self {
        Self { stagger: Duration::ZERO, max_amps: None, headroom: 0.4, patience: Duration::from_secs(120) }
    }
}

/// What is told while Pis are switched.
#[derive(Clone, Debug, PartialEq, Serialize)]
#[serde(tag = "stage", rename_all = "kebab-case")]
pub enum Stage {
    /// It was so already.
    Already { powered: bool },
    /// Its power is on.
    On,
    /// The supply's current, with what the Pis will draw that were just powered, leaves no room; waiting.
    WaitingForHeadroom { amps: f64, limit: f64 },
    /// The board has signalled the Pi to shut down; it cuts after so many seconds.
    Signalled { off_delay: Option<u8> },
    /// The Pi has stopped beating.
    HeartbeatGone { after: f64 },
    /// Its power is off, so many seconds after the request.
    Off { after: f64 },
}

/// Why a Pi is not as it was asked to be.
#[derive(Clone, Debug, PartialEq, thiserror::Error)]
pub enum PowerError {
    #[error(transparent)]
    Ask(#[from] AskError),
    #[error("the current of board {board} cannot be read ({error}), so no Pi is powered against the limit")]
    Blind { board: u8, error: AskError },
    #[error(
        "the stack draws or will draw {amps:.2} A, which leaves no {headroom:.2} A below the limit of {limit:.2} A"
    )]
    NoHeadroom { amps: f64, headroom: f64, limit: f64 },
    #[error("the board says that it is still powered {0:.0} s after the request")]
    StillOn(f64),
    #[error("the board did what it was told, but the Pi is not powered")]
    NotOn,
}

impl PowerError {
    /// Whether waiting was in vain, as opposed to the line or the board failing.
    pub fn gave_up(&self) -> bool {
        matches!(self, Self::NoHeadroom { .. } | Self::StillOn(_) | Self::NotOn)
    }
}

/// How long a Pi takes from power-on to the highest current of its start, at the most.
const START_UP: Duration = Duration::from_secs(15);
/// Between two looks at a current or at a Pi that shuts down.
const LOOK_EVERY: Duration = Duration::from_millis(500);
/// What a board may take longer than its off delay says.
const OFF_MARGIN: Duration = Duration::from_secs(5);
/// The longest off delay that a board can have, for one that does not tell.
const LONGEST_OFF_DELAY: u8 = u8::MAX;

/// Powers one Pi at once and makes sure that it is.
///
/// # Errors
/// The board gives no valid answer, or the Pi stays without power.
pub fn on(master: &mut Master, board: u8, pi: Pi) -> Result<Stage, PowerError> {
    let mut board = Board { master, id: board };
    if board.flag(Command::Powered(pi))? {
        return Ok(Stage::Already { powered: true });
    }
    board.tell(Command::On(pi))?;
    if board.flag(Command::Powered(pi))? { Ok(Stage::On) } else { Err(PowerError::NotOn) }
}

/// Powers Pis one after the other within the plan. `all` are the boards whose currents count against the limit. A Pi
/// that fails does not keep the others off, but a current that cannot be read does: nobody powers a Pi blindly.
pub fn on_all(
    master: &mut Master,
    pis: &[(u8, Pi)],
    all: &[u8],
    plan: &OnPlan,
    mut tell: impl FnMut(u8, Pi, Result<Stage, PowerError>),
) {
    let mut powered_before = false;
    let mut starting = Starting::default();
    for &(board, pi) in pis {
        let already = Board { master, id: board }.flag(Command::Powered(pi));
        if already == Ok(true) {
            tell(board, pi, Ok(Stage::Already { powered: true }));
            continue;
        }
        if powered_before {
            master.wait(plan.stagger);
        }
        let room = plan.max_amps.map_or(Ok(()), |limit| {
            wait_for_headroom(master, all, limit, plan, &mut starting, |stage| tell(board, pi, Ok(stage)))
        });
        let result = room.and_then(|()| on(master, board, pi));
        if result == Ok(Stage::On) {
            powered_before = true;
            starting.since.push(master.now());
        }
        tell(board, pi, result);
    }
}

/// Pis that were powered a moment ago: they will draw more than they do yet.
#[derive(Debug, Default)]
struct Starting {
    /// When each was powered.
    since: Vec<Duration>,
    /// Amps that were drawn without them, or a little more.
    before: f64,
}

impl Starting {
    /// The amps to reckon with when `amps` are measured: each starting Pi counts with the headroom that it was given, until
    /// what it draws has shown itself.
    fn expected(&mut self, amps: f64, plan: &OnPlan, now: Duration) -> f64 {
        let known = self.since.len();
        self.since.retain(|since| now.saturating_sub(*since) < START_UP);
        // What has started is in what is measured.
        if self.since.is_empty() || self.since.len() < known {
            self.before = amps;
        }
        amps.max(self.before + plan.headroom * self.since.len() as f64)
    }
}

fn wait_for_headroom(
    master: &mut Master,
    all: &[u8],
    limit: f64,
    plan: &OnPlan,
    starting: &mut Starting,
    mut tell: impl FnMut(Stage),
) -> Result<(), PowerError> {
    let start = master.now();
    let mut told = false;
    loop {
        let measured = total_amps(master, all)?;
        let amps = starting.expected(measured, plan, master.now());
        if amps + plan.headroom <= limit {
            return Ok(());
        }
        if master.now().saturating_sub(start) >= plan.patience {
            return Err(PowerError::NoHeadroom { amps, headroom: plan.headroom, limit });
        }
        if !told {
            tell(Stage::WaitingForHeadroom { amps, limit });
            told = true;
        }
        master.wait(LOOK_EVERY);
    }
}

/// What these boards together draw from the supply, in amps.
///
/// # Errors
/// One of them cannot be read: a sum without it would be too small.
pub fn total_amps(master: &mut Master, boards: &[u8]) -> Result<f64, PowerError> {
    let mut sum = 0.0;
    for &id in boards {
        sum += Board { master, id }.input_amps().map_err(|error| PowerError::Blind { board: id, error })?;
    }
    Ok(sum)
}

/// A Pi that has been told to shut down.
#[derive(Clone, Copy, Debug)]
struct Leaving {
    board: u8,
    pi: Pi,
    asked: Duration,
    give_up: Duration,
    /// Whether it was seen beating and is expected to stop.
    beating: bool,
}

/// Shuts Pis down cleanly, all at the same time, and waits until each is off.
pub fn off_all(master: &mut Master, pis: &[(u8, Pi)], mut tell: impl FnMut(u8, Pi, Result<Stage, PowerError>)) {
    let mut leaving = Vec::new();
    for &(board, pi) in pis {
        match ask_off(master, board, pi) {
            Ok((stage, started)) => {
                leaving.extend(started);
                tell(board, pi, Ok(stage));
            }
            Err(error) => tell(board, pi, Err(error.into())),
        }
    }
    while !leaving.is_empty() {
        master.wait(LOOK_EVERY);
        leaving.retain_mut(|one: &mut Leaving| match poll(master, one) {
            None => true,
            Some(result) => {
                let done = !matches!(result, Ok(Stage::HeartbeatGone { .. }));
                tell(one.board, one.pi, result);
                !done
            }
        });
    }
}

fn ask_off(master: &mut Master, id: u8, pi: Pi) -> Reading<(Stage, Option<Leaving>)> {
    let mut board = Board { master, id };
    if !board.flag(Command::Powered(pi))? {
        return Ok((Stage::Already { powered: false }, None));
    }
    let beating = board.flag(Command::Heartbeat(pi)).unwrap_or(false);
    let off_delay = board.timer(Timer::OffDelay, pi).ok();
    board.tell(Command::Off(pi))?;
    let asked = board.master.now();
    let longest = Duration::from_secs(u64::from(off_delay.unwrap_or(LONGEST_OFF_DELAY)));
    let give_up = asked + longest + OFF_MARGIN;
    Ok((Stage::Signalled { off_delay }, Some(Leaving { board: id, pi, asked, give_up, beating })))
}

/// What is new about a Pi that shuts down; `None` if nothing is.
fn poll(master: &mut Master, one: &mut Leaving) -> Option<Result<Stage, PowerError>> {
    let mut board = Board { master, id: one.board };
    let powered = board.flag(Command::Powered(one.pi));
    let beats = if one.beating { board.flag(Command::Heartbeat(one.pi)) } else { Ok(false) };
    let now = board.master.now();
    let after = now.saturating_sub(one.asked).as_secs_f64();
    match powered {
        Ok(false) => Some(Ok(Stage::Off { after })),
        // The line may recover before the time is over.
        Err(error) if now >= one.give_up => Some(Err(error.into())),
        Ok(true) if now >= one.give_up => Some(Err(PowerError::StillOn(after))),
        _ if one.beating && beats == Ok(false) => {
            one.beating = false;
            Some(Ok(Stage::HeartbeatGone { after }))
        }
        _ => None,
    }
}

/// Cuts the power of one Pi at once and makes sure that it is off.
///
/// # Errors
/// The board gives no valid answer, or the Pi stays powered.
pub fn force_off(master: &mut Master, board: u8, pi: Pi) -> Result<Stage, PowerError> {
    let mut board = Board { master, id: board };
    if !board.flag(Command::Powered(pi))? {
        return Ok(Stage::Already { powered: false });
    }
    board.tell(Command::ForceOff(pi))?;
    if board.flag(Command::Powered(pi))? { Err(PowerError::StillOn(0.0)) } else { Ok(Stage::Off { after: 0.0 }) }
}
