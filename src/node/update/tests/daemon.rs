//! The daemon on cards made of plain files, with real releases from real servers and folders.

use std::cell::RefCell;
use std::fs;
use std::io;
use std::path::Path;
use std::rc::Rc;
use std::sync::Arc;
use std::sync::atomic::AtomicBool;
use std::sync::atomic::Ordering::Relaxed;
use std::thread;
use std::time::{Duration, Instant};

use crate::card::Bench;
use crate::kit;
use crate::kit::{Image, Repository, changed, old};
use crate::server::{Answer, Server};
use fruit_contract::Slot;
use fruit_contract::bootctl::{BLOCK_SIZE, Stored};
use fruit_contract::update::config::UpdateConfig;
use fruit_contract::update::report::{REPORT_PATH, Report};
use fruit_contract::update::window::WeekMinute;
use fruit_update::daemon::{Daemon, End, Installation, Node};
use fruit_update::health::Endpoints;
use fruit_update::http::Stop;
use fruit_update::inhibit::Inhibitor;
use fruit_update::state::Phase;
use fruit_update::store::Store;

fn new() -> Image {
    changed(&[(5000, 1)])
}

/// A node whose restarts are written down and whose time and inhibitors are as a test says.
struct Scene {
    bench: Rc<RefCell<Bench>>,
    root: tempfile::TempDir,
    restarts: Rc<RefCell<Vec<bool>>>,
    time: Rc<RefCell<Option<WeekMinute>>>,
    inhibitors: Rc<RefCell<Vec<Inhibitor>>>,
    tryboot: bool,
    /// What is remembered can't be written.
    forgets: bool,
    stop: Stop,
}

/// Keeps what was read and refuses to write.
struct Full;

impl Store for Full {
    fn read(&self, _: &str, _: u64) -> io::Result<Option<Vec<u8>>> {
        Ok(None)
    }
    fn overwrite(&self, _: &str, _: &[u8]) -> io::Result<()> {
        Err(io::Error::from(io::ErrorKind::StorageFull))
    }
    fn replace(&self, _: &str, _: &[u8]) -> io::Result<()> {
        Err(io::Error::from(io::ErrorKind::StorageFull))
    }
}

impl Scene {
    fn new() -> Scene {
        let root = tempfile::tempdir().unwrap();
        fs::create_dir_all(root.path().join("run/fruit")).unwrap();
        fs::write(root.path().join("root.json"), kit::anchor()).unwrap();
        Scene {
            bench: Rc::new(RefCell::new(Bench::new(&old()))),
            root,
            restarts: Rc::default(),
            time: Rc::default(),
            inhibitors: Rc::default(),
            tryboot: false,
            forgets: false,
            stop: Stop::default(),
        }
    }

    fn daemon(&self, config: &str) -> Daemon {
        let (bench, forgets) = (Rc::clone(&self.bench), self.forgets);
        let (restarts, time, inhibitors) =
            (Rc::clone(&self.restarts), Rc::clone(&self.time), Rc::clone(&self.inhibitors));
        let node = Node {
            installation: Installation {
                root: self.root.path().to_owned(),
                anchor: Some(self.root.path().join("root.json")),
            },
            lock: self.root.path().join("run/fruit/update.lock"),
            endpoints: Endpoints::default(),
            disk: "/dev/mmcblk0".into(),
            open: Box::new(move || {
                let mut updater = bench.borrow().updater();
                if forgets {
                    updater.store = Box::new(Full);
                }
                Ok(updater)
            }),
            time: Box::new(move || *time.borrow()),
            inhibitors: Box::new(move || inhibitors.borrow().clone()),
            restart: Box::new(move |tries| {
                restarts.borrow_mut().push(tries);
                Ok(())
            }),
            tryboot: self.tryboot,
        };
        let config = UpdateConfig::from_yaml(&format!("root: /root.json\n{config}"), "x").unwrap();
        Daemon::new(node, config, None, self.stop.clone(), Arc::new(|| {}))
    }

