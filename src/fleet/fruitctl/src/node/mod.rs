//! `fruitctl node`: who belongs to the fleet.

mod approve;
mod invite;
mod list;
mod pending;
mod remove;
mod show;

use crate::failure::{EXIT_CODES, Failure};
use crate::fleet::{Opened, Options, usage};
use clap::{Args, Subcommand};
use fruit_record::{Class, KeyId, Labels};

#[derive(Args)]
#[command(after_help = EXIT_CODES)]
pub struct NodeArgs {
    #[command(flatten)]
    options: Options,
    #[command(subcommand)]
    verb: NodeVerb,
}

#[derive(Subcommand)]
enum NodeVerb {
    /// Make invites: lines of text by which cards become nodes of the fleet. Whoever has one may use it.
    Invite(invite::InviteArgs),
    /// List the nodes that ask to be taken in, with the four words that each shows; and take their requests from files.
    Pending(pending::PendingArgs),
    /// Take nodes in that have asked with an invite.
    Approve(approve::ApproveArgs),
    /// Show all that is known of a node.
    Show(show::ShowArgs),
    /// List the nodes of the fleet.
    List(list::ListArgs),
    /// Revoke nodes or invites. There is no way back: a node that is to return gets a new key.
    Remove(remove::RemoveArgs),
}

impl NodeArgs {
    pub fn run(self) -> Result<(), Failure> {
        let options = &self.options;
        match self.verb {
            NodeVerb::Invite(args) => args.run(options),
            NodeVerb::Pending(args) => args.run(options),
            NodeVerb::Approve(args) => args.run(options),
            NodeVerb::Show(args) => args.run(options),
            NodeVerb::List(args) => args.run(options),
            NodeVerb::Remove(args) => args.run(options),
        }
    }
}

/// A node or an invite that a person has named.
#[derive(Clone)]
struct Found {
    id: KeyId,
    /// `None`: not known here.
    labels: Option<Labels>,
    /// For people.
    name: String,
}

/// A node or an invite, by name, id, or a beginning of the id of at least 8 digits.
fn find(opened: &Opened, text: &str) -> Result<Found, Failure> {
    let nodes = opened.nodes().into_iter().map(|(id, _, member)| (id, member.labels.clone(), member.name.clone()));
    let grants = opened.replica.of_class(Class::Invite).filter_map(|record| match record.body() {
        fruit_record::Body::Invite(grant) => Some((record.id()?, grant.labels.clone(), String::from("invite"))),
        _ => None,
    });
    let begins = |id: &KeyId| text.len() >= 8 && id.to_string().starts_with(text);
    let mut found: Vec<_> = nodes.filter(|(id, _, name)| name == text || begins(id)).collect();
    found.sort_by_key(|(id, ..)| *id);
    found.dedup_by_key(|(id, ..)| *id);
    // A name that a revoked node had, and another one has now.
    if found.len() > 1 {
        let members: Vec<_> = found.iter().filter(|(id, ..)| opened.replica.is_member(id)).cloned().collect();
        found = if members.is_empty() { found } else { members };
    }
    found.extend(grants.filter(|(id, ..)| begins(id)));
    match found.as_slice() {
        [(id, labels, name)] => Ok(Found { id: *id, labels: Some(labels.clone()), name: name.clone() }),
        // Somebody else's node, or one whose record has not come here.
        [] => match KeyId::parse(text) {
            Some(id) => Ok(Found { id, labels: None, name: "not known here".into() }),
            None => Err(usage(format!(
                "{text:?} is no node or invite of this fleet; a name, an id, or 8 digits of its beginning are (`fruitctl node list`)"
            ))),
        },
        several => {
            let ids: Vec<String> = several.iter().map(|(id, ..)| id.short()).collect();
            Err(usage(format!("{text:?} means several nodes; name one by its id: {}", ids.join(", "))))
        }
    }
}
