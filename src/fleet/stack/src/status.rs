//! Everything there is to read of a stack, each value by itself: what could not be read is an error, never a number.

use crate::board::{Board, Reading};
use crate::command::{Command, Pi};
use crate::convert::{self, Hardware};
use crate::master::{AskError, LineCounts, Master};
use serde::Serialize;

/// One board as it answered.
#[derive(Clone, Debug, PartialEq)]
pub struct BoardStatus {
    /// The id that it was asked under.
    pub board: u8,
    /// The revision that its readings were converted for.
    pub hardware: Reading<Hardware>,
    pub input_volts: Reading<f64>,
    pub input_amps: Reading<f64>,
    pub input_watts: Reading<f64>,
    pub rail_volts: Reading<f64>,
    pub errors: Reading<u16>,
    pub pis: [PiStatus; 2],
}

/// One Pi as its board sees it.
#[derive(Clone, Debug, PartialEq)]
pub struct PiStatus {
    pub powered: Reading<bool>,
    pub heartbeat: Reading<bool>,
    pub volts: Reading<f64>,
    pub amps: Reading<f64>,
    pub watts: Reading<f64>,
}

/// One stack.
#[derive(Clone, Debug, PartialEq)]
pub struct StackStatus {
    pub stack: String,
    pub boards: Vec<BoardStatus>,
    pub line: LineCounts,
}

/// Reads one board. `told` is the revision to convert for; `None` asks the board.
pub fn read_board(master: &mut Master, id: u8, told: Option<Hardware>) -> BoardStatus {
    let mut asker = Asker { board: Board { master, id }, absent: None };
    let hardware = match told {
        Some(hardware) => Ok(hardware),
        None => asker.read(Board::hardware),
    };
    BoardStatus {
        board: id,
        input_volts: asker.word(Command::InputVoltage, convert::input_volts),
        input_amps: asker.word(Command::InputCurrent, convert::input_amps),
        input_watts: asker.long(Command::InputPower, convert::input_watts),
        rail_volts: asker.word(Command::RailVoltage, convert::rail_volts),
        errors: asker.read(|board| board.word(Command::ErrorCount)),
        pis: Pi::BOTH.map(|pi| PiStatus {
            powered: asker.read(|board| board.flag(Command::Powered(pi))),
            heartbeat: asker.read(|board| board.flag(Command::Heartbeat(pi))),
            volts: match &hardware {
                Ok(hardware) => asker.word(Command::PiVoltage(pi), |adc| convert::pi_volts(adc, *hardware)),
                Err(error) => Err(error.clone()),
            },
            amps: asker.word(Command::PiCurrent(pi), convert::pi_amps),
            watts: asker.long(Command::PiPower(pi), convert::rail_watts),
        }),
        hardware,
    }
}

/// Asks one board value by value. A board that has once not answered at all is not asked again: waiting half a second
/// for each of its values, over and over, would hold up the other boards.
struct Asker<'a> {
    board: Board<'a>,
    absent: Option<AskError>,
}

