//! A node of a fleet: releases from peers, by a process on a local socket that does all that a broken or hostile one can do, and
//! by whom it believes them.

use std::cell::RefCell;
use std::fs;
use std::io::{Read, Write};
use std::os::unix::net::{UnixListener, UnixStream};
use std::path::{Path, PathBuf};
use std::rc::Rc;
use std::sync::atomic::Ordering::Relaxed;
use std::sync::{Arc, Mutex};
use std::thread;
use std::time::{Duration, Instant};

use crate::card::Bench;
use crate::charters;
use crate::charters::Fleet;
use crate::kit;
use crate::kit::{Image, Repository, changed, noise, old};
use crate::server;
use crate::server::Server;
use fruit_contract::Slot;
use fruit_contract::update::config::UpdateConfig;
use fruit_contract::update::report::{REPORT_PATH, Report};
use fruit_record::body::{Charter, Grant, ReleaseRoot};
use fruit_release::local::{Answer, AnswerHead, LocalError, Request, Status, read_magic};
use fruit_release::{Digest, Name, Source, SourceError};
use fruit_update::anchor::Anchor;
use fruit_update::daemon::{Daemon, Installation, Node};
use fruit_update::health::Endpoints;
use fruit_update::http::{Limits, Settings, Stop};
use fruit_update::peers::Peers;
use fruit_update::status;

fn new() -> Image {
    changed(&[(5000, 1)])
}

/// Both releases and the way from one to the other.
fn repository() -> Repository {
    let mut repository = Repository::of(&[&old(), &new()]);
    repository.add_delta(&old(), &new());
    repository.sign();
    repository.pieces.insert(Name::Root(1), kit::anchor());
    repository
}

/// Somebody behind a socket: each connection, and its number, in a thread of its own.
fn listen(path: &Path, serve: impl Fn(usize, UnixStream) + Send + Sync + 'static) {
    fs::create_dir_all(path.parent().unwrap()).unwrap();
    let listener = UnixListener::bind(path).unwrap();
    let serve = Arc::new(serve);
    thread::spawn(move || {
        for (number, stream) in listener.incoming().enumerate() {
            let serve = Arc::clone(&serve);
            thread::spawn(move || serve(number, stream.unwrap()));
        }
    });
}

fn send(stream: &mut UnixStream, answer: &Answer) -> std::io::Result<()> {
    let (head, bytes) = answer.frame();
    stream.write_all(&head)?;
    stream.write_all(bytes)
}

/// What was asked for, in order; nothing stands for a refresh.
type Asked = Arc<Mutex<Vec<Option<Name>>>>;

/// A peer process that has `repository`, and hands it out as `change` leaves it.
fn peers(
    path: &Path,
    repository: &Repository,
    change: impl Fn(&Name, Vec<u8>) -> Answer + Send + Sync + 'static,
) -> Asked {
    let (pieces, asked) = (repository.pieces.clone(), Asked::default());
    let told = Arc::clone(&asked);
    listen(path, move |_, mut stream| {
        read_magic(&mut stream).unwrap();
        while let Ok(Some(request)) = Request::read(&mut stream) {
            let answer = match request {
                Request::Refresh { .. } => {
                    told.lock().unwrap().push(None);
                    Answer::Here(Vec::new())
                }
                Request::Give { repository, name } => {
                    assert_eq!(repository, Digest::of(&kit::anchor()));
                    told.lock().unwrap().push(Some(name.clone()));
                    pieces.get(&name).map_or(Answer::Nobody, |bytes| change(&name, bytes.clone()))
                }
            };
            if send(&mut stream, &answer).is_err() {
                return;
            }
        }
    });
    asked
}

fn as_it_is(_: &Name, bytes: Vec<u8>) -> Answer {
    Answer::Here(bytes)
}

/// A node with files of its own, without root metadata in its image unless it is given some.
struct Scene {
    bench: Rc<RefCell<Bench>>,
    root: tempfile::TempDir,
    anchor: Option<PathBuf>,
}

impl Scene {
    fn new() -> Scene {
        let (bench, root) = (Rc::new(RefCell::new(Bench::new(&old()))), tempfile::tempdir().unwrap());
        fs::create_dir_all(root.path().join("run/fruit")).unwrap();
        Scene { bench, root, anchor: None }
    }

    fn with_root() -> Scene {
        let mut scene = Scene::new();
        let path = scene.path("root.json");
        fs::write(&path, kit::anchor()).unwrap();
        scene.anchor = Some(path);
        scene
    }

