//! `fruitctl node remove`

use super::{Found, find};
use crate::confirm::answer;
use crate::failure::{Code, Failure};
use crate::fleet::{Opened, Options, Signer, candidates, domain, domains};
use crate::net::Contact;
use crate::output::print;
use clap::Args;
use clap_complete::engine::ArgValueCandidates;
use fruit_record::body::{Body, Operator, Revocation};
use fruit_record::{Class, Draft, Head, Key, KeyId, Labels, Name};
use serde_json::{Value, json};

#[derive(Args)]
pub struct RemoveArgs {
    /// Nodes or invites: a name, an id, or the first 8 digits or more of it.
    #[arg(required = true, value_name = "NODE", add = ArgValueCandidates::new(candidates::nodes_and_invites))]
    nodes: Vec<String>,
    /// Why, for those who look later.
    #[arg(long, default_value = "", hide_default_value = true)]
    reason: String,
    /// Do not ask.
    #[arg(long)]
    yes: bool,
    /// Tell the fleet's nodes at once. Without it, they hear of it from `fruitctl serve` or with the next `fruitctl sync`.
    #[arg(long)]
    sync: bool,
    #[command(flatten)]
    contact: Contact,
}

impl RemoveArgs {
    pub fn run(self, options: &Options) -> Result<(), Failure> {
        let mut opened = Opened::change(options)?;
        let mut found = self.nodes.iter().map(|node| find(&opened, node)).collect::<Result<Vec<_>, Failure>>()?;
        found.sort_by_key(|node| node.id);
        found.dedup_by_key(|node| node.id);
        let signer = Signer::new(&opened.store, options)?;
        let operators: Vec<Operator> = signer.operators(&opened)?;
        let keys: Vec<KeyId> = operators.iter().map(|operator| operator.key).collect();
        let mut drafts = Vec::new();
        for node in &found {
            for domain in self.domains(&opened, &operators, node)? {
                let head = Head { domain, ..Head::first(Name::Id(node.id)) };
                drafts.push(Draft::new(head, Body::Revocation(Revocation { reason: self.reason.clone() }))?);
            }
            if drafts.iter().all(|draft| draft.record().id() != Some(node.id)) {
                options.say(format_args!("{} is revoked already", node.id.short()));
            }
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
        drop(opened);
        if options.json {
            let ids: Vec<Value> =
                found.iter().map(|node| json!({"id": node.id.to_string(), "name": node.name})).collect();
            print(format_args!("{:#}", Value::from(ids)));
        } else {
            found.iter().for_each(|node| print(format_args!("{} ({}): revoked", node.name, node.id.short())));
        }
        if self.sync { self.contact.sync(options) } else { Ok(()) }
    }

    /// Where these operators can revoke it: none if that was done.
    fn domains(&self, opened: &Opened, operators: &[Operator], node: &Found) -> Result<Vec<Labels>, Failure> {
        let Found { id, labels, .. } = node;
        match labels {
            Some(labels) if opened.replica.is_revoked(id, &labels.of_node(id)) => Ok(Vec::new()),
            Some(labels) => Ok(vec![domain(operators, labels)?]),
            // Whatever labels it has: as far as these operators can.
            None => {
                let mut all = domains(operators);
                all.retain(|domain| {
                    let (class, name) = (Class::Revocation, Name::Id(*id));
                    opened.replica.get(&Key { class, name, domain: domain.clone() }).is_none()
                });
                Ok(all)
            }
        }
    }
}

fn confirm(found: &[Found]) -> Result<(), Failure> {
    let names: Vec<String> = found.iter().map(|node| format!("{} ({})", node.name, node.id.short())).collect();
    let nobody = "nothing was revoked: there is no terminal to ask; confirm with --yes";
    match answer(format_args!("Revoke {} for ever?", names.join(", ")), nobody)?.as_str() {
        "y" | "yes" => Ok(()),
        _ => Err(Failure::new(Code::NotConfirmed, "nothing was revoked")),
    }
}
