//! What records say, by class. A body that was read is a sensible one: counts, thresholds and names hold.

mod charter;
mod member;
mod node;
mod operation;
mod plan;
mod trust;

pub use charter::{Charter, Operator, Relay, ReleaseRoot, Rule, Seed};
pub use member::{Admission, Grant, Member};
pub use node::{Beacon, JobResult, Report, Verdict, Vote};
pub use operation::{App, Config, Group, Hold, Job, Script, Secret, Setting};
pub use plan::{Gates, Plan, Target, Wave};
pub use trust::{Floor, Halt, Named, Recall, Revocation};

use crate::class::Class;
use crate::selector::Selector;
use crate::wire::{self, Malformed};

/// The body of a record.
#[derive(Clone, PartialEq, Eq, Debug)]
pub enum Body {
    Charter(Box<Charter>),
    Revocation(Revocation),
    Recall(Recall),
    Halt(Halt),
    Floor(Floor),
    Plan(Box<Plan>),
    Group(Group),
    Config(Config),
    App(App),
    Job(Job),
    Hold(Hold),
    Member(Member),
    Invite(Grant),
    Report(Report),
    Beacon(Beacon),
    Vote(Vote),
    JobResult(JobResult),
}

impl Body {
    #[must_use]
    pub fn class(&self) -> Class {
        match self {
            Body::Charter(_) => Class::Charter,
            Body::Revocation(_) => Class::Revocation,
            Body::Recall(_) => Class::Recall,
            Body::Halt(_) => Class::Halt,
            Body::Floor(_) => Class::Floor,
            Body::Plan(_) => Class::Plan,
            Body::Group(_) => Class::Group,
            Body::Config(_) => Class::Config,
            Body::App(_) => Class::App,
            Body::Job(_) => Class::Job,
            Body::Hold(_) => Class::Hold,
            Body::Member(_) => Class::Member,
            Body::Invite(_) => Class::Invite,
            Body::Report(_) => Class::Report,
            Body::Beacon(_) => Class::Beacon,
            Body::Vote(_) => Class::Vote,
            Body::JobResult(_) => Class::JobResult,
        }
    }

    /// The bytes of it.
    #[must_use]
    pub fn encode(&self) -> Vec<u8> {
        match self {
            Body::Charter(body) => wire::encode(&**body),
            #[cfg(feature = "operations")]
            Body::Revocation(body) => wire::encode(body),
            #[cfg(feature = "operations")]
            Body::Recall(body) => wire::encode(body),
            #[cfg(feature = "operations")]
            Body::Halt(body) => wire::encode(body),
            #[cfg(feature = "operations")]
            Body::Floor(body) => wire::encode(body),
            #[cfg(feature = "operations")]
            Body::Plan(body) => wire::encode(&**body),
            #[cfg(feature = "operations")]
            Body::Group(body) => wire::encode(body),
            #[cfg(feature = "operations")]
            Body::Config(body) => wire::encode(body),
            #[cfg(feature = "operations")]
            Body::App(body) => wire::encode(body),
            #[cfg(feature = "operations")]
            Body::Job(body) => wire::encode(body),
            #[cfg(feature = "operations")]
            Body::Hold(body) => wire::encode(body),
            #[cfg(feature = "operations")]
            Body::Member(body) => wire::encode(body),
            #[cfg(feature = "operations")]
            Body::Invite(body) => wire::encode(body),
            #[cfg(feature = "operations")]
            Body::Report(body) => wire::encode(body),
            #[cfg(feature = "operations")]
            Body::Beacon(body) => wire::encode(body),
            #[cfg(feature = "operations")]
            Body::Vote(body) => wire::encode(body),
            #[cfg(feature = "operations")]
            Body::JobResult(body) => wire::encode(body),
            // None is read, and who has this switched off makes none.
            #[cfg(not(feature = "operations"))]
            _ => Vec::new(),
        }
    }

