//! The account of the node's life, kept across boots: how often it booted, how each boot ended, which beats were
//! withheld and why.

pub mod record;
pub mod store;

use crate::condition::{Condition, Conditions};

/// Characters of the reason that is kept for a withheld beat.
pub const DETAIL_MAX: usize = 120;

/// How a boot ended.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Ending {
    /// The board pulled the signal line.
    Signal = 0,
    /// The node went down by itself: power-off or halt.
    OwnPoweroff = 1,
    /// The node went down by itself to come up again: reboot or kexec.
    OwnReboot = 2,
    /// The hardware watchdog reset it, or a kernel panic did by the same means.
    Watchdog = 3,
    /// No notice at all: power was cut.
    PowerLoss = 4,
}

impl Ending {
    pub const COUNT: usize = 5;
    pub const ALL: [Ending; Ending::COUNT] =
        [Ending::Signal, Ending::OwnPoweroff, Ending::OwnReboot, Ending::Watchdog, Ending::PowerLoss];

    /// As in logs, metrics and status.
    pub const fn name(self) -> &'static str {
        match self {
            Ending::Signal => "signal",
            Ending::OwnPoweroff => "own-poweroff",
            Ending::OwnReboot => "own-reboot",
            Ending::Watchdog => "watchdog",
            Ending::PowerLoss => "power-loss",
        }
    }

    pub fn from_number(number: u8) -> Option<Ending> {
        Ending::ALL.into_iter().find(|ending| *ending as u8 == number)
    }

    /// The ending that systemd's word for a shutdown means.
    pub fn from_shutdown(kind: &str) -> Option<Ending> {
        match kind {
            "poweroff" | "halt" => Some(Ending::OwnPoweroff),
            "reboot" | "kexec" | "soft-reboot" => Some(Ending::OwnReboot),
            _ => None,
        }
    }
}

/// The last time that beats began to be withheld.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Withholding {
    /// Number of the boot.
    pub boot: u32,
    /// Seconds since 1970; of a clock that may not have been set yet.
    pub at: u64,
    pub conditions: Conditions,
    /// In words, at most [`DETAIL_MAX`] bytes.
    pub detail: String,
}

/// One boot in numbers.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
pub struct Boot {
    /// Seconds, as of the last write.
    pub uptime: u64,
    pub beats_given: u64,
    pub beats_withheld: u64,
}

/// The account.
#[derive(Clone, PartialEq, Eq, Debug, Default)]
pub struct Account {
    /// Boots so far, this one included.
    pub boots: u32,
    /// Kernel's id of this boot.
    pub boot_id: [u8; 16],
    /// How this boot ends, once that is known.
    pub ending: Option<Ending>,
    pub current: Boot,
    pub previous: Boot,
    /// How the boot before this one ended.
    pub previous_ending: Option<Ending>,
    /// Endings of all boots.
    pub endings: [u32; Ending::COUNT],
    /// Sums over all earlier boots.
    pub earlier: Boot,
    /// Withheld beats by condition, over all boots.
    pub withheld_for: [u64; Condition::COUNT],
    pub last_withholding: Option<Withholding>,
}

/// What the hardware knows of the cause of the last reset.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum ResetCause {
    Watchdog,
    Unknown,
}

impl Account {
    /// Opens the account for the boot with `boot_id`: closes the previous boot's, unless this is the same one and only
    /// the agent was started again. True if a new boot was opened.
    pub fn open(&mut self, boot_id: [u8; 16], cause: ResetCause) -> bool {
        if self.boots > 0 && self.boot_id == boot_id {
            // The agent of this boot once more, perhaps after a soft reboot: nothing is known of the end to come.
            self.ending = None;
            return false;
        }
        if self.boots > 0 {
            // A notice is worth more than the hardware's word: a Pi reboots by its watchdog.
            let ending = self.ending.unwrap_or(match cause {
                ResetCause::Watchdog => Ending::Watchdog,
                ResetCause::Unknown => Ending::PowerLoss,
            });
            self.endings[ending as usize] = self.endings[ending as usize].saturating_add(1);
            self.previous_ending = Some(ending);
            self.earlier = self.total();
            self.previous = self.current;
        }
        self.boots = self.boots.saturating_add(1);
        self.boot_id = boot_id;
        self.ending = None;
        self.current = Boot::default();
        true
    }

    /// Sums over all boots, this one included.
    pub fn total(&self) -> Boot {
        Boot {
            uptime: self.earlier.uptime.saturating_add(self.current.uptime),
            beats_given: self.earlier.beats_given.saturating_add(self.current.beats_given),
            beats_withheld: self.earlier.beats_withheld.saturating_add(self.current.beats_withheld),
        }
    }

    /// Notes that beats began to be withheld.
    pub fn withhold(&mut self, conditions: Conditions, detail: &str, at: u64) {
        let mut end = detail.len().min(DETAIL_MAX);
        while !detail.is_char_boundary(end) {
            end -= 1;
        }
        self.last_withholding =
            Some(Withholding { boot: self.boots, at, conditions, detail: detail[..end].to_owned() });
    }

    /// Notes how this boot ends. The board's order stays the reason when the node then goes down by itself.
    pub fn end(&mut self, ending: Ending) {
        if self.ending != Some(Ending::Signal) {
            self.ending = Some(ending);
        }
    }
}

/// Spares the card: a few writes at once, then one in a while. Times in milliseconds of one clock.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct WriteBudget {
    tokens: u64,
    refilled: u64,
    written: u64,
}

impl WriteBudget {
    /// Writes that may come at once.
    pub const BURST: u64 = 5;
    /// Milliseconds until one more may.
    pub const REFILL: u64 = 60_000;
    /// Milliseconds after which the numbers are written though nothing has happened.
    pub const ROUTINE: u64 = 1_800_000;

    pub fn new(now: u64) -> WriteBudget {
        WriteBudget { tokens: WriteBudget::BURST, refilled: now, written: now }
    }

    /// Whether to write at `now`; `urgent` if something happened that is not written yet.
    pub fn spend(&mut self, urgent: bool, now: u64) -> bool {
        let refills = now.saturating_sub(self.refilled) / WriteBudget::REFILL;
        self.tokens = (self.tokens.saturating_add(refills)).min(WriteBudget::BURST);
        self.refilled = self.refilled.saturating_add(refills.saturating_mul(WriteBudget::REFILL));
        let due = now.saturating_sub(self.written) >= WriteBudget::ROUTINE;
        if self.tokens == 0 || !(urgent || due) {
            return false;
        }
        self.tokens -= 1;
        self.written = now;
        true
    }
}

#[cfg(test)]
mod tests;
