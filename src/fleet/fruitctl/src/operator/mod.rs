//! `fruitctl operator`: who may sign what.

mod change;

use crate::failure::{Code, EXIT_CODES, Failure};
use crate::fleet::{Opened, Options, operator_as_json, shown};
use crate::output::print;
use crate::table::{self, plain};
use clap::{Args, Subcommand};
use fruit_record::body::Operator;
use fruit_record::wire::is_name;
use fruit_release::keys::passphrase::ask;
use fruit_release::keys::public_line;
use serde_json::{Value, json};

#[derive(Args)]
#[command(after_help = EXIT_CODES)]
pub struct OperatorArgs {
    #[command(flatten)]
    options: Options,
    #[command(subcommand)]
    verb: OperatorVerb,
}

#[derive(Subcommand)]
enum OperatorVerb {
    /// Make a key for yourself in the fleet's folder, or show it: somebody who has the root keys adds you with it.
    Key(KeyArgs),
    /// Add an operator, or change one: roles, scope and expiry. Root keys sign it.
    Add(change::AddArgs),
    /// List the operators.
    List,
    /// Take an operator out. Root keys sign it. What nobody else has signed is void, or you sign it anew.
    Remove(change::RemoveArgs),
}

#[derive(Args)]
pub struct KeyArgs {
    /// Your name as an operator.
    name: String,
}

impl OperatorArgs {
    pub fn run(self) -> Result<(), Failure> {
        let options = &self.options;
        match self.verb {
            OperatorVerb::Key(args) => args.run(options),
            OperatorVerb::Add(args) => args.run(options),
            OperatorVerb::List => list(options),
            OperatorVerb::Remove(args) => args.run(options),
        }
    }
}

impl KeyArgs {
    fn run(self, options: &Options) -> Result<(), Failure> {
        if !is_name(&self.name) {
            let name = &self.name;
            return Err(crate::fleet::usage(format!("{name:?} is no name: letters, digits, `-`, `_` and `.`")));
        }
        let mut opened = Opened::change(options)?;
        if opened.store.entry(&self.name).is_err() {
            let passphrase = ask(options.passphrase_file(), "the new key", true);
            let passphrase = passphrase.map_err(|why| Failure::new(Code::Refused, why.to_string()))?;
            opened.store.make(&self.name, &passphrase)?;
            opened.store.save(None)?;
        }
        let entry = opened.store.entry(&self.name)?;
        let line = public_line(&entry.public, &self.name).unwrap_or_default();
        if options.json {
            print(format_args!("{:#}", json!({"name": self.name, "key": line})));
        } else {
            print(format_args!("{line}"));
        }
        Ok(())
    }
}

fn list(options: &Options) -> Result<(), Failure> {
    let opened = Opened::read(options)?;
    let operators = &opened.charter().operators;
    if options.json {
        let all: Vec<Value> = operators.iter().map(|operator| operator_as_json(&opened, operator)).collect();
        print(format_args!("{:#}", Value::from(all)));
        return Ok(());
    }
    let row = |operator: &Operator| {
        let here = if opened.is_at_hand(&operator.key) { "here" } else { "" };
        let (roles, scope) = (operator.roles.to_string(), operator.scope.to_string());
        [operator.name.clone(), roles, scope, shown(operator.expires), here.into()].map(plain).into()
    };
    let rows: Vec<_> = operators.iter().map(row).collect();
    print(format_args!(
        "{}",
        table::render(&["operator", "roles", "scope", "expires", "key"], &rows, false).trim_end()
    ));
    Ok(())
}
