//! `fruitctl fleet rule`

use super::charter::Next;
use super::{CharterArgs, Opened, Options, adopt, usage};
use crate::failure::Failure;
use crate::output::print;
use clap::Args;
use fruit_record::Class;
use fruit_record::body::{Charter, Rule};
use fruit_record::class::Signers;
use serde_json::json;

#[derive(Args)]
pub struct RuleArgs {
    /// Class of records: recall, halt, revocation, plan, job, config, …
    class: String,
    /// How many operators have to sign one; 1 takes the rule away.
    #[arg(value_parser = clap::value_parser!(u64).range(1..=16))]
    needed: u64,
    /// From this number of nodes on: for plans, which say how many they reach.
    #[arg(long, default_value_t = 0, value_name = "NODES")]
    from: u64,
    #[command(flatten)]
    charter: CharterArgs,
}

impl RuleArgs {
    pub fn run(self, options: &Options) -> Result<(), Failure> {
        let signed = |class: &Class| matches!(class.signers(), Signers::Operators(_));
        let class = Class::from_name(&self.class).filter(signed).ok_or_else(|| {
            let names: Vec<&str> = Class::ALL.iter().filter(|class| signed(class)).map(|class| class.name()).collect();
            usage(format!("{:?} is no class that operators sign; there are {}", self.class, names.join(", ")))
        })?;
        let mut opened = Opened::change(options)?;
        let mut charter = opened.charter().clone();
        charter.rules.retain(|rule| (rule.class, rule.from) != (class, self.from));
        if self.needed > 1 {
            charter.rules.push(Rule { class, from: self.from, needed: self.needed });
            charter.rules.sort_unstable();
            enough_operators(&charter, class, self.needed)?;
        }
        let next = adopt(&mut opened, charter, &self.charter, options)?;
        let rules = &opened.charter().rules;
        if matches!(next, Next::Waits) {
            return Ok(());
        }
        if options.json {
            let rules: Vec<_> = rules
                .iter()
                .map(|rule| json!({"class": rule.class.name(), "from": rule.from, "needed": rule.needed}))
                .collect();
            print(format_args!("{:#}", json!(rules)));
        } else {
            let version = opened.replica.trust().version();
            print(format_args!("{class}: {} operators sign one; charter {version}", self.needed));
        }
        Ok(())
    }
}

/// A rule that nobody can fulfil stops what it was to protect.
fn enough_operators(charter: &Charter, class: Class, needed: u64) -> Result<(), Failure> {
    let Signers::Operators(role) = class.signers() else { return Ok(()) };
    let able: Vec<&str> = charter
        .operators
        .iter()
        .filter(|operator| operator.roles.have(role) && operator.scope.is_all())
        .map(|operator| operator.name.as_str())
        .collect();
    if able.len() as u64 >= needed {
        return Ok(());
    }
    let names = if able.is_empty() { "none".to_owned() } else { able.join(", ") };
    Err(usage(format!(
        "{needed} operators with the role {role} for all nodes would have to sign a {class}, and there are {} ({names})",
        able.len()
    )))
}