    fn path(&self, path: &str) -> PathBuf {
        self.root.path().join(path)
    }

    fn socket(&self) -> PathBuf {
        self.path("run/fruit-peer/pieces.sock")
    }

    /// One look at the sources.
    fn check(&self, sources: &str) -> Report {
        let bench = Rc::clone(&self.bench);
        let node = Node {
            installation: Installation { root: self.root.path().to_owned(), anchor: self.anchor.clone() },
            lock: self.path("run/fruit/update.lock"),
            endpoints: Endpoints::default(),
            disk: "/dev/mmcblk0".into(),
            open: Box::new(move || Ok(bench.borrow().updater())),
            time: Box::new(|| None),
            inhibitors: Box::new(Vec::new),
            restart: Box::new(|_| Ok(())),
            tryboot: false,
        };
        let config = UpdateConfig::from_yaml(&format!("sources: {sources}\n"), "x").unwrap();
        Daemon::new(node, config, None, Stop::default(), Arc::new(|| {})).check_now();
        Report::read(&self.path(REPORT_PATH.trim_start_matches('/'))).unwrap()
    }

    fn has_new(&self) -> bool {
        self.bench.borrow().holds(Slot::B, &new())
    }

    fn anchor(&self) -> Anchor {
        let updater = self.bench.borrow().updater();
        Anchor::of(self.root.path(), self.anchor.as_deref(), &*updater.store, kit::PRODUCT).unwrap()
    }

    /// What `fruit-update status` shows: whom it obeys, and what is wrong with its trust.
    fn obeys(&self) -> (String, Option<String>) {
        let status = status::under(&self.bench.borrow().updater(), &self.anchor(), None).unwrap();
        (status.obeys, status.trust_error)
    }

    fn put(&self, path: &str, bytes: impl AsRef<[u8]>) {
        let path = self.path(path);
        fs::create_dir_all(path.parent().unwrap()).unwrap();
        fs::write(path, bytes).unwrap();
    }

    fn invite(&self, fleet: &Fleet) {
        let invite = fleet.invite(charters::INVITE, Grant::default(), 0, charters::ANNA);
        self.put("etc/fruit/invite", invite.to_text() + "\n");
    }

    fn charters(&self, fleet: &Fleet) {
        for (version, charter) in (1..).zip(fleet.row()) {
            self.put(&format!("var/lib/fruit/peer/charters/{version}.record"), charter);
        }
    }
}

/// Whose charter accepts the releases of [`repository`].
fn accepting() -> Charter {
    let root = Digest::of(&kit::anchor());
    Charter { releases: vec![ReleaseRoot { product: kit::PRODUCT.into(), root }], ..charters::charter() }
}

#[test]
fn a_release_comes_from_peers_delta_by_delta() {
    let scene = Scene::with_root();
    let asked = peers(&scene.socket(), &repository(), as_it_is);
    let report = scene.check("[peers]");
    assert!(scene.has_new(), "{report:?}");
    let asked = asked.lock().unwrap();
    assert_eq!(asked.iter().filter(|name| name.is_none()).count(), 1, "one refresh: {asked:?}");
    assert!(asked.iter().flatten().any(|name| matches!(name, Name::Patch(_))), "{asked:?}");
    assert!(!asked.iter().flatten().any(|name| matches!(name, Name::Chunk(_))), "{asked:?}");
}

#[test]
fn a_patch_that_nobody_has_is_made_up_for_by_its_chunk_and_an_install_goes_on_where_it_was_left() {
    let scene = Scene::with_root();
    let asked = peers(&scene.socket(), &repository(), |name, bytes| match name {
        Name::Patch(_) => Answer::Nobody,
        _ => Answer::Here(bytes),
    });
    let report = scene.check("[peers]");
    assert!(scene.has_new(), "{report:?}");
    assert!(asked.lock().unwrap().iter().flatten().any(|name| matches!(name, Name::Chunk(_))));
}

#[test]
fn without_a_process_other_sources_are_asked_as_ever() {
    let scene = Scene::with_root();
    let folder = scene.path("stick");
    fs::create_dir_all(&folder).unwrap();
    fs::write(folder.join("new.fruit"), repository().bundle(&new().manifest().target_path(), None)).unwrap();
    let report = scene.check(&format!("[peers, '{}']", folder.display()));
    assert!(scene.has_new(), "{report:?}");
    let nobody = Scene::with_root();
    assert_eq!(nobody.check("[peers]").last_result.as_deref(), Some("no source has anything"));
}

