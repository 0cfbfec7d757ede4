//! Looking, installing, restarting and copying.

use super::*;

const SUNDAY: &str = "windows: [Sun 01:00-02:00]\n";

/// A time of the week: within that window, or outside.
fn sunday(hour: u32) -> Option<WeekMinute> {
    Some(WeekMinute::new(6, hour, 30))
}

#[test]
fn what_stands_against_disturbing_the_node() {
    use Policy::{Auto, Manual, Window};
    let (window, clock) = ("a window (Sun 01:00-02:00)", "the clock to be set, since there are windows");
    let ignore = format!("{SUNDAY}without_clock: ignore\n");
    let backup = ["backup (runs)"];
    type Row<'t> = (Policy, &'t str, Option<WeekMinute>, &'t [&'t str], &'t [&'t str]);
    let table: [Row<'_>; 15] = [
        (Auto, "", None, &[], &[]),
        (Auto, SUNDAY, sunday(5), &[], &[]),
        (Auto, SUNDAY, None, &backup, &backup),
        (Manual, "", sunday(1), &[], &["an operator"]),
        (Manual, SUNDAY, sunday(1), &backup, &["backup (runs)", "an operator"]),
        (Window, "", None, &[], &[]),
        (Window, "", sunday(5), &[], &[]),
        (Window, "", None, &backup, &backup),
        (Window, SUNDAY, sunday(1), &[], &[]),
        (Window, SUNDAY, sunday(1), &backup, &backup),
        (Window, SUNDAY, sunday(0), &[], &[window]),
        (Window, SUNDAY, sunday(2), &backup, &["backup (runs)", window]),
        (Window, SUNDAY, None, &[], &[clock]),
        (Window, &ignore, None, &[], &[]),
        (Window, &ignore, sunday(5), &[], &[window]),
    ];
    for (policy, yaml, time, inhibitors, expected) in table {
        let mut scene = Scene::new(yaml);
        scene.circumstances.time = time;
        scene.inhibited(inhibitors);
        let against = obstacles(&scene.config, policy, &scene.circumstances);
        assert_eq!(against, expected, "{policy:?} {yaml} {time:?} {inhibitors:?}");
    }
}

#[test]
fn the_first_check_comes_a_minute_after_the_start_spread_by_chance() {
    let table = [
        // Configuration, sources, random number, seconds to the first check.
        ("check: 6h\n", true, 0, Some(60)),
        ("check: {every: 6h, jitter: 10min}\n", true, 600_000, Some(660)),
        ("check: {every: 6h, jitter: 10min}\n", true, 600_001, Some(60)),
        ("check: 6h\n", false, 0, None),
        ("check: manual\n", true, 0, None),
    ];
    for (yaml, sources, random, wait) in table {
        let mut scene = Scene::new(yaml);
        (scene.now, scene.random) = (at(30), random);
        scene.state.stage = Stage::Open;
        scene.after(Outcome::Opened(sources.then(Vec::new)));
        assert_eq!(scene.state.next_check, wait.map(|wait| at(30 + wait)), "{yaml}");
        assert_eq!(scene.state.report.next_check, wait.map(|wait| UNIX + 30 + wait), "{yaml}");
        assert_eq!(scene.state.report.doing, "idle");
        assert_eq!(scene.next(), Action::Rest(TICK));
    }
}

