//! Releases that are installed as they should be.

use fruit_contract::Slot;
use fruit_release::bundle::Stream;
use fruit_update::install::{Installed, Outcome};
use fruit_update::state::Phase;

use crate::card::Bench;
use crate::kit::{Image, Repository, changed, old};

/// The old one with some blocks changed.
pub fn new() -> Image {
    changed(&[(5000, 1), (9000, 2), (1 << 20, 3), (2 << 20, 4)])
}

pub fn installed(outcome: Outcome) -> Installed {
    match outcome {
        Outcome::Installed(installed) => *installed,
        other => panic!("{other:?}"),
    }
}

#[test]
fn a_release_goes_into_the_other_slot_boots_on_trial_and_is_committed() {
    let (old, new) = (old(), new());
    let mut bench = Bench::new(&old);
    let report = installed(bench.install(&mut Repository::of(&[&old, &new])).unwrap());
    assert_eq!((report.slot, report.release.version.as_str()), (Slot::B, "1.1"));
    assert_eq!(report.counts.whole, 4);
    assert!(bench.holds(Slot::A, &old) && bench.holds(Slot::B, &new));

    bench.restart(&[&old, &new]);
    assert_eq!((bench.running, bench.trial), (Slot::B, true));
    bench.updater().commit().unwrap();
    bench.restart(&[&old, &new]);
    assert_eq!((bench.running, bench.trial, bench.control().active), (Slot::B, false, Slot::B));
    let updater = bench.updater();
    assert_eq!(updater.state().now, Phase::Idle);
    assert_eq!(updater.state().slot(Slot::A).good().unwrap().version, "1.0");
}

#[test]
fn a_delta_bundle_installs_from_a_pipe() {
    let (old, new) = (old(), new());
    let bench = Bench::new(&old);
    let mut repository = Repository::of(&[&old, &new]);
    let delta = repository.add_delta(&old, &new);
    repository.sign();
    let bundle = repository.bundle(&new.manifest().target_path(), Some(&delta));
    assert!(bundle.len() < 40_000, "{}", bundle.len());
    let report = installed(bench.install(&mut Stream::new(&bundle[..], "pipe")).unwrap());
    assert!(report.delta, "{:?}", report.notes);
    assert_eq!((report.counts.whole, report.counts.misfits), (0, 0), "{report:?}");
    assert!(bench.holds(Slot::B, &new));
}
