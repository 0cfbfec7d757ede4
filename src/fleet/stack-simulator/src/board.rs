//! One simulated board: what it does with each command, and its error log.

use super::electric::{Draw, Electric, Supply};
use super::pi::{PiModel, Position, Settings};
use fruit_stack::command::{Command, Pi, Value};
use fruit_stack::convert::Hardware;
use fruit_stack::error_code::ErrorCode;
use fruit_stack::frame::HEADER;
use serde::{Deserialize, Serialize};
use std::time::Duration;

/// What a simulated board is made as.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct BoardConfig {
    /// DIP switches in the low nibble, prefix in the high one. The board keeps this name towards the control socket
    /// and this library even when the prefix is changed over the bus.
    pub id: u8,
    pub hardware: Hardware,
    /// Answer to command 02.
    pub software: u8,
    pub model: PiModel,
    /// Whether the Pis are powered when the board starts for the first time.
    pub start_up: bool,
}

impl BoardConfig {
    pub fn new(id: u8) -> Self {
        Self { id, hardware: Hardware::V3, software: 7, model: PiModel::Healthy, start_up: false }
    }
}

/// Slots of the error log's ring. 32 fit an answer; the boards' receive buffer is 64 bytes.
const LOG_SLOTS: usize = 32;
/// Bytes of the boards' buffer for requests and answers.
pub(super) const BUFFER: usize = 64;

/// The ring of the latest codes, and how many errors there were since it was cleared.
#[derive(Clone, Debug, PartialEq, Eq, Default, Serialize, Deserialize)]
pub struct ErrorLog {
    /// In the order of the ring's slots.
    codes: Vec<u8>,
    /// The slot that the next code goes to.
    pointer: u8,
    count: u16,
}

impl ErrorLog {
    /// Enters and counts a code, if it is an error.
    pub fn enter(&mut self, code: ErrorCode) {
        if !code.is_error() {
            return;
        }
        let slot = usize::from(self.pointer);
        match self.codes.get_mut(slot) {
            Some(old) => *old = code.0,
            None => self.codes.push(code.0),
        }
        self.pointer = ((slot + 1) % LOG_SLOTS) as u8;
        self.count = self.count.saturating_add(1);
    }

    fn clear(&mut self) {
        self.codes.clear();
        self.pointer = 0;
    }

    /// What the command for the error buffer answers.
    pub fn answer(&self) -> Vec<u8> {
        if self.codes.is_empty() { vec![ErrorCode::NONE.0] } else { self.codes.clone() }
    }

    /// Errors since the count was cleared.
    pub fn count(&self) -> u16 {
        self.count
    }

    /// Whether the log could have been written by this simulator.
    pub(super) fn is_sound(&self) -> bool {
        let used = self.codes.len();
        used <= LOG_SLOTS && (usize::from(self.pointer) == used % LOG_SLOTS || used == LOG_SLOTS) && self.pointer < 32
    }
}

#[derive(Clone, Debug)]
pub(super) struct Board {
    pub(super) started_as: u8,
    pub(super) software: u8,
    pub(super) prefix: u8,
    pub(super) electric: Electric,
    pub(super) pis: [Position; 2],
    pub(super) leds: bool,
    pub(super) debug_led: [u8; 3],
    pub(super) log: ErrorLog,
    pub(super) boot_count: u16,
}

impl Board {
    pub(super) fn new(config: &BoardConfig, electric: Electric) -> Self {
        let settings = Settings { start_up: config.start_up, ..Settings::default() };
        Self {
            started_as: config.id,
            software: config.software,
            prefix: config.id & 0xF0,
            electric,
            pis: [(); 2].map(|()| Position::new(config.model, settings.clone())),
            leds: true,
            debug_led: [0; 3],
            log: ErrorLog::default(),
            boot_count: 0,
        }
    }

    pub(super) fn id(&self) -> u8 {
        self.prefix | (self.started_as & 0x0F)
    }

    pub(super) fn boot(&mut self, now: Duration) {
        self.boot_count = self.boot_count.saturating_add(1);
        self.leds = true;
        self.debug_led = [0; 3];
        for position in &mut self.pis {
            if position.settings.start_up {
                position.on(now, "start-up");
            }
        }
    }

    /// The board's processor restarts: its switches open, and the start-up settings count again.
    pub(super) fn reset(&mut self, now: Duration) {
        for position in &mut self.pis {
            position.cut("board reset");
        }
        self.boot(now);
    }

