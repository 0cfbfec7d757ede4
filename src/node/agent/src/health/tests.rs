use fruit_contract::agent::config::{AgentConfig, Stall, Window};
use fruit_device::systemd::UnitState;

use super::*;

fn config(health: &str) -> Health {
    AgentConfig::from_yaml(&format!("health: {health}\n"), "test").unwrap().health
}

fn unit(name: &str, active: &str) -> UnitState {
    UnitState { name: name.to_owned(), active: active.to_owned(), job: String::new() }
}

fn state(state: &str) -> Observation {
    Observation { system_state: Some(Ok(state.to_owned())), ..Observation::default() }
}

fn fails(finding: &Finding) -> bool {
    matches!(finding, Finding::Fails(_))
}

#[test]
fn the_state_of_systemd_fails_as_the_configuration_asks() {
    for (asked, seen, expected) in [
        ("answering", "running", false),
        ("answering", "degraded", false),
        ("answering", "starting", false),
        ("answering", "initializing", false),
        ("answering", "stopping", false),
        ("answering", "maintenance", true),
        ("not-degraded", "degraded", true),
        ("not-degraded", "running", false),
        ("ignore", "maintenance", false),
    ] {
        let findings = find(&config(&format!("{{ systemd: {asked} }}")), &state(seen));
        assert_eq!(fails(&findings[Condition::Systemd as usize]), expected, "{asked} {seen}");
    }
    let silent = Observation { system_state: Some(Err("no answer in time".to_owned())), ..Observation::default() };
    let findings = find(&config("{}"), &silent);
    assert_eq!(
        findings[Condition::Systemd as usize],
        Finding::Fails("systemd does not answer: no answer in time".to_owned())
    );
}

#[test]
fn every_named_unit_must_be_active() {
    let config = config("{ units: [a.service, b.service, c.service] }");
    let seen = |units| Observation { units: Some(Ok(units)), ..Observation::default() };
    let all = find(
        &config,
        &seen(vec![unit("b.service", "reloading"), unit("a.service", "active"), unit("c.service", "active")]),
    );
    assert_eq!(all[Condition::Units as usize], Finding::Holds);
    let some = find(&config, &seen(vec![unit("a.service", "failed"), unit("b.service", "active")]));
    assert_eq!(
        some[Condition::Units as usize],
        Finding::Fails("a.service is failed, c.service is inactive".to_owned())
    );
}

#[test]
fn limits_fail_at_the_limit_and_hold_when_nothing_can_be_measured() {
    let config = config("{ memory: { limit: 40% }, overlay: { limit: 90% } }");
    for (reading, expected) in [(39.99, false), (40.0, true), (100.0, true)] {
        let seen = Observation { memory: Some(Reading::Percent(reading)), ..Observation::default() };
        assert_eq!(fails(&find(&config, &seen)[Condition::Memory as usize]), expected, "{reading}");
    }
    let seen = Observation {
        memory: Some(Reading::Unreadable("no file".to_owned())),
        overlay: Some(Reading::Percent(90.0)),
        ..Observation::default()
    };
    let findings = find(&config, &seen);
    assert_eq!(findings[Condition::Memory as usize], Finding::Unmeasured("no file".to_owned()));
    assert_eq!(
        findings[Condition::Overlay as usize],
        Finding::Fails("fill of / is 90.0%, the limit is 90%".to_owned())
    );
    let mut judge = Judge::default();
    let verdict = judge.judge(&config, &findings, at(10_000_000));
    assert!(!verdict.failing().has(Condition::Memory));
    assert_eq!(verdict.detail(Condition::Memory), "no file");
}

#[test]
fn conditions_that_are_not_named_never_fail() {
    let seen = Observation {
        system_state: Some(Ok("maintenance".to_owned())),
        memory: Some(Reading::Percent(100.0)),
        overlay: Some(Reading::Percent(100.0)),
        ..Observation::default()
    };
    let findings = find(&config("{ systemd: ignore }"), &seen);
    assert!(findings.iter().all(|finding| !fails(finding)));
}

fn at(now: u64) -> Moments {
    Moments { now, started: 0, ending: None }
}

fn failing(condition: Condition) -> Findings {
    let mut findings = [const { Finding::Holds }; Condition::COUNT];
    findings[condition as usize] = Finding::Fails("so".to_owned());
    findings
}

const WELL: Findings = [const { Finding::Holds }; Condition::COUNT];

#[test]
fn a_condition_must_fail_without_a_break_for_the_patience() {
    let config = config("{ patience: 20s, grace: 0ms }");
    let mut judge = Judge::default();
    for (now, findings, expected) in [
        (0, failing(Condition::Memory), false),
        (19_999, failing(Condition::Memory), false),
        (20_000, failing(Condition::Memory), true),
        (25_000, WELL, false),
        (30_000, failing(Condition::Memory), false),
        (49_999, failing(Condition::Memory), false),
        (50_000, failing(Condition::Memory), true),
    ] {
        assert_eq!(!judge.judge(&config, &findings, at(now)).failing().is_empty(), expected, "{now}");
    }
}

#[test]
fn a_booting_node_may_lack_systemd_and_units_but_not_memory() {
    let config = config("{ patience: 0ms, grace: 2min }");
    for (condition, now, expected) in [
        (Condition::Systemd, 119_999, false),
        (Condition::Systemd, 120_000, true),
        (Condition::Units, 119_999, false),
        (Condition::Units, 120_000, true),
        (Condition::Memory, 1_000, true),
        (Condition::Overlay, 1_000, true),
    ] {
        let verdict = Judge::default().judge(&config, &failing(condition), at(now));
        assert_eq!(verdict.failing().has(condition), expected, "{condition:?} {now}");
    }
}

#[test]
fn a_node_going_down_may_lack_systemd_and_units_but_must_come_to_an_end() {
    let config = config("{ patience: 0ms, grace: 0ms, shutdown: 1min }");
    let ending = |now| Moments { now, started: 0, ending: Some(1_000_000) };
    let mut judge = Judge::default();
    for condition in [Condition::Systemd, Condition::Units] {
        assert!(judge.judge(&config, &failing(condition), ending(1_060_000)).failing().is_empty());
    }
    let verdict = judge.judge(&config, &WELL, ending(1_060_001));
    assert!(verdict.failing().has(Condition::Shutdown));
    assert_eq!(verdict.detail(Condition::Shutdown), "the shutdown takes 60 s, the limit is 1min");
}

#[test]
fn pressure_is_read_from_the_kernels_text() {
    let text = "some avg10=1.50 avg60=12.00 avg300=3.25 total=123\nfull avg10=0.00 avg60=99.99 avg300=100.00 total=5\n";
    assert_eq!(observe::pressure(text, Stall::Some, Window::Avg60), Some(12.0));
    assert_eq!(observe::pressure(text, Stall::Full, Window::Avg300), Some(100.0));
    for text in ["", "full avg10=x", "full avg60=101", "full avg60=NaN", "full"] {
        assert_eq!(observe::pressure(text, Stall::Full, Window::Avg60), None, "{text}");
    }
}

#[test]
fn a_share_used_is_a_share() {
    let share = observe::share_used(std::path::Path::new("/")).unwrap();
    assert!((0.0..=100.0).contains(&share));
    assert!(observe::share_used(std::path::Path::new("/nowhere")).unwrap_err().starts_with("/nowhere"));
}
