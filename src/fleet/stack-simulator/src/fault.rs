//! Disturbances of the line.

use serde::{Deserialize, Serialize};

/// What goes wrong on the line.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum FaultKind {
    /// One byte of the answer is changed.
    Noise,
    /// One byte of the request is changed on its way to the boards.
    RequestNoise,
    /// The board neither hears nor answers.
    Silence,
    /// The board does what it is told, but its answer is lost.
    Mute,
    /// One byte of the answer is missing.
    LostByte,
    /// Rubbish before or after the answer.
    Babble,
    /// The answer comes after the master has given up waiting for it, as over a network or from a busy adapter.
    Late,
}

/// How often a fault strikes.
#[derive(Clone, Copy, Debug, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Amount {
    /// The next so many exchanges that it applies to.
    Next(u32),
    /// Each exchange with this probability, until the faults are cleared.
    Rate(f64),
}

/// A fault that has been asked for.
#[derive(Clone, Copy, Debug, PartialEq, Serialize, Deserialize)]
pub struct Fault {
    pub kind: FaultKind,
    /// The id in the request; every board if `None`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub board: Option<u8>,
    pub amount: Amount,
}

/// The faults in force, and the dice. The sequence depends on the seed alone, so that a run can be repeated.
#[derive(Clone, Debug)]
pub(super) struct Faults {
    active: Vec<Fault>,
    dice: Dice,
}

impl Faults {
    pub(super) fn new(seed: u64) -> Self {
        Self { active: Vec::new(), dice: Dice::new(seed) }
    }

    pub(super) fn add(&mut self, fault: Fault) {
        self.active.push(fault);
    }

    pub(super) fn clear(&mut self) {
        self.active.clear();
    }

    /// Whether a fault of this kind strikes this exchange.
    pub(super) fn strikes(&mut self, kind: FaultKind, board: u8) -> bool {
        let mut struck = false;
        for fault in &mut self.active {
            if struck || fault.kind != kind || fault.board.is_some_and(|only| only != board) {
                continue;
            }
            struck = match &mut fault.amount {
                Amount::Next(0) => false,
                Amount::Next(left) => {
                    *left -= 1;
                    true
                }
                Amount::Rate(rate) => self.dice.chance(*rate),
            };
        }
        self.active.retain(|fault| fault.amount != Amount::Next(0));
        struck
    }

    /// Changes one byte. A change within eight bits never gets past an 8-bit crc.
    pub(super) fn damage(&mut self, bytes: &mut [u8]) {
        if let Some(byte) = self.dice.below(bytes.len()).and_then(|at| bytes.get_mut(at)) {
            *byte ^= 1 + (self.dice.next() % 255) as u8;
        }
    }

    pub(super) fn lose(&mut self, bytes: &mut Vec<u8>) {
        if let Some(at) = self.dice.below(bytes.len()) {
            bytes.remove(at);
        }
    }

    /// Rubbish: 1 to 8 bytes in front of the answer or behind it.
    pub(super) fn babble_around(&mut self, bytes: &mut Vec<u8>) {
        let count = 1 + (self.dice.next() % 8) as usize;
        let rubbish = self.rubbish(count);
        if self.dice.chance(0.5) {
            bytes.extend(rubbish);
        } else {
            bytes.splice(0..0, rubbish);
        }
    }

    pub(super) fn rubbish(&mut self, count: usize) -> Vec<u8> {
        (0..count).map(|_| (self.dice.next() >> 24) as u8).collect()
    }
}

/// SplitMix64 (Steele, Lea and Flood 2014): small, seedable, good enough to disturb a line.
#[derive(Clone, Debug)]
pub(super) struct Dice(u64);

impl Dice {
    pub(super) fn new(seed: u64) -> Self {
        Self(seed)
    }

    pub(super) fn next(&mut self) -> u64 {
        self.0 = self.0.wrapping_add(0x9E37_79B9_7F4A_7C15);
        let mut mixed = self.0;
        mixed = (mixed ^ (mixed >> 30)).wrapping_mul(0xBF58_476D_1CE4_E5B9);
        mixed = (mixed ^ (mixed >> 27)).wrapping_mul(0x94D0_49BB_1331_11EB);
        mixed ^ (mixed >> 31)
    }

    /// From 0 up to, not including, 1.
    pub(super) fn fraction(&mut self) -> f64 {
        (self.next() >> 11) as f64 / (1u64 << 53) as f64
    }

    fn chance(&mut self, probability: f64) -> bool {
        self.fraction() < probability
    }

    fn below(&mut self, limit: usize) -> Option<usize> {
        (limit > 0).then(|| (self.next() % limit as u64) as usize)
    }
}
