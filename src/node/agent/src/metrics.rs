//! The status in the Prometheus text format, version 0.0.4.

use fruit_base::prometheus::{Text, flag};

use fruit_contract::agent::status::{Status, THROTTLE_FLAGS};

use crate::shared_state::SharedState;
use crate::status;

/// Upper ends of the histogram of the beat's deviation, microseconds.
const DEVIATION_ENDS: [u64; 12] = [50, 100, 250, 500, 1_000, 2_500, 5_000, 10_000, 25_000, 50_000, 100_000, 500_000];

/// All metrics at this moment.
pub fn render(shared: &SharedState) -> String {
    let status = status::of(shared);
    let mut text = Text::default();
    text.family("fruit_agent_info", "gauge", "Version of the agent.");
    text.sample("fruit_agent_info", &[("version", &status.version)], 1.0);
    let valid = flag(status.config_error.is_none());
    text.single("fruit_agent_config_valid", "gauge", "0 if the configuration file was refused.", valid);
    if let Some(bytes) = status.vitals.agent_resident {
        text.single("fruit_agent_resident_bytes", "gauge", "Memory of the agent in RAM.", bytes as f64);
    }
    beat(&mut text, shared, &status);
    account(&mut text, &status);
    vitals(&mut text, &status);
    text.into_string()
}

fn beat(text: &mut Text, shared: &SharedState, status: &Status) {
    let beat = &status.heartbeat;
    text.single(
        "fruit_board_in_use",
        "gauge",
        "Whether the board's lines are driven.",
        flag(status.board.drives_lines),
    );
    text.single("fruit_heartbeat_beating", "gauge", "Whether beats are given.", flag(beat.state == "beating"));
    text.family("fruit_heartbeat_beats_total", "counter", "Beats since the agent started.");
    text.sample("fruit_heartbeat_beats_total", &[("outcome", "given")], beat.given as f64);
    text.sample("fruit_heartbeat_beats_total", &[("outcome", "withheld")], beat.withheld as f64);
    text.family("fruit_heartbeat_withheld_total", "counter", "Withheld beats by the condition that failed.");
    for (condition, count) in &beat.withheld_for {
        text.sample("fruit_heartbeat_withheld_total", &[("condition", condition)], *count as f64);
    }
    let errors = beat.line_errors as f64;
    text.single("fruit_heartbeat_line_errors_total", "counter", "Times that the line could not be set.", errors);
    if let Some(ago) = beat.last_beat_ms_ago {
        let age = ago as f64 / 1_000.0;
        text.single("fruit_heartbeat_last_beat_age_seconds", "gauge", "Time since the last beat.", age);
    }
    let name = "fruit_heartbeat_interval_deviation_seconds";
    text.family(name, "histogram", "How far intervals between beats were from nominal.");
    let deviation = &shared.record.deviation;
    let seconds = |micros: u64| micros as f64 / 1e6;
    // The buckets before the whole: a beat in between must not make a bucket exceed it.
    let buckets = DEVIATION_ENDS.map(|end| (end, deviation.at_most(end)));
    let (count, sum) = (deviation.count(), deviation.sum());
    for (end, below) in buckets {
        text.sample(&format!("{name}_bucket"), &[("le", &seconds(end).to_string())], below as f64);
    }
    text.sample(&format!("{name}_bucket"), &[("le", "+Inf")], count as f64);
    text.sample(&format!("{name}_sum"), &[], seconds(sum));
    text.sample(&format!("{name}_count"), &[], count as f64);
    text.family("fruit_condition_holds", "gauge", "0 if the condition withholds the beat.");
    for condition in &status.conditions {
        text.sample("fruit_condition_holds", &[("condition", &condition.name)], flag(condition.state != "fails"));
    }
    text.single("fruit_signal_ordered", "gauge", "Whether the board ordered a shutdown.", flag(status.signal.ordered));
    if let Some(level) = &status.signal.level {
        text.single("fruit_signal_level", "gauge", "Level of the signal line.", flag(level == "high"));
    }
    if let Some(watchdog) = &status.watchdog {
        text.family("fruit_watchdog_feeds_total", "counter", "Feeds of the hardware watchdog.");
        for (outcome, count) in [("fed", watchdog.fed), ("withheld", watchdog.withheld), ("error", watchdog.errors)] {
            text.sample("fruit_watchdog_feeds_total", &[("outcome", outcome)], count as f64);
        }
    }
}

