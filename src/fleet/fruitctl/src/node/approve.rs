//! `fruitctl node approve`

use super::pending::{Pending, requests};
use crate::failure::{Code, Failure};
use crate::fleet::{Opened, Options, Signer, cover, file, scopes, set_clock, usage};
use crate::output::print;
use clap::Args;
use clap_complete::engine::ArgValueCandidates;
use fruit_record::body::{Body, Member, Operator};
use fruit_record::wire::is_name;
use fruit_record::{Draft, KeyId, Labels, Request, Verified, limits};
use serde_json::{Value, json};
use std::path::Path;

#[derive(Args)]
pub struct ApproveArgs {
    /// Nodes that are pending, by their four words, name, id, or the first 8 digits or more of it; or files with requests.
    #[arg(required = true, value_name = "NODE", add = ArgValueCandidates::new(super::pending::candidates))]
    requests: Vec<String>,
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
        let operators = signer.operators(&opened)?;
        let now = set_clock()?;
        let pending = requests(&opened)?;
        let mut taken = Vec::new();
        for asked in &self.requests {
            let request = find(&opened, &pending, asked).map_err(|failure| failure.at(asked))?;
            let Some(member) =
                self.approve(&mut opened, &signer, &operators, &request, now).map_err(|failure| failure.at(asked))?
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
        report(&taken, options);
        Ok(())
    }

    /// Signs the member that the request asks for; `None` if it is one.
    fn approve(
        &self,
        opened: &mut Opened,
        signer: &Signer<'_>,
        operators: &[Operator],
        request: &Verified<Request>,
        now: u64,
    ) -> Result<Option<Member>, Failure> {
        let node = request.node;
        if opened.replica.member(&node).is_some_and(|member| Some(member.invite) == request.invite().id()) {
            return Ok(None);
        }
        let (head, mut member) = opened.replica.admit(request, Some(now))?;
        if let Some(name) = &self.name {
            member.name.clone_from(name);
        }
        let is_twin = |id: &KeyId, other: &Member| {
            *id != node && !member.name.is_empty() && other.name == member.name && opened.replica.is_member(id)
        };
        if let Some((id, ..)) = opened.nodes().into_iter().find(|(id, _, other)| is_twin(id, other)) {
            let (id, name) = (id.short(), &member.name);
            let message = format!("node {id} is called {name:?} already; give this one another name with --name");
            return Err(Failure::new(Code::Refused, message));
        }
        if !cover(operators, &head.domain) {
            return Err(outside(operators, &head.domain));
        }
        let draft = Draft::new(head, Body::Member(member.clone()))?;
        let keys: Vec<KeyId> = operators.iter().map(|operator| operator.key).collect();
        for bytes in signer.sign(&opened.id(), std::slice::from_ref(&draft), &keys)? {
            opened.take(&bytes)?;
        }
        Ok(Some(member))
    }
}

/// The node has agreed to the domain of its invite, and to no other.
fn outside(operators: &[Operator], domain: &Labels) -> Failure {
    let wanted = if domain.is_empty() { "all nodes".to_owned() } else { domain.to_string() };
    let message = format!(
        "its invite wants an operator for {wanted} ({}). Have one approve it, or invite with `node invite --domain` for those of a part",
        scopes(operators)
    );
    Failure::new(Code::Untrusted, message)
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
