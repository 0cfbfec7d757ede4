//! What is to be rolled out, where, and in which steps.

use fruit_base::Sha256;

use crate::limits::{ENTRIES, NAME, TEXT};
use crate::selector::Selector;
use crate::wire::{Content, FieldWriter, Fields, Malformed, Reader, Writer};

/// A rollout.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Plan {
    pub target: Target,
    pub nodes: Selector,
    /// No more than so many may follow it: the charter's rules go by this number.
    pub most_nodes: u64,
    /// Decides, with a node's id, in which wave it is. Ids are older, so no node can choose.
    pub nonce: [u8; 16],
    /// One after the other.
    pub waves: Vec<Wave>,
    pub gates: Gates,
    /// When nodes may restart, as `update.window` of a recipe has it; empty: at any time.
    pub window: String,
    /// Nobody begins until a newer version of the plan says otherwise.
    pub paused: bool,
}

/// What nodes are to run.
#[derive(Clone, PartialEq, Eq, Debug)]
pub enum Target {
    /// A release, by the SHA-256 of its manifest.
    Release {
        manifest: Sha256,
        version: String,
    },
    /// A version of settings, or of an app, by its record's name.
    Config {
        name: String,
        version: u64,
    },
    App {
        name: String,
        version: u64,
    },
}

/// Nodes that go together.
#[derive(Clone, PartialEq, Eq, Debug)]
pub enum Wave {
    /// As many of a thousand, those of earlier waves included.
    Share(u64),
    /// Those that are meant here.
    Nodes(Selector),
}

/// What the next wave waits for.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
pub struct Gates {
    /// Good votes of a thousand that have tried.
    pub least_good: u64,
    /// Bad votes that end the rollout.
    pub most_bad: u64,
    /// Seconds that a release has to run before its vote counts.
    pub soak: u64,
    /// Seconds after which a node that has begun and not said more counts as bad.
    pub lost_after: u64,
    /// Nodes of one group that may be away at once; 0: any number.
    pub most_away: u64,
}

fn write_target(w: &mut Writer, target: &Target) {
    match target {
        Target::Release { manifest, version } => {
            w.number(0);
            w.raw(&manifest.0);
            w.bytes(version.as_bytes());
        }
        Target::Config { name, version } => named(w, 1, name, *version),
        Target::App { name, version } => named(w, 2, name, *version),
    }
}

fn named(w: &mut Writer, kind: u64, name: &str, version: u64) {
    w.number(kind);
    w.bytes(name.as_bytes());
    w.number(version);
}

fn read_target(r: &mut Reader<'_>) -> Result<Target, Malformed> {
    let what = "the target";
    Ok(match r.number(what)? {
        0 => Target::Release { manifest: Sha256(r.array(what)?), version: r.text(NAME, what)? },
        1 => Target::Config { name: r.text(NAME, what)?, version: r.number(what)? },
        2 => Target::App { name: r.text(NAME, what)?, version: r.number(what)? },
        number => return Err(Malformed::Newer { what: "target", number }),
    })
}

fn write_wave(w: &mut Writer, wave: &Wave) {
    match wave {
        Wave::Share(share) => {
            w.number(0);
            w.number(*share);
        }
        Wave::Nodes(nodes) => {
            w.number(1);
            nodes.write(w);
        }
    }
}

fn read_wave(r: &mut Reader<'_>) -> Result<Wave, Malformed> {
    match r.number("a wave")? {
        0 => match r.number("a wave")? {
            share @ 1..=1000 => Ok(Wave::Share(share)),
            _ => Err(Malformed::Value { what: "a wave", why: "its share is not between 1 and 1000 of a thousand" }),
        },
        1 => Ok(Wave::Nodes(Selector::read(r)?)),
        number => Err(Malformed::Newer { what: "wave", number }),
    }
}

impl Content for Plan {
    const WHAT: &'static str = "the plan";

    fn write(&self, fields: &mut FieldWriter) {
        fields.field(1, |w| write_target(w, &self.target));
        fields.field(2, |w| self.nodes.write(w));
        fields.number(3, self.most_nodes);
        fields.raw(4, &self.nonce);
        fields.list(5, &self.waves, write_wave);
        fields.number(6, self.gates.least_good);
        fields.number(7, self.gates.most_bad);
        fields.number(8, self.gates.soak);
        fields.number(9, self.gates.lost_after);
        fields.number(10, self.gates.most_away);
        fields.raw(11, self.window.as_bytes());
        fields.number(12, u64::from(self.paused));
    }

    fn read(fields: &mut Fields<'_>) -> Result<Plan, Malformed> {
        let plan = Plan {
            target: fields.required(1, "the target", read_target)?,
            nodes: fields.required(2, "the nodes", Selector::read)?,
            most_nodes: fields.number(3, "the most nodes")?,
            nonce: fields.required(4, "the nonce", |r| r.array("the nonce"))?,
            waves: fields.list(5, ENTRIES, "the waves", read_wave)?,
            gates: Gates {
                least_good: fields.number(6, "the least good votes")?,
                most_bad: fields.number(7, "the most bad votes")?,
                soak: fields.number(8, "the soak")?,
                lost_after: fields.number(9, "the time until a node is lost")?,
                most_away: fields.number(10, "the most nodes away")?,
            },
            window: fields.text(11, TEXT, "the window")?,
            paused: flag(fields, 12, "the pause")?,
        };
        if plan.most_nodes == 0 {
            return Err(Malformed::Missing { what: "the most nodes that follow the plan" });
        }
        if plan.gates.least_good > 1000 {
            return Err(Malformed::Value {
                what: "the least good votes",
                why: "they are more than a thousand of a thousand",
            });
        }
        Ok(plan)
    }
}

fn flag(fields: &mut Fields<'_>, tag: u8, what: &'static str) -> Result<bool, Malformed> {
    match fields.number(tag, what)? {
        0 => Ok(false),
        1 => Ok(true),
        _ => Err(Malformed::NotCanonical { what }),
    }
}
