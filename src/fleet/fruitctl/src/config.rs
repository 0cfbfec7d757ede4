use crate::failure::{Code, Failure, Failures, code_of};
use crate::output::print;
use crate::session::{EVERYTHING, Options};
use crate::table::{self, plain};
use clap::{Args, Subcommand, ValueEnum};
use fruit_stack::address::Targets;
use fruit_stack::board::{Board, Reading};
use fruit_stack::command::{Command, Pi, Timer};
use fruit_stack::frame::MASTER;
use serde_json::{Map, Value, json};

#[derive(Args)]
pub struct ConfigArgs {
    #[command(subcommand)]
    verb: ConfigVerb,
}

#[derive(Subcommand)]
enum ConfigVerb {
    /// Show settings.
    Get {
        #[arg(default_value = EVERYTHING)]
        targets: Targets,
        /// Only this one.
        setting: Option<Setting>,
    },
    /// Change a setting, and read it back.
    Set {
        targets: Targets,
        setting: Setting,
        /// Seconds for timers, milliseconds for the signal width, on or off for start-up, a number like 0x20 for the
        /// prefix.
        value: String,
    },
}

#[derive(Clone, Copy, PartialEq, Eq, ValueEnum)]
enum Setting {
    /// Longest time between heartbeats, in seconds; 0 watches nothing.
    HeartbeatTimeout,
    /// Longest time from power-on to the first heartbeat, in seconds.
    BootDelay,
    /// From the board's shutdown signal to the cut, in seconds.
    OffDelay,
    /// From the Pi's own shutdown signal to the cut, in seconds.
    SignalledOffDelay,
    /// Whether the Pi is powered when the board starts.
    StartUp,
    /// How long the signal line is held low.
    SignalWidth,
    /// High nibble of the board's id; one per board.
    Prefix,
}

impl Setting {
    fn name(self) -> &'static str {
        match self.timer() {
            Some(timer) => timer.name(),
            None if self == Self::StartUp => "start-up",
            None if self == Self::SignalWidth => "signal-width",
            None => "prefix",
        }
    }

    fn timer(self) -> Option<Timer> {
        match self {
            Self::HeartbeatTimeout => Some(Timer::HeartbeatTimeout),
            Self::BootDelay => Some(Timer::BootDelay),
            Self::OffDelay => Some(Timer::OffDelay),
            Self::SignalledOffDelay => Some(Timer::SignalledOffDelay),
            Self::StartUp | Self::SignalWidth | Self::Prefix => None,
        }
    }

    fn read(self, board: &mut Board<'_>, pi: Pi) -> Reading<Value> {
        match (self.timer(), self) {
            (Some(timer), _) => board.timer(timer, pi).map(Value::from),
            (None, Self::StartUp) => board.flag(Command::StartUp(pi)).map(Value::from),
            (None, Self::SignalWidth) => board.byte(Command::SignalWidth(pi)).map(Value::from),
            (None, _) => board.byte(Command::Prefix).map(Value::from),
        }
    }

    /// The command that sets it, and what must be read back.
    fn change(self, pi: Pi, value: &str) -> Result<(Command, Value), String> {
        if self == Self::StartUp {
            let on = match value {
                "on" | "1" | "true" => true,
                "off" | "0" | "false" => false,
                _ => return Err(format!("start-up is on or off, not `{value}`")),
            };
            return Ok((Command::SetStartUp(pi, on), on.into()));
        }
        let number = match value.strip_prefix("0x") {
            Some(hex) => u8::from_str_radix(hex, 16),
            None => value.parse(),
        };
        let number = number.map_err(|_| format!("{} is a number from 0 to 255, not `{value}`", self.name()))?;
        let command = match (self.timer(), self) {
            (Some(timer), _) => Command::SetTimer(timer, pi, number),
            (None, Self::SignalWidth) => Command::SetSignalWidth(pi, number),
            (None, _) if number & 0x0F != 0 => {
                return Err(format!("a prefix has a low nibble of 0, like {:#04x}; `{value}` has not", number & 0xF0));
            }
            (None, _) => Command::SetPrefix(number),
        };
        Ok((command, number.into()))
    }
}

impl ConfigArgs {
    pub fn run(self, options: &Options) -> Result<(), Failure> {
        match self.verb {
            ConfigVerb::Get { targets, setting } => get(options, &targets, setting),
            ConfigVerb::Set { targets, setting: Setting::Prefix, value } => set_prefix(options, &targets, &value),
            ConfigVerb::Set { targets, setting, value } => set(options, &targets, setting, &value),
        }
    }
}

