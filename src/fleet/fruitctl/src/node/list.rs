//! `fruitctl node list`

use crate::failure::Failure;
use crate::fleet::{Opened, Options, age, candidates, now, shown, tell_age};
use crate::output::print;
use crate::select::{Narrow, Node};
use crate::table::{self, plain};
use crate::watch::Watch;
use clap::{Args, ValueEnum};
use clap_complete::engine::ArgValueCandidates;
use fruit_record::{Body, Class};
use serde_json::{Value, json};
use std::collections::BTreeSet;

#[derive(Args)]
pub struct ListArgs {
    /// Nodes that are meant: labels such as `site=berlin,rack=1` (alternatives with `;`), names, patterns of names such as `pi-*`, ids
    /// or 8 digits of their beginning, `@GROUP`, or `all`.
    #[arg(default_value = "all", value_name = "SELECTOR", add = ArgValueCandidates::new(candidates::choices))]
    nodes: Vec<String>,
    #[command(flatten)]
    narrow: Narrow,
    /// Form of the output.
    #[arg(long, short, value_enum, default_value_t = Form::Table, value_name = "FORM", conflicts_with = "json")]
    output: Form,
    /// Show invites as well.
    #[arg(long)]
    invites: bool,
    #[command(flatten)]
    watch: Watch,
}

#[derive(Clone, Copy, PartialEq, Eq, ValueEnum)]
enum Form {
    /// The most important, for people.
    Table,
    /// More of it, for people.
    Wide,
    Json,
    Yaml,
    /// A line for each node, with a column for each fact.
    Csv,
    /// Names alone.
    Name,
}

impl ListArgs {
    pub fn run(self, options: &Options) -> Result<(), Failure> {
        let form = if options.json { Form::Json } else { self.output };
        let is_view = matches!(form, Form::Table | Form::Wide);
        self.watch.run(!is_view, |clear| {
            let text = self.render(options, form)?;
            if !text.is_empty() {
                print(format_args!("{clear}{text}"));
            }
            Ok(())
        })?;
        if is_view {
            tell_age(options);
        }
        Ok(())
    }

    /// What the records say now.
    fn render(&self, options: &Options, form: Form) -> Result<String, Failure> {
        let opened = Opened::read(options)?;
        let now = now();
        let nodes = self.narrow.choose(&opened, &self.nodes)?;
        let documents = || nodes.iter().map(Node::document).collect::<Vec<_>>();
        let invites = if self.invites { invites(&opened, now) } else { Vec::new() };
        let whole = || match self.invites {
            true => json!({"nodes": documents(), "invites": invites.iter().map(|i| &i.0).collect::<Vec<_>>()}),
            false => Value::from(documents()),
        };
        let mut text = match form {
            Form::Json => return Ok(format!("{:#}", whole())),
            Form::Yaml => return yaml(&whole()),
            Form::Csv => return Ok(csv(&documents())),
            Form::Name => nodes.iter().map(|node| node.name() + "\n").collect(),
            Form::Table => table(&TABLE, &nodes, now),
            Form::Wide => table(&WIDE, &nodes, now),
        };
        if self.invites {
            let rows: Vec<_> = invites.into_iter().map(|(_, cells)| cells.map(plain).into()).collect();
            text.push('\n');
            text.push_str(&table::render(&["invite", "state", "used", "labels", "ends"], &rows, false));
        }
        Ok(text.trim_end().to_owned())
    }
}

/// A column's head, and the fact that it shows; without one it is told by its head.
type Column = (&'static str, &'static str);

const TABLE: [Column; 7] =
    [("node", ""), ("id", ""), ("state", ""), ("labels", ""), ("release", ""), ("health", "health"), ("heard of", "")];