    /// Runs it until the card says so, or until it ends by itself.
    fn run_until(&self, config: &str, done: impl Fn(&Path, &Path) -> bool + Send) -> End {
        self.stop.store(false, Relaxed);
        let mut daemon = self.daemon(config);
        let (card, root) = (self.bench.borrow().path(""), self.root.path().to_owned());
        let (ended, stop) = (AtomicBool::new(false), self.stop.clone());
        thread::scope(|scope| {
            let ended = &ended;
            scope.spawn(move || {
                let end = Instant::now() + Duration::from_secs(60);
                while Instant::now() < end && !ended.load(Relaxed) && !done(&card, &root) {
                    thread::sleep(Duration::from_millis(50));
                }
                stop.store(true, Relaxed);
            });
            let end = daemon.run();
            ended.store(true, Relaxed);
            end
        })
    }

    /// One look at the sources.
    fn check(&self, config: &str) {
        self.stop.store(false, Relaxed);
        self.daemon(config).check_now();
    }

    fn report(&self) -> Report {
        Report::read(&self.root.path().join(REPORT_PATH.trim_start_matches('/'))).unwrap()
    }

    fn boot(&self) {
        self.bench.borrow_mut().restart(&[&old(), &new()]);
    }

    /// With the new release on trial, running.
    fn on_trial() -> Scene {
        let scene = Scene::new();
        scene.bench.borrow().install(&mut Repository::of(&[&new()])).unwrap();
        scene.boot();
        assert!(scene.bench.borrow().trial);
        scene
    }
}

fn active(card: &Path) -> Slot {
    let mut block = fs::read(card.join("state")).unwrap();
    block.truncate(BLOCK_SIZE);
    Stored::from_block(&block).state().active
}

/// A server of a repository's pieces.
fn serve(repository: &Repository, change: impl Fn(usize, &str, Vec<u8>) -> Vec<u8> + Send + Sync + 'static) -> Server {
    let pieces: Vec<(String, Vec<u8>)> =
        repository.pieces.iter().map(|(name, bytes)| (format!("/{name}"), bytes.clone())).collect();
    Server::start(move |n, request| match pieces.iter().find(|(path, _)| *path == request.path) {
        Some((path, bytes)) => Answer::file(&change(n, path, bytes.clone())),
        None => Answer { status: 404, ..Answer::file(b"") },
    })
}

fn as_it_is(_: usize, _: &str, bytes: Vec<u8>) -> Vec<u8> {
    bytes
}

#[test]
fn a_release_that_does_its_work_is_committed() {
    let scene = Scene::on_trial();
    let end = scene.run_until("health: {soak: 300ms}\n", |card, _| active(card) == Slot::B);
    assert_eq!(end, End::Stopped);
    assert_eq!(active(&scene.bench.borrow().path("")), Slot::B);
    assert!(scene.restarts.borrow().is_empty());
    assert_eq!(scene.bench.borrow().updater().state().now, Phase::Idle);
}

#[test]
fn a_release_that_fails_its_checks_goes_back_and_says_why() {
    let scene = Scene::on_trial();
    let config = "health: {within: 1s, commands: [{run: [/bin/sh, -c, 'echo no disk; exit 1']}]}\n";
    assert_eq!(scene.run_until(config, |_, _| false), End::Restarting);
    assert_eq!(*scene.restarts.borrow(), [false]);
    let control = scene.bench.borrow().control();
    assert_eq!((control.active, control.trial, control.failed), (Slot::A, None, Some(Slot::B)));
    scene.boot();
    let updater = scene.bench.borrow().updater();
    assert!(updater.state().failed[0].reason.contains("no disk"), "{:?}", updater.state().failed);
}

#[test]
fn what_cannot_be_remembered_still_commits_and_falls_back() {
    for good in [true, false] {
        let mut scene = Scene::on_trial();
        scene.forgets = true;
        let config =
            if good { "health: {soak: 0ms}\n" } else { "health: {within: 1s, commands: [{run: [/bin/false]}]}\n" };
        let end = scene.run_until(config, |card, _| active(card) == Slot::B);
        let control = scene.bench.borrow().control();
        if good {
            assert_eq!((end, control.active), (End::Stopped, Slot::B));
        } else {
            assert_eq!((end, control.active, control.failed), (End::Restarting, Slot::A, Some(Slot::B)));
        }
    }
}

#[test]
fn a_stop_during_the_soak_decides_nothing() {
    let scene = Scene::on_trial();
    let end = scene.run_until("health: {soak: 1h}\n", |_, root| {
        Report::read(&root.join(REPORT_PATH.trim_start_matches('/'))).is_some_and(|r| r.doing.contains("trial"))
    });
    assert_eq!(end, End::Stopped);
    let control = scene.bench.borrow().control();
    assert_eq!((control.active, control.trial.unwrap().slot), (Slot::A, Slot::B));
}

