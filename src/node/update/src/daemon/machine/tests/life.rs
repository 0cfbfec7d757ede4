//! Longer stories, and what holds in all of them.

use proptest::prelude::*;

use super::*;

#[test]
fn a_round_looks_at_sources_then_restarts_then_copies() {
    let mut scene = Scene::working("clone: idle\nreboot: auto\n");
    (scene.now, scene.armed) = (at(1000), true);
    assert_eq!(scene.next(), check(true));
    // A release that is newer than the armed one took its place.
    scene.after(Outcome::Checked(Round::Installed("1.2".into())));
    // Even if a stick was plugged in meanwhile: what is installed comes first.
    scene.state.next_sticks = Duration::ZERO;
    scene.sticks = vec![stick("sda1")];
    assert_eq!(scene.next(), Action::Restart);
    scene.after(Outcome::Failed);
    scene.armed = false;
    scene.state.restart_wanted = false;
    assert_eq!(scene.next(), Action::Clone);
    scene.after(Outcome::Cloned);
    assert_eq!(scene.next(), check(true), "the stick");
}

#[test]
fn from_the_first_look_to_the_restart_into_what_was_found() {
    let mut scene = Scene::new("check: {every: 6h, jitter: 0s}\nwindows: [Sun 01:00-02:00]\ninstall: window\n");
    scene.circumstances.time = Some(WeekMinute::new(6, 0, 0));
    assert_eq!(scene.next(), Action::Reconcile);
    scene.after(Outcome::Reconciled { on_trial: false });
    assert_eq!(scene.next(), Action::OpenSources);
    scene.after(Outcome::Opened(Some(vec![])));
    let run = |scene: &mut Scene, seconds: u64| -> Vec<Action> {
        let end = scene.now + at(seconds);
        let mut done = Vec::new();
        while scene.now < end {
            match scene.next() {
                Action::Rest(time) => {
                    scene.now += time;
                    scene.after(Outcome::Rested);
                }
                action => {
                    let outcome = match action {
                        Action::Check { install: false } => Outcome::Checked(Round::Available("1.1".into())),
                        Action::Check { install: true } => {
                            scene.armed = true;
                            Outcome::Checked(Round::Installed("1.1".into()))
                        }
                        Action::Restart => Outcome::Restarting,
                        _ => panic!("{action:?}"),
                    };
                    done.push(action);
                    scene.after(outcome);
                    if scene.state.stage == Stage::Over(End::Restarting) {
                        break;
                    }
                }
            }
        }
        done
    };
    assert_eq!(run(&mut scene, 60), []);
    assert_eq!(run(&mut scene, 1), [check(false)]);
    // The window opens six hours later, sooner than the next check.
    assert_eq!(run(&mut scene, 3600), []);
    assert_eq!(scene.state.report.available.as_deref(), Some("1.1"));
    assert!(scene.state.report.doing.contains("waits for: a window"), "{:?}", scene.state.report);
    scene.circumstances.time = Some(WeekMinute::new(6, 1, 0));
    assert_eq!(run(&mut scene, 21), [check(true), Action::Restart]);
    assert_eq!(scene.next(), Action::End(End::Restarting));
    let said = ["1.1 is available", "1.1 is installed", "restarting into the release that is installed"];
    assert_eq!(scene.said(), said);
}

#[test]
fn a_node_that_has_nothing_to_do_is_left_alone() {
    let mut scene = Scene::working("check: manual\n");
    (scene.state.next_check, scene.state.next_restart, scene.state.next_sticks) = (None, at(0), at(0));
    let (mut sticks, mut armed) = (0, 0);
    for half in 0..2 * 3600 {
        scene.now = TICK * half;
        assert_eq!(scene.next(), Action::Rest(TICK));
        sticks += u32::from(scene.asked.contains(&Need::Sticks));
        armed += u32::from(scene.asked.contains(&Need::Armed));
        assert!(!scene.asked.contains(&Need::Circumstances), "nobody need be asked while nothing is to be done");
    }
    assert_eq!((sticks, armed), (1200, 180));
}

fn rounds() -> impl Strategy<Value = Round> {
    prop_oneof![
        Just(Round::Nothing("nothing".into())),
        Just(Round::Available("1.1".into())),
        Just(Round::Installed("1.1".into())),
        Just(Round::Failed("no answer".into())),
    ]
}

/// What happens around a daemon between two of its decisions.
type Event = (u64, bool, bool, Option<u32>, bool, Round);

fn events() -> impl Strategy<Value = Vec<Event>> {
    let hour = proptest::option::of(0..168u32);
    let event = (0..5000u64, any::<bool>(), any::<bool>(), hour, any::<bool>(), rounds());
    proptest::collection::vec(event, 0..60)
}

const POLICIES: [&str; 3] = ["auto", "window", "manual"];

proptest! {
    #[test]
    fn nothing_is_installed_or_restarted_against_policy_window_or_inhibitor(
        install in 0..3usize, reboot in 0..3usize, random: u64, events in events(),
    ) {
        let (install, reboot) = (POLICIES[install], POLICIES[reboot]);
        let mut scene = Scene::new(&format!("install: {install}\nreboot: {reboot}\nwindows: [Sun]\nclone: idle\n"));
        scene.random = random;
        scene.after(Outcome::Reconciled { on_trial: false });
        scene.after(Outcome::Opened(Some(vec![])));
        for (wait, armed, inhibited, hour, plugged, round) in events {
            scene.now += Duration::from_millis(wait * 100);
            scene.armed = armed;
            scene.inhibited(if inhibited { &["backup (runs)"] } else { &[] });
            scene.circumstances.time = hour.map(|hour| WeekMinute::new(hour / 24, hour % 24, 0));
            scene.sticks = if plugged { vec![stick("sda1")] } else { vec![] };
            let sunday = hour.is_some_and(|hour| hour / 24 == 6);
            let allowed = |policy: &str| !inhibited && (policy == "auto" || policy == "window" && sunday);
            // A round comes to its end after three actions at most.
            for _ in 0..4 {
                let action = scene.next();
                let outcome = match &action {
                    Action::Check { install: now } => {
                        prop_assert!(!now || allowed(install));
                        let possible = match round.clone() {
                            Round::Installed(_) if !now => Round::Available("1.1".into()),
                            Round::Available(_) if *now => Round::Installed("1.1".into()),
                            round => round,
                        };
                        Outcome::Checked(possible)
                    }
                    Action::Restart => {
                        prop_assert!(armed && allowed(reboot));
                        Outcome::Failed
                    }
                    Action::Clone => {
                        prop_assert!(!inhibited);
                        Outcome::Cloned
                    }
                    Action::Rest(time) => {
                        prop_assert_eq!(*time, TICK);
                        break;
                    }
                    _ => panic!("{action:?}"),
                };
                scene.after(outcome);
                let report = &scene.state.report;
                // A second, since parts of seconds are cut off.
                prop_assert!(report.next_check.is_some_and(|next| next + 1 >= UNIX + scene.now.as_secs()));
                prop_assert!(install != "manual" || scene.state.wanted.is_none());
            }
            prop_assert_eq!(&scene.state.stage, &Stage::Work(Task::Sources));
        }
    }
}
