//! `fruitctl sync`, and what other verbs do with `--sync`.

use super::contact::{Contact, nobody};
use super::session::{Exchanged, Part, Session};
use crate::failure::{EXIT_CODES, Failure};
use crate::fleet::Options;
use crate::output::print;
use clap::Args;
use serde_json::json;
use std::time::Duration;

/// A contact that a verb has begun.
pub struct Exchange<'o> {
    options: &'o Options,
    wait: Duration,
    part: Part<'o>,
    done: Exchanged,
}

impl Contact {
    /// Reaches the fleet and takes what it has; whatever is signed afterwards goes out with [`Exchange::end`].
    pub fn begin<'o>(&self, options: &'o Options) -> Result<Exchange<'o>, Failure> {
        let mut part = Session::begin(options, self, false)?;
        let done = match &mut part {
            Part::Own(session) => match session.settle(self.wait)? {
                (done, true) => done,
                (_, false) => return Err(nobody(self.wait)),
            },
            Part::Served(_) => Exchanged::default(),
        };
        Ok(Exchange { options, wait: self.wait, part, done })
    }

    /// Exchanges records with the fleet.
    pub fn sync(&self, options: &Options) -> Result<(), Failure> {
        self.begin(options)?.end()
    }
}

impl Exchange<'_> {
    /// Sends what was signed since it began, and ends the contact.
    pub fn end(self) -> Result<(), Failure> {
        self.finish().map(drop)
    }

    fn finish(self) -> Result<Option<Exchanged>, Failure> {
        let Exchange { options, wait, part, mut done } = self;
        match part {
            Part::Own(mut session) => {
                let first = session.exchange()?;
                done += first;
                if first != Exchanged::default() {
                    done += session.settle(wait)?.0;
                }
                done += session.end()?;
                Ok(Some(done))
            }
            Part::Served(_) => {
                options.say(format_args!("`fruitctl serve` runs: it exchanges records by itself"));
                Ok(None)
            }
        }
    }
}

/// Exchange records with the fleet's nodes: what was signed here goes out, what they have comes in.
#[derive(Args)]
#[command(after_help = EXIT_CODES)]
pub struct SyncArgs {
    #[command(flatten)]
    options: Options,
    #[command(flatten)]
    contact: Contact,
}

impl SyncArgs {
    pub fn run(self) -> Result<(), Failure> {
        let options = &self.options;
        let Some(done) = self.contact.begin(options)?.finish()? else { return Ok(()) };
        let Exchanged { received, sent, requests, admitted } = done;
        if options.json {
            let value = json!({"received": received, "sent": sent, "requests": requests, "admitted": admitted});
            print(format_args!("{value:#}"));
        } else {
            print(format_args!(
                "{received} records received, {sent} sent, {requests} requests of nodes, {admitted} taken in"
            ));
        }
        Ok(())
    }
}
