//! From the start to the end of a trial.

use super::*;

fn give_up() -> Stage {
    Stage::GiveUp("no disk".into())
}

#[test]
fn each_stage_has_its_action() {
    let table = [
        (Stage::Start, Action::Reconcile),
        (Stage::Trial, Action::Prove),
        (Stage::Commit, Action::Commit),
        (give_up(), Action::GiveUp("no disk".into())),
        (Stage::FallBack, Action::Restart),
        (Stage::Open, Action::OpenSources),
        (Stage::Work(Task::Clone), Action::Rest(TICK)),
        (Stage::Over(End::Stopped), Action::End(End::Stopped)),
        (Stage::Over(End::Restarting), Action::End(End::Restarting)),
    ];
    for (stage, action) in table {
        let mut scene = Scene::new("");
        scene.state.stage = stage.clone();
        assert_eq!(scene.next(), action, "{stage:?}");
        assert_eq!(scene.asked, [], "{stage:?}: a trial depends on nothing but its verdict");
    }
}

#[test]
fn each_outcome_leads_to_its_stage() {
    let (good, bad) = (Outcome::Proved(Verdict::Good), Outcome::Proved(Verdict::Bad("no disk".into())));
    let table = [
        (Stage::Start, Outcome::Reconciled { on_trial: true }, Stage::Trial),
        (Stage::Start, Outcome::Reconciled { on_trial: false }, Stage::Open),
        (Stage::Trial, good, Stage::Commit),
        (Stage::Trial, bad, give_up()),
        (Stage::Trial, Outcome::Proved(Verdict::Stopped), Stage::Over(End::Stopped)),
        // Committed, or an operator committed it, or gave it up, before.
        (Stage::Commit, Outcome::TrialOver, Stage::Open),
        (Stage::Commit, Outcome::Failed, Stage::Commit),
        (give_up(), Outcome::GivenUp, Stage::FallBack),
        (give_up(), Outcome::TrialOver, Stage::Open),
        (give_up(), Outcome::Failed, give_up()),
        (Stage::FallBack, Outcome::Restarting, Stage::Over(End::Restarting)),
        (Stage::FallBack, Outcome::Failed, Stage::FallBack),
        (Stage::Open, Outcome::Opened(None), Stage::Work(Task::Sources)),
        (Stage::Open, Outcome::Opened(Some(vec![])), Stage::Work(Task::Sources)),
        (Stage::Work(Task::Clone), Outcome::Restarting, Stage::Over(End::Restarting)),
        (Stage::Work(Task::Clone), Outcome::Failed, Stage::Work(Task::Clone)),
        (Stage::Work(Task::Restart), Outcome::Checked(Round::Nothing("no".into())), Stage::Work(Task::Restart)),
        (Stage::Work(Task::Sources), Outcome::Cloned, Stage::Work(Task::Sources)),
        (Stage::Work(Task::Sources), Outcome::Rested, Stage::Work(Task::Sources)),
        (Stage::Commit, Outcome::Rested, Stage::Commit),
    ];
    for (stage, outcome, then) in table {
        let mut scene = Scene::new("");
        scene.state.stage = stage.clone();
        scene.after(outcome.clone());
        assert_eq!(scene.state.stage, then, "{stage:?} after {outcome:?}");
    }
}

#[test]
fn being_told_to_stop_ends_everything_and_decides_nothing() {
    let stages = [Stage::Start, Stage::Trial, Stage::Commit, give_up(), Stage::FallBack, Stage::Open];
    let tasks = [Task::Sources, Task::Restart, Task::Clone].map(Stage::Work);
    for stage in stages.into_iter().chain(tasks) {
        let mut scene = Scene::working("clone: idle\n");
        (scene.now, scene.armed) = (at(2000), true);
        scene.state.stage = stage.clone();
        let before = scene.state.clone();
        scene.after(Outcome::Stopped);
        assert_eq!(scene.state, State { stage: Stage::Over(End::Stopped), ..before }, "{stage:?}");
        assert_eq!(scene.next(), Action::End(End::Stopped), "{stage:?}");
    }
}

#[test]
fn what_must_be_done_is_tried_again_every_ten_seconds_for_ever() {
    let table = [
        (Stage::Commit, Action::Commit),
        (give_up(), Action::GiveUp("no disk".into())),
        (Stage::FallBack, Action::Restart),
    ];
    for (stage, action) in table {
        let mut scene = Scene::new("");
        scene.state.stage = stage;
        for round in 0..100 {
            scene.now = at(round * 10);
            assert_eq!(scene.next(), action);
            scene.after(Outcome::Failed);
            assert_eq!(scene.next(), Action::Rest(at(10)));
            scene.now += at(9);
            assert_eq!(scene.next(), Action::Rest(at(1)), "a rest that was cut short is gone on with");
            scene.after(Outcome::Rested);
        }
    }
}

#[test]
fn a_release_that_fails_its_checks_goes_back_without_a_look_at_windows_or_inhibitors() {
    let mut scene = Scene::new("reboot: manual\n");
    scene.inhibited(&["backup (runs)"]);
    let mut actions = Vec::new();
    for outcome in [
        Outcome::Reconciled { on_trial: true },
        Outcome::Proved(Verdict::Bad("no disk".into())),
        Outcome::GivenUp,
        Outcome::Restarting,
    ] {
        actions.push(scene.next());
        scene.after(outcome);
    }
    assert_eq!(actions, [Action::Reconcile, Action::Prove, Action::GiveUp("no disk".into()), Action::Restart]);
    assert_eq!(scene.next(), Action::End(End::Restarting));
}
