//! What hostile or broken sources can do to a node: nothing.

use std::io::{self, Read, Write};
use std::os::fd::{AsFd, BorrowedFd};
use std::sync::atomic::AtomicBool;
use std::time::{Duration, Instant};

use fruit_contract::Slot;
use fruit_contract::update::status::Content;
use fruit_release::bundle::Stream;
use fruit_release::manifest::{CHUNK, VolumeKind};
use fruit_release::{Digest, Name, frame};
use fruit_update::install::{self, ExitStatus, InstallError, Outcome, Refusal, Request};
use fruit_update::pipe::{Patience, Patient};
use fruit_update::state::Phase;
use fruit_update::status;

use crate::card::Bench;
use crate::install::{installed, new};
use crate::kit::{Image, Repository, anchor, noise, old};

/// The node runs what it ran, will boot it again, and says why.
fn is_untouched(bench: &mut Bench, image: &Image, error: &InstallError) {
    assert!(bench.holds(Slot::A, image));
    let control = bench.control();
    assert_eq!((control.active, control.trial), (Slot::A, None));
    let said = bench.updater().state().last_error.clone().expect("the reason is kept");
    assert!(error.to_string().starts_with(&said), "{said}");
    bench.restart(&[image]);
}

fn nothing_was_written(bench: &Bench) {
    for kind in VolumeKind::ALL {
        let bytes = std::fs::read(bench.volume(Slot::B, kind)).unwrap();
        assert!(bytes.iter().all(|byte| *byte == 0xff), "{} was written to", kind.name());
    }
    assert_eq!(bench.updater().state().now, Phase::Idle);
    assert_eq!(bench.updater().state().slot(Slot::B), &Content::Unknown);
}

fn refused(image: &Image, repository: &mut Repository, request: &Request) -> Refusal {
    let mut bench = Bench::new(image);
    let error = bench.install_with(repository, request).unwrap_err();
    nothing_was_written(&bench);
    is_untouched(&mut bench, image, &error);
    assert_eq!(error.outcome(), ExitStatus::Refused);
    match error {
        InstallError::Refused(refusal) => refusal,
        other => panic!("{other}"),
    }
}

#[test]
fn an_altered_chunk_is_not_written() {
    let (old, new) = (old(), new());
    let mut bench = Bench::new(&old);
    let mut repository = Repository::of(&[&old, &new]);
    let second = CHUNK as usize..2 * CHUNK as usize;
    let chunk = Name::Chunk(Digest::of(&new.root[second.clone()]));
    let other = frame::encode(&noise(1 << 20, 99), 3).unwrap();
    for altered in [other, frame::encode(b"short", 3).unwrap(), b"no frame".to_vec()] {
        let mut bad = repository.clone();
        bad.pieces.insert(chunk.clone(), altered);
        let error = bench.install(&mut bad).unwrap_err();
        assert!(matches!(error, InstallError::Altered { .. }), "{error}");
        assert_eq!(error.outcome(), ExitStatus::Source);
        is_untouched(&mut bench, &old, &error);
        let root = std::fs::read(bench.volume(Slot::B, VolumeKind::Root)).unwrap();
        assert!(root[second.clone()].iter().all(|byte| *byte == 0xff), "nothing of it is there");
    }
    // From a good source it goes on where it was.
    let report = installed(bench.install(&mut repository).unwrap());
    assert_eq!((report.counts.kept, report.counts.whole), (1, 3));
    assert!(bench.holds(Slot::B, &new));
}

#[test]
fn an_altered_manifest_is_refused_before_the_first_write() {
    let (old, new) = (old(), new());
    let mut bench = Bench::new(&old);
    let mut repository = Repository::of(&[&old, &new]);
    let name = repository.target(&new.manifest().target_path());
    let mut lies = new.manifest();
    lies.notes = "Other notes".into();
    repository.pieces.insert(name, lies.write().unwrap());
    let error = bench.install(&mut repository).unwrap_err();
    assert_eq!(error.outcome(), ExitStatus::Source, "{error}");
    nothing_was_written(&bench);
    is_untouched(&mut bench, &old, &error);
}

#[test]
fn altered_metadata_is_a_source_that_is_altered() {
    let (old, new) = (old(), new());
    for name in [Name::Timestamp, Name::Snapshot(1), Name::Targets(1)] {
        let mut bench = Bench::new(&old);
        let mut repository = Repository::of(&[&old, &new]);
        let file = repository.pieces.get_mut(&name).unwrap();
        let at = file.windows(7).position(|w| w == b"expires").unwrap() + 10;
        file[at] = b'3';
        let error = bench.install(&mut repository).unwrap_err();
        assert_eq!(error.outcome(), ExitStatus::Source, "{error}");
        nothing_was_written(&bench);
        is_untouched(&mut bench, &old, &error);
    }
}