#[test]
fn a_release_that_never_came_up_has_failed_and_is_not_taken_again() {
    let scene = Scene::on_trial();
    // Its tries are used up without a word from it.
    while scene.bench.borrow().trial {
        scene.boot();
    }
    let server = serve(&Repository::of(&[&old(), &new()]), as_it_is);
    scene.check(&format!("sources: ['{}']\n", server.url("")));
    let updater = scene.bench.borrow().updater();
    assert!(updater.state().failed[0].reason.contains("did not come up"), "{:?}", updater.state().failed);
    assert_eq!(scene.bench.borrow().control().trial, None, "it is not armed again");
    assert!(!server.requests().is_empty());
}

#[test]
fn a_newer_release_is_installed_over_http_and_the_node_restarts_into_it() {
    let scene = Scene::new();
    let server = serve(&Repository::of(&[&old(), &new()]), as_it_is);
    let config = format!("sources: ['{}']\nreboot: auto\ntries: 2\n", server.url(""));
    scene.check(&config);
    assert!(scene.bench.borrow().holds(Slot::B, &new()));
    assert_eq!(scene.bench.borrow().control().trial.unwrap().tries_left, 2);
    assert_eq!(scene.run_until(&config, |_, _| false), End::Restarting);
    // What is armed is not installed once more.
    let before = server.requests().len();
    scene.check(&config);
    assert!(server.requests()[before..].iter().all(|request| !request.path.contains("/blobs/")));
}

#[test]
fn a_bundle_in_a_folder_is_taken() {
    let scene = Scene::new();
    let stick = tempfile::tempdir().unwrap();
    let repository = Repository::of(&[&old(), &new()]);
    let bundle = repository.bundle(&new().manifest().target_path(), None);
    fs::write(stick.path().join("new.fruit"), bundle).unwrap();
    scene.check(&format!("sources: ['{}']\n", stick.path().display()));
    assert!(scene.bench.borrow().holds(Slot::B, &new()));
}

#[test]
fn a_restart_waits_for_its_window_and_for_who_asks_for_it() {
    let scene = Scene::new();
    scene.bench.borrow().install(&mut Repository::of(&[&new()])).unwrap();
    let config = "reboot: window\nwindows: [Mon 01:00-02:00]\n";
    let waits = |what: &'static str| {
        move |_: &Path, root: &Path| {
            Report::read(&root.join(REPORT_PATH.trim_start_matches('/')))
                .is_some_and(|report| report.waits_for.iter().any(|one| one.contains(what)))
        }
    };
    // Monday, 03:00.
    *scene.time.borrow_mut() = Some(WeekMinute::new(0, 3, 0));
    assert_eq!(scene.run_until(config, waits("window")), End::Stopped);
    assert!(scene.report().waits_for[0].contains("Mon 01:00-02:00"), "{:?}", scene.report());
    *scene.time.borrow_mut() = None;
    assert_eq!(scene.run_until(config, waits("clock")), End::Stopped);
    assert!(scene.report().waits_for[0].contains("clock"), "{:?}", scene.report());
    *scene.time.borrow_mut() = Some(WeekMinute::new(0, 1, 0));
    scene.inhibitors.borrow_mut().push(Inhibitor { who: "backup".into(), why: "runs".into() });
    assert_eq!(scene.run_until(config, waits("backup")), End::Stopped);
    assert_eq!(scene.report().waits_for, ["backup (runs)"]);
    assert!(scene.restarts.borrow().is_empty());
    scene.inhibitors.borrow_mut().clear();
    assert_eq!(scene.run_until(config, |_, _| false), End::Restarting);
}

#[test]
fn windows_may_be_ignored_without_a_clock() {
    let scene = Scene::new();
    scene.bench.borrow().install(&mut Repository::of(&[&new()])).unwrap();
    let config = "reboot: window\nwindows: [Mon 01:00-02:00]\nwithout_clock: ignore\n";
    assert_eq!(scene.run_until(config, |_, _| false), End::Restarting);
}