    /// The body of `class` that `bytes` are.
    ///
    /// # Errors
    /// [`Malformed`].
    pub fn decode(class: Class, bytes: &[u8]) -> Result<Body, Malformed> {
        let limit = class.body_limit();
        Ok(match class {
            Class::Charter => Body::Charter(Box::new(wire::decode(bytes, limit)?)),
            #[cfg(feature = "operations")]
            Class::Revocation => Body::Revocation(wire::decode(bytes, limit)?),
            #[cfg(feature = "operations")]
            Class::Recall => Body::Recall(wire::decode(bytes, limit)?),
            #[cfg(feature = "operations")]
            Class::Halt => Body::Halt(wire::decode(bytes, limit)?),
            #[cfg(feature = "operations")]
            Class::Floor => Body::Floor(wire::decode(bytes, limit)?),
            #[cfg(feature = "operations")]
            Class::Plan => Body::Plan(Box::new(wire::decode(bytes, limit)?)),
            #[cfg(feature = "operations")]
            Class::Group => Body::Group(wire::decode(bytes, limit)?),
            #[cfg(feature = "operations")]
            Class::Config => Body::Config(wire::decode(bytes, limit)?),
            #[cfg(feature = "operations")]
            Class::App => Body::App(wire::decode(bytes, limit)?),
            #[cfg(feature = "operations")]
            Class::Job => Body::Job(wire::decode(bytes, limit)?),
            #[cfg(feature = "operations")]
            Class::Hold => Body::Hold(wire::decode(bytes, limit)?),
            #[cfg(feature = "operations")]
            Class::Member => Body::Member(wire::decode(bytes, limit)?),
            #[cfg(feature = "operations")]
            Class::Invite => Body::Invite(wire::decode(bytes, limit)?),
            #[cfg(feature = "operations")]
            Class::Report => Body::Report(wire::decode(bytes, limit)?),
            #[cfg(feature = "operations")]
            Class::Beacon => Body::Beacon(wire::decode(bytes, limit)?),
            #[cfg(feature = "operations")]
            Class::Vote => Body::Vote(wire::decode(bytes, limit)?),
            #[cfg(feature = "operations")]
            Class::JobResult => Body::JobResult(wire::decode(bytes, limit)?),
            #[cfg(not(feature = "operations"))]
            _ => return Err(Malformed::Newer { what: "class", number: class as u64 }),
        })
    }

    /// The nodes that it concerns: they must be within the record's domain. `None` for what concerns its whole domain.
    #[must_use]
    pub fn concerns(&self) -> Option<Selector> {
        match self {
            Body::Charter(_) | Body::Revocation(_) | Body::Floor(_) => None,
            #[cfg(not(feature = "operations"))]
            _ => None,
            #[cfg(feature = "operations")]
            _ => self.concerns_of_operations(),
        }
    }

    #[cfg(feature = "operations")]
    fn concerns_of_operations(&self) -> Option<Selector> {
        match self {
            Body::Recall(body) => Some(body.nodes.clone()),
            Body::Halt(body) => Some(body.nodes.clone()),
            Body::Plan(body) => Some(body.nodes.clone()),
            Body::Group(body) => Some(body.nodes.clone()),
            Body::Config(body) => Some(body.nodes.clone()),
            Body::App(body) => Some(body.nodes.clone()),
            Body::Job(body) => Some(body.nodes.clone()),
            Body::Hold(body) => Some(body.nodes.clone()),
            Body::Member(body) => Some(Selector::labels(body.labels.clone())),
            Body::Invite(body) => Some(Selector::labels(body.labels.clone())),
            // Of its whole domain, or of the node that signs it.
            _ => None,
        }
    }

    /// How many nodes it may change, for rules that want more signatures from some number on.
    #[must_use]
    pub fn reach(&self) -> u64 {
        match self {
            Body::Plan(body) => body.most_nodes,
            _ => 0,
        }
    }
}
