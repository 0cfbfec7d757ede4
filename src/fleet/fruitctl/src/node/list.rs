//! `fruitctl node list`

use crate::failure::Failure;
use crate::fleet::{Opened, Options, candidates, now, shown};
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

/// How long ago, in the largest unit that fits; `never` if it is not known.
pub fn age(time: u64, now: u64) -> String {
    let seconds = now.saturating_sub(time);
    match (time, seconds) {
        (0, _) => "never".into(),
        (_, 0..60) => format!("{seconds}s"),
        (_, 60..3600) => format!("{}min", seconds / 60),
        (_, 3600..86_400) => format!("{}h", seconds / 3600),
        _ => format!("{}d", seconds / 86_400),
    }
}

impl ListArgs {
    pub fn run(self, options: &Options) -> Result<(), Failure> {
        self.watch.run(options.json, |clear| {
            let text = self.render(options)?;
            print(format_args!("{clear}{text}"));
            Ok(())
        })
    }

    /// What the records say now.
    fn render(&self, options: &Options) -> Result<String, Failure> {
        let opened = Opened::read(options)?;
        let now = now();
        let (mut rows, mut values) = (Vec::new(), Vec::new());
        for (id, record, member) in opened.nodes() {
            if self.nodes.means(&member.labels.of_node(&id)) {
                let (value, cells) = node(&opened, &id, record, member, now);
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
fn node(opened: &Opened, id: &KeyId, record: &Record, member: &Member, now: u64) -> (Value, [String; 6]) {
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
    });
    let labels = member.labels.to_string();
    (value, [member.name.clone(), id.short(), state.into(), labels, release.into(), age(time, now)])
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

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn ages_are_in_the_largest_unit() {
        let ages = [(0, 5), (95, 100), (100, 400), (1, 8000), (1, 200_000), (100, 5)].map(|(time, now)| age(time, now));
        assert_eq!(ages, ["never", "5s", "5min", "2h", "2d", "0s"]);
    }
}