#[test]
fn what_came_from_a_server_is_there_for_other_nodes() {
    let first = Scene::with_root();
    let server = serve(&repository());
    let report = first.check(&format!("[peers, '{}']", server.url("")));
    assert!(first.has_new(), "{report:?}");
    let id = Digest::of(&kit::anchor());
    let folder = fruit_release::Folder::new(first.path("var/lib/fruit/shared").join(id.to_string()));
    let second = Scene::with_root();
    listen(&second.socket(), move |_, mut stream| {
        let mut folder = folder.clone();
        read_magic(&mut stream).unwrap();
        while let Ok(Some(request)) = Request::read(&mut stream) {
            let answer = match request {
                Request::Refresh { .. } => Answer::Here(Vec::new()),
                Request::Give { name, .. } => {
                    folder.get(&name, name.limit()).unwrap().map_or(Answer::Nobody, Answer::Here)
                }
            };
            if send(&mut stream, &answer).is_err() {
                return;
            }
        }
    });
    let report = second.check("[peers]");
    assert!(second.has_new(), "{report:?}");
}

fn serve(repository: &Repository) -> Server {
    let pieces: Vec<(String, Vec<u8>)> =
        repository.pieces.iter().map(|(name, bytes)| (format!("/{name}"), bytes.clone())).collect();
    Server::start(move |_, request| match pieces.iter().find(|(path, _)| *path == request.path) {
        Some((_, bytes)) => server::Answer::file(bytes),
        None => server::Answer { status: 404, ..server::Answer::file(b"") },
    })
}

/// What a process does that is broken or wants to do harm.
type Hostile = Box<dyn Fn(&Path)>;

/// By name. None of them takes long.
fn hostile() -> Vec<(&'static str, Hostile)> {
    let raw = |serve: fn(UnixStream)| -> Hostile { Box::new(move |path| listen(path, move |_, stream| serve(stream))) };
    let pieces = |change: fn(&Name, Vec<u8>) -> Answer| -> Hostile {
        Box::new(move |path| drop(peers(path, &repository(), change)))
    };
    fn after_a_request(mut stream: UnixStream, answer: &[u8]) {
        let _ = read_magic(&mut stream).map(|()| Request::read(&mut stream));
        let _ = stream.write_all(answer);
        // Until the other side has had enough.
        let _ = stream.read_to_end(&mut Vec::new());
    }
    vec![
        ("closes at once", raw(drop)),
        ("sends noise", raw(|stream| after_a_request(stream, &noise(100_000, 3)))),
        (
            "announces more than a name may have",
            raw(|stream| after_a_request(stream, &AnswerHead { status: Status::Here, len: u64::MAX }.encode())),
        ),
        (
            "ends within an answer",
            raw(|mut stream| {
                let _ = read_magic(&mut stream).map(|()| Request::read(&mut stream));
                let _ = stream.write_all(&AnswerHead { status: Status::Here, len: 100 }.encode());
            }),
        ),
        ("never ends", raw(|mut stream| while stream.write_all(&[0; 4096]).is_ok() {})),
        ("has nothing", pieces(|_, _| Answer::Nobody)),
        ("refuses everything", pieces(|_, _| Answer::Refused)),
        ("has other metadata", pieces(|_, _| Answer::Here(b"{}".to_vec()))),
        (
            "alters blobs",
            pieces(|name, mut bytes| {
                if matches!(name, Name::Chunk(_) | Name::Patch(_)) {
                    bytes[20] ^= 1;
                }
                Answer::Here(bytes)
            }),
        ),
        (
            "holds the manifest back",
            pieces(|name, bytes| match name {
                Name::Target(..) => Answer::Nobody,
                _ => Answer::Here(bytes),
            }),
        ),
    ]
}

#[test]
fn a_hostile_process_alters_nothing_and_stops_no_other_source() {
    for (what, start) in hostile() {
        let scene = Scene::with_root();
        start(&scene.socket());
        let began = Instant::now();
        let report = scene.check("[peers]");
        assert!(!scene.has_new(), "{what}: {report:?}");
        let server = serve(&repository());
        let report = scene.check(&format!("[peers, '{}']", server.url("")));
        assert!(scene.has_new(), "{what}: {report:?}");
        assert!(began.elapsed() < Duration::from_secs(20), "{what}: {:?}", began.elapsed());
    }
}

