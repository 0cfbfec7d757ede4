//! What the agent says of itself.

use std::sync::atomic::Ordering::Relaxed;

use fruit_contract::agent::status::{
    AccountStatus, BoardStatus, ConditionStatus, Deviation, HeartbeatStatus, SignalStatus, Status, WatchdogStatus,
    WithholdingStatus,
};

use crate::account::{Account, Ending};
use crate::clock::{Clock, Monotonic};
use crate::condition::Condition;
use crate::health::State;
use crate::shared_state::SharedState;
use crate::vitals;

fn account_status(account: &Account, writes: u64) -> AccountStatus {
    let total = account.total();
    let by_condition = |condition: Condition| account.withheld_for[condition as usize];
    AccountStatus {
        boots: account.boots,
        previous_ending: account.previous_ending.map(|ending| ending.name().to_owned()),
        previous_uptime_s: account.previous.uptime,
        previous_beats_withheld: account.previous.beats_withheld,
        total_uptime_s: total.uptime,
        total_beats_given: total.beats_given,
        total_beats_withheld: total.beats_withheld,
        endings: Ending::ALL.map(|ending| (ending.name().to_owned(), account.endings[ending as usize])).into(),
        withheld_for: Condition::ALL.map(|condition| (condition.name().to_owned(), by_condition(condition))).into(),
        last_withholding: account.last_withholding.as_ref().map(|last| WithholdingStatus {
            boot: last.boot,
            unix_time: last.at,
            conditions: last.conditions.to_string(),
            detail: last.detail.clone(),
        }),
        writes,
    }
}

/// States of the conditions that the configuration names.
fn conditions(shared: &SharedState) -> Vec<ConditionStatus> {
    let verdict = shared.verdict();
    let hangs = shared.permit.withheld_for(Monotonic.now()).has(Condition::Process);
    let named = Condition::ALL.into_iter().filter_map(|condition| {
        let (state, detail) = match (condition, verdict.as_ref().map(|verdict| &verdict.states[condition as usize])) {
            (Condition::Process, _) if hangs => ("fails", "a thread of the agent hangs"),
            (Condition::Process, _) | (_, Some(State::Holds)) => ("holds", ""),
            (_, None | Some(State::Unnamed)) => return None,
            (_, Some(State::Unmeasured(detail))) => ("unmeasured", detail.as_str()),
            (_, Some(State::Tolerated(detail))) => ("tolerated", detail.as_str()),
            (_, Some(State::Fails(detail))) => ("fails", detail.as_str()),
        };
        Some(ConditionStatus { name: condition.name().to_owned(), state: state.to_owned(), detail: detail.to_owned() })
    });
    named.collect()
}

fn heartbeat(shared: &SharedState, beats: bool) -> HeartbeatStatus {
    let (record, now) = (&shared.record, Monotonic.now());
    let state = match (beats, shared.permit.withheld_for(now).is_empty()) {
        (false, _) => "off",
        (true, true) => "beating",
        (true, false) => "withheld",
    };
    let by_condition = |condition: Condition| record.withheld_for[condition as usize].load(Relaxed);
    let quantile = |per_mille| record.deviation.quantile(per_mille).unwrap_or(0);
    let intervals = record.deviation.count();
    let last = Some(record.last.load(Relaxed)).filter(|last| *last > 0);
    HeartbeatStatus {
        state: state.to_owned(),
        given: record.given.load(Relaxed),
        withheld: record.withheld.load(Relaxed),
        withheld_for: Condition::ALL.map(|condition| (condition.name().to_owned(), by_condition(condition))).into(),
        line_errors: record.errors.load(Relaxed),
        last_beat_ms_ago: last.map(|last| now.saturating_sub(last) / 1_000_000),
        interval_ms: shared.config.heartbeat.interval.millis(),
        deviation_us: (intervals > 0).then(|| Deviation {
            intervals,
            median: quantile(500),
            p99: quantile(990),
            p999: quantile(999),
            max: record.deviation.max(),
        }),
    }
}

/// The state of the agent and its node at this moment.
pub fn of(shared: &SharedState) -> Status {
    let board = shared.board().clone();
    let overlay = shared.config.health.overlay.as_ref().map_or(std::path::Path::new("/"), |named| named.path.path());
    let vitals = vitals::read(&shared.roots, overlay);
    let account = shared.account().clone();
    let ending = shared.ending();
    Status {
        version: env!("CARGO_PKG_VERSION").to_owned(),
        config_error: shared.config_error.clone(),
        heartbeat: heartbeat(shared, board.beats),
        signal: SignalStatus {
            watched: board.watches,
            level: board.signal_level.map(|high| if high { "high" } else { "low" }.to_owned()),
            ordered: ending == Some(Ending::Signal),
        },
        board: BoardStatus { product: board.product, drives_lines: board.drives, error: board.trouble },
        conditions: conditions(shared),
        watchdog: shared.watchdog.get().map(|watchdog| WatchdogStatus {
            timeout_s: watchdog.timeout(),
            fed: watchdog.fed.load(Relaxed),
            withheld: watchdog.withheld.load(Relaxed),
            errors: watchdog.errors.load(Relaxed),
        }),
        ending: ending.map(|ending| ending.name().to_owned()),
        account: account.account.as_ref().map(|found| account_status(found, account.writes)),
        account_error: account.trouble,
        vitals,
    }
}
