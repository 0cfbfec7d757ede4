//! One connection to another node, and what the machine wants done.

use std::collections::VecDeque;

use fruit_base::Sha256;
use fruit_record::{KeyId, Roles};
use fruit_release::name::Name;

use crate::wire::{Frame, Hello, Item};

/// A connection; never used twice.
pub type LinkId = u64;
/// A question for a piece; never used twice.
pub type Ticket = u64;
/// Milliseconds of a clock that only goes forward.
pub type Millis = u64;

/// What is to be done outside.
#[derive(Clone, PartialEq, Debug)]
pub enum Action {
    Send {
        link: LinkId,
        frame: Frame,
    },
    /// Ends a connection, when what was sent before has gone out.
    Cut {
        link: LinkId,
        why: String,
    },
    /// Calls a node; [`super::Machine::dial_failed`] if that comes to nothing.
    Dial {
        peer: KeyId,
        addresses: Vec<String>,
    },
    /// Asks a neighbour for a piece; [`super::Machine::fetched`] says what came of it.
    Fetch {
        ticket: Ticket,
        link: LinkId,
        repository: Sha256,
        name: Name,
    },
    /// A neighbour wants to know which of these are here: [`super::Machine::looked_up`].
    LookUp {
        link: LinkId,
        id: u64,
        repository: Sha256,
        names: Vec<Name>,
    },
    /// A piece was found, or cannot be had now.
    Answer {
        ticket: Ticket,
        piece: Option<Vec<u8>>,
    },
    /// How many of the names of a survey each neighbour has.
    Surveyed {
        ticket: Ticket,
        found: Vec<(KeyId, u64)>,
    },
    /// Records or charters have changed, and are to be kept.
    Keep,
}

/// What a neighbour is.
#[derive(Clone, PartialEq, Eq, Debug)]
pub enum State {
    /// It has not said yet.
    Greeting,
    /// It has, and charters are under way by which that can be judged.
    Waiting(Box<Hello>),
    /// It wants to be a member.
    Guest,
    Member,
    /// A machine of this operator; with the pass.
    Operator {
        name: String,
        roles: Roles,
        pass: Vec<u8>,
    },
}

/// What is compared with a neighbour.
#[derive(Debug, Default)]
pub struct Comparison {
    /// Ranges that are still to be sent, and how many wait for their end.
    pub todo: VecDeque<[Item; 2]>,
    pub open: usize,
    /// When the last one was begun.
    pub begun: Option<Millis>,
}

/// What a neighbour may still cost: it grows with time up to a bound.
#[derive(Debug)]
pub struct Budget {
    left: u64,
    most: u64,
    /// In a second.
    grows: u64,
    at: Millis,
}

impl Budget {
    #[must_use]
    pub fn new(most: u64, grows: u64, now: Millis) -> Budget {
        Budget { left: most, most, grows, at: now }
    }

    /// Whether so much is left, which is taken then.
    pub fn take(&mut self, amount: u64, now: Millis) -> bool {
        let grown = now.saturating_sub(self.at).saturating_mul(self.grows) / 1000;
        // Time that gave nothing yet is not lost.
        if grown > 0 {
            self.at = now;
            self.left = self.left.saturating_add(grown).min(self.most);
        }
        match self.left.checked_sub(amount) {
            Some(left) => {
                self.left = left;
                true
            }
            None => false,
        }
    }
}

/// Records that a neighbour may send at once, and in a second: a first comparison brings all of a fleet.
const RECORDS: [u64; 2] = [200_000, 500];
/// Bytes that it may be sent on its wish, or that are looked at for it.
const WISHED: [u64; 2] = [64 << 20, 1 << 20];
/// Questions for pieces.
const QUESTIONS: [u64; 2] = [4_000, 400];

#[derive(Debug)]
pub struct Link {
    pub peer: KeyId,
    /// This node has called.
    pub dialed: bool,
    pub since: Millis,
    pub state: State,
    /// This node has introduced itself.
    pub greeted: bool,
    /// Version of the neighbour's last charter, and its hash, as it has said.
    pub charter: Option<(u64, fruit_record::RecordHash)>,
    pub comparison: Comparison,
    /// Charters that have come so far, and their bytes.
    pub row: Vec<Vec<u8>>,
    pub row_bytes: usize,
    pub incoming: Budget,
    pub wished: Budget,
    pub questions: Budget,
    pub records_in: u64,
    pub records_out: u64,
}

impl Link {
    #[must_use]
    pub fn new(peer: KeyId, dialed: bool, now: Millis) -> Link {
        Link {
            peer,
            dialed,
            since: now,
            state: State::Greeting,
            greeted: false,
            charter: None,
            comparison: Comparison::default(),
            row: Vec::new(),
            row_bytes: 0,
            incoming: Budget::new(RECORDS[0], RECORDS[1], now),
            wished: Budget::new(WISHED[0], WISHED[1], now),
            questions: Budget::new(QUESTIONS[0], QUESTIONS[1], now),
            records_in: 0,
            records_out: 0,
        }
    }

    /// It belongs to the fleet: it may have everything.
    #[must_use]
    pub fn is_admitted(&self) -> bool {
        matches!(self.state, State::Member | State::Operator { .. })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_budget_grows_up_to_its_bound() {
        let mut budget = Budget::new(10, 2, 0);
        assert!(budget.take(10, 0) && !budget.take(1, 499));
        assert!(budget.take(1, 500) && !budget.take(1, 500));
        assert!(budget.take(10, 60_000) && !budget.take(1, 60_000));
    }
}
