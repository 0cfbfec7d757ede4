//! What the updater remembers, in two copies that are written in turn: a torn write costs the newest state only.
//!
//! Each copy is a file of [`COPY_SIZE`] bytes, so that writing over it needs no room on a full disk:
//!
//! ```text
//! FUS1 <sequence, 10 digits> <bytes of JSON, 8 digits> <CRC-32 of sequence, space and JSON, 8 hex digits>\n
//! JSON, then spaces
//! ```

use std::io;

use fruit_contract::Slot;
use fruit_contract::crc32::crc32;
use fruit_contract::update::status::{Content, Event, EventKind, Failed, Identity};
use fruit_release::digest::Digest;
use serde::{Deserialize, Serialize};

use crate::store::Store;

/// Names of the two copies.
pub const COPIES: [&str; 2] = ["state.0", "state.1"];
/// Bytes of a copy.
pub const COPY_SIZE: usize = 32 << 10;
const MAGIC: &str = "FUS1";
/// Bytes of the first line.
const HEAD: usize = 4 + 1 + 10 + 1 + 8 + 1 + 8 + 1;
/// Most events and failures that are kept; older ones go.
const HISTORY_MAX: usize = 32;
const FAILED_MAX: usize = 16;
/// Most characters of a sentence that is kept.
const TEXT_MAX: usize = 300;

/// Why the state can't be read or written.
#[derive(Debug, thiserror::Error)]
pub enum StateError {
    #[error("the updater's state: {0}")]
    Read(io::Error),
    /// Nothing was changed by it. On a full disk it happens at the very first writes only.
    #[error("the updater's state can't be written: {0}")]
    Write(io::Error),
}

/// What is under way.
#[derive(Clone, PartialEq, Eq, Debug, Default, Serialize, Deserialize)]
#[serde(tag = "phase", rename_all = "snake_case")]
pub enum Phase {
    #[default]
    Idle,
    /// The slot is being written, or that was interrupted.
    Installing { slot: Slot, release: Identity },
    /// The slot is on trial: from the next boot on, or already running.
    Trial { slot: Slot, release: Identity },
}

/// Everything that is remembered.
#[derive(Clone, PartialEq, Eq, Debug, Default, Serialize, Deserialize)]
#[serde(default)]
pub struct State {
    /// What is in slot a and in slot b.
    pub slots: [Content; 2],
    pub now: Phase,
    /// Releases that are not installed again by themselves.
    pub failed: Vec<Failed>,
    /// Oldest first.
    pub history: Vec<Event>,
    /// Highest security epoch that was committed.
    pub epoch: u64,
    /// Newest signed time that was verified, seconds since 1970.
    pub newest_signed: Option<i64>,
    /// Why the last attempt did not get to its end; cleared by one that does.
    pub last_error: Option<String>,
}

impl State {
    pub fn slot(&self, slot: Slot) -> &Content {
        &self.slots[slot as usize]
    }

    pub fn set_slot(&mut self, slot: Slot, content: Content) {
        self.slots[slot as usize] = content;
    }

    /// Adds to the history.
    pub fn note(&mut self, time: u64, event: EventKind, release: &Identity, text: impl Into<String>) {
        let text = short(&text.into());
        self.history.push(Event { time, event, release: release.name(), text });
        let extra = self.history.len().saturating_sub(HISTORY_MAX);
        self.history.drain(..extra);
    }

    /// Remembers that a release failed, in the place of what was known of it.
    pub fn fail(&mut self, time: u64, release: &Identity, reason: &str) {
        self.failed.retain(|failed| !failed.release.is(release));
        self.failed.push(Failed { release: release.clone(), reason: short(reason), time });
        let extra = self.failed.len().saturating_sub(FAILED_MAX);
        self.failed.drain(..extra);
        self.note(time, EventKind::Failed, release, reason);
    }

    /// How the release failed here, if it did.
    pub fn failure(&self, manifest: Digest, build_id: &str) -> Option<&Failed> {
        self.failed.iter().find(|f| f.release.manifest == Some(manifest) || f.release.build_id == build_id)
    }
}

fn short(text: &str) -> String {
    text.chars().take(TEXT_MAX).collect()
}

/// The state, and which copy it is from.
pub struct Memory {
    pub state: State,
    /// As it is stored.
    stored: State,
    /// Copy and sequence number of the newest valid copy.
    newest: Option<(usize, u32)>,
}

impl Memory {
    /// The newest valid copy; without one, a fresh state.
    ///
    /// # Errors
    /// Read errors other than a copy that is not there or not whole.
    pub fn load(store: &dyn Store) -> Result<Memory, StateError> {
        let mut newest: Option<(usize, u32, State)> = None;
        for (copy, name) in COPIES.into_iter().enumerate() {
            let bytes = match store.read(name, COPY_SIZE as u64) {
                Ok(bytes) => bytes.unwrap_or_default(),
                Err(e) if e.kind() == io::ErrorKind::InvalidData => continue,
                Err(e) => return Err(StateError::Read(e)),
            };
            let Some((sequence, state)) = decode(&bytes) else { continue };
            if newest.as_ref().is_none_or(|(_, other, _)| sequence > *other) {
                newest = Some((copy, sequence, state));
            }
        }
        let (newest, state) = newest.map_or((None, State::default()), |(copy, n, state)| (Some((copy, n)), state));
        Ok(Memory { stored: state.clone(), state, newest })
    }

