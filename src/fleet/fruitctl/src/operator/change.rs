//! `fruitctl operator add` and `remove`: a new charter.

use crate::failure::Failure;
use crate::fleet::{
    CharterArgs, Moment, Next, Opened, Options, adopt, candidates, public_key, set_clock, shown, usage,
};
use crate::output::print;
use clap::Args;
use clap_complete::engine::ArgValueCandidates;
use fruit_record::body::Operator;
use fruit_record::wire::is_name;
use fruit_record::{Class, Role, Roles, Selector};
use serde_json::json;

#[derive(Args)]
pub struct AddArgs {
    /// Name of the operator. One that is there is changed.
    #[arg(add = ArgValueCandidates::new(candidates::operators))]
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
    #[command(flatten)]
    charter: CharterArgs,
}

#[derive(Args)]
pub struct RemoveArgs {
    /// Name of the operator.
    #[arg(add = ArgValueCandidates::new(candidates::operators))]
    name: String,
    #[command(flatten)]
    charter: CharterArgs,
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

/// When an operator ends: not in the past, for then nothing that was signed would count from now on.
fn ending(moment: Moment) -> Result<u64, Failure> {
    let now = set_clock()?;
    match moment.seconds(now) {
        0 => Ok(0),
        past if past <= now => {
            Err(usage(format!("--expires: {} is over; take an operator out with `operator remove`", shown(past))))
        }
        ends => Ok(ends),
    }
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
            (Some(text), _) => public_key(text)?,
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
        let expires = match self.expires {
            Some(moment) => ending(moment)?,
            None => kept,
        };
        let operator = Operator { name: self.name, key, roles, scope: scope.unwrap_or_else(Selector::all), expires };
        charter.operators.push(operator.clone());
        charter.operators.sort_by(|a, b| a.name.cmp(&b.name));
        if matches!(adopt(&mut opened, charter, &self.charter, options)?, Next::Waits) {
            return Ok(());
        }
        if expires != 0 && roles.have(Role::Enrol) {
            let enrolled = opened.replica.of_class(Class::Member).filter(|record| record.ends() == expires).count();
            options.say(format_args!(
                "note: what {} signs ends to count on {}: members too ({enrolled} so far), unless somebody else signs them as well",
                operator.name,
                shown(expires)
            ));
        }
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
        let Next::Taken { renewed, void } = adopt(&mut opened, charter, &self.charter, options)? else { return Ok(()) };
        if options.json {
            print(format_args!("{:#}", json!({"removed": name, "signed_anew": renewed, "void": void})));
        } else {
            let version = opened.replica.trust().version();
            print(format_args!(
                "{name}: removed; {renewed} records were signed anew, {void} are void; charter {version}"
            ));
        }
        Ok(())
    }
}