fn account(text: &mut Text, status: &Status) {
    let Some(account) = &status.account else { return };
    text.single("fruit_boots_total", "counter", "Boots of this node.", f64::from(account.boots));
    text.family("fruit_boots_ended_total", "counter", "Earlier boots by how they ended.");
    for (reason, count) in &account.endings {
        text.sample("fruit_boots_ended_total", &[("reason", reason)], f64::from(*count));
    }
    if let Some(ending) = &account.previous_ending {
        text.family("fruit_boot_previous_ending", "gauge", "How the previous boot ended.");
        text.sample("fruit_boot_previous_ending", &[("reason", ending)], 1.0);
    }
    let name = "fruit_account_beats_withheld_total";
    text.single(name, "counter", "Beats withheld over all boots.", account.total_beats_withheld as f64);
    let uptime = account.total_uptime_s as f64;
    text.single("fruit_account_uptime_seconds_total", "counter", "Uptime over all boots.", uptime);
    text.single("fruit_account_writes_total", "counter", "Writes of the account.", account.writes as f64);
}

fn vitals(text: &mut Text, status: &Status) {
    let vitals = &status.vitals;
    if let Some(uptime) = vitals.uptime {
        text.single("fruit_contract_uptime_seconds", "gauge", "Time since the kernel started.", uptime);
    }
    if let Some(low) = vitals.under_voltage {
        text.single("fruit_soc_under_voltage", "gauge", "Under-voltage seen by the SoC.", flag(low));
    }
    if let Some(flags) = vitals.throttled {
        text.family("fruit_soc_throttle", "gauge", "Flags of the firmware.");
        for (bit, name) in THROTTLE_FLAGS {
            text.sample("fruit_soc_throttle", &[("flag", name)], flag(flags >> bit & 1 != 0));
        }
    }
    if !vitals.temperatures.is_empty() {
        text.family("fruit_temperature_celsius", "gauge", "Temperature of a zone.");
        for (index, sensor) in vitals.temperatures.iter().enumerate() {
            let labels = [("zone", sensor.zone.as_str()), ("index", &index.to_string())];
            text.sample("fruit_temperature_celsius", &labels, sensor.celsius);
        }
    }
    if let Some(bytes) = vitals.memory_total {
        text.single("fruit_memory_total_bytes", "gauge", "Memory of the node.", bytes as f64);
    }
    if let Some(bytes) = vitals.memory_available {
        text.single("fruit_memory_available_bytes", "gauge", "Memory that can be had without swapping.", bytes as f64);
    }
    if let Some(percent) = vitals.overlay_used_percent {
        text.single("fruit_overlay_used_ratio", "gauge", "Fill of the writable root.", percent / 100.0);
    }
    if vitals.disks.iter().any(|disk| !disk.life_used_percent.is_empty()) {
        text.family("fruit_disk_life_used_ratio", "gauge", "Upper end of the life used, per area of the card.");
        for disk in &vitals.disks {
            for (area, percent) in ["a", "b"].iter().zip(&disk.life_used_percent) {
                let labels = [("device", disk.device.as_str()), ("area", area)];
                text.sample("fruit_disk_life_used_ratio", &labels, f64::from(*percent) / 100.0);
            }
        }
    }
    if vitals.disks.iter().any(|disk| disk.pre_eol.is_some()) {
        text.family("fruit_disk_pre_eol", "gauge", "Reserve blocks: 1 normal, 2 warning, 3 urgent.");
        for disk in &vitals.disks {
            if let Some(level) = disk.pre_eol {
                text.sample("fruit_disk_pre_eol", &[("device", &disk.device)], f64::from(level));
            }
        }
    }
}