impl<'a> Asker<'a> {
    fn read<T>(&mut self, read: impl FnOnce(&mut Board<'a>) -> Reading<T>) -> Reading<T> {
        if let Some(error) = &self.absent {
            return Err(error.clone());
        }
        let reading = read(&mut self.board);
        if let Err(error @ (AskError::NoAnswer | AskError::Port { .. })) = &reading {
            self.absent = Some(error.clone());
        }
        reading
    }

    fn word(&mut self, command: Command, convert: impl FnOnce(u16) -> f64) -> Reading<f64> {
        self.read(|board| board.word(command)).map(convert)
    }

    fn long(&mut self, command: Command, convert: impl FnOnce(u32) -> f64) -> Reading<f64> {
        self.read(|board| board.long(command)).map(convert)
    }
}

/// A value as JSON: the number, or null. What failed is told by name beside it.
fn field<T: Serialize + Clone>(
    into: &mut serde_json::Map<String, serde_json::Value>,
    failures: &mut serde_json::Map<String, serde_json::Value>,
    name: &str,
    reading: &Reading<T>,
) {
    // Numbers, booleans and revisions always have a JSON form.
    let value = reading.as_ref().ok().and_then(|value| serde_json::to_value(value).ok());
    into.insert(name.to_owned(), value.unwrap_or(serde_json::Value::Null));
    if let Err(error) = reading {
        failures.insert(name.to_owned(), error.to_string().into());
    }
}

impl Serialize for PiStatus {
    fn serialize<S: serde::Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        let (mut object, mut failures) = (serde_json::Map::new(), serde_json::Map::new());
        field(&mut object, &mut failures, "powered", &self.powered);
        field(&mut object, &mut failures, "heartbeat", &self.heartbeat);
        field(&mut object, &mut failures, "volts", &self.volts);
        field(&mut object, &mut failures, "amps", &self.amps);
        field(&mut object, &mut failures, "watts", &self.watts);
        object.insert("failures".to_owned(), failures.into());
        object.serialize(serializer)
    }
}

impl Serialize for BoardStatus {
    fn serialize<S: serde::Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        let (mut object, mut failures) = (serde_json::Map::new(), serde_json::Map::new());
        object.insert("board".to_owned(), self.board.into());
        field(&mut object, &mut failures, "hardware", &self.hardware);
        field(&mut object, &mut failures, "input_volts", &self.input_volts);
        field(&mut object, &mut failures, "input_amps", &self.input_amps);
        field(&mut object, &mut failures, "input_watts", &self.input_watts);
        field(&mut object, &mut failures, "rail_volts", &self.rail_volts);
        field(&mut object, &mut failures, "errors", &self.errors);
        object.insert("pis".to_owned(), serde_json::to_value(&self.pis).map_err(serde::ser::Error::custom)?);
        object.insert("failures".to_owned(), failures.into());
        object.serialize(serializer)
    }
}

impl Serialize for StackStatus {
    fn serialize<S: serde::Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        use serde::ser::SerializeStruct;
        let mut object = serializer.serialize_struct("StackStatus", 3)?;
        object.serialize_field("stack", &self.stack)?;
        object.serialize_field("boards", &self.boards)?;
        object.serialize_field("line", &self.line)?;
        object.end()
    }
}

impl BoardStatus {
    /// What could not be read, by name.
    pub fn failures(&self) -> Vec<(String, &AskError)> {
        fn add<'a, T>(all: &mut Vec<(String, &'a AskError)>, name: impl Into<String>, reading: &'a Reading<T>) {
            if let Err(error) = reading {
                all.push((name.into(), error));
            }
        }
        let mut all = Vec::new();
        add(&mut all, "hardware version", &self.hardware);
        add(&mut all, "input voltage", &self.input_volts);
        add(&mut all, "input current", &self.input_amps);
        add(&mut all, "input power", &self.input_watts);
        add(&mut all, "5 V rail", &self.rail_volts);
        add(&mut all, "error count", &self.errors);
        for (pi, status) in Pi::BOTH.iter().zip(&self.pis) {
            add(&mut all, format!("Pi {pi} powered"), &status.powered);
            add(&mut all, format!("Pi {pi} heartbeat"), &status.heartbeat);
            add(&mut all, format!("Pi {pi} voltage"), &status.volts);
            add(&mut all, format!("Pi {pi} current"), &status.amps);
            add(&mut all, format!("Pi {pi} power"), &status.watts);
        }
        all
    }

    /// Whether the board fell silent, or cannot be reached at all.
    pub fn is_absent(&self) -> bool {
        let gone = |error: &AskError| matches!(error, AskError::NoAnswer | AskError::Port { .. });
        self.input_volts.is_err() && self.failures().iter().all(|(_, error)| gone(error))
    }

    /// Whether the port itself failed, so that it must be opened anew.
    pub fn port_failed(&self) -> bool {
        self.failures().iter().any(|(_, error)| matches!(error, AskError::Port { .. }))
    }
}