#[test]
fn a_release_that_is_listed_and_held_back_is_an_error_with_its_name_also_in_the_status() {
    let (old, new) = (old(), new());
    let bench = Bench::new(&old);
    let mut repository = Repository::of(&[&old, &new]);
    let name = repository.target(&new.manifest().target_path());
    repository.pieces.remove(&name);
    let request = Request::default();
    let error = install::check(&mut bench.updater(), &anchor(), &mut repository, &request).unwrap_err();
    assert_eq!(error.outcome(), ExitStatus::Source, "{error}");
    assert!(error.to_string().contains("1.1") && error.to_string().contains(&name.to_string()), "{error}");
    let summary = status::of(&bench.updater(), &anchor(), None).unwrap().summary;
    assert!(summary.contains(&name.to_string()), "{summary}");
    let error = bench.install(&mut repository).unwrap_err();
    assert!(matches!(error, InstallError::HeldBack { .. }), "{error}");
    nothing_was_written(&bench);
    // A bundle has one release of those that are listed.
    let bundle = Repository::of(&[&old, &new]).bundle(&old.manifest().target_path(), None);
    assert!(matches!(bench.install(&mut Stream::new(&bundle[..], "bundle")).unwrap(), Outcome::UpToDate { .. }));
}

#[test]
fn a_delta_from_another_base_is_left_aside_and_whole_chunks_are_taken() {
    let (old, new) = (old(), new());
    let other = Image::new("1.0", noise(old.root.len(), 77), old.boot.clone());
    let bench = Bench::new(&old);
    let mut repository = Repository::of(&[&old, &new]);
    let path = repository.add_delta(&other, &new);
    // It says that it is for this node's build.
    let file = repository.pieces[&repository.target(&path)].clone();
    repository.add_file(&new.manifest().delta_path(&old.build_id()), file, &new);
    repository.sign();
    let report = installed(bench.install(&mut repository).unwrap());
    assert!(!report.delta);
    assert!(report.notes.iter().any(|note| note.contains("another build of 1.0")), "{:?}", report.notes);
    assert!(bench.holds(Slot::B, &new));
}

#[test]
fn patches_over_a_damaged_slot_do_not_fit_and_whole_chunks_are_taken() {
    let (old, new) = (old(), new());
    let bench = Bench::new(&old);
    let path = bench.volume(Slot::A, VolumeKind::Root);
    let mut worn = std::fs::read(&path).unwrap();
    worn[4096..4096 + 600_000].fill(0x55);
    std::fs::write(&path, worn).unwrap();
    let mut repository = Repository::of(&[&old, &new]);
    let delta = repository.add_delta(&old, &new);
    repository.sign();
    let only_delta = repository.bundle(&new.manifest().target_path(), Some(&delta));
    let error = bench.install(&mut Stream::new(&only_delta[..], "bundle")).unwrap_err();
    assert!(error.to_string().contains("needed since a patch did not fit"), "{error}");
    assert_eq!(error.outcome(), ExitStatus::Source);

    let report = installed(bench.install(&mut repository).unwrap());
    assert_eq!((report.counts.misfits, report.counts.whole), (1, 1), "{report:?}");
    assert!(bench.holds(Slot::B, &new));
}

#[test]
fn an_altered_patch_is_as_good_as_none() {
    let (old, new) = (old(), new());
    let bench = Bench::new(&old);
    let mut repository = Repository::of(&[&old, &new]);
    repository.add_delta(&old, &new);
    repository.sign();
    let patches: Vec<Name> = repository.pieces.keys().filter(|n| matches!(n, Name::Patch(_))).cloned().collect();
    assert!(!patches.is_empty());
    for name in &patches {
        repository.pieces.insert(name.clone(), b"\x10nonsense".to_vec());
    }
    let report = installed(bench.install(&mut repository).unwrap());
    assert_eq!(report.counts.misfits, patches.len() as u64);
    assert!(bench.holds(Slot::B, &new));
}

#[test]
fn a_truncated_bundle_ends_clearly_and_the_next_one_goes_on() {
    let (old, new) = (old(), new());
    let mut bench = Bench::new(&old);
    let bundle = Repository::of(&[&old, &new]).bundle(&new.manifest().target_path(), None);
    for cut in [0, 700, 3000, bundle.len() / 2, bundle.len() - 2000] {
        let error = bench.install(&mut Stream::new(&bundle[..cut], "bundle")).unwrap_err();
        assert_eq!(error.outcome(), ExitStatus::Source, "{cut}: {error}");
        assert!(error.to_string().contains("truncated"), "{cut}: {error}");
        is_untouched(&mut bench, &old, &error);
    }
    assert!(matches!(bench.updater().state().now, Phase::Installing { slot: Slot::B, .. }));
    let report = installed(bench.install(&mut Stream::new(&bundle[..], "bundle")).unwrap());
    assert!(report.counts.kept >= 2, "{report:?}");
    assert!(bench.holds(Slot::B, &new));
}

#[test]
fn a_release_for_another_board_is_refused() {
    let (old, mut new) = (old(), new());
    new.board = "raspberrypi4".into();
    let refusal = refused(&old, &mut Repository::of(&[&new]), &Request::default());
    assert!(refusal.to_string().contains("raspberrypi4"), "{refusal}");
}

