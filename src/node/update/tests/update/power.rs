//! The power is cut after every single write of everything that an updater does, and the node boots the old release or
//! the new one, whole; and what was interrupted completes when it is done again.

use fruit_contract::Slot;
use fruit_contract::bootctl::{BootChoice, fresh_block};
use fruit_release::manifest::VolumeKind;
use fruit_release::tuf::{Clock, Time};
use fruit_update::install::{self, Hooks, Outcome, Request};
use fruit_update::state::Phase;
use fruit_update::updater::Updater;

use crate::card::{facts, stop_never};
use crate::disk::{Content, Dice, Disk, Op, Place, cut};
use crate::kit::{Image, Repository, TIME, anchor, noise, root_partition};

/// Different ends of each cut.
const ROUNDS: u64 = 4;

struct Releases {
    old: Image,
    new: Image,
    repository: Repository,
}

/// One chunk and a bit, with changes in several places, so that there are many small writes.
fn releases() -> Releases {
    let root = noise((1 << 20) + 8192, 11);
    let mut changed = root.clone();
    for at in [0, 40_000, 300_000, 700_000, (1 << 20) + 5000] {
        changed[at..at + 10].fill(0);
    }
    let boot = noise(20 << 10, 12);
    let (old, new) = (Image::new("1.0", root, boot.clone()), Image::new("1.1", changed, boot));
    let repository = Repository::of(&[&old, &new]);
    Releases { old, new, repository }
}

/// A card with `a` in slot a and, if there is one, `b` in slot b.
fn content(a: &Image, b: Option<&Image>) -> Content {
    let mut content = Content::default();
    let padded = |mut bytes: Vec<u8>, len: usize| {
        bytes.resize(len, 0xff);
        bytes
    };
    let (root, boot) = (root_partition(a.root.len()), 24 << 10);
    for (slot, image) in [(Slot::A, Some(a)), (Slot::B, b)] {
        let (root_bytes, boot_bytes) = image.map_or((vec![], vec![]), |i| (i.root_with_tree(), i.boot.clone()));
        content.places.insert(Place::Volume(slot, VolumeKind::Root), padded(root_bytes, root));
        content.places.insert(Place::Volume(slot, VolumeKind::Boot), padded(boot_bytes, boot));
    }
    content.places.insert(Place::Control, padded(fresh_block(), 8 << 10));
    content
}

fn holds(content: &Content, slot: Slot, image: &Image) -> bool {
    let boot = &content.places[&Place::Volume(slot, VolumeKind::Boot)];
    let root = &content.places[&Place::Volume(slot, VolumeKind::Root)];
    boot.starts_with(&image.boot)
        && root.starts_with(&image.root)
        && fruit_verity::verify(root, &image.params).unwrap().is_none()
}

/// The loader: counts the try, and starts a slot, which must hold one of the releases, whole.
fn boot<'i>(content: &mut Content, images: &[&'i Image]) -> (BootChoice, &'i Image) {
    let disk = Disk::new(content);
    let (choice, next) = content.control().boot();
    if let Some(next) = next {
        disk.card(choice.slot, choice.trial).set_control(&next).unwrap();
        *content = disk.content();
    }
    let image = images.iter().find(|image| holds(content, choice.slot, image));
    (choice, image.unwrap_or_else(|| panic!("slot {} boots and holds no whole release", choice.slot)))
}

fn updater(disk: &Disk, choice: BootChoice, image: &Image) -> Updater {
    let clock = Clock::Unset { built: Time::from_seconds(TIME as i64), saved: None };
    Updater::new(disk.card(choice.slot, choice.trial), Box::new(disk.clone()), facts(image, 1, clock)).unwrap()
}

