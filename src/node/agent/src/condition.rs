//! The conditions that a beat depends on.

/// A reason to withhold the beat.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Condition {
    /// The agent's own threads make progress.
    Process = 0,
    /// systemd answers and is well.
    Systemd = 1,
    /// The named units are active.
    Units = 2,
    /// Memory pressure is below its limit.
    Memory = 3,
    /// The writable root has room.
    Overlay = 4,
    /// A shutdown that has begun comes to its end.
    Shutdown = 5,
}

impl Condition {
    pub const COUNT: usize = 6;
    pub const ALL: [Condition; Condition::COUNT] = [
        Condition::Process,
        Condition::Systemd,
        Condition::Units,
        Condition::Memory,
        Condition::Overlay,
        Condition::Shutdown,
    ];

    /// As in logs, metrics and status.
    pub const fn name(self) -> &'static str {
        match self {
            Condition::Process => "process",
            Condition::Systemd => "systemd",
            Condition::Units => "units",
            Condition::Memory => "memory",
            Condition::Overlay => "overlay",
            Condition::Shutdown => "shutdown",
        }
    }
}

/// A set of conditions.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
pub struct Conditions(u32);

impl Conditions {
    pub const NONE: Conditions = Conditions(0);

    pub const fn bits(self) -> u32 {
        self.0
    }

    /// Bits without a meaning are dropped.
    pub const fn from_bits(bits: u32) -> Conditions {
        Conditions(bits & ((1 << Condition::COUNT) - 1))
    }

    pub const fn is_empty(self) -> bool {
        self.0 == 0
    }

    pub const fn with(self, condition: Condition) -> Conditions {
        Conditions(self.0 | 1 << condition as u32)
    }

    pub const fn has(self, condition: Condition) -> bool {
        self.0 & 1 << condition as u32 != 0
    }

    pub fn iter(self) -> impl Iterator<Item = Condition> {
        Condition::ALL.into_iter().filter(move |condition| self.has(*condition))
    }
}

impl std::fmt::Display for Conditions {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        for (index, condition) in self.iter().enumerate() {
            write!(f, "{}{}", if index > 0 { ", " } else { "" }, condition.name())?;
        }
        Ok(())
    }
}