    /// Enters an error in the log and answers it.
    pub(super) fn refuse(&mut self, code: ErrorCode) -> ErrorCode {
        self.log.enter(code);
        code
    }

    fn draw(&self) -> Draw {
        [self.pis[0].draw(), self.pis[1].draw()]
    }

    /// Does a command.
    ///
    /// # Errors
    /// 30 when the error log does not fit the answer.
    pub(super) fn obey(&mut self, command: Command, supply: Supply, now: Duration) -> Result<Value, ErrorCode> {
        let draw = self.draw();
        Ok(match command {
            Command::SoftwareVersion => Value::Byte(self.software),
            Command::HardwareVersion => Value::Byte(self.electric.hardware.version()),
            Command::Leds(on) => {
                self.leds = on;
                Value::Nothing
            }
            Command::DebugLed { red, green, blue } => {
                self.debug_led = [red, green, blue];
                Value::Nothing
            }
            Command::SetPrefix(prefix) => {
                self.prefix = prefix;
                Value::Nothing
            }
            Command::Prefix => Value::Byte(self.prefix),
            Command::Id => Value::Byte(self.id()),
            Command::InputVoltage => Value::Word(self.electric.input_volts(supply)),
            Command::InputCurrent => Value::Word(self.electric.input_amps(supply, draw)),
            Command::RailVoltage => Value::Word(self.electric.rail_volts(draw)),
            Command::InputPower => Value::Long(self.electric.input_power(supply, draw)),
            Command::RailPower => Value::Long(self.electric.rail_power(draw)),
            Command::PiVoltage(pi) => Value::Word(self.electric.pi_volts(draw, pi)),
            Command::PiCurrent(pi) => Value::Word(self.electric.pi_amps(draw, pi)),
            Command::PiPower(pi) => Value::Long(self.electric.pi_power(draw, pi)),
            Command::ErrorBuffer => {
                let codes = self.log.answer();
                if codes.len() + HEADER + 1 > BUFFER {
                    return Err(ErrorCode::TOO_MANY_ERRORS);
                }
                Value::Bytes(codes)
            }
            Command::ClearErrorBuffer => {
                self.log.clear();
                Value::Nothing
            }
            Command::ErrorCount => Value::Word(self.log.count),
            Command::ClearErrorCount => {
                self.log.count = 0;
                self.boot_count = 0;
                Value::Nothing
            }
            Command::ErrorPointer => Value::Byte(self.log.pointer),
            Command::BootCount => Value::Word(self.boot_count),
            Command::Heartbeat(pi) => Value::Flag(self.pis[pi.index()].heartbeat_seen(now)),
            Command::Powered(pi) => Value::Flag(self.pis[pi.index()].powered()),
            Command::Timer(timer, pi) => Value::Byte(self.pis[pi.index()].settings.timer(timer)),
            Command::StartUp(pi) => Value::Flag(self.pis[pi.index()].settings.start_up),
            Command::SignalWidth(pi) => Value::Byte(self.pis[pi.index()].settings.signal_width),
            Command::On(pi) => self.act(pi, |position| position.on(now, "bus command")),
            Command::Off(pi) => self.act(pi, |position| position.shut_down(now, "off delay over")),
            Command::SendSignal(pi) => self.act(pi, |position| position.shut_down(now, "off delay over")),
            Command::ForceOff(pi) => self.act(pi, |position| position.cut("forced off")),
            Command::SetTimer(timer, pi, seconds) => {
                self.act(pi, |position| position.settings.set_timer(timer, seconds))
            }
            Command::SetStartUp(pi, on) => self.act(pi, |position| position.settings.start_up = on),
            Command::SetSignalWidth(pi, width) => self.act(pi, |position| position.settings.signal_width = width),
        })
    }

    fn act(&mut self, pi: Pi, action: impl FnOnce(&mut Position)) -> Value {
        action(&mut self.pis[pi.index()]);
        Value::Nothing
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_log_is_a_ring_whose_pointer_is_the_next_slot() {
        let mut log = ErrorLog::default();
        assert_eq!(log.answer(), [0]);
        for code in 0x10..0x10 + LOG_SLOTS as u8 + 2 {
            log.enter(ErrorCode(code));
            assert!(log.is_sound());
        }
        let codes = log.answer();
        assert_eq!((codes.len(), codes[0], codes[1], codes[2]), (LOG_SLOTS, 0x30, 0x31, 0x12));
        assert_eq!((log.pointer, log.count), (2, 34));
        log.enter(ErrorCode::BOOTED);
        assert_eq!((log.pointer, log.count), (2, 34), "booting is no error");
    }
}
