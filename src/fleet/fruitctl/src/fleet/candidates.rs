//! What a shell offers beyond verbs and options: names of fleets, nodes, invites and operators, as the records here have them.

use super::Opened;
use clap_complete::engine::CompletionCandidate;
use fruit_record::Class;

pub fn candidates(values: impl Iterator<Item = (String, String)>) -> Vec<CompletionCandidate> {
    values.map(|(value, help)| CompletionCandidate::new(value).help(Some(help.into()))).collect()
}

/// The fleet that is meant without `--fleet`; nobody hears of what is wrong with it.
pub fn opened() -> Option<Opened> {
    Opened::read(&super::Options::default()).ok()
}

pub fn fleets() -> Vec<CompletionCandidate> {
    candidates(super::names().into_iter().map(|name| (name, String::new())))
}

/// Members by their names, or by their ids if they have none.
pub fn nodes() -> Vec<CompletionCandidate> {
    let Some(opened) = opened() else { return Vec::new() };
    let members = opened.nodes().into_iter().filter(|(id, ..)| opened.replica.is_member(id));
    candidates(members.map(|(id, _, member)| {
        let name = if member.name.is_empty() { id.short() } else { member.name.clone() };
        (name, member.labels.to_string())
    }))
}

/// What can be revoked.
pub fn nodes_and_invites() -> Vec<CompletionCandidate> {
    let Some(opened) = opened() else { return Vec::new() };
    let invites = opened.replica.of_class(Class::Invite).filter_map(|record| record.id());
    let invites = invites.map(|id| (id.short(), "invite".to_owned()));
    nodes().into_iter().chain(candidates(invites)).collect()
}

/// `site=berlin` of members' labels, and `all`.
pub fn selectors() -> Vec<CompletionCandidate> {
    let Some(opened) = opened() else { return Vec::new() };
    let nodes = opened.nodes();
    let pairs = nodes.iter().flat_map(|(_, _, member)| member.labels.iter());
    let pairs = fruit_record::wire::sorted(pairs.map(|(key, value)| format!("{key}={value}")));
    candidates(pairs.into_iter().chain(["all".to_owned()]).map(|pair| (pair, String::new())))
}

/// What means nodes: names, labels, groups and `all`.
pub fn choices() -> Vec<CompletionCandidate> {
    let Some(opened) = opened() else { return Vec::new() };
    let groups = opened.replica.of_class(Class::Group).filter_map(|record| match &record.key().name {
        fruit_record::Name::Text(name) => Some((format!("@{name}"), "group".to_owned())),
        _ => None,
    });
    selectors().into_iter().chain(nodes()).chain(candidates(groups)).collect()
}

/// Words of the nodes that wait.
pub fn pending() -> Vec<CompletionCandidate> {
    let Some(opened) = opened() else { return Vec::new() };
    let all = super::requests(&opened).unwrap_or_default();
    candidates(all.into_iter().map(|pending| (pending.words(), pending.request.name.clone())))
}

pub fn operators() -> Vec<CompletionCandidate> {
    let Some(opened) = opened() else { return Vec::new() };
    candidates(opened.charter().operators.iter().map(|operator| (operator.name.clone(), operator.roles.to_string())))
}
