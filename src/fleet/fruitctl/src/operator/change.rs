//! `fruitctl operator add` and `remove`: a new charter.

use crate::failure::{Code, Failure};
use crate::fleet::{Moment, Opened, Options, Signer, at, now, usage};
use crate::output::print;
use clap::Args;
use fruit_record::body::{Body, Charter, Operator};
use fruit_record::class::Signers;
use fruit_record::wire::is_name;
use fruit_record::{Draft, KeyId, Record, Role, Roles, Selector};
use fruit_release::keys::read_public_line;
use serde_json::json;
use std::path::Path;

#[derive(Args)]
pub struct AddArgs {
    /// Name of the operator. One that is there is changed.
    name: String,
    /// Public key: `ssh-ed25519 AAAA…`, or a file with it. May be left out for an operator who is there.
    #[arg(long)]
    key: Option<String>,
    /// What the operator may do: view, run, config, deploy, power, enrol, admin; or `all`.
    #[arg(long, value_delimiter = ',', value_name = "ROLE,…")]
    roles: Vec<String>,
    /// Nodes for which that holds: labels such as `site=berlin,rack=1`, alternatives with `;`, or `all`.
    #[arg(long, value_name = "SELECTOR")]
    scope: Option<Selector>,
    /// When all that the operator has signed ends to count: 90d, 2027-01-31 or never.
    #[arg(long, value_name = "TIME")]
    expires: Option<Moment>,
}

#[derive(Args)]
pub struct RemoveArgs {
    /// Name of the operator.
    name: String,
}

fn roles(names: &[String]) -> Result<Roles, Failure> {
    if names.iter().any(|name| name == "all") {
        return Ok(Roles::all());
    }
    let role = |name: &String| {
        Role::from_name(name).ok_or_else(|| {
            let all = Role::ALL.map(Role::name).join(", ");
            usage(format!("{name:?} is no role; there are {all}, and `all`"))
        })
    };
    names.iter().map(role).collect()
}

/// A public key, as a line or in a file.
fn key(text: &str) -> Result<KeyId, Failure> {
    let line = match text.starts_with("ssh-") {
        true => text.to_owned(),
        false => std::fs::read_to_string(text).map_err(at(Path::new(text)))?,
    };
    let public = read_public_line(line.trim()).and_then(|key| key.as_ed25519().copied());
    public.map(KeyId).ok_or_else(|| usage(format!("{text}: no public key of the form `ssh-ed25519 AAAA…`")))
}

impl AddArgs {
    pub fn run(self, options: &Options) -> Result<(), Failure> {
        if !is_name(&self.name) {
            return Err(usage(format!("{:?} is no name: letters, digits, `-`, `_` and `.`", self.name)));
        }
        let mut opened = Opened::change(options)?;
        let mut charter = opened.charter().clone();
        let before = charter.operators.iter().position(|operator| operator.name == self.name);
        let before = before.map(|at| charter.operators.remove(at));
        let key = match (&self.key, &before) {
            (Some(text), _) => key(text)?,
            (None, Some(before)) => before.key,
            (None, None) => {
                return Err(usage(format!("{}: name the public key of a new operator with --key", self.name)));
            }
        };
        let roles = match (self.roles.is_empty(), &before) {
            (true, Some(before)) => before.roles,
            (true, None) => return Err(usage(format!("{}: name what a new operator may do with --roles", self.name))),
            (false, _) => roles(&self.roles)?,
        };
        let scope = self.scope.or_else(|| before.as_ref().map(|before| before.scope.clone()));
        let kept = before.as_ref().map_or(0, |before| before.expires);
        let expires = self.expires.map_or(kept, |moment| moment.seconds(now()));
        let operator = Operator { name: self.name, key, roles, scope: scope.unwrap_or_else(Selector::all), expires };
        charter.operators.push(operator.clone());
        charter.operators.sort_by(|a, b| a.name.cmp(&b.name));
        adopt(&mut opened, charter, options)?;
        if options.json {
            print(format_args!("{:#}", crate::fleet::operator_as_json(&opened, &operator)));
        } else {
            let version = opened.replica.trust().version();
            print(format_args!("{}: {} for {}; charter {version}", operator.name, operator.roles, operator.scope));
        }
        Ok(())
    }
}

impl RemoveArgs {
    pub fn run(self, options: &Options) -> Result<(), Failure> {
        let mut opened = Opened::change(options)?;
        let name = opened.operator(&self.name)?.name.clone();
        let mut charter = opened.charter().clone();
        charter.operators.retain(|operator| operator.name != name);
        let (renewed, lost) = adopt(&mut opened, charter, options)?;
        if options.json {
            print(format_args!("{:#}", json!({"removed": name, "signed_anew": renewed, "void": lost})));
        } else {
            let version = opened.replica.trust().version();
            print(format_args!("{name}: removed; {renewed} records were signed anew; charter {version}"));
        }
        Ok(())
    }
}

/// Has the next charter signed by root keys and takes it. What it makes void is signed anew by who signs now, if it may be.
/// Returns how many records were signed anew, and how many are void.
fn adopt(opened: &mut Opened, charter: Charter, options: &Options) -> Result<(usize, usize), Failure> {
    let signer = Signer::new(&opened.store, options)?;
    let (root, threshold) = (charter.root.clone(), charter.threshold);
    let draft = Draft::new(opened.replica.next_charter(), Body::Charter(Box::new(charter)))?;
    let here = root.iter().filter(|key| signer.has(opened, key)).count() as u64;
    if here < threshold {
        let mut away: Vec<String> =
            root.iter().filter(|key| !signer.has(opened, key)).map(|key| opened.name_of(key)).collect();
        away.sort_unstable();
        let message = format!(
            "a charter needs {threshold} root keys, and {here} are here; name the file of another one with --key-file ({})",
            away.join(", ")
        );
        return Err(Failure::new(Code::Refused, message));
    }
    let fleet = opened.id();
    let signed = signer.sign(&fleet, std::slice::from_ref(&draft), &root)?;
    let before: Vec<Record> = opened.replica.records().map(|record| (**record).clone()).collect();
    signed.iter().try_for_each(|charter| opened.take(charter))?;
    let gone: Vec<&Record> = before.iter().filter(|record| opened.replica.get(record.key()).is_none()).collect();
    let (of_nodes, of_operators): (Vec<&Record>, Vec<&Record>) =
        gone.into_iter().partition(|record| record.class().signers() == Signers::Node);
    let mut renewed = 0;
    if !of_operators.is_empty() {
        let keys: Vec<KeyId> = signer.operators(opened)?.iter().map(|operator| operator.key).collect();
        // The same content, signed by somebody else, is the same record.
        let next = |record: &&Record| Draft::new(record.head().clone(), record.body().clone());
        let drafts = of_operators.iter().map(next).collect::<Result<Vec<Draft>, _>>()?;
        let signed = signer.sign(&fleet, &drafts, &keys)?;
        renewed = signed.iter().filter(|bytes| opened.take(bytes).is_ok()).count();
    }
    // What nodes have signed stands again, as soon as they are members again.
    of_nodes.iter().for_each(|record| drop(opened.replica.offer(&record.encode())));
    let lost = of_operators.len() - renewed;
    if lost > 0 {
        options.say(format_args!(
            "note: {lost} records are void that this operator alone had signed, and that you may not sign"
        ));
    }
    opened.save()?;
    Ok((renewed, lost))
}
