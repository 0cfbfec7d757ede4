//! `fruitctl node pending`: requests that wait for an operator.

use crate::failure::{Failure, Failures};
use crate::fleet::{Opened, Options, file, keep_request, now, requests};
use crate::net::Contact;
use crate::output::print;
use crate::table::{self, plain};
use clap::Args;
use fruit_record::limits;
use serde_json::{Value, json};
use std::path::{Path, PathBuf};

#[derive(Args)]
pub struct PendingArgs {
    /// Files with requests, which are taken and wait here from now on.
    files: Vec<PathBuf>,
    /// Ask the fleet's nodes first. Without it, what is shown has come here before.
    #[arg(long)]
    sync: bool,
    #[command(flatten)]
    contact: Contact,
}

/// Takes a request out of a file.
fn take(opened: &Opened, path: &Path) -> Result<(), Failure> {
    let bytes = file(path, limits::REQUEST as u64)?;
    keep_request(opened, &bytes).map(drop).map_err(|failure| failure.at(&path.display()))
}

impl PendingArgs {
    pub fn run(self, options: &Options) -> Result<(), Failure> {
        if self.sync {
            self.contact.sync(options)?;
        }
        let opened = if self.files.is_empty() { Opened::read(options)? } else { Opened::change(options)? };
        let mut failures = Failures::default();
        for path in &self.files {
            if let Err(failure) = take(&opened, path) {
                failures.take(failure);
            }
        }
        let (mut rows, mut values) = (Vec::new(), Vec::new());
        for pending in requests(&opened)? {
            let request = &pending.request;
            if opened.replica.is_member(&request.node) {
                continue;
            }
            let labels = match request.invite().body() {
                fruit_record::Body::Invite(grant) => grant.labels.to_string(),
                _ => String::new(),
            };
            let refused = opened.replica.admit(request, Some(now())).err().map(|why| why.to_string());
            let words = pending.words();
            values.push(json!({
                "name": request.name,
                "id": request.node.to_string(),
                "words": words,
                "serial": request.serial,
                "board": request.board,
                "labels": labels,
                "invite": request.invite().id().map(|id| id.to_string()),
                "refused": refused,
            }));
            let (name, serial) = (request.name.clone(), request.serial.clone());
            let cells =
                [name, request.node.short(), words, serial, request.board.clone(), labels, refused.unwrap_or_default()];
            rows.push(cells.map(plain).into());
        }
        if options.json {
            print(format_args!("{:#}", Value::from(values)));
        } else {
            let head = ["node", "id", "words", "serial", "board", "labels", "cannot be approved"];
            print(format_args!("{}", table::render(&head, &rows, false).trim_end()));
        }
        failures.finish()
    }
}
