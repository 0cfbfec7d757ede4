//! Nodes that are taken in: each by an operator, or by what an operator has signed into its invite.

use super::requests::requests;
use super::{Opened, Signer, cover, scopes};
use crate::failure::{Code, Failure};
use fruit_record::body::{Admission, Body, Member, Operator};
use fruit_record::{Draft, KeyId, Labels, Request, Role, Verified};
use std::collections::BTreeSet;

/// Signs the member that the request asks for, under its own name or under `name`; `None` if it is one.
pub fn admit(
    opened: &mut Opened,
    signer: &Signer<'_>,
    operators: &[Operator],
    request: &Verified<Request>,
    name: Option<&str>,
    now: u64,
) -> Result<Option<Member>, Failure> {
    let node = request.node;
    if opened.replica.member(&node).is_some_and(|member| Some(member.invite) == request.invite().id()) {
        return Ok(None);
    }
    let (head, mut member) = opened.replica.admit(request, Some(now))?;
    if let Some(name) = name {
        name.clone_into(&mut member.name);
    }
    if let Some(id) = twin(opened, node, &member.name) {
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

/// Another member of this name.
fn twin(opened: &Opened, node: KeyId, name: &str) -> Option<KeyId> {
    let is = |id: &KeyId, other: &Member| {
        *id != node && !name.is_empty() && other.name == name && opened.replica.is_member(id)
    };
    opened.nodes().into_iter().find(|(id, _, other)| is(id, other)).map(|(id, ..)| id)
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

fn is_auto(request: &Request) -> bool {
    matches!(request.invite().body(), Body::Invite(grant) if grant.admission == Admission::Auto)
}

/// What became of a node whose invite asks for nobody's approval.
pub type Automatic = (KeyId, Result<Member, Failure>);

/// Takes in the nodes that wait and whose invites need nobody's approval: as many as the invites are good for, until they end, by an
/// operator whose key is here and whose role and scope allow it. Those of `but` are left alone: they were tried before.
pub fn admit_automatic(
    opened: &mut Opened,
    signer: &Signer<'_>,
    but: &BTreeSet<KeyId>,
    now: u64,
) -> Result<Vec<Automatic>, Failure> {
    let mut all = Vec::new();
    for pending in requests(opened)? {
        let (request, node) = (&pending.request, pending.request.node);
        if opened.replica.is_member(&node) {
            pending.drop();
            continue;
        }
        let domain = &request.invite().head().domain;
        if !is_auto(request) || but.contains(&node) || opened.replica.admit(request, Some(now)).is_err() {
            continue;
        }
        let able = signer.able(opened, Role::Enrol, now);
        let Some(operator) = able.into_iter().find(|one| cover(std::slice::from_ref(one), domain)) else { continue };
        // Boards of one image often ask for one name.
        let name = twin(opened, node, &request.name)
            .map(|_| format!("{}-{}", request.name, node.to_string().get(..4).unwrap_or_default()));
        let taken = admit(opened, signer, &[operator], request, name.as_deref(), now);
        match taken {
            Ok(Some(member)) => {
                pending.drop();
                all.push((node, Ok(member)));
            }
            Ok(None) => {}
            Err(failure) => all.push((node, Err(failure))),
        }
    }
    Ok(all)
}

/// Whether there are invites that need nobody's approval and still count.
pub fn are_automatic(opened: &Opened, now: u64) -> bool {
    opened.replica.of_class(fruit_record::Class::Invite).any(|record| match record.body() {
        Body::Invite(grant) => {
            let revoked = record.id().is_some_and(|id| opened.replica.is_revoked(&id, &grant.labels));
            let used = opened.replica.uses(record.key()).len() as u64;
            let open = grant.uses == 0 || used < grant.uses;
            grant.admission == Admission::Auto && !revoked && open && record.is_current(Some(now))
        }
        _ => false,
    })
}
