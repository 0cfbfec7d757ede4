//! What the records here say of a node, as one document: `--filter` points into it, and all forms of output are made of it.

use crate::fleet::{Known, Opened, now, shown};
use fruit_record::body::{Member, Report};
use fruit_record::{Body, Class, Key, KeyId, Labels, Name, Record};
use serde_json::{Map, Value, json};

/// A node, with what is known of it.
pub struct Node<'o> {
    pub id: KeyId,
    pub member: &'o Member,
    record: &'o Record,
    pub report: Option<&'o Report>,
    /// `member`, `revoked` or `ended`.
    pub state: &'static str,
    /// Seconds since 1970 when this machine last talked with it; 0: never.
    pub seen: u64,
}

/// All of them, by name.
pub fn nodes(opened: &Opened) -> Vec<Node<'_>> {
    let (now, known) = (now(), Known::read(&opened.folder));
    let one = |(id, record, member)| Node {
        id,
        member,
        record,
        report: report(opened, &id),
        state: state(opened, record, now),
        seen: known.seen(&id),
    };
    opened.nodes().into_iter().map(one).collect()
}

/// Whether a node belongs to the fleet: `ended` if what was signed about it does not count any more, because its operator expired.
pub fn state(opened: &Opened, record: &Record, now: u64) -> &'static str {
    let Body::Member(member) = record.body() else { return "unknown" };
    match record.id() {
        Some(id) if opened.replica.is_revoked(&id, &member.labels.of_node(&id)) => "revoked",
        _ if !record.is_current(Some(now)) => "ended",
        _ => "member",
    }
}

/// What a node has said of itself last, if it has.
pub fn report<'o>(opened: &'o Opened, node: &KeyId) -> Option<&'o Report> {
    let key = Key { class: Class::Report, name: Name::Id(*node), domain: Labels::default() };
    match opened.replica.get(&key)?.body() {
        Body::Report(report) => Some(report),
        _ => None,
    }
}

/// A fact that is a number is one.
fn fact(text: &str) -> Value {
    let plain = text.bytes().all(|byte| byte.is_ascii_digit() || byte == b'.' || byte == b'-');
    match serde_json::from_str::<Value>(text) {
        Ok(number @ Value::Number(_)) if plain => number,
        _ => Value::String(text.to_owned()),
    }
}

impl Node<'_> {
    /// Its name, or the beginning of its id if it has none.
    pub fn name(&self) -> String {
        if self.member.name.is_empty() { self.id.short() } else { self.member.name.clone() }
    }

    /// A fact of its report.
    pub fn fact(&self, name: &str) -> &str {
        let facts = self.report.map_or(&[][..], |report| &report.facts);
        facts.iter().find(|(found, _)| found == name).map_or("", |(_, value)| value)
    }

    /// When it was last heard of; 0: never.
    pub fn heard(&self) -> u64 {
        self.seen.max(self.report.map_or(0, |report| report.time))
    }

    pub fn document(&self) -> Value {
        let time = self.report.map_or(0, |report| report.time);
        let facts = self.report.map_or(&[][..], |report| &report.facts);
        let facts: Map<String, Value> = facts.iter().map(|(name, value)| (name.clone(), fact(value))).collect();
        json!({
            "name": self.member.name,
            "id": self.id.to_string(),
            "state": self.state,
            "expires": (self.record.ends() != 0).then(|| shown(self.record.ends())),
            "labels": self.member.labels.iter().collect::<std::collections::BTreeMap<_, _>>(),
            "serial": self.member.serial,
            "invite": self.member.invite.to_string(),
            "release": self.report.map(|report| &report.release),
            "reported": (time != 0).then_some(time),
            "seen": (self.seen != 0).then_some(self.seen),
            "facts": facts,
        })
    }
}
