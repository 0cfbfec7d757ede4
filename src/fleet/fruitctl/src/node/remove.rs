//! `fruitctl node remove`

use crate::confirm::answer;
use crate::failure::{Code, Failure};
use crate::fleet::{Opened, Options, Signer, domain};
use crate::output::print;
use clap::Args;
use fruit_record::body::{Body, Operator, Revocation};
use fruit_record::{Draft, Head, KeyId, Labels, Name};
use serde_json::{Value, json};

#[derive(Args)]
pub struct RemoveArgs {
    /// Nodes or invites: a name, an id, or the first 8 digits or more of it.
    #[arg(required = true, value_name = "NODE")]
    nodes: Vec<String>,
    /// Why, for those who look later.
    #[arg(long, default_value = "", hide_default_value = true)]
    reason: String,
    /// Do not ask.
    #[arg(long)]
    yes: bool,
}

impl RemoveArgs {
    pub fn run(self, options: &Options) -> Result<(), Failure> {
        let mut opened = Opened::change(options)?;
        let found = self.nodes.iter().map(|node| super::find(&opened, node)).collect::<Result<Vec<_>, Failure>>()?;
        let signer = Signer::new(&opened.store, options)?;
        let operators: Vec<Operator> = signer.operators(&opened)?;
        let keys: Vec<KeyId> = operators.iter().map(|operator| operator.key).collect();
        let mut drafts = Vec::new();
        for (id, labels, _) in &found {
            if opened.replica.is_revoked(id, &labels.of_node(id)) {
                options.say(format_args!("{} is revoked already", id.short()));
                continue;
            }
            let head = Head { domain: domain(&operators, labels)?, ..Head::first(Name::Id(*id)) };
            drafts.push(Draft::new(head, Body::Revocation(Revocation { reason: self.reason.clone() }))?);
        }
        if !drafts.is_empty() && !self.yes {
            confirm(&found)?;
        }
        for bytes in signer.sign(&opened.id(), &drafts, &keys)? {
            opened.take(&bytes)?;
        }
        if !drafts.is_empty() {
            opened.save()?;
        }
        if options.json {
            let ids: Vec<Value> =
                found.iter().map(|(id, _, name)| json!({"id": id.to_string(), "name": name})).collect();
            print(format_args!("{:#}", Value::from(ids)));
        } else {
            found.iter().for_each(|(id, _, name)| print(format_args!("{name} ({}): revoked", id.short())));
        }
        Ok(())
    }
}

fn confirm(found: &[(KeyId, Labels, String)]) -> Result<(), Failure> {
    let names: Vec<String> = found.iter().map(|(id, _, name)| format!("{name} ({})", id.short())).collect();
    let nobody = "nothing was revoked: there is no terminal to ask; confirm with --yes";
    match answer(format_args!("Revoke {} for ever?", names.join(", ")), nobody)?.as_str() {
        "y" | "yes" => Ok(()),
        _ => Err(Failure::new(Code::NotConfirmed, "nothing was revoked")),
    }
}