#[test]
fn sources_are_asked_when_it_is_time_and_for_what_was_found_when_it_may_be_installed() {
    const NONE: [&str; 0] = [];
    const BACKUP: [&str; 1] = ["backup (runs)"];
    let rest = Action::Rest(TICK);
    let circumstances = [Need::Circumstances];
    // Policy, a release is wanted, second, next look at windows, inhibited; action, facts asked for, waits.
    type Row<'t> = (&'t str, bool, u64, u64, bool, Action, &'t [Need], &'t [&'t str]);
    let table: [Row<'_>; 14] = [
        ("auto", false, 99, 0, false, rest.clone(), &[], &NONE),
        ("auto", false, 100, 0, false, check(true), &circumstances, &NONE),
        ("auto", false, 100, 0, true, check(false), &circumstances, &NONE),
        // With nothing found yet, the time of the next look at windows does not count.
        ("auto", false, 100, 500, false, check(true), &circumstances, &NONE),
        ("auto", true, 50, 0, false, check(true), &circumstances, &NONE),
        ("auto", true, 50, 0, true, rest.clone(), &circumstances, &BACKUP),
        ("auto", true, 50, 51, false, rest.clone(), &[], &NONE),
        ("auto", true, 100, 0, false, check(true), &circumstances, &NONE),
        ("auto", true, 100, 0, true, check(false), &circumstances, &BACKUP),
        ("auto", true, 100, 101, false, check(false), &[], &NONE),
        ("manual", false, 99, 0, false, rest.clone(), &[], &NONE),
        ("manual", false, 100, 0, false, check(false), &[], &NONE),
        ("window", true, 50, 0, false, rest.clone(), &circumstances, &["a window (Sun 01:00-02:00)"]),
        ("window", false, 100, 0, false, check(false), &circumstances, &NONE),
    ];
    for (row, (policy, wanted, second, next_install, inhibited, action, asked, waits)) in table.into_iter().enumerate()
    {
        let mut scene = Scene::working(&format!("{SUNDAY}install: {policy}\n"));
        scene.circumstances.time = sunday(5);
        scene.state.wanted = wanted.then(|| "1.1".to_owned());
        (scene.now, scene.state.next_install) = (at(second), at(next_install));
        scene.inhibited(if inhibited { &BACKUP } else { &NONE });
        assert_eq!(scene.next(), action, "row {row}");
        assert_eq!(scene.asked, asked, "row {row}");
        assert_eq!(scene.state.report.waits_for, waits, "row {row}");
        match action {
            Action::Check { install: true } => assert_eq!(scene.state.report.doing, "looking for a newer release"),
            Action::Check { .. } => assert_eq!(scene.state.report.doing, "looking whether there is a newer release"),
            _ if waits.is_empty() => assert_eq!(scene.state.report.doing, ""),
            _ => assert_eq!(scene.state.report.doing, format!("1.1 is to be installed; waits for: {}", waits[0])),
        }
    }
    let mut scene = Scene::working("");
    (scene.now, scene.state.sources) = (at(5000), false);
    assert_eq!(scene.next(), rest, "there are no sources");
}

#[test]
fn windows_and_inhibitors_are_looked_at_every_twenty_seconds_for_a_release_that_was_found() {
    let mut scene = Scene::working("");
    scene.state.next_check = None;
    scene.state.wanted = Some("1.1".into());
    scene.inhibited(&["backup (runs)"]);
    let mut looks = Vec::new();
    for half in 0..90 {
        scene.now = TICK * half;
        assert_eq!(scene.next(), Action::Rest(TICK));
        if scene.asked.contains(&Need::Circumstances) {
            looks.push(scene.now.as_secs());
        }
    }
    assert_eq!(looks, [0, 20, 40]);
    scene.inhibited(&[]);
    scene.now = at(60);
    assert_eq!(scene.next(), check(true));
    assert_eq!(scene.state.report.waits_for, [""; 0]);
}

#[test]
fn a_stick_that_is_plugged_in_is_looked_at_within_three_seconds() {
    let mut scene = Scene::new("install: manual\ncheck: manual\n");
    // It was there when the node came up.
    scene.after(Outcome::Opened(Some(vec![stick("sda1")])));
    let (a, b) = (stick("sda1"), stick("sdb1"));
    // Second, what is plugged in, whether it is looked at, and whether that leads to the sources.
    let table: [(u64, &[&Stick], bool, bool); 9] = [
        (0, &[&a], true, false),
        (2, &[&a, &b], false, false),
        (3, &[&a, &b], true, true),
        (4, &[&a, &b], false, false),
        (6, &[&a, &b], true, false),
        (9, &[&b], true, false),
        (12, &[], true, false),
        (15, &[&a], true, true),
        (17, &[&b], false, false),
    ];
    for (second, plugged, looked_at, leads) in table {
        scene.now = at(second);
        scene.sticks = plugged.iter().map(|&stick| stick.clone()).collect();
        let action = if leads { check(false) } else { Action::Rest(TICK) };
        assert_eq!(scene.next(), action, "{second} s");
        assert_eq!(scene.asked.contains(&Need::Sticks), looked_at, "{second} s");
        scene.state.stage = Stage::Work(Task::Sources);
    }
}

#[test]
fn what_a_look_at_the_sources_changes() {
    let none = || Round::Nothing("there is nothing newer".into());
    let failed = || Round::Failed("a.example does not answer".into());
    let (available, installed) = (|| Round::Available("1.1".into()), || Round::Installed("1.1".into()));
    // Policy, wanted before, round; wanted, available as told, a restart is wanted, result.
    type Row = (&'static str, bool, Round, bool, bool, bool, &'static str);
    let table: [Row; 11] = [
        ("auto", false, none(), false, false, false, "there is nothing newer"),
        ("auto", true, none(), false, false, false, "there is nothing newer"),
        ("auto", false, available(), true, true, false, "1.1 is available"),
        ("auto", true, available(), true, true, false, "1.1 is available"),
        ("window", false, available(), true, true, false, "1.1 is available"),
        // Nothing is to be installed by itself, so nothing waits.
        ("manual", false, available(), false, false, false, "1.1 is available"),
        ("auto", false, installed(), false, false, true, "1.1 is installed"),
        ("auto", true, installed(), false, false, true, "1.1 is installed"),
        ("auto", false, failed(), false, false, false, "a.example does not answer"),
        // It is looked for again with the next check, and told until then.
        ("auto", true, failed(), false, true, false, "a.example does not answer"),
        ("manual", false, failed(), false, false, false, "a.example does not answer"),
    ];
    for (row, (policy, before, round, wanted, told, restart, result)) in table.into_iter().enumerate() {
        let mut scene = Scene::working(&format!("install: {policy}\n"));
        scene.now = at(100);
        scene.state.wanted = before.then(|| "1.1".to_owned());
        scene.state.stage = Stage::Work(Task::Restart);
        scene.after(Outcome::Checked(round.clone()));
        let state = &scene.state;
        assert_eq!(state.wanted.as_deref(), wanted.then_some("1.1"), "row {row}");
        assert_eq!(state.report.available.as_deref(), told.then_some("1.1"), "row {row}");
        assert_eq!(state.restart_wanted, restart, "row {row}");
        // A restart is looked at at once.
        assert_eq!(state.next_restart, at(if restart { 100 } else { 1000 }), "row {row}");
        assert_eq!(state.report.last_result.as_deref(), Some(result), "row {row}");
        assert_eq!(state.report.last_check, Some(UNIX + 100), "row {row}");
        assert_eq!(scene.said(), [result], "row {row}");
        // The journal is told of what is new only.
        scene.after(Outcome::Checked(round));
        assert_eq!(scene.said(), [""; 0], "row {row}");
    }
}

#[test]
fn after_failures_the_next_check_comes_sooner_and_less_and_less_so() {
    let failed = || Round::Failed("a.example does not answer".into());
    let hours = |hours: u64| Some(hours * 3600);
    let table: [(&str, &[Option<u64>]); 4] = [
        ("check: {every: 6h, jitter: 0s}\n", &[Some(60), Some(300), Some(900), hours(1), hours(6), hours(6)]),
        // Never later than without the failure.
        ("check: {every: 10min, jitter: 0s}\n", &[Some(60), Some(300), Some(600), Some(600), Some(600)]),
        ("check: {every: 1min, jitter: 0s}\n", &[Some(60), Some(60), Some(60)]),
        ("check: manual\n", &[None, None]),
    ];
    for (yaml, waits) in table {
        let mut scene = Scene::working(yaml);
        let usual = waits.last().copied().flatten();
        for again in 0..2 {
            for (failures, wait) in waits.iter().enumerate() {
                scene.now += at(7);
                scene.after(Outcome::Checked(failed()));
                let expected = wait.map(|wait| scene.now + at(wait));
                assert_eq!(scene.state.next_check, expected, "{yaml} failure {failures}, time {again}");
                assert_eq!(scene.state.report.next_check, expected.map(|at| UNIX + at.as_secs()));
            }
            // Any answer ends that.
            scene.after(Outcome::Checked(Round::Nothing("there is nothing newer".into())));
            assert_eq!(scene.state.next_check, usual.map(|wait| scene.now + at(wait)), "{yaml}");
        }
    }
}

#[test]
fn checks_are_spread_by_chance() {
    // Six hours, give or take half an hour.
    for (random, minutes) in [(0, 330), (1_800_000, 360), (3_600_000, 390), (3_600_001, 330)] {
        let mut scene = Scene::working("check: {every: 6h, jitter: 30min}\n");
        (scene.now, scene.random) = (at(100), random);
        scene.after(Outcome::Checked(Round::Nothing("there is nothing newer".into())));
        assert_eq!(scene.state.next_check, Some(at(100 + minutes * 60)), "{random}");
    }
}

#[test]
fn a_restart_needs_an_armed_release_and_nothing_against_it() {
    let rest = Action::Rest(TICK);
    let both = [Need::Armed, Need::Circumstances];
    let (none, backup, window) = ([""; 0], ["backup (runs)"], ["a window (Sun 01:00-02:00)"]);
    // Policy, hour on Sunday, second, armed, inhibited; action, facts asked for, waits.
    type Row<'t> = (&'t str, u32, u64, bool, bool, Action, &'t [Need], &'t [&'t str]);
    let table: [Row<'_>; 9] = [
        ("auto", 1, 49, true, false, rest.clone(), &[], &none),
        ("auto", 1, 50, false, false, rest.clone(), &[Need::Armed], &none),
        ("auto", 1, 50, false, true, rest.clone(), &[Need::Armed], &none),
        ("auto", 5, 50, true, false, Action::Restart, &both, &none),
        ("auto", 5, 50, true, true, rest.clone(), &both, &backup),
        ("window", 1, 50, true, false, Action::Restart, &both, &none),
        ("window", 5, 50, true, false, rest.clone(), &both, &window),
        ("manual", 1, 50, true, false, rest.clone(), &both, &["an operator"]),
        ("manual", 1, 50, false, false, rest.clone(), &[Need::Armed], &none),
    ];
    for (row, (policy, hour, second, armed, inhibited, action, asked, waits)) in table.into_iter().enumerate() {
        let mut scene = Scene::working(&format!("{SUNDAY}reboot: {policy}\n"));
        scene.state.next_restart = at(50);
        (scene.now, scene.armed, scene.circumstances.time) = (at(second), armed, sunday(hour));
        scene.inhibited(if inhibited { &backup } else { &none });
        assert_eq!(scene.next(), action, "row {row}");
        assert_eq!(scene.asked, asked, "row {row}");
        assert_eq!(scene.state.report.waits_for, waits, "row {row}");
        assert_eq!(scene.state.restart_wanted, armed && second == 50, "row {row}");
        assert_eq!(scene.state.next_restart, at(if second == 50 { 70 } else { 50 }), "row {row}");
        let line = match action {
            Action::Restart => vec!["restarting into the release that is installed".to_owned()],
            _ if waits.is_empty() => vec![],
            _ => vec![format!("the restart into the new release waits for: {}", waits[0])],
        };
        assert_eq!(scene.said(), line, "row {row}");
        if !waits.is_empty() {
            let doing = format!("a new release is installed; its restart waits for: {}", waits[0]);
            assert_eq!(scene.state.report.doing, doing, "row {row}");
        }
    }
}

#[test]
fn a_restart_that_is_not_heard_is_asked_for_again_and_the_round_goes_on() {
    let mut scene = Scene::working("reboot: auto\n");
    (scene.now, scene.armed, scene.state.next_restart) = (at(50), true, at(50));
    assert_eq!(scene.next(), Action::Restart);
    scene.after(Outcome::Failed);
    assert_eq!(scene.next(), Action::Rest(TICK));
    scene.now = at(69);
    assert_eq!(scene.next(), Action::Rest(TICK));
    scene.now = at(70);
    assert_eq!(scene.next(), Action::Restart);
    // Also if the attempt took so long that the next one is due.
    scene.now = at(99);
    scene.after(Outcome::Failed);
    assert_eq!(scene.next(), Action::Rest(TICK));
    assert_eq!(scene.next(), Action::Restart);
    scene.after(Outcome::Restarting);
    // Whoever restarts the node stops the daemon too.
    assert_eq!(scene.next(), Action::End(End::Restarting));
}

#[test]
fn what_an_operator_arms_or_cancels_is_seen_within_twenty_seconds() {
    let mut scene = Scene::working("reboot: manual\ncheck: manual\n");
    (scene.state.next_check, scene.state.next_restart) = (None, Duration::ZERO);
    let waiting = "a new release is installed; its restart waits for: an operator";
    // Second, armed, restart wanted, what is told.
    let table = [
        (0, false, false, ""),
        (10, true, false, ""),
        (20, true, true, waiting),
        (30, false, true, waiting),
        (40, false, false, "idle"),
        (60, false, false, "idle"),
        (80, true, true, waiting),
    ];
    for (second, armed, wanted, doing) in table {
        (scene.now, scene.armed) = (at(second), armed);
        assert_eq!(scene.next(), Action::Rest(TICK));
        assert_eq!((scene.state.restart_wanted, &*scene.state.report.doing), (wanted, doing), "{second} s");
        assert_eq!(scene.state.report.waits_for.is_empty(), !wanted, "{second} s");
    }
}

#[test]
fn what_an_install_waits_for_stays_told_while_nothing_is_armed() {
    let mut scene = Scene::working("");
    (scene.state.next_check, scene.state.next_restart) = (None, Duration::ZERO);
    scene.state.wanted = Some("1.1".into());
    scene.inhibited(&["backup (runs)"]);
    assert_eq!(scene.next(), Action::Rest(TICK));
    assert_eq!(scene.state.report.waits_for, ["backup (runs)"]);
    assert_eq!(scene.state.report.doing, "1.1 is to be installed; waits for: backup (runs)");
}

#[test]
fn what_a_restart_waits_for_stays_told_while_an_install_may_go_on() {
    let mut scene = Scene::working("reboot: manual\n");
    scene.state.restart_wanted = true;
    scene.state.report.waits_for = vec!["an operator".into()];
    scene.now = at(100);
    assert_eq!(scene.next(), check(true));
    assert_eq!(scene.state.report.waits_for, ["an operator"]);
    scene.after(Outcome::Checked(Round::Nothing("there is nothing newer".into())));
    assert_eq!(scene.state.report.doing, "a new release is installed; its restart waits for: an operator");
}

#[test]
fn a_copy_is_made_once_when_there_is_nothing_else_to_do() {
    // Policy, second, wanted, restart wanted, inhibited, copied before; made, circumstances asked for.
    let table = [
        ("idle", 600, false, false, false, false, true, true),
        ("idle", 599, false, false, false, false, false, false),
        ("never", 600, false, false, false, false, false, false),
        ("idle", 600, true, false, false, false, false, false),
        ("idle", 600, false, true, false, false, false, false),
        ("idle", 600, false, false, true, false, false, true),
        ("idle", 600, false, false, false, true, false, false),
    ];
    for (row, (policy, second, wanted, restart, inhibited, cloned, made, asked)) in table.into_iter().enumerate() {
        let mut scene = Scene::working(&format!("clone: {policy}\n"));
        (scene.state.next_check, scene.state.next_install) = (None, at(1000));
        scene.state.wanted = wanted.then(|| "1.1".to_owned());
        (scene.state.restart_wanted, scene.state.cloned, scene.now) = (restart, cloned, at(second));
        scene.inhibited(if inhibited { &["backup (runs)"] } else { &[] });
        assert_eq!(scene.next(), if made { Action::Clone } else { Action::Rest(TICK) }, "row {row}");
        assert_eq!(scene.asked.contains(&Need::Circumstances), asked, "row {row}");
        if made {
            scene.after(Outcome::Cloned);
            assert_eq!(scene.state.report.doing, "idle");
            assert_eq!(scene.next(), Action::Rest(TICK), "once, whatever came of it");
        }
    }
}

#[test]
fn who_inhibits_a_copy_is_asked_now_and_then_only() {
    let mut scene = Scene::working("clone: idle\n");
    (scene.state.next_check, scene.now) = (None, at(600));
    scene.inhibited(&["backup (runs)"]);
    assert_eq!(scene.next(), Action::Rest(TICK));
    scene.inhibited(&[]);
    scene.now = at(619);
    assert_eq!(scene.next(), Action::Rest(TICK));
    scene.now = at(620);
    assert_eq!(scene.next(), Action::Clone);
}