fn limits() -> Limits {
    let (second, moment) = (Duration::from_secs(1), Duration::from_millis(100));
    Limits { connect: second, head: second, window: second, pause: moment, ..Limits::default() }
}

#[test]
fn a_process_that_is_slow_is_left_after_a_while_and_not_waited_for_again() {
    fn never(_: UnixStream) {
        thread::sleep(Duration::from_secs(60));
    }
    fn later(mut stream: UnixStream) {
        let _ = read_magic(&mut stream);
        while let Ok(Some(_)) = Request::read(&mut stream) {
            let _ = send(&mut stream, &Answer::Later);
        }
    }
    fn trickles(mut stream: UnixStream) {
        let head = AnswerHead { status: Status::Here, len: 200_000 }.encode();
        let _ = read_magic(&mut stream).map(|()| Request::read(&mut stream));
        let _ = send(&mut stream, &Answer::Here(Vec::new()));
        let _ = stream.write_all(&head);
        while stream.write_all(&[0]).is_ok() {
            thread::sleep(Duration::from_millis(20));
        }
    }
    for (what, serve) in
        [("never answers", never as fn(UnixStream)), ("wants to be asked later", later), ("trickles", trickles)]
    {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("x.sock");
        listen(&path, move |_, stream| serve(stream));
        let mut peers = Peers::new(&path, &Settings { limits: limits(), ..Settings::default() });
        peers.begin(Digest([1; 32]));
        let began = Instant::now();
        let error = peers.get(&Name::Root(2), 1 << 20).unwrap_err();
        assert!(matches!(error, SourceError::Unreachable { .. }), "{what}: {error}");
        assert!(began.elapsed() < Duration::from_secs(6), "{what}: {:?}", began.elapsed());
        let began = Instant::now();
        for _ in 0..1000 {
            assert!(peers.get(&Name::Timestamp, 1 << 20).is_err(), "{what}");
        }
        assert!(began.elapsed() < Duration::from_secs(6), "{what}: {:?}", began.elapsed());
    }
}

#[test]
fn stopping_does_not_wait_for_the_process() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("x.sock");
    listen(&path, |_, _stream| thread::sleep(Duration::from_secs(60)));
    let settings = Settings::default();
    let mut peers = Peers::new(&path, &settings);
    peers.begin(Digest([1; 32]));
    let stop = Arc::clone(&settings.stop);
    thread::spawn(move || {
        thread::sleep(Duration::from_millis(300));
        stop.store(true, Relaxed);
    });
    let began = Instant::now();
    assert!(matches!(peers.get(&Name::Timestamp, 1 << 20), Err(SourceError::Stopped)));
    assert!(began.elapsed() < Duration::from_secs(5), "{:?}", began.elapsed());
}

#[test]
fn a_bad_name_is_answered_and_the_next_one_read() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("x.sock");
    listen(&path, |_, mut stream| {
        read_magic(&mut stream).unwrap();
        loop {
            match Request::read(&mut stream) {
                Ok(Some(_)) => send(&mut stream, &Answer::Nobody).unwrap(),
                Err(LocalError::Name(_)) => send(&mut stream, &Answer::Refused).unwrap(),
                Ok(None) | Err(_) => return,
            }
        }
    });
    let mut peers = Peers::new(&path, &Settings { limits: limits(), ..Settings::default() });
    peers.begin(Digest([1; 32]));
    assert_eq!(peers.get(&Name::Chunk(Digest([2; 32])), 1 << 20).unwrap(), None);
}

#[test]
fn a_node_without_an_invite_obeys_nobody_and_is_in_good_order() {
    let scene = Scene::new();
    let asked = peers(&scene.socket(), &repository(), as_it_is);
    let report = scene.check("[peers]");
    let result = report.last_result.unwrap();
    assert!(result.contains("nobody") && result.contains("`invite:` in fruit.yaml"), "{result}");
    assert!(asked.lock().unwrap().is_empty() && !scene.has_new());
    let (obeys, trust_error) = scene.obeys();
    assert!(obeys.starts_with("nobody: ") && trust_error.is_none(), "{obeys} {trust_error:?}");
}