fn hooks<R>(work: impl FnOnce(&mut Hooks<'_>) -> R) -> R {
    work(&mut Hooks { stop: stop_never(), progress: &mut |_| {}, pace: &mut |_| {} })
}

fn do_install(updater: &mut Updater, releases: &Releases) {
    let mut source = releases.repository.clone();
    let outcome = hooks(|hooks| install::install(updater, &anchor(), &mut source, &Request::default(), hooks));
    assert!(matches!(outcome, Ok(Outcome::Installed(_))), "{outcome:?}");
}

/// Cuts the power after each operation of `work`, several times; `after` is told what boots then, and completes what
/// was begun. Returns how many writes there were.
fn cut_everywhere(
    start: &Content,
    images: &[&Image],
    work: impl Fn(&mut Updater),
    after: impl Fn(&mut Content, BootChoice, &Image),
) -> usize {
    let mut booted = start.clone();
    let (choice, image) = boot(&mut booted, images);
    let disk = Disk::new(&booted);
    work(&mut updater(&disk, choice, image));
    let log = disk.log();
    for end in 0..=log.len() {
        for round in 0..ROUNDS {
            let mut dice = Dice::new(end as u64 * ROUNDS + round);
            let mut content = cut(&booted, &log[..end], &mut dice);
            let (choice, image) = boot(&mut content, images);
            after(&mut content, choice, image);
        }
    }
    log.iter().filter(|op| matches!(op, Op::Write { .. } | Op::Overwrite { .. } | Op::Replace { .. })).count()
}

/// Whatever state an install was cut in: the node gets to the new release by installing again, if need be, and
/// restarting.
fn gets_to_the_new_release(releases: &Releases, content: &mut Content, choice: BootChoice, image: &Image) {
    let images = [&releases.old, &releases.new];
    let disk = Disk::new(content);
    let mut node = updater(&disk, choice, image);
    if image.version == releases.old.version {
        assert!(!choice.trial);
        do_install(&mut node, releases);
        *content = disk.content();
        let (choice, image) = boot(content, &images);
        assert!(choice.trial && image.version == releases.new.version);
        return gets_to_the_new_release(releases, content, choice, image);
    }
    if choice.trial {
        assert!(matches!(node.state().now, Phase::Trial { .. }), "{:?}", node.state());
        node.commit().unwrap();
    }
    assert_eq!(node.state().now, Phase::Idle);
    assert!(node.state().slot(choice.slot).good().is_some());
    *content = disk.content();
    let (choice, image) = boot(content, &images);
    assert!(!choice.trial && image.version == releases.new.version);
}

#[test]
fn an_install_that_is_cut_anywhere_leaves_a_node_that_boots_and_completes() {
    let releases = releases();
    let images = [&releases.old, &releases.new];
    let writes = cut_everywhere(
        &content(&releases.old, None),
        &images,
        |updater| do_install(updater, &releases),
        |content, choice, image| {
            assert!(holds(content, Slot::A, &releases.old), "the running slot was written to");
            gets_to_the_new_release(&releases, content, choice, image);
        },
    );
    assert!(writes > 10, "{writes} writes");
}

/// Whatever a cache of the card or of the kernel held is gone: what was pushed to the medium on the way stays.
#[test]
fn a_power_cut_costs_a_few_chunks_of_an_install() {
    let chunk = 1 << 20;
    let old = Image::new("1.0", noise(30 * chunk, 21), noise(20 << 10, 22));
    let mut root = old.root.clone();
    root.chunks_mut(chunk).enumerate().for_each(|(i, chunk)| chunk[..64].fill(i as u8));
    let new = Image::new("1.1", root, old.boot.clone());
    let releases = Releases { repository: Repository::of(&[&old, &new]), old, new };
    // Little of each chunk differs.
    let start = content(&releases.old, Some(&releases.old));
    let choice = BootChoice { slot: Slot::A, trial: false };
    let disk = Disk::new(&start);
    do_install(&mut updater(&disk, choice, &releases.old), &releases);
    let log = disk.log();
    let at = |n: usize| {
        let chunk_n = |op: &Op| matches!(op, Op::Write { place: Place::Volume(Slot::B, VolumeKind::Root), offset, .. } if *offset / chunk == n);
        log.iter().position(chunk_n).unwrap()
    };
    for done in [10, 20, 29] {
        let content = crate::disk::medium(&start, &log[..at(done)]);
        let disk = Disk::new(&content);
        let mut node = updater(&disk, choice, &releases.old);
        let mut source = releases.repository.clone();
        let outcome = hooks(|hooks| install::install(&mut node, &anchor(), &mut source, &Request::default(), hooks));
        let Ok(Outcome::Installed(installed)) = outcome else { panic!("{outcome:?}") };
        let kept = installed.counts.kept as usize;
        assert!(kept + fruit_update::slot::SYNC_CHUNKS as usize >= done, "{kept} chunks of {done} were kept");
        assert!(installed.notes.iter().any(|note| note.contains("were there already")), "{:?}", installed.notes);
    }
}

/// The other slot holds an older release, of which most blocks stay.
#[test]
fn an_install_over_an_older_release_is_as_safe() {
    let releases = releases();
    let images = [&releases.old, &releases.new];
    let writes = cut_everywhere(
        &content(&releases.old, Some(&releases.old)),
        &images,
        |updater| do_install(updater, &releases),
        |content, choice, image| gets_to_the_new_release(&releases, content, choice, image),
    );
    assert!(writes > 15, "{writes} writes");
}

/// A node on which the new release is installed and boots on trial.
fn on_trial(releases: &Releases) -> Content {
    let mut content = content(&releases.old, None);
    let images = [&releases.old, &releases.new];
    let (choice, image) = boot(&mut content, &images);
    let disk = Disk::new(&content);
    do_install(&mut updater(&disk, choice, image), releases);
    disk.content()
}

#[test]
fn a_commit_that_is_cut_anywhere_leaves_the_new_release_on_trial_or_committed() {
    let releases = releases();
    let images = [&releases.old, &releases.new];
    cut_everywhere(
        &on_trial(&releases),
        &images,
        |updater| {
            updater.commit().unwrap();
        },
        |content, choice, image| {
            assert_eq!(image.version, releases.new.version);
            gets_to_the_new_release(&releases, content, choice, image);
        },
    );
}

#[test]
fn giving_up_that_is_cut_anywhere_goes_on_with_the_trial_or_is_back() {
    let releases = releases();
    let images = [&releases.old, &releases.new];
    cut_everywhere(
        &on_trial(&releases),
        &images,
        |updater| {
            updater.give_up("no network").unwrap();
        },
        |content, choice, image| {
            let disk = Disk::new(content);
            let mut node = updater(&disk, choice, image);
            if image.version == releases.new.version {
                node.give_up("no network").unwrap();
                *content = disk.content();
                let (choice, image) = boot(content, &images);
                assert_eq!((choice.slot, image.version.as_str()), (Slot::A, "1.0"));
                return;
            }
            assert_eq!(choice, BootChoice { slot: Slot::A, trial: false });
            assert_eq!(node.state().now, Phase::Idle);
            assert_eq!(node.state().failed[0].reason, "no network");
        },
    );
}

#[test]
fn a_copy_of_the_running_slot_that_is_cut_anywhere_completes_when_it_is_done_again() {
    let releases = releases();
    let images = [&releases.old];
    let clone = |updater: &mut Updater| {
        hooks(|hooks| updater.clone_slot(false, hooks)).unwrap();
    };
    cut_everywhere(&content(&releases.old, None), &images, clone, |content, choice, image| {
        assert_eq!(choice, BootChoice { slot: Slot::A, trial: false });
        let disk = Disk::new(content);
        let mut node = updater(&disk, choice, image);
        if node.state().slot(Slot::B).good().is_none() {
            clone(&mut node);
        }
        assert!(holds(&disk.content(), Slot::B, &releases.old));
    });
}

#[test]
fn a_rollback_that_is_cut_anywhere_is_armed_or_not() {
    let releases = releases();
    let images = [&releases.old, &releases.new];
    // The new release committed, the old one in slot a.
    let mut start = on_trial(&releases);
    let (choice, image) = boot(&mut start, &images);
    let disk = Disk::new(&start);
    updater(&disk, choice, image).commit().unwrap();
    let roll_back = |updater: &mut Updater| {
        updater.roll_back(3, false).unwrap();
    };
    cut_everywhere(&disk.content(), &images, roll_back, |content, choice, image| {
        let disk = Disk::new(content);
        let mut node = updater(&disk, choice, image);
        if image.version == releases.new.version {
            roll_back(&mut node);
            *content = disk.content();
            let (choice, image) = boot(content, &images);
            assert_eq!((choice.slot, choice.trial, image.version.as_str()), (Slot::A, true, "1.0"));
        } else {
            assert!(choice.trial);
            node.commit().unwrap();
        }
    });
}

/// The loader's own writes are cut too: they are single sectors into the older copy.
#[test]
fn a_try_whose_count_is_torn_is_counted_or_not() {
    let releases = releases();
    let images = [&releases.old, &releases.new];
    let start = on_trial(&releases);
    let disk = Disk::new(&start);
    let (choice, next) = start.control().boot();
    disk.card(choice.slot, choice.trial).set_control(&next.unwrap()).unwrap();
    let log = disk.log();
    for end in 0..=log.len() {
        for round in 0..ROUNDS {
            let mut content = cut(&start, &log[..end], &mut Dice::new(round));
            let (choice, image) = boot(&mut content, &images);
            gets_to_the_new_release(&releases, &mut content, choice, image);
        }
    }
}