#[test]
fn a_release_that_needs_a_newer_loader_is_refused() {
    let (old, mut new) = (old(), new());
    new.min_bootloader = 2;
    let refusal = refused(&old, &mut Repository::of(&[&new]), &Request::default());
    assert!(refusal.to_string().contains("boot loader 2"), "{refusal}");
}

#[test]
fn an_older_version_is_never_installed() {
    let (old, new) = (old(), new());
    let mut bench = Bench::new(&new);
    let outcome = bench.install(&mut Repository::of(&[&old])).unwrap();
    assert!(matches!(outcome, Outcome::UpToDate { .. }));
    nothing_was_written(&bench);
    bench.restart(&[&new]);
    let request = Request { version: Some("1.0".into()), force: true, ..Request::default() };
    assert!(matches!(refused(&new, &mut Repository::of(&[&old]), &request), Refusal::Older { .. }));
}

#[test]
fn an_older_security_epoch_is_never_installed_not_even_by_force() {
    let (mut old, new) = (old(), new());
    old.epoch = 2;
    let request = Request { force: true, ..Request::default() };
    let refusal = refused(&old, &mut Repository::of(&[&new]), &request);
    assert!(refusal.to_string().contains("security epoch"), "{refusal}");
}

#[test]
fn the_same_version_is_installed_by_force_only() {
    let (old, mut same) = (old(), new());
    same.version = "1.0".into();
    let bench = Bench::new(&old);
    let mut repository = Repository::of(&[&same]);
    assert!(matches!(bench.install(&mut repository).unwrap(), Outcome::UpToDate { .. }));
    let request = Request { force: true, ..Request::default() };
    installed(bench.install_with(&mut repository, &request).unwrap());
    assert!(bench.holds(Slot::B, &same));
}

#[test]
fn a_release_that_failed_here_is_not_tried_again_unless_forced() {
    let (old, new) = (old(), new());
    let mut bench = Bench::new(&old);
    let mut repository = Repository::of(&[&old, &new]);
    installed(bench.install(&mut repository).unwrap());
    // It never gets as far as its health checks.
    for _ in 0..3 {
        bench.restart(&[&old, &new]);
        assert_eq!(bench.running, Slot::B);
    }
    bench.restart(&[&old, &new]);
    assert_eq!(bench.running, Slot::A);
    let mut updater = bench.updater();
    updater.save().unwrap();
    assert_eq!(updater.state().now, Phase::Idle);
    assert!(updater.state().failed[0].reason.contains("did not come up"));
    let error = bench.install(&mut repository).unwrap_err();
    assert!(matches!(&error, InstallError::Refused(Refusal::FailedBefore { .. })), "{error}");
    let request = Request { force: true, ..Request::default() };
    installed(bench.install_with(&mut repository, &request).unwrap());
    bench.restart(&[&old, &new]);
    bench.updater().commit().unwrap();
    assert!(bench.updater().state().failed.is_empty());
}

#[test]
fn a_root_that_is_larger_than_its_partition_is_refused_before_the_first_write() {
    let (old, new) = (old(), Image::new("2.0", noise(6 << 20, 5), noise(1 << 16, 6)));
    let refusal = refused(&old, &mut Repository::of(&[&new]), &Request::default());
    assert!(matches!(&refusal, Refusal::TooLarge { volume, .. } if volume == "root-b"), "{refusal}");
}

/// A pipe at whose other end nothing happens.
struct Stalled {
    reader: io::PipeReader,
    _writer: io::PipeWriter,
}

impl Read for Stalled {
    fn read(&mut self, buf: &mut [u8]) -> io::Result<usize> {
        self.reader.read(buf)
    }
}

impl AsFd for Stalled {
    fn as_fd(&self) -> BorrowedFd<'_> {
        self.reader.as_fd()
    }
}

#[test]
fn a_source_that_stalls_is_given_up() {
    let old = old();
    let mut bench = Bench::new(&old);
    let (reader, writer) = io::pipe().unwrap();
    let stop = AtomicBool::new(false);
    let patience = Patience { silence: Duration::from_millis(300), ..Patience::default() };
    let pipe = Patient::new(Stalled { reader, _writer: writer }, &stop, patience);
    let began = Instant::now();
    let error = bench.install(&mut Stream::new(pipe, "pipe")).unwrap_err();
    assert!(began.elapsed() < Duration::from_secs(30));
    assert!(error.to_string().contains("nothing came"), "{error}");
    assert_eq!(error.outcome(), ExitStatus::Source);
    is_untouched(&mut bench, &old, &error);
}

#[test]
fn a_source_that_trickles_is_given_up() {
    let (reader, mut writer) = io::pipe().unwrap();
    let stop = AtomicBool::new(false);
    let patience = Patience { silence: Duration::from_secs(60), span: Duration::from_millis(300), least: 1000 };
    let trickle = std::thread::spawn(move || {
        while writer.write_all(b"x").is_ok() {
            std::thread::sleep(Duration::from_millis(20));
        }
    });
    let mut pipe = Patient::new(reader, &stop, patience);
    let error = pipe.read_exact(&mut [0; 4096]).unwrap_err();
    assert_eq!(error.kind(), io::ErrorKind::TimedOut, "{error}");
    drop(pipe);
    trickle.join().unwrap();
}