const WIDE: [Column; 15] = [
    ("node", ""),
    ("id", ""),
    ("state", ""),
    ("labels", ""),
    ("release", ""),
    ("slot", "slot"),
    ("health", "health"),
    ("°C", "temperature"),
    ("throttling", "throttling"),
    ("up s", "uptime"),
    ("free MiB", "memory-available"),
    ("wear %", "card-wear"),
    ("serial", ""),
    ("reported", ""),
    ("heard of", ""),
];

fn table(columns: &[Column], nodes: &[Node<'_>], now: u64) -> String {
    let cell = |node: &Node<'_>, column: &Column| match *column {
        ("node", _) => node.member.name.clone(),
        ("id", _) => node.id.short(),
        ("state", _) => node.state.to_owned(),
        ("labels", _) => node.member.labels.to_string(),
        ("release", _) => node.report.map(|report| report.release.clone()).unwrap_or_default(),
        ("serial", _) => node.member.serial.clone(),
        ("reported", _) => age(node.report.map_or(0, |report| report.time), now),
        ("heard of", _) => age(node.heard(), now),
        (_, fact) => node.fact(fact).to_owned(),
    };
    let row = |node: &Node<'_>| columns.iter().map(|column| plain(cell(node, column))).collect();
    let rows: Vec<Vec<_>> = nodes.iter().map(row).collect();
    table::render(&columns.iter().map(|(head, _)| *head).collect::<Vec<_>>(), &rows, false)
}

fn yaml(value: &Value) -> Result<String, Failure> {
    let text = serde_saphyr::to_string(value);
    text.map(|text| text.trim_end().to_owned())
        .map_err(|why| Failure::new(crate::failure::Code::Refused, why.to_string()))
}

/// RFC 4180, with a head.
fn csv(documents: &[Value]) -> String {
    let fields = ["name", "id", "state", "labels", "serial", "release", "reported", "seen"];
    let facts = documents.iter().filter_map(|one| one["facts"].as_object()).flat_map(|facts| facts.keys());
    let facts: BTreeSet<&String> = facts.collect();
    let head = fields.iter().map(|field| (*field).to_owned()).chain(facts.iter().map(|fact| (*fact).clone()));
    let mut lines = vec![head.collect::<Vec<_>>().join(",")];
    for one in documents {
        let values =
            fields.iter().map(|field| &one[*field]).chain(facts.iter().map(|fact| &one["facts"][fact.as_str()]));
        lines.push(values.map(cell).collect::<Vec<_>>().join(","));
    }
    lines.join("\n")
}

fn cell(value: &Value) -> String {
    let text = match value {
        Value::Null => String::new(),
        Value::String(text) => text.clone(),
        Value::Object(labels) => {
            let pair = |(key, value): (&String, &Value)| format!("{key}={}", value.as_str().unwrap_or_default());
            labels.iter().map(pair).collect::<Vec<_>>().join(",")
        }
        other => other.to_string(),
    };
    if text.contains(['"', ',', '\n', '\r']) { format!("\"{}\"", text.replace('"', "\"\"")) } else { text }
}

fn invites(opened: &Opened, now: u64) -> Vec<(Value, [String; 5])> {
    let one = |record: &fruit_record::Verified<fruit_record::Record>| {
        let (Body::Invite(grant), Some(id)) = (record.body(), record.id()) else { return None };
        let used = opened.replica.uses(record.key()).len() as u64;
        let state = match () {
            () if opened.replica.is_revoked(&id, &grant.labels) => "revoked",
            () if !record.is_current(Some(now)) => "expired",
            () if grant.uses != 0 && used >= grant.uses => "used up",
            () => "open",
        };
        let most = if grant.uses == 0 { "any".into() } else { grant.uses.to_string() };
        let value = json!({"id": id.to_string(), "state": state, "used": used, "uses": grant.uses, "labels": grant.labels.to_string()});
        Some((
            value,
            [id.short(), state.into(), format!("{used} of {most}"), grant.labels.to_string(), shown(record.ends())],
        ))
    };
    opened.replica.of_class(Class::Invite).filter_map(one).collect()
}
