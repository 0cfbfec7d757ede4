//! `fruitctl node approve`

use crate::failure::{Code, Failure};
use crate::fleet::{Opened, Options, Signer, file, now, usage};
use crate::output::print;
use clap::Args;
use fruit_record::body::{Body, Member};
use fruit_record::wire::is_name;
use fruit_record::{Draft, KeyId, limits};
use serde_json::{Value, json};
use std::path::PathBuf;

#[derive(Args)]
pub struct ApproveArgs {
    /// Files with the requests of nodes.
    #[arg(required = true)]
    requests: Vec<PathBuf>,
    /// Name of the node, instead of the one that it asks for. For one request.
    #[arg(long)]
    name: Option<String>,
}

impl ApproveArgs {
    pub fn run(self, options: &Options) -> Result<(), Failure> {
        if let Some(name) = &self.name
            && (self.requests.len() != 1 || !is_name(name))
        {
            return Err(usage("--name is one name (letters, digits, `-`, `_` and `.`), for one request"));
        }
        let mut opened = Opened::change(options)?;
        let signer = Signer::new(&opened.store, options)?;
        let operators: Vec<KeyId> = signer.operators(&opened)?.iter().map(|operator| operator.key).collect();
        let mut taken = Vec::new();
        for path in &self.requests {
            let in_file = |error: fruit_record::Refused| {
                let failure = Failure::from(error);
                failure.at(&path.display())
            };
            let bytes = file(path, limits::REQUEST as u64)?;
            let request = opened.replica.verify_request(&bytes).map_err(in_file)?;
            let (head, mut member) = opened.replica.admit(&request, Some(now())).map_err(in_file)?;
            if let Some(name) = &self.name {
                member.name.clone_from(name);
            }
            let twin =
                opened.nodes().into_iter().find(|(id, _, other)| *id != request.node && other.name == member.name);
            if let Some((id, ..)) = twin.filter(|_| !member.name.is_empty()) {
                let message = format!(
                    "node {} is called {:?} already; give this one another name with --name",
                    id.short(),
                    member.name
                );
                return Err(Failure::new(Code::Refused, message).at(&path.display()));
            }
            let draft = Draft::new(head, Body::Member(member.clone()))?;
            for bytes in signer.sign(&opened.id(), std::slice::from_ref(&draft), &operators)? {
                opened.take(&bytes)?;
            }
            taken.push((request.node, member));
        }
        opened.save()?;
        report(&taken, options);
        Ok(())
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
