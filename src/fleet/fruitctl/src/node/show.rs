//! `fruitctl node show`

use super::{Found, find};
use crate::failure::Failure;
use crate::fleet::{Known, Opened, Options, age, candidates, now, shown, usage};
use crate::output::print;
use crate::select::{report, state};
use clap::Args;
use clap_complete::engine::ArgValueCandidates;
use fruit_record::{Body, Class, Key, KeyId, Labels, Name, words};
use serde_json::{Value, json};

#[derive(Args)]
pub struct ShowArgs {
    /// Node: its name, its id, or the first 8 digits or more of it.
    #[arg(add = ArgValueCandidates::new(candidates::nodes))]
    node: String,
}

impl ShowArgs {
    pub fn run(self, options: &Options) -> Result<(), Failure> {
        let opened = Opened::read(options)?;
        let Found { id, .. } = find(&opened, &self.node)?;
        let now = now();
        let words = words(&id).join("-");
        let members: Vec<Value> = memberships(&opened, &id, now);
        let revocations = revocations(&opened, &id);
        if members.is_empty() && revocations.is_empty() {
            return Err(usage(format!("{}: nothing is known of this node here", self.node)));
        }
        let report = report(&opened, &id);
        let facts: Vec<(&str, &str)> =
            report.iter().flat_map(|report| &report.facts).map(|(key, value)| (key.as_str(), value.as_str())).collect();
        let release = report.map(|report| report.release.as_str());
        let time = report.map_or(0, |report| report.time);
        let addresses = addresses(&opened, &id);
        let seen = Known::read(&opened.folder).seen(&id);
        let value = json!({
            "id": id.to_string(),
            "words": words,
            "memberships": members,
            "revocations": revocations,
            "release": release,
            "reported": (time != 0).then_some(time),
            "seen": (seen != 0).then_some(seen),
            "facts": facts.iter().copied().collect::<std::collections::BTreeMap<_, _>>(),
            "addresses": addresses,
        });
        if options.json {
            print(format_args!("{value:#}"));
            return Ok(());
        }
        print(format_args!("id: {id}"));
        print(format_args!("words: {words}"));
        for member in &members {
            lines(member, &["name", "state", "labels", "domain", "serial", "invite", "signed_by", "expires"]);
        }
        for revocation in &revocations {
            lines(revocation, &["revoked_for", "revoked_by", "reason"]);
        }
        print(format_args!("release: {}", release.unwrap_or("unknown")));
        print(format_args!("reported: {}", age(time, now)));
        print(format_args!("heard of: {}", age(time.max(seen), now)));
        facts.iter().for_each(|(key, value)| print(format_args!("{key}: {value}")));
        addresses.iter().for_each(|address| print(format_args!("address: {address}")));
        Ok(())
    }
}

/// Fields of a value, a line for each that is there.
fn lines(value: &Value, fields: &[&str]) {
    for field in fields {
        let name = field.replace('_', " ");
        match &value[field] {
            Value::String(text) if !text.is_empty() => print(format_args!("{name}: {text}")),
            Value::Array(items) if !items.is_empty() => {
                let items: Vec<&str> = items.iter().filter_map(Value::as_str).collect();
                print(format_args!("{name}: {}", items.join(", ")));
            }
            _ => {}
        }
    }
}

fn nodes_of(domain: &Labels) -> String {
    if domain.is_empty() { "all nodes".to_owned() } else { domain.to_string() }
}

fn signers(opened: &Opened, record: &fruit_record::Record) -> Vec<String> {
    record.signatures().iter().map(|signature| opened.name_of(&signature.key)).collect()
}

fn memberships(opened: &Opened, node: &KeyId, now: u64) -> Vec<Value> {
    let one = |(id, record, member): (KeyId, &fruit_record::Record, &fruit_record::body::Member)| {
        (id == *node).then(|| {
            json!({
                "name": member.name,
                "state": state(opened, record, now),
                "labels": member.labels.to_string(),
                "domain": nodes_of(&record.head().domain),
                "serial": member.serial,
                "invite": member.invite.to_string(),
                "signed_by": signers(opened, record),
                "expires": shown(record.ends()),
            })
        })
    };
    opened.nodes().into_iter().filter_map(one).collect()
}

fn revocations(opened: &Opened, node: &KeyId) -> Vec<Value> {
    let of_node = opened.replica.of_class(Class::Revocation).filter(|record| record.id() == Some(*node));
    let one = |record: &fruit_record::Verified<fruit_record::Record>| {
        let Body::Revocation(revocation) = record.body() else { return None };
        Some(json!({
            "revoked_for": nodes_of(&record.head().domain),
            "revoked_by": signers(opened, record),
            "reason": revocation.reason,
        }))
    };
    of_node.filter_map(one).collect()
}

fn addresses(opened: &Opened, node: &KeyId) -> Vec<String> {
    let key = Key { class: Class::Beacon, name: Name::Id(*node), domain: Labels::default() };
    match opened.replica.get(&key).map(|record| record.body()) {
        Some(Body::Beacon(beacon)) => beacon.addresses.clone(),
        _ => Vec::new(),
    }
}
