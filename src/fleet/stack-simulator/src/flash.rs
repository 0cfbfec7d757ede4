//! What a board keeps without power, and the file that stands for it.

use super::board::{Board, ErrorLog};
use super::pi::Settings;
use crate::SimulateError;
use serde::{Deserialize, Serialize};
use std::path::Path;

/// The flash of all boards of a simulated stack.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Flash {
    boards: Vec<BoardFlash>,
}

#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
struct BoardFlash {
    /// The id that the board was started with.
    id: u8,
    prefix: u8,
    boot_count: u16,
    log: ErrorLog,
    pis: [Settings; 2],
}

impl Flash {
    pub(super) fn of(boards: &[Board]) -> Self {
        let boards = boards
            .iter()
            .map(|board| BoardFlash {
                id: board.started_as,
                prefix: board.prefix,
                boot_count: board.boot_count,
                log: board.log.clone(),
                pis: board.pis.each_ref().map(|position| position.settings.clone()),
            })
            .collect();
        Self { boards }
    }

    /// Gives a board what it had kept, if it had kept anything.
    pub(super) fn restore(&self, board: &mut Board) {
        if let Some(kept) = self.boards.iter().find(|kept| kept.id == board.started_as) {
            board.prefix = kept.prefix;
            board.boot_count = kept.boot_count;
            board.log = kept.log.clone();
            for (position, settings) in board.pis.iter_mut().zip(&kept.pis) {
                position.settings = settings.clone();
            }
        }
    }

    /// Reads the file; a file that does not exist is the flash of new boards.
    ///
    /// # Errors
    /// The file cannot be read, or holds what no simulator wrote.
    pub fn load(path: &Path) -> Result<Self, SimulateError> {
        let bad = |reason: String| SimulateError::Flash { path: path.display().to_string(), reason };
        let text = match std::fs::read_to_string(path) {
            Ok(text) => text,
            Err(error) if error.kind() == std::io::ErrorKind::NotFound => return Ok(Self::default()),
            Err(source) => {
                return Err(SimulateError::Io { action: "read", path: path.display().to_string(), source });
            }
        };
        let flash: Self = serde_json::from_str(&text).map_err(|error| bad(error.to_string()))?;
        match flash.boards.iter().find(|board| board.prefix & 0x0F != 0 || !board.log.is_sound()) {
            Some(board) => Err(bad(format!("the prefix or the error log of board {:#04x} is impossible", board.id))),
            None => Ok(flash),
        }
    }

    /// Writes the file; a crash leaves the old one or the new one.
    ///
    /// # Errors
    /// The file cannot be written.
    pub fn save(&self, path: &Path) -> Result<(), SimulateError> {
        let fail = |source| SimulateError::Io { action: "write", path: path.display().to_string(), source };
        let text = serde_json::to_string(self).map_err(|error| fail(error.into()))?;
        fruit_base::replace_volatile(path, text.as_bytes()).map_err(fail)
    }
}
