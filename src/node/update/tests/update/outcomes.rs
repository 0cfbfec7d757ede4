//! However an install ends, the node says in a sentence where it stands.

use std::sync::atomic::{AtomicBool, Ordering};

use fruit_contract::Slot;
use fruit_contract::update::status::{EventKind, Progress, Step};
use fruit_release::tuf::{Clock, Time};
use fruit_update::card::Card;
use fruit_update::install::{self, ExitStatus, Hooks, InstallError, Request};
use fruit_update::state::Phase;
use fruit_update::status;
use fruit_update::store::Folder;
use fruit_update::trial::TrialError;
use fruit_update::updater::Updater;

use crate::card::{Bench, facts, stop_never};
use crate::disk::{Content, Disk, Place};
use crate::install::{installed, new};
use crate::kit::{Repository, TIME, anchor, old};

fn sentence(bench: &Bench) -> String {
    status::of(&bench.updater(), &anchor(), None).unwrap().summary
}

#[test]
fn each_stage_of_an_update_has_its_sentence() {
    let (old, new) = (old(), new());
    let mut bench = Bench::new(&old);
    assert_eq!(sentence(&bench), "idle: pistack 1.0 runs from slot a");
    let progress = Progress { step: Step::Writing, done: 3, total: 12, fetched: 1, written: 2 };
    let status = status::of(&bench.updater(), &anchor(), Some(progress)).unwrap();
    assert!(status.summary.starts_with("installing"), "{}", status.summary);
    assert!(status.summary.contains("3 of 12"), "{}", status.summary);

    installed(bench.install(&mut Repository::of(&[&new])).unwrap());
    assert_eq!(sentence(&bench), "waiting for a restart: pistack 1.1 is in slot b and is tried at the next boot");
    bench.restart(&[&old, &new]);
    assert_eq!(sentence(&bench), "on trial: pistack 1.1 runs from slot b, 2 tries are left");
    let mut updater = bench.updater();
    updater.give_up("no network").unwrap();
    assert_eq!(sentence(&bench), "waiting for a restart: pistack 1.1 was given up (no network), slot a boots next");
    bench.restart(&[&old, &new]);
    assert_eq!(sentence(&bench), "idle: pistack 1.0 runs from slot a; pistack 1.1 failed here: no network");
    let json = serde_json::to_value(status::of(&bench.updater(), &anchor(), None).unwrap()).unwrap();
    assert_eq!(json["freshness"], "unknown");
    assert_eq!(json["running"]["version"], "1.0");
}

#[test]
fn a_cancelled_install_says_so_and_goes_on_later() {
    let (old, new) = (old(), new());
    let bench = Bench::new(&old);
    let stop = AtomicBool::new(false);
    let mut progress = |progress: Progress| {
        if progress.step == Step::Writing && progress.done == 2 {
            stop.store(true, Ordering::Relaxed);
        }
    };
    let mut hooks = Hooks { stop: &stop, progress: &mut progress, pace: &mut |_| {} };
    let mut repository = Repository::of(&[&new]);
    let result = install::install(&mut bench.updater(), &anchor(), &mut repository, &Request::default(), &mut hooks);
    let error = result.unwrap_err();
    assert_eq!(error.outcome(), ExitStatus::Stopped, "{error}");
    let said = sentence(&bench);
    assert!(said.starts_with("interrupted: pistack 1.1 is partly in slot b"), "{said}");
    assert!(said.contains("stopped"), "{said}");
    assert_eq!(bench.updater().state().history.last().unwrap().event, EventKind::Stopped);
    let report = installed(bench.install(&mut repository).unwrap());
    assert_eq!(report.counts.kept, 2);
}

#[test]
fn expired_metadata_is_refused_by_a_clock_that_is_trusted_and_named_stale_without_one() {
    let (old, new) = (old(), new());
    let mut repository = Repository::default();
    repository.expires = Some("2027-01-01T00:00:00Z");
    repository.add(&new);
    repository.sign();
    let mut bench = Bench::new(&old);
    bench.clock = Clock::Trusted("2027-02-01T00:00:00Z".parse().unwrap());
    let error = bench.install(&mut repository).unwrap_err();
    assert!(error.to_string().contains("expired"), "{error}");
    assert_eq!(error.outcome(), ExitStatus::Refused);
    let status = status::of(&bench.updater(), &anchor(), None).unwrap();
    assert!(status.summary.contains("expired"), "{}", status.summary);

    bench.clock = Clock::Unset { built: Time::from_seconds(TIME as i64), saved: None };
    let report = installed(bench.install(&mut repository).unwrap());
    assert!(report.notes.iter().any(|note| note.contains("fresh is unknown")), "{:?}", report.notes);
}

