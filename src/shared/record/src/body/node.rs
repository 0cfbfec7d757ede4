//! What a node says of itself. The record's key is the node's, its version the node's own sequence.

use fruit_base::Sha256;

use super::charter::address;
use crate::limits::{ENTRIES, NAME, TEXT};
use crate::wire::{Content, FieldWriter, Fields, Malformed, text};

/// How it is.
#[derive(Clone, PartialEq, Eq, Debug, Default)]
pub struct Report {
    /// What it runs: `PRODUCT-BOARD-VERSION`.
    pub release: String,
    /// Seconds since 1970, as the node sees it; 0: it does not know.
    pub time: u64,
    /// Facts by name, ascending, such as `temperature` and `48.2`. Never a secret.
    pub facts: Vec<(String, String)>,
}

/// Where it can be reached.
#[derive(Clone, PartialEq, Eq, Debug, Default)]
pub struct Beacon {
    pub site: String,
    /// `HOST:PORT` or `[IPv6]:PORT`.
    pub addresses: Vec<String>,
    /// Holds links to other sites.
    pub uplink: bool,
}

/// What it thinks of the release that a plan gave it.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Vote {
    pub plan: String,
    pub nonce: [u8; 16],
    pub verdict: Verdict,
    pub reason: String,
}

#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Verdict {
    Trying,
    Good,
    Bad,
}

/// What came of a job.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct JobResult {
    pub job: String,
    /// Of the job's record.
    pub version: u64,
    /// Exit code; 256 and more: the signal that ended it.
    pub code: u64,
    /// SHA-256 of all that it printed.
    pub output: Sha256,
    /// The last of it, as it came: not for a terminal.
    pub tail: Vec<u8>,
}

/// Bytes of [`JobResult::tail`].
const TAIL: usize = 512;

impl Content for Report {
    const WHAT: &'static str = "the report";

    fn write(&self, fields: &mut FieldWriter) {
        fields.raw(1, self.release.as_bytes());
        fields.number(2, self.time);
        fields.list(3, &self.facts, |w, (name, value)| {
            w.bytes(name.as_bytes());
            w.bytes(value.as_bytes());
        });
    }

    fn read(fields: &mut Fields<'_>) -> Result<Report, Malformed> {
        let report = Report {
            release: fields.text(1, TEXT, "the release")?,
            time: fields.number(2, "the time")?,
            facts: fields.list(3, 64, "the facts", |r| Ok((r.text(NAME, "a fact")?, r.text(TEXT, "a fact")?)))?,
        };
        if report.facts.is_sorted_by(|a, b| a.0 < b.0) {
            Ok(report)
        } else {
            Err(Malformed::NotCanonical { what: "the facts" })
        }
    }
}

impl Content for Beacon {
    const WHAT: &'static str = "the beacon";

    fn write(&self, fields: &mut FieldWriter) {
        fields.raw(1, self.site.as_bytes());
        fields.list(2, &self.addresses, |w, address| w.bytes(address.as_bytes()));
        fields.number(3, u64::from(self.uplink));
    }

    fn read(fields: &mut Fields<'_>) -> Result<Beacon, Malformed> {
        Ok(Beacon {
            site: fields.text(1, NAME, "the site")?,
            addresses: fields.list(2, ENTRIES, "the addresses", address)?,
            uplink: match fields.number(3, "the uplink")? {
                0 => false,
                1 => true,
                _ => return Err(Malformed::NotCanonical { what: "the uplink" }),
            },
        })
    }
}

impl Content for Vote {
    const WHAT: &'static str = "the vote";

    fn write(&self, fields: &mut FieldWriter) {
        fields.raw(1, self.plan.as_bytes());
        fields.raw(2, &self.nonce);
        fields.number(
            3,
            match self.verdict {
                Verdict::Trying => 1,
                Verdict::Good => 2,
                Verdict::Bad => 3,
            },
        );
        fields.raw(4, self.reason.as_bytes());
    }

    fn read(fields: &mut Fields<'_>) -> Result<Vote, Malformed> {
        Ok(Vote {
            plan: fields
                .required(1, "the plan", |r| text(r.take(r.rest().len().min(NAME), "the plan")?, "the plan"))?,
            nonce: fields.required(2, "the plan's nonce", |r| r.array("the plan's nonce"))?,
            verdict: match fields.number(3, "the verdict")? {
                1 => Verdict::Trying,
                2 => Verdict::Good,
                3 => Verdict::Bad,
                0 => return Err(Malformed::Missing { what: "the verdict" }),
                number => return Err(Malformed::Newer { what: "verdict", number }),
            },
            reason: fields.text(4, TEXT, "the reason")?,
        })
    }
}

impl Content for JobResult {
    const WHAT: &'static str = "the result";

    fn write(&self, fields: &mut FieldWriter) {
        fields.raw(1, self.job.as_bytes());
        fields.number(2, self.version);
        fields.number(3, self.code);
        fields.raw(4, &self.output.0);
        fields.raw(5, &self.tail);
    }

    fn read(fields: &mut Fields<'_>) -> Result<JobResult, Malformed> {
        let what = "the job";
        Ok(JobResult {
            job: fields.required(1, what, |r| text(r.take(r.rest().len().min(NAME), what)?, what))?,
            version: fields.number(2, "the job's version")?,
            code: fields.number(3, "the exit code")?,
            output: Sha256(fields.required(4, "the output", |r| r.array("the output"))?),
            tail: fields
                .optional(5, "the output", |r| Ok(r.take(r.rest().len().min(TAIL), "the output")?.to_vec()))?
                .unwrap_or_default(),
        })
    }
}