#[test]
fn what_is_manual_is_only_told() {
    let scene = Scene::new();
    let server = serve(&Repository::of(&[&old(), &new()]), as_it_is);
    scene.check(&format!("sources: ['{}']\ninstall: manual\n", server.url("")));
    assert_eq!(scene.report().last_result.as_deref(), Some("1.1 is available"));
    assert_eq!(scene.bench.borrow().control().trial, None);
    assert!(server.requests().iter().all(|request| !request.path.contains("/blobs/")));
}

#[test]
fn a_mirror_with_wrong_bytes_costs_nothing_while_another_one_has_the_right_ones() {
    let scene = Scene::new();
    let repository = Repository::of(&[&old(), &new()]);
    let altered = serve(&repository, |_, path, mut bytes| {
        if path.starts_with("/blobs/") {
            let middle = bytes.len() / 2;
            bytes[middle] ^= 1;
        }
        bytes
    });
    let right = serve(&repository, as_it_is);
    scene.check(&format!("sources: ['{}']\n", altered.url("")));
    assert!(scene.report().last_result.unwrap().contains("altered"), "{:?}", scene.report());
    scene.check(&format!("sources: ['{}', '{}']\n", altered.url(""), right.url("")));
    assert!(scene.bench.borrow().holds(Slot::B, &new()));
}

#[test]
fn behind_a_login_page_cut_or_old_metadata_the_next_mirror_is_asked() {
    let right = || serve(&Repository::of(&[&old(), &new()]), as_it_is);
    let page = |_: usize, _: &str, _: Vec<u8>| b"\n<!DOCTYPE html><html>Log in</html>".to_vec();
    let cut = |_: usize, path: &str, mut bytes: Vec<u8>| {
        bytes.truncate(if path.contains("/metadata/") { bytes.len() / 2 } else { bytes.len() });
        bytes
    };
    let mut newer = Repository::of(&[&old()]);
    newer.add(&new());
    newer.sign();
    for (first, second) in [
        (serve(&Repository::of(&[&old(), &new()]), page), right()),
        (serve(&Repository::of(&[&old(), &new()]), cut), right()),
        (serve(&Repository::of(&[&old()]), as_it_is), serve(&newer, as_it_is)),
    ] {
        let scene = Scene::new();
        scene.check(&format!("sources: ['{}', '{}']\n", first.url(""), second.url("")));
        assert!(scene.bench.borrow().holds(Slot::B, &new()), "{:?}", scene.report());
    }
    let scene = Scene::new();
    let only = serve(&Repository::of(&[&old(), &new()]), page);
    scene.check(&format!("sources: ['{}']\n", only.url("")));
    assert!(scene.report().last_result.unwrap().contains("captive portal"), "{:?}", scene.report());
}

#[test]
fn a_stop_during_an_install_is_gone_on_with_the_next_time() {
    let scene = Scene::new();
    let stop = scene.stop.clone();
    let server = serve(&Repository::of(&[&old(), &new()]), move |_, path, bytes| {
        if path.starts_with("/blobs/") {
            stop.store(true, Relaxed);
        }
        bytes
    });
    let config = format!("sources: ['{}']\n", server.url(""));
    scene.check(&config);
    assert!(matches!(scene.bench.borrow().updater().state().now, Phase::Installing { .. }));
    assert_eq!(scene.bench.borrow().control().trial, None);
    drop(server);
    let server = serve(&Repository::of(&[&old(), &new()]), as_it_is);
    scene.check(&format!("sources: ['{}']\n", server.url("")));
    assert!(scene.bench.borrow().holds(Slot::B, &new()));
}

#[test]
fn with_tryboot_the_firmware_is_told_and_the_try_is_counted() {
    let mut scene = Scene::new();
    scene.tryboot = true;
    scene.bench.borrow().install(&mut Repository::of(&[&new()])).unwrap();
    assert_eq!(scene.run_until("reboot: auto\n", |_, _| false), End::Restarting);
    assert_eq!(*scene.restarts.borrow(), [true]);
    assert_eq!(scene.bench.borrow().control().trial.unwrap().tries_left, 2);
}

#[test]
fn nobody_to_ask_is_told_and_asked_again_sooner() {
    let scene = Scene::new();
    let server = serve(&Repository::default(), as_it_is);
    let url = server.url("");
    drop(server);
    scene.check(&format!("sources: ['{url}']\ncheck: 6h\n"));
    let report = scene.report();
    assert!(report.last_result.unwrap().contains(&url));
    assert!(report.next_check.unwrap() <= report.last_check.unwrap() + 120);
}