#[test]
fn metadata_that_went_backwards_is_refused_but_a_newer_listing_serves_an_older_stick() {
    let (old, new) = (old(), new());
    let bench = Bench::new(&old);
    let mut repository = Repository::of(&[&new]);
    let stick = repository.clone();
    repository.sign();
    assert!(install::check(&mut bench.updater(), &anchor(), &mut repository, &Request::default()).unwrap().is_some());
    let report = installed(bench.install(&mut stick.clone()).unwrap());
    assert!(report.notes.iter().any(|note| note.contains("older metadata")), "{:?}", report.notes);

    // A repository that never listed it says nothing of use, and what is known stays known.
    let mut empty = Repository::of(&[&old]);
    let bench = Bench::new(&old);
    install::check(&mut bench.updater(), &anchor(), &mut repository, &Request::default()).unwrap();
    let error = bench.install(&mut empty).unwrap_err();
    assert!(matches!(error, InstallError::HeldBack { .. }), "{error}");
}

#[test]
fn a_full_data_partition_stops_an_install_before_the_first_write() {
    let (old, new) = (old(), new());
    let bench = Bench::new(&old);
    for room in [0, 1000, 20_000, 40_000] {
        let mut content = Content::default();
        for (place, name) in [
            (Place::Volume(Slot::A, fruit_release::manifest::VolumeKind::Root), "root-a"),
            (Place::Volume(Slot::A, fruit_release::manifest::VolumeKind::Boot), "boot-a"),
            (Place::Volume(Slot::B, fruit_release::manifest::VolumeKind::Root), "root-b"),
            (Place::Volume(Slot::B, fruit_release::manifest::VolumeKind::Boot), "boot-b"),
            (Place::Control, "state"),
        ] {
            content.places.insert(place, std::fs::read(bench.path(name)).unwrap());
        }
        let disk = Disk::new(&content);
        disk.set_room(room);
        let card: Card = disk.card(Slot::A, false);
        let mut updater = Updater::new(card, Box::new(disk.clone()), facts(&old, 1, bench.clock)).unwrap();
        let mut hooks = Hooks { stop: stop_never(), progress: &mut |_| {}, pace: &mut |_| {} };
        let mut repository = Repository::of(&[&new]);
        let result = install::install(&mut updater, &anchor(), &mut repository, &Request::default(), &mut hooks);
        let error = result.unwrap_err();
        assert!(error.to_string().contains("can't be"), "{room}: {error}");
        assert_eq!(error.outcome(), ExitStatus::Failed);
        assert_eq!(disk.content().places, content.places, "{room}: nothing on the card changed");
        assert!(status::of(&updater, &anchor(), None).unwrap().summary.contains("can't be"));
    }
}

#[test]
fn a_release_on_trial_is_neither_replaced_nor_copied_over() {
    let (old, new) = (old(), new());
    let mut bench = Bench::new(&old);
    let mut repository = Repository::of(&[&new]);
    installed(bench.install(&mut repository).unwrap());
    bench.restart(&[&old, &new]);
    let error = bench.install(&mut repository).unwrap_err();
    assert!(error.to_string().contains("on trial"), "{error}");
    let mut hooks = Hooks { stop: stop_never(), progress: &mut |_| {}, pace: &mut |_| {} };
    assert!(bench.updater().clone_slot(true, &mut hooks).is_err());
    assert!(bench.holds(Slot::A, &old));
}

/// Flips a bit of a file; what the file held before.
fn wear(path: &std::path::Path, at: usize) -> Vec<u8> {
    let whole = std::fs::read(path).unwrap();
    let mut worn = whole.clone();
    worn[at] ^= 1;
    std::fs::write(path, worn).unwrap();
    whole
}

#[test]
fn a_rollback_goes_to_a_release_that_was_good_and_is_whole() {
    let (old, new) = (old(), new());
    let mut bench = Bench::new(&old);
    assert!(matches!(bench.updater().roll_back(3, false), Err(TrialError::NothingBefore { slot: Slot::B })));
    installed(bench.install(&mut Repository::of(&[&new])).unwrap());
    bench.restart(&[&old, &new]);
    bench.updater().commit().unwrap();
    bench.restart(&[&old, &new]);

    let root = bench.volume(Slot::A, fruit_release::manifest::VolumeKind::Root);
    let whole = wear(&root, 50_000);
    let error = bench.updater().roll_back(3, false).unwrap_err();
    assert!(matches!(error, TrialError::Damaged { slot: Slot::A, .. }), "{error}");
    std::fs::write(&root, whole).unwrap();
    bench.updater().roll_back(3, false).unwrap();
    bench.restart(&[&old, &new]);
    assert_eq!((bench.running, bench.trial, bench.image.version.as_str()), (Slot::A, true, "1.0"));
    bench.updater().commit().unwrap();
    assert_eq!(bench.control().active, Slot::A);

    // What was installed and not flashed has a manifest, by which its boot volume is known too.
    let boot = bench.volume(Slot::B, fruit_release::manifest::VolumeKind::Boot);
    let whole = wear(&boot, 1000);
    let error = bench.updater().roll_back(3, false).unwrap_err();
    assert!(matches!(error, TrialError::DamagedBoot { slot: Slot::B, at: 0 }), "{error}");
    assert_eq!((bench.control().active, bench.control().trial), (Slot::A, None));
    std::fs::write(&boot, whole).unwrap();
    bench.updater().roll_back(3, false).unwrap();
}

