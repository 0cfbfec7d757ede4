//! `fruitctl fleet show` and `list`

use super::folder::{fleet_name, known};
use super::{Opened, Options, shown};
use crate::failure::{Failure, Failures};
use crate::output::print;
use crate::table::{self, plain};
use fruit_record::Class;
use fruit_record::body::Operator;
use fruit_release::keys::{Held, public_line};
use fruit_release::tuf::PublicKey;
use serde_json::{Value, json};

/// Whether a key is a file in the fleet's folder.
fn is_file_here(opened: &Opened, key: &fruit_record::KeyId) -> bool {
    let entry = opened.entry(key).filter(|entry| entry.held == Held::File);
    entry.is_some_and(|entry| opened.store.key_file(entry).exists())
}

/// Where a key is, for people.
fn held(opened: &Opened, key: &fruit_record::KeyId) -> &'static str {
    match opened.entry(key) {
        None => "unknown here",
        Some(entry) => match entry.held {
            Held::File if is_file_here(opened, key) => "in a file here",
            Held::File => "moved away",
            Held::Agent => "in ssh-agent",
            Held::Elsewhere => "elsewhere",
        },
    }
}

/// Root keys that are files in the fleet's folder.
fn roots_here(opened: &Opened) -> usize {
    opened.charter().root.iter().filter(|key| is_file_here(opened, key)).count()
}

/// Whether whoever takes the folder, and knows the passphrase, has the fleet.
fn roots_are_together(opened: &Opened) -> bool {
    let charter = opened.charter();
    charter.root.len() > 1 && roots_here(opened) as u64 >= charter.threshold
}

/// Says so as long as enough root keys for a charter are in one place.
pub fn warn_of_roots(opened: &Opened, options: &Options) {
    if roots_are_together(opened) {
        options.say(format_args!(
            "note: {} of the root keys are in {}, and {} make a charter: whoever gets hold of this folder has the fleet. Move \
             root key files to other places (a stick, another machine) until fewer are here; with --key-file they sign from there",
            roots_here(opened),
            opened.store.folder().display(),
            opened.charter().threshold
        ));
    }
}

pub fn show(options: &Options) -> Result<(), Failure> {
    let opened = Opened::read(options)?;
    if options.json {
        print(format_args!("{:#}", as_json(&opened)));
        return Ok(());
    }
    let (charter, trust) = (opened.charter(), opened.replica.trust());
    print(format_args!("fleet {}: {}", charter.name, opened.id()));
    print(format_args!("folder: {}", opened.folder.display()));
    print(format_args!(
        "charter: version {}, {}; {} of {} root keys sign the next",
        trust.version(),
        trust.last_hash(),
        charter.threshold,
        charter.root.len()
    ));
    let mut rows = Vec::new();
    for key in &charter.root {
        rows.push([
            "root".to_owned(),
            opened.name_of(key),
            held(&opened, key).into(),
            String::new(),
            String::new(),
            String::new(),
        ]);
    }
    for operator in &charter.operators {
        rows.push([
            "operator".to_owned(),
            operator.name.clone(),
            held(&opened, &operator.key).into(),
            operator.roles.to_string(),
            operator.scope.to_string(),
            shown(operator.expires),
        ]);
    }
    let rows: Vec<_> = rows.into_iter().map(|row| row.map(plain).into()).collect();
    print(format_args!(
        "{}",
        table::render(&["", "key", "held", "roles", "scope", "expires"], &rows, false).trim_end()
    ));
    for rule in &charter.rules {
        print(format_args!("rule: {} operators sign a {} from {} nodes on", rule.needed, rule.class, rule.from));
    }
    for release in &charter.releases {
        print(format_args!("releases: {} of root {}", release.product, release.root));
    }
    for relay in &charter.relays {
        print(format_args!("relay: {} with certificate {}", relay.address, relay.pin));
    }
    for seed in &charter.seeds {
        print(format_args!("seed: {} at {}", seed.node, seed.address));
    }
    let members = opened.nodes().iter().filter(|(id, ..)| opened.replica.is_member(id)).count();
    let count = |class| opened.replica.of_class(class).count();
    print(format_args!(
        "nodes: {members}; invites: {}; revocations: {}",
        count(Class::Invite),
        count(Class::Revocation)
    ));
    warn_of_roots(&opened, options);
    Ok(())
}

fn as_json(opened: &Opened) -> Value {
    let (charter, trust) = (opened.charter(), opened.replica.trust());
    let root = charter
        .root
        .iter()
        .map(|key| json!({"key": key.to_string(), "name": opened.name_of(key), "held": held(opened, key)}));
    let operators = charter.operators.iter().map(|operator| operator_as_json(opened, operator));
    let classes = Class::ALL.into_iter().filter(|class| *class != Class::Charter);
    let records: serde_json::Map<String, Value> =
        classes.map(|class| (class.name().to_owned(), opened.replica.of_class(class).count().into())).collect();
    json!({
        "name": charter.name,
        "id": opened.id().to_string(),
        "folder": opened.folder,
        "charter": {
            "version": trust.version(),
            "hash": trust.last_hash().to_string(),
            "threshold": charter.threshold,
            "root": root.collect::<Vec<_>>(),
            "root_keys_together": roots_are_together(opened),
            "operators": operators.collect::<Vec<_>>(),
            "rules": charter.rules.iter().map(|r| json!({"class": r.class.name(), "from": r.from, "needed": r.needed})).collect::<Vec<_>>(),
            "releases": charter.releases.iter().map(|r| json!({"product": r.product, "root": r.root})).collect::<Vec<_>>(),
            "relays": charter.relays.iter().map(|r| json!({"address": r.address, "pin": r.pin})).collect::<Vec<_>>(),
            "seeds": charter.seeds.iter().map(|s| json!({"node": s.node.to_string(), "address": s.address})).collect::<Vec<_>>(),
        },
        "records": records,
        "nodes": opened.nodes().iter().filter(|(id, ..)| opened.replica.is_member(id)).count(),
    })
}

pub fn list(options: &Options) -> Result<(), Failure> {
    let mut rows = Vec::new();
    let mut values = Vec::new();
    let mut failures = Failures::default();
    for folder in known()? {
        let name = fleet_name(&folder);
        let opened = match Opened::at(&folder) {
            Ok(opened) => opened,
            Err(failure) => {
                failures.take(failure);
                continue;
            }
        };
        values.push(
            json!({"name": name, "id": opened.id().to_string(), "folder": folder, "nodes": opened.nodes().len()}),
        );
        rows.push([name, opened.id().to_string(), opened.nodes().len().to_string()].map(plain).into());
    }
    if options.json {
        print(format_args!("{:#}", Value::from(values)));
    } else {
        print(format_args!("{}", table::render(&["fleet", "id", "nodes"], &rows, false).trim_end()));
    }
    failures.finish()
}

/// What `--json` says of an operator.
pub fn operator_as_json(opened: &Opened, operator: &Operator) -> Value {
    let line = PublicKey::ed25519(&operator.key.0).and_then(|key| public_line(&key, &operator.name));
    json!({
        "name": operator.name,
        "key": line,
        "roles": operator.roles.iter().map(|role| role.name()).collect::<Vec<_>>(),
        "scope": operator.scope.to_string(),
        "expires": (operator.expires != 0).then(|| shown(operator.expires)),
        "here": opened.is_at_hand(&operator.key),
    })
}
