//! Why a request cannot be met, in words.

use std::fmt;

use crate::request::Reason;
use crate::version::Version;

/// A need that no package can meet.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Unsatisfiable {
    /// From a requested package to the one that has the need; empty when the request itself has it.
    pub chain: Vec<(String, Reason)>,
    /// `Depends`, …; empty when the request itself has the need.
    pub field: String,
    /// The clause, or the requested name.
    pub requirement: String,
    /// Each candidate with what stood in its way.
    pub refused: Vec<(String, Refusal)>,
    pub hint: Option<String>,
}

/// What stands in the way of a package.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Refusal {
    /// No repository has a package of that name, and none provides it.
    Unknown,
    Excluded,
    WrongVersion,
    WrongArchitecture,
    /// The lock or the caller holds it to another version.
    Pinned(Version),
    /// It provides the name, but in a version that is not asked for; what it provides.
    ProvidesOther(String),
    OtherVersionSelected {
        name: String,
        version: Version,
    },
    /// A selected package conflicts with it.
    RuledOut {
        by: String,
        field: &'static str,
        relation: String,
    },
    /// It conflicts with a selected package.
    Rules {
        out: String,
        field: &'static str,
        relation: String,
    },
}

impl fmt::Display for Refusal {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Refusal::Unknown => f.write_str("no repository has or provides it"),
            Refusal::Excluded => f.write_str("excluded by the request"),
            Refusal::WrongVersion => f.write_str("not a version that is asked for"),
            Refusal::WrongArchitecture => f.write_str("not of an architecture that is asked for"),
            Refusal::Pinned(version) => write!(f, "pinned to version {version}"),
            Refusal::ProvidesOther(what) => write!(f, "provides {what}"),
            Refusal::OtherVersionSelected { version, .. } => write!(f, "version {version} is selected already"),
            Refusal::RuledOut { by, field, relation } => write!(f, "ruled out by {by} ({field}: {relation})"),
            Refusal::Rules { out, field, relation } => write!(f, "would rule out {out} ({field}: {relation})"),
        }
    }
}

impl fmt::Display for Unsatisfiable {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.chain.last() {
            None => write!(f, "the requested package {:?} cannot be installed", self.requirement)?,
            Some((name, _)) => {
                write!(f, "{name} cannot be installed: {}: {} cannot be met", self.field, self.requirement)?
            }
        }
        for (candidate, refusal) in &self.refused {
            write!(f, "\n  {candidate}: {refusal}")?;
        }
        for (i, (name, reason)) in self.chain.iter().rev().enumerate() {
            write!(f, "\n  {} {name}: {reason}", if i == 0 { "needed because of" } else { "and" })?;
        }
        if let Some(hint) = &self.hint {
            write!(f, "\n  {hint}")?;
        }
        Ok(())
    }
}

impl std::error::Error for Unsatisfiable {}
