//! `fruitctl node list`

use crate::failure::Failure;
use crate::fleet::{Known, Opened, Options, age, candidates, now, shown, tell_age};
use crate::output::print;
use crate::table::{self, plain};
use crate::watch::Watch;
use clap::Args;
use clap_complete::engine::ArgValueCandidates;
use fruit_record::body::{Member, Report};
use fruit_record::{Body, Class, Key, KeyId, Labels, Name, Record, Selector};
use serde_json::{Value, json};

#[derive(Args)]
pub struct ListArgs {
    /// Nodes that are meant: labels such as `site=berlin,rack=1`, alternatives with `;`, or `all`.
    #[arg(default_value = "all", value_name = "SELECTOR", add = ArgValueCandidates::new(candidates::selectors))]
    nodes: Selector,
    /// Show invites as well.
    #[arg(long)]
    invites: bool,
    #[command(flatten)]
    watch: Watch,
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

impl ListArgs {
    pub fn run(self, options: &Options) -> Result<(), Failure> {
        self.watch.run(options.json, |clear| {
            let text = self.render(options)?;
            print(format_args!("{clear}{text}"));
            Ok(())
        })?;
        tell_age(options);
        Ok(())
    }

    /// What the records say now.
    fn render(&self, options: &Options) -> Result<String, Failure> {
        let opened = Opened::read(options)?;
        let (now, known) = (now(), Known::read(&opened.folder));
        let (mut rows, mut values) = (Vec::new(), Vec::new());
        for (id, record, member) in opened.nodes() {
            if self.nodes.means(&member.labels.of_node(&id)) {
                let (value, cells) = node(&opened, &id, record, member, known.seen(&id), now);
                values.push(value);
                rows.push(cells.map(plain).into());
            }
        }
        let invites = if self.invites { invites(&opened, now) } else { Vec::new() };
        if options.json {
            let value = if self.invites {
                json!({"nodes": values, "invites": invites.iter().map(|i| &i.0).collect::<Vec<_>>()})
            } else {
                Value::from(values)
            };
            return Ok(format!("{value:#}"));
        }
        let mut text = table::render(&["node", "id", "state", "labels", "release", "heard of"], &rows, false);
        if self.invites {
            let rows: Vec<_> = invites.into_iter().map(|(_, cells)| cells.map(plain).into()).collect();
            text.push('\n');
            text.push_str(&table::render(&["invite", "state", "used", "labels", "ends"], &rows, false));
        }
        Ok(text.trim_end().to_owned())
    }
}

/// A node, for `--json` and for the table.
fn node(opened: &Opened, id: &KeyId, record: &Record, member: &Member, seen: u64, now: u64) -> (Value, [String; 6]) {
    let state = state(opened, record, now);
    let report = report(opened, id);
    let (release, time) = report.map_or(("", 0), |report| (report.release.as_str(), report.time));
    let value = json!({
        "name": member.name,
        "id": id.to_string(),
        "state": state,
        "expires": (record.ends() != 0).then(|| shown(record.ends())),
        "labels": member.labels.iter().collect::<std::collections::BTreeMap<_, _>>(),
        "serial": member.serial,
        "invite": member.invite.to_string(),
        "release": report.map(|report| &report.release),
        "reported": (time != 0).then_some(time),
        "seen": (seen != 0).then_some(seen),
    });
    let labels = member.labels.to_string();
    (value, [member.name.clone(), id.short(), state.into(), labels, release.into(), age(time.max(seen), now)])
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
