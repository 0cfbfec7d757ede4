//! `fruitctl node approve`

use crate::failure::Failure;
use crate::fleet::{Opened, Options, Pending, Signer, admit, candidates, file, requests, set_clock, usage};
use crate::net::Contact;
use crate::output::print;
use clap::Args;
use clap_complete::engine::ArgValueCandidates;
use fruit_record::body::Member;
use fruit_record::wire::is_name;
use fruit_record::{KeyId, Request, Verified, limits};
use serde_json::{Value, json};
use std::path::Path;

#[derive(Args)]
pub struct ApproveArgs {
    /// Nodes that are pending, by their four words, name, id, or the first 8 digits or more of it; or files with requests.
    #[arg(required = true, value_name = "NODE", add = ArgValueCandidates::new(candidates::pending))]
    requests: Vec<String>,
    /// Name of the node, instead of the one that it asks for. For one request.
    #[arg(long)]
    name: Option<String>,
    /// Ask the fleet's nodes for requests first, and tell them afterwards. Without it, they hear of it from `fruitctl serve` or with
    /// the next `fruitctl sync`.
    #[arg(long)]
    sync: bool,
    #[command(flatten)]
    contact: Contact,
}

impl ApproveArgs {
    pub fn run(self, options: &Options) -> Result<(), Failure> {
        if let Some(name) = &self.name
            && (self.requests.len() != 1 || !is_name(name))
        {
            return Err(usage("--name is one name (letters, digits, `-`, `_` and `.`), for one request"));
        }
        let sync = self.sync.then(|| self.contact.begin(options)).transpose()?;
        let mut opened = Opened::change(options)?;
        let signer = Signer::new(&opened.store, options)?;
        let operators = signer.operators(&opened)?;
        let now = set_clock()?;
        let pending = requests(&opened)?;
        let mut taken = Vec::new();
        for asked in &self.requests {
            let request = find(&opened, &pending, asked).map_err(|failure| failure.at(asked))?;
            let Some(member) = admit(&mut opened, &signer, &operators, &request, self.name.as_deref(), now)
                .map_err(|failure| failure.at(asked))?
            else {
                options.say(format_args!("{asked}: node {} is a member already", request.node.short()));
                continue;
            };
            taken.push((request.node, member));
        }
        if !taken.is_empty() {
            opened.save()?;
        }
        pending.iter().filter(|pending| opened.replica.is_member(&pending.request.node)).for_each(Pending::drop);
        drop(opened);
        report(&taken, options);
        match sync {
            Some(sync) => sync.end(),
            None => Ok(()),
        }
    }
}

/// The request that is meant.
fn find(opened: &Opened, pending: &[Pending], asked: &str) -> Result<Verified<Request>, Failure> {
    let found: Vec<&Pending> = pending.iter().filter(|pending| pending.is(asked)).collect();
    match found.as_slice() {
        [one] => Ok(one.request.clone()),
        [] if Path::new(asked).exists() => {
            Ok(opened.replica.verify_request(&file(Path::new(asked), limits::REQUEST as u64)?)?)
        }
        [] => Err(usage(
            "no node that is pending has this name, id or words (`fruitctl node pending`), and there is no such file",
        )),
        several => {
            let ids: Vec<String> = several.iter().map(|pending| pending.request.node.short()).collect();
            Err(usage(format!("this means several nodes; name one by its id: {}", ids.join(", "))))
        }
    }
}

fn report(taken: &[(KeyId, Member)], options: &Options) {
    if options.json {
        let one = |(id, member): &(KeyId, Member)| json!({"name": member.name, "id": id.to_string(), "labels": member.labels.to_string(), "serial": member.serial});
        print(format_args!("{:#}", Value::from(taken.iter().map(one).collect::<Vec<_>>())));
    } else {
        for (id, member) in taken {
            print(format_args!("{} ({}): a member; {}", member.name, id.short(), member.labels));
        }
    }
}