#[test]
fn what_the_charter_accepts_is_installed_by_an_invite_alone() {
    let (scene, fleet) = (Scene::new(), Fleet::with(accepting()));
    scene.invite(&fleet);
    peers(&scene.socket(), &repository(), as_it_is);
    let report = scene.check("[peers]");
    assert!(report.last_result.unwrap().contains("no charter of fleet"));
    assert!(scene.obeys().0.starts_with("nobody yet: "));
    scene.charters(&fleet);
    let report = scene.check("[peers]");
    assert!(scene.has_new(), "{report:?}");
    assert_eq!(scene.obeys(), ("fleet orchard, charter 1".to_owned(), None));
}

#[test]
fn root_metadata_that_the_charter_does_not_accept_is_refused() {
    let (scene, fleet) = (Scene::new(), Fleet::with(accepting()));
    scene.invite(&fleet);
    scene.charters(&fleet);
    peers(&scene.socket(), &repository(), |name, mut bytes| {
        if *name == Name::Root(1) {
            bytes.push(b'\n');
        }
        Answer::Here(bytes)
    });
    let report = scene.check("[peers]");
    assert!(!scene.has_new());
    assert!(report.last_result.unwrap().contains("1.root.json that fleet orchard accepts"));
    let (other, fleet) = (Scene::new(), Fleet::new());
    other.invite(&fleet);
    other.charters(&fleet);
    peers(&other.socket(), &repository(), as_it_is);
    other.check("[peers]");
    assert!(!other.has_new(), "its charter accepts another repository's releases");
}

#[test]
fn charters_of_others_damaged_ones_and_what_is_no_file_change_nothing() {
    let fleet = Fleet::with(accepting());
    let first = "var/lib/fruit/peer/charters/1.record";
    let path = |scene: &Scene| {
        scene.invite(&fleet);
        fs::create_dir_all(scene.path(first).parent().unwrap()).unwrap();
        scene.path(first)
    };
    type Spoils = Box<dyn Fn(&Path)>;
    let others: Vec<(&str, Spoils)> = vec![
        ("another fleet's", Box::new(|path| fs::write(path, &Fleet::new().row()[0]).unwrap())),
        ("noise", Box::new(|path| fs::write(path, noise(1000, 1)).unwrap())),
        ("too long", Box::new(|path| fs::write(path, vec![0; 1 << 20]).unwrap())),
        ("endless", Box::new(|path| std::os::unix::fs::symlink("/dev/zero", path).unwrap())),
        ("a folder", Box::new(|path| fs::create_dir(path).unwrap())),
        (
            "a pipe",
            Box::new(|path| {
                let path = std::ffi::CString::new(path.to_str().unwrap()).unwrap();
                // SAFETY: a path that ends in a zero byte.
                assert_eq!(unsafe { libc::mkfifo(path.as_ptr(), 0o600) }, 0);
            }),
        ),
    ];
    for (what, put) in others {
        let scene = Scene::new();
        put(&path(&scene));
        assert!(matches!(scene.anchor(), Anchor::Waiting(_)), "{what}: {:?}", scene.anchor());
    }
    let scene = Scene::new();
    scene.put("etc/fruit/invite", "fruit1-AAAA\n");
    assert!(matches!(scene.anchor(), Anchor::Nobody(_)));
}

#[test]
fn what_a_later_charter_takes_back_is_not_given_back_by_an_older_row() {
    let (scene, mut fleet) = (Scene::new(), Fleet::with(accepting()));
    scene.invite(&fleet);
    scene.charters(&fleet);
    assert!(matches!(scene.anchor(), Anchor::Fleet(..)));
    let next = fleet.next_charter(Charter { releases: vec![], ..accepting() }, &[1, 2]);
    fleet.take(&next);
    scene.charters(&fleet);
    assert!(matches!(scene.anchor(), Anchor::Waiting(why) if why.contains("accepts no releases")));
    // The process shows the first charter only, or none at all.
    for gone in ["2.record", "1.record"] {
        fs::remove_file(scene.path("var/lib/fruit/peer/charters").join(gone)).unwrap();
        assert!(matches!(scene.anchor(), Anchor::Waiting(why) if why.contains("accepts no releases")), "{gone}");
    }
    // Who has the card has the node: without the invite it obeys nobody, with another one another fleet.
    fs::remove_file(scene.path("etc/fruit/invite")).unwrap();
    assert!(matches!(scene.anchor(), Anchor::Nobody(_)));
    let other = Fleet::with(Charter { name: "garden".into(), ..accepting() });
    scene.invite(&other);
    scene.charters(&other);
    assert_eq!(scene.anchor().describe(), "fleet garden, charter 1");
}
