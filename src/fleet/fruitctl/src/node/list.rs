//! `fruitctl node list`

use crate::failure::Failure;
use crate::fleet::{Opened, Options, now, shown};
use crate::output::print;
use crate::table::{self, plain};
use clap::Args;
use fruit_record::body::Report;
use fruit_record::{Body, Class, Key, KeyId, Labels, Name, Selector};
use serde_json::{Value, json};

#[derive(Args)]
pub struct ListArgs {
    /// Nodes that are meant: labels such as `site=berlin,rack=1`, alternatives with `;`, or `all`.
    #[arg(default_value = "all", value_name = "SELECTOR")]
    nodes: Selector,
    /// Show invites as well.
    #[arg(long)]
    invites: bool,
}

/// What a node has said of itself last, if it has.
fn report<'o>(opened: &'o Opened, node: &KeyId) -> Option<&'o Report> {
    let key = Key { class: Class::Report, name: Name::Id(*node), domain: Labels::default() };
    match opened.replica.get(&key)?.body() {
        Body::Report(report) => Some(report),
        _ => None,
    }
}

/// How long ago, in the largest unit that fits; `never` if it is not known.
fn age(time: u64, now: u64) -> String {
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
        let opened = Opened::read(options)?;
        let now = now();
        let (mut rows, mut values) = (Vec::new(), Vec::new());
        for (id, _, member) in opened.nodes() {
            if !self.nodes.means(&member.labels.of_node(&id)) {
                continue;
            }
            let state = if opened.replica.is_member(&id) { "member" } else { "revoked" };
            let report = report(&opened, &id);
            let (release, time) = report.map_or(("", 0), |report| (report.release.as_str(), report.time));
            values.push(json!({
                "name": member.name,
                "id": id.to_string(),
                "state": state,
                "labels": member.labels.iter().collect::<std::collections::BTreeMap<_, _>>(),
                "serial": member.serial,
                "invite": member.invite.to_string(),
                "release": report.map(|report| &report.release),
                "reported": (time != 0).then_some(time),
            }));
            let cells = [
                member.name.clone(),
                id.short(),
                state.into(),
                member.labels.to_string(),
                release.into(),
                age(time, now),
            ];
            rows.push(cells.map(plain).into());
        }
        let invites = if self.invites { invites(&opened, now) } else { Vec::new() };
        if options.json {
            let value = if self.invites {
                json!({"nodes": values, "invites": invites.iter().map(|i| &i.0).collect::<Vec<_>>()})
            } else {
                Value::from(values)
            };
            print(format_args!("{value:#}"));
            return Ok(());
        }
        print(format_args!(
            "{}",
            table::render(&["node", "id", "state", "labels", "release", "heard of"], &rows, false).trim_end()
        ));
        if self.invites {
            let rows: Vec<_> = invites.into_iter().map(|(_, cells)| cells.map(plain).into()).collect();
            print(format_args!(
                "\n{}",
                table::render(&["invite", "state", "used", "labels", "ends"], &rows, false).trim_end()
            ));
        }
        Ok(())
    }
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