#[test]
fn a_commit_is_not_for_what_is_not_on_trial() {
    let (old, new) = (old(), new());
    let bench = Bench::new(&old);
    assert!(matches!(bench.updater().commit(), Err(TrialError::NothingOnTrial(_))));
    installed(bench.install(&mut Repository::of(&[&new])).unwrap());
    assert!(matches!(bench.updater().commit(), Err(TrialError::NotBooted(_))));
    assert!(matches!(bench.updater().state().now, Phase::Trial { .. }));
}

/// A node without a data partition remembers nothing over a restart.
fn forget(bench: &Bench) {
    std::fs::remove_dir_all(bench.path("update")).unwrap();
}

#[test]
fn a_release_that_the_loader_has_given_up_is_not_installed_again_by_a_node_that_remembers_nothing() {
    let (old, new) = (old(), new());
    let mut bench = Bench::new(&old);
    let mut repository = Repository::of(&[&new]);
    installed(bench.install(&mut repository).unwrap());
    for _ in 0..4 {
        forget(&bench);
        bench.restart(&[&old, &new]);
        bench.updater().save().unwrap();
    }
    assert_eq!((bench.running, bench.control().failed), (Slot::A, Some(Slot::B)));
    forget(&bench);
    assert!(sentence(&bench).contains("the boot loader has given up slot b"), "{}", sentence(&bench));
    let error = bench.install(&mut repository).unwrap_err();
    assert!(error.to_string().contains("1.1 failed on this node"), "{error}");
    assert_eq!(error.outcome(), ExitStatus::Refused);
    assert!(sentence(&bench).contains("pistack 1.1 failed here"), "{}", sentence(&bench));
    // Another release is another one.
    let other = crate::kit::Image::new("1.2", new.root.clone(), crate::kit::noise(300 << 10, 9));
    forget(&bench);
    installed(bench.install(&mut Repository::of(&[&new, &other])).unwrap());
    assert!(bench.holds(Slot::B, &other));
}

#[test]
fn a_node_that_remembers_nothing_goes_back_to_what_is_whole_in_the_other_slot() {
    let (old, new) = (old(), new());
    let mut bench = Bench::new(&old);
    installed(bench.install(&mut Repository::of(&[&new])).unwrap());
    bench.restart(&[&old, &new]);
    bench.updater().commit().unwrap();
    bench.restart(&[&old, &new]);
    forget(&bench);
    let root = bench.volume(Slot::A, fruit_release::manifest::VolumeKind::Root);
    let whole = wear(&root, 50_000);
    assert!(matches!(bench.updater().roll_back(3, true), Err(TrialError::NothingBefore { .. })));
    std::fs::write(&root, whole).unwrap();
    bench.updater().roll_back(3, true).unwrap();
    bench.restart(&[&old, &new]);
    assert_eq!((bench.running, bench.trial), (Slot::A, true));
    assert_eq!(bench.updater().running().version, "1.0");
    assert_eq!(bench.updater().commit().unwrap().version, "1.0");
}

#[test]
fn what_is_armed_is_taken_back_by_cancel_and_rollback_says_so() {
    let (old, new) = (old(), new());
    let mut bench = Bench::new(&old);
    assert!(matches!(bench.updater().cancel(), Err(TrialError::NothingArmed)));
    let mut repository = Repository::of(&[&new]);
    installed(bench.install(&mut repository).unwrap());
    let error = bench.updater().roll_back(3, false).unwrap_err();
    assert!(error.to_string().contains("fruit-update cancel"), "{error}");
    assert_eq!(bench.updater().cancel().unwrap().version, "1.1");
    assert_eq!(bench.control().trial, None);
    bench.restart(&[&old, &new]);
    assert_eq!((bench.running, bench.trial), (Slot::A, false));
    assert_eq!(bench.updater().state().now, Phase::Idle);
    // Not again by itself, as the operator has said.
    assert_eq!(bench.install(&mut repository).unwrap_err().outcome(), ExitStatus::Refused);
    let request = Request { force: true, ..Request::default() };
    installed(bench.install_with(&mut repository, &request).unwrap());
    bench.restart(&[&old, &new]);
    assert!(matches!(bench.updater().cancel(), Err(TrialError::Running(_))));
}

#[test]
fn a_state_that_is_lost_costs_the_history_and_nothing_else() {
    let (old, new) = (old(), new());
    let mut bench = Bench::new(&old);
    installed(bench.install(&mut Repository::of(&[&new])).unwrap());
    std::fs::remove_dir_all(bench.path("update")).unwrap();
    bench.restart(&[&old, &new]);
    assert_eq!((bench.running, bench.trial), (Slot::B, true));
    bench.updater().commit().unwrap();
    assert_eq!(bench.control().active, Slot::B);
    let store = Folder::new(bench.path("update")).unwrap();
    drop(store);
    assert_eq!(bench.updater().running().version, "1.1");
}