    /// Stores the state if it changed: it is on the medium when this returns.
    ///
    /// # Errors
    /// [`StateError::Write`]; what was stored before still holds.
    pub fn save(&mut self, store: &dyn Store) -> Result<(), StateError> {
        if self.state == self.stored && self.newest.is_some() {
            return Ok(());
        }
        let (copy, sequence) = self.newest.map_or((0, 1), |(copy, n)| (1 - copy, n.saturating_add(1)));
        let bytes = encode(sequence, &mut self.state);
        store.overwrite(COPIES[copy], &bytes).map_err(StateError::Write)?;
        self.newest = Some((copy, sequence));
        self.stored = self.state.clone();
        Ok(())
    }
}

fn sum(sequence: &str, json: &[u8]) -> u32 {
    crc32(&[sequence.as_bytes(), b" ", json].concat())
}

/// A copy. Old events are dropped until it fits.
fn encode(sequence: u32, state: &mut State) -> Vec<u8> {
    let mut json = to_json(state);
    while HEAD + json.len() > COPY_SIZE && !(state.history.is_empty() && state.failed.is_empty()) {
        if state.history.is_empty() {
            state.failed.remove(0);
        } else {
            state.history.remove(0);
        }
        json = to_json(state);
    }
    let sequence = format!("{sequence:010}");
    let mut copy = format!("{MAGIC} {sequence} {:08} {:08x}\n", json.len(), sum(&sequence, &json)).into_bytes();
    copy.extend(json);
    copy.resize(COPY_SIZE.max(copy.len()), b' ');
    copy
}

fn to_json(state: &State) -> Vec<u8> {
    // Only types whose serialization can't fail.
    serde_json::to_vec(state).unwrap_or_default()
}

/// Sequence number and state of a whole copy.
fn decode(copy: &[u8]) -> Option<(u32, State)> {
    let (head, rest) = copy.split_at_checked(HEAD)?;
    let head = std::str::from_utf8(head).ok()?.strip_suffix('\n')?;
    let fields: Vec<&str> = head.split(' ').collect();
    let [MAGIC, sequence, len, crc] = fields[..] else { return None };
    let json = rest.get(..len.parse::<usize>().ok()?)?;
    if sum(sequence, json) != u32::from_str_radix(crc, 16).ok()? {
        return None;
    }
    Some((sequence.parse().ok()?, serde_json::from_slice(json).ok()?))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::store::Folder;

    fn identity(version: &str) -> Identity {
        Identity {
            product: "pistack".into(),
            board: "raspberrypi3".into(),
            version: version.into(),
            build_id: version.repeat(8),
            verity: String::new(),
            manifest: None,
            epoch: 0,
        }
    }

    #[test]
    fn a_torn_copy_costs_the_newest_state_only() {
        let folder = tempfile::tempdir().unwrap();
        let store = Folder::new(folder.path()).unwrap();
        let mut memory = Memory::load(&store).unwrap();
        for epoch in 1..=4 {
            memory.state.epoch = epoch;
            memory.save(&store).unwrap();
            assert_eq!(Memory::load(&store).unwrap().state.epoch, epoch);
        }
        let newest = folder.path().join(COPIES[memory.newest.unwrap().0]);
        let whole = std::fs::read(&newest).unwrap();
        for damage in [&whole[..0], &whole[..100], &[b'x'; COPY_SIZE + 1]] {
            std::fs::write(&newest, damage).unwrap();
            let mut memory = Memory::load(&store).unwrap();
            assert_eq!(memory.state.epoch, 3);
            memory.state.epoch = 9;
            memory.save(&store).unwrap();
            assert_eq!(Memory::load(&store).unwrap().state.epoch, 9);
            memory.state.epoch = 3;
            memory.save(&store).unwrap();
        }
    }

    #[test]
    fn every_changed_byte_makes_a_copy_invalid() {
        let mut state = State { epoch: 7, ..State::default() };
        state.fail(1, &identity("1.0"), "x");
        let copy = encode(5, &mut state);
        assert_eq!(decode(&copy), Some((5, state.clone())));
        let used = copy.iter().rposition(|&b| b != b' ').unwrap();
        for at in 0..=used {
            let mut copy = copy.clone();
            copy[at] ^= 1;
            assert_ne!(decode(&copy), Some((5, State::default())));
            assert!(decode(&copy).is_none(), "byte {at}");
        }
    }

    #[test]
    fn a_long_life_fits_a_copy() {
        let mut state = State::default();
        for i in 0..1000 {
            state.fail(i, &identity(&i.to_string().repeat(10)), &"é\u{1F353}\"".repeat(500));
        }
        let copy = encode(1, &mut state);
        assert_eq!(copy.len(), COPY_SIZE);
        assert!(!state.failed.is_empty());
        assert_eq!(decode(&copy), Some((1, state)));
    }

    proptest::proptest! {
        #[test]
        fn no_bytes_make_the_reader_panic(bytes: Vec<u8>, tail in "FUS1 [0-9]{10} [0-9]{8} [0-9a-f]{8}\n\\PC*") {
            decode(&bytes);
            decode(tail.as_bytes());
        }
    }
}
