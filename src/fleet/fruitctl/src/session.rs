//! What all verbs of `fruitctl stack` share: the stacks, their ports, and the boards that are meant.

use crate::failure::{Code, Failure, code_of};
use clap::Args;
use fruit_stack::address::{self, Targets};
use fruit_stack::board::Board;
use fruit_stack::command::Pi;
use fruit_stack::convert::Hardware;
use fruit_stack::master::{DIP_IDS, Master, Timing};
use fruit_stack::stacks::{Selection, StackEntry, Stacks, StacksError};
use fruit_stack::transport::{self, Port};
use std::path::PathBuf;

#[derive(Args)]
pub struct Options {
    /// File with the names and ports of the stacks.
    #[arg(long, global = true, value_name = "FILE")]
    stacks: Option<PathBuf>,
    /// A single stack on this serial device or tcp://host:port, instead of a stacks file.
    #[arg(long, global = true, conflicts_with = "stacks")]
    port: Option<Port>,
    /// The boards that `all` means, like 0-3,7, instead of looking for them.
    #[arg(long, global = true, value_name = "LIST", value_parser = address::board_list)]
    boards: Option<std::vec::Vec<u8>>,
    /// Convert readings for this revision instead of asking the boards.
    #[arg(long, global = true, value_name = "v2|v3")]
    hardware: Option<Hardware>,
    /// Print JSON: one value, or one per line while things happen.
    #[arg(long, global = true)]
    pub json: bool,
    /// Say nothing but results and failures.
    #[arg(long, short, global = true)]
    pub quiet: bool,
}

/// An open stack and what of it is meant.
pub struct Session {
    pub entry: StackEntry,
    pub master: Master,
    /// All boards, as far as they had to be known.
    pub present: Vec<u8>,
    /// The Pis that are meant.
    pub pis: Vec<(u8, Pi)>,
    /// The boards that are meant.
    pub boards: Vec<u8>,
    /// The port has failed since it was opened.
    pub lost: bool,
}

impl Session {
    /// One of its boards, to be asked.
    pub fn board(&mut self, id: u8) -> Board<'_> {
        Board { master: &mut self.master, id }
    }

    /// Opens the port again, if that is possible by now.
    pub fn reopen(&mut self) {
        if let Ok(line) = transport::open(&self.entry.port) {
            self.master = Master::new(line, *self.master.timing());
        }
    }

    /// How messages name a board.
    pub fn board_name(&self, board: u8) -> String {
        format!("{}/{board}", self.entry.name)
    }
}

impl Options {
    /// The stacks that are known.
    pub fn known(&self) -> Result<Stacks, Failure> {
        if let Some(port) = &self.port {
            return Ok(Stacks::single(port.clone()));
        }
        if let Some(path) = &self.stacks {
            return Ok(Stacks::load(path)?);
        }
        if let Some(path) = std::env::var_os("FRUITCTL_STACKS") {
            return Ok(Stacks::load(&PathBuf::from(path))?);
        }
        let mut searched = vec![PathBuf::from("stacks.yaml")];
        let home = std::env::var_os("HOME").map(|home| PathBuf::from(home).join(".config"));
        let config = std::env::var_os("XDG_CONFIG_HOME").map(PathBuf::from).or(home);
        searched.extend(config.map(|config| config.join("fruit/stacks.yaml")));
        searched.push(PathBuf::from("/etc/fruit/stacks.yaml"));
        match searched.iter().find(|path| path.exists()) {
            Some(path) => Ok(Stacks::load(path)?),
            None => {
                let searched = searched.iter().map(|path| path.display().to_string()).collect::<Vec<_>>().join(", ");
                Err(StacksError::NoneKnown { searched }.into())
            }
        }
    }

    /// Opens a stack's port.
    pub fn open(&self, entry: &StackEntry) -> Result<Master, Failure> {
        Ok(Master::new(transport::open(&entry.port)?, Timing::default()))
    }

    /// Opens the stacks that the addresses concern. With `whole`, all boards of each are found even if only some are
    /// addressed.
    pub fn sessions(&self, targets: &Targets, whole: bool) -> Result<Vec<Session>, Failure> {
        let known = self.known()?;
        let selections = known.select(targets)?;
        selections.into_iter().map(|selection| self.session(&selection, whole)).collect()
    }

    fn session(&self, selection: &Selection<'_>, whole: bool) -> Result<Session, Failure> {
        let mut entry = selection.entry.clone();
        entry.hardware = self.hardware.or(entry.hardware);
        let mut master = self.open(&entry)?;
        let present = match self.boards.clone().or(entry.boards.clone()) {
            Some(boards) => boards,
            None if whole || selection.needs_boards() => self.find(&entry, &mut master)?,
            None => Vec::new(),
        };
        let (pis, boards) = (selection.pis(&present), selection.boards(&present));
        Ok(Session { entry, master, present, pis, boards, lost: false })
    }

    fn find(&self, entry: &StackEntry, master: &mut Master) -> Result<Vec<u8>, Failure> {
        self.say(format_args!("looking for boards of {} (a stacks file can name them under `boards`)", entry.name));
        let found = master.search(DIP_IDS).map_err(|error| Failure::new(code_of(&error), error.to_string()))?;
        if found.is_empty() {
            return Err(Failure::new(Code::NoAnswer, format!("no board of {} on {} answers", entry.name, entry.port)));
        }
        Ok(found)
    }

    /// The boards that were named on the command line.
    pub fn simulated(&self) -> Option<Vec<u8>> {
        self.boards.clone()
    }

    /// The revision that was told on the command line.
    pub fn revision(&self) -> Option<Hardware> {
        self.hardware
    }

    /// Talk, as opposed to results.
    pub fn say(&self, message: std::fmt::Arguments<'_>) {
        if !self.quiet {
            crate::output::talk(message);
        }
    }
}

/// `all`, for verbs whose address may be left out.
pub const EVERYTHING: &str = "all";
