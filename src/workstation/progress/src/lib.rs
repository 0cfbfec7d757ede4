//! How far long work has come, and what a person may want to know of it. Libraries say it; who shows it, and how, is their
//! caller's concern.

/// Where the talk of a library goes.
pub trait Progress: Sync {
    /// One line of talk.
    fn say(&self, line: &str);

    /// Whether the person asked for details: making them may cost something.
    fn has_details(&self) -> bool {
        false
    }

    /// One line that only a person who asked for details wants to read.
    fn detail(&self, line: &str) {
        if self.has_details() {
            self.say(line);
        }
    }

    /// A step begins. `total` is in `unit`; 0 if it is known only later ([`Step::set_total`]) or never.
    fn step(&self, name: &str, total: u64, unit: Unit) -> Box<dyn Step>;
}

/// What a step is counted in.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Unit {
    Bytes,
    Pieces,
}

/// One step under way; shared by the threads that do it, over when dropped.
pub trait Step: Send + Sync {
    fn set_total(&self, total: u64);

    /// So much more is done.
    fn add(&self, amount: u64);

    /// So much is done altogether.
    fn set(&self, done: u64);
}

/// Shows nothing.
#[derive(Clone, Copy, Debug, Default)]
pub struct Silent;

impl Progress for Silent {
    fn say(&self, _: &str) {}

    fn step(&self, _: &str, _: u64, _: Unit) -> Box<dyn Step> {
        Box::new(Silent)
    }
}

impl Step for Silent {
    fn set_total(&self, _: u64) {}

    fn add(&self, _: u64) {}

    fn set(&self, _: u64) {}
}