fn get(options: &Options, targets: &Targets, only: Option<Setting>) -> Result<(), Failure> {
    let settings: Vec<Setting> = match only {
        Some(setting) => vec![setting],
        None => Setting::value_variants().to_vec(),
    };
    let mut failures = Failures::default();
    let (mut rows, mut objects) = (Vec::new(), Vec::new());
    for session in &mut options.sessions(targets, false)? {
        for &(id, pi) in &session.pis.clone() {
            let name = format!("{}.{pi}", session.board_name(id));
            let mut row = vec![plain(name.clone())];
            let mut object = Map::new();
            object.insert("stack".into(), session.entry.name.clone().into());
            object.insert("board".into(), id.into());
            object.insert("pi".into(), pi.number().into());
            for setting in &settings {
                let reading = setting.read(&mut session.board(id), pi);
                if let Err(error) = &reading {
                    failures.tell(&name, code_of(error), format_args!("{}: {error}", setting.name()));
                }
                row.push(plain(match &reading {
                    Ok(Value::Bool(on)) => if *on { "on" } else { "off" }.to_owned(),
                    Ok(Value::Number(number)) if *setting == Setting::Prefix => {
                        format!("{:#04x}", number.as_u64().unwrap_or_default())
                    }
                    Ok(value) => value.to_string(),
                    Err(_) => "?".to_owned(),
                }));
                object.insert(setting.name().into(), reading.unwrap_or(Value::Null));
            }
            rows.push(row);
            objects.push(Value::from(object));
        }
    }
    if options.json {
        print(format_args!("{}", Value::from(objects)));
    } else {
        let head: Vec<&str> = ["pi"].into_iter().chain(settings.iter().map(|setting| setting.name())).collect();
        print(format_args!("{}", table::render(&head, &rows, false).trim_end()));
    }
    failures.finish()
}

fn set(options: &Options, targets: &Targets, setting: Setting, value: &str) -> Result<(), Failure> {
    let mut failures = Failures::default();
    // Before any port is opened: a wrong value is wrong for every Pi.
    setting.change(Pi::Zero, value).map_err(|message| Failure::new(Code::Usage, message))?;
    for session in &mut options.sessions(targets, false)? {
        for &(id, pi) in &session.pis.clone() {
            let name = format!("{}.{pi}", session.board_name(id));
            let (command, expected) =
                setting.change(pi, value).map_err(|message| Failure::new(Code::Usage, message))?;
            let mut board = session.board(id);
            match board.tell(command).and_then(|()| setting.read(&mut board, pi)) {
                Ok(read) if read == expected => report(options, &name, setting, &read),
                Ok(read) => {
                    failures.tell(&name, Code::Refused, format_args!("{} reads back as {read}", setting.name()))
                }
                Err(error) => failures.tell(&name, code_of(&error), &error),
            }
        }
    }
    failures.finish()
}

/// A board answers under its new id after its prefix has changed, so another board or the master must not have it.
fn set_prefix(options: &Options, targets: &Targets, value: &str) -> Result<(), Failure> {
    let usage = |message: String| Failure::new(Code::Usage, message);
    let (command, expected) = Setting::Prefix.change(Pi::Zero, value).map_err(usage)?;
    let Command::SetPrefix(prefix) = command else { return Err(usage(format!("`{value}` is no prefix"))) };
    let mut failures = Failures::default();
    for session in &mut options.sessions(targets, false)? {
        for &id in &session.boards.clone() {
            let name = session.board_name(id);
            let new = prefix | (id & 0x0F);
            if new == id {
                report(options, &name, Setting::Prefix, &expected);
                continue;
            }
            if new == MASTER {
                failures.tell(&name, Code::Usage, "with this prefix its id would be 0xff, the master's own address");
                continue;
            }
            if session.master.search([new]).is_ok_and(|found| !found.is_empty()) {
                failures.tell(&name, Code::Usage, format_args!("there is a board with the id {new:#04x} already"));
                continue;
            }
            let told = session.board(id).tell(command);
            // The answer may come under either id and may be lost; only the new id proves it.
            match session.board(new).byte(Command::Prefix) {
                Ok(read) if read == prefix => report(options, &name, Setting::Prefix, &expected),
                Ok(read) => failures.tell(&name, Code::Refused, format_args!("the prefix reads back as {read:#04x}")),
                Err(error) => {
                    let error = told.err().unwrap_or(error);
                    failures.tell(&name, code_of(&error), &error);
                }
            }
        }
    }
    failures.finish()
}

fn report(options: &Options, name: &str, setting: Setting, value: &Value) {
    if options.json {
        print(format_args!("{}", json!({ "target": name, setting.name(): value })));
    } else if !options.quiet {
        print(format_args!("{name}: {} is {value}", setting.name()));
    }
}
