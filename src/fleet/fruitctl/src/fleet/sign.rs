//! `fruitctl fleet sign`

use super::charter::{Anew, Next, Waiting};
use super::{Opened, Options, Signer};
use crate::confirm::answer;
use crate::failure::{Code, Failure};
use crate::output::print;
use clap::Args;
use serde_json::json;
use std::path::PathBuf;

#[derive(Args)]
pub struct SignArgs {
    /// File that --draft of another verb wrote. It is signed in its place.
    file: PathBuf,
    /// Sign anew what the new charter makes void, so that it stays: look at it first.
    #[arg(long)]
    keep: bool,
    /// Let become void what the new charter makes void.
    #[arg(long, conflicts_with = "keep")]
    void: bool,
    /// Do not ask.
    #[arg(long)]
    yes: bool,
}

impl SignArgs {
    pub fn run(self, options: &Options) -> Result<(), Failure> {
        let mut opened = Opened::change(options)?;
        let Some(mut waiting) = Waiting::read(&self.file, &opened)? else {
            options.say(format_args!("{}: this charter counts here already", self.file.display()));
            return Ok(());
        };
        let version = waiting.draft.record().version();
        let changes = waiting.changes(&opened);
        options.say(format_args!("charter {version} of fleet {}:\n  {}", opened.charter().name, changes.join("\n  ")));
        if !self.yes {
            let nobody = "nothing was signed: there is no terminal to ask; confirm with --yes";
            if !matches!(answer(format_args!("Sign this?"), nobody)?.as_str(), "y" | "yes") {
                return Err(Failure::new(Code::NotConfirmed, "nothing was signed"));
            }
        }
        let signer = Signer::new(&opened.store, options)?;
        let names = waiting.sign(&opened, &signer)?;
        if names.is_empty() && !waiting.is_complete() {
            let message =
                format!("{}: no root key is here that could sign; {}", self.file.display(), waiting.lack(&opened));
            return Err(Failure::new(Code::Refused, message));
        }
        waiting.write(&self.file)?;
        let lack = (!waiting.is_complete()).then(|| waiting.lack(&opened));
        if let Some(lack) = &lack {
            options.say(format_args!("{}: signed by {}; {lack}", self.file.display(), names.join(", ")));
        } else if let Next::Taken { renewed, void } =
            waiting.take(&mut opened, &signer, Anew::from_flags(self.keep, self.void))?
        {
            options.say(format_args!(
                "charter {version} counts here from now on; {renewed} records were signed anew, {void} are void. Pass it on with \
                 `fruitctl fleet export`"
            ));
        }
        if options.json {
            print(format_args!(
                "{:#}",
                json!({"version": version, "signed": names, "complete": lack.is_none(), "changes": changes})
            ));
        }
        Ok(())
    }
}
