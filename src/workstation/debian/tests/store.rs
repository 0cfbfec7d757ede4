//! The package store: against a mirror that misbehaves, at the same time, and after damage.

use std::collections::BTreeMap;
use std::io::{BufRead, BufReader, Read, Write};
use std::net::{TcpListener, TcpStream};
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex};

use crate::craft::*;
use fruit_debian::{Digest, LockedPackage, MirrorSources, Mirrors, Progress, Sha256, Sha512, Silent, Step, Store};

/// How the server answers a request, given its number.
type Answer = Box<dyn Fn(usize, &Request) -> Response + Send + Sync>;

struct Request {
    path: String,
    /// First byte asked for.
    from: Option<usize>,
    /// The state of the file that the range is of, or of which the client has the whole.
    state: Option<String>,
}

struct Response {
    status: &'static str,
    body: Vec<u8>,
    /// Bytes after which the connection is closed.
    stop_after: usize,
    headers: String,
}

fn whole(body: &[u8]) -> Response {
    Response { status: "200 OK", body: body.to_vec(), stop_after: usize::MAX, headers: String::new() }
}

fn fail(status: &'static str) -> Response {
    Response { status, ..whole(b"") }
}

/// From the byte asked for, as a server with ranges does it.
fn ranged(body: &[u8], request: &Request) -> Response {
    match request.from {
        None => whole(body),
        Some(from) => Response {
            status: "206 Partial Content",
            headers: format!("Content-Range: bytes {from}-{}/{}\r\n", body.len() - 1, body.len()),
            ..whole(&body[from..])
        },
    }
}

/// Path and first byte asked for.
type Seen = Arc<Mutex<Vec<(String, Option<usize>)>>>;

struct Server {
    url: String,
    requests: Seen,
}

fn serve(answer: Answer) -> Server {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let url = format!("http://{}/debian", listener.local_addr().unwrap());
    let requests = Arc::new(Mutex::new(Vec::new()));
    let seen = requests.clone();
    let answer = Arc::new(answer);
    let number = Arc::new(AtomicUsize::new(0));
    std::thread::spawn(move || {
        for stream in listener.incoming().flatten() {
            let (answer, number, seen) = (answer.clone(), number.clone(), seen.clone());
            std::thread::spawn(move || handle(stream, &answer, &number, &seen));
        }
    });
    Server { url, requests }
}

fn handle(mut stream: TcpStream, answer: &Answer, number: &AtomicUsize, seen: &Seen) {
    let mut lines = BufReader::new(stream.try_clone().unwrap()).lines().map_while(Result::ok);
    let Some(first) = lines.next() else { return };
    let mut request = Request { path: first.split(' ').nth(1).unwrap().to_owned(), from: None, state: None };
    for line in lines.by_ref().take_while(|line| !line.is_empty()) {
        if let Some(range) = line.to_lowercase().strip_prefix("range: bytes=") {
            request.from = range.trim_end_matches('-').parse().ok();
        }
        let state = line
            .split_once(": ")
            .filter(|(name, _)| name.eq_ignore_ascii_case("if-range") || name.eq_ignore_ascii_case("if-none-match"));
        request.state = state.map(|(_, state)| state.to_owned()).or(request.state);
    }
    seen.lock().unwrap().push((request.path.clone(), request.from));
    let response = answer(number.fetch_add(1, Ordering::SeqCst), &request);
    let head = format!(
        "HTTP/1.1 {}\r\nContent-Length: {}\r\nConnection: close\r\n{}\r\n",
        response.status,
        response.body.len(),
        response.headers
    );
    let _ = stream.write_all(head.as_bytes());
    let _ = stream.write_all(&response.body[..response.body.len().min(response.stop_after)]);
}

fn mirrors(url: &str) -> Mirrors {
    let mut mirrors = Mirrors::none();
    mirrors.set("debian", url).unwrap();
    mirrors
}

fn big_deb() -> Vec<u8> {
    let text: String = (0..40_000).map(|n| format!("{n} ")).collect();
    deb("big", "", &[file("./big", &text)])
}

/// A package that is on no disk, only described.
fn described(name: &str, deb: &[u8]) -> LockedPackage {
    let dir = tempfile::tempdir().unwrap();
    offer(dir.path(), name, deb)
}

fn store() -> (tempfile::TempDir, Store) {
    let dir = tempfile::tempdir().unwrap();
    let store = Store::open(dir.path(), false).unwrap();
    (dir, store)
}

#[test]
fn a_broken_transfer_is_resumed_where_it_ended() {
    let deb = big_deb();
    let package = described("big", &deb);
    let body = deb.clone();
    let server = serve(Box::new(move |number, request| {
        let stop_after = if number == 0 { 100_000 } else { usize::MAX };
        Response { stop_after, ..ranged(&body, request) }
    }));
    let (_dir, store) = store();
    store.ensure(std::slice::from_ref(&package), &mirrors(&server.url), &Silent).unwrap();
    let requests = server.requests.lock().unwrap().clone();
    assert_eq!(requests.len(), 2);
    let from = requests[1].1.expect("the second request must ask for a range");
    assert!(from > 0 && from <= 100_000, "{from}");
    assert!(store.missing(&[package]).is_empty());
}

#[test]
fn what_a_killed_build_left_is_resumed_and_never_trusted() {
    let deb = big_deb();
    let package = described("big", &deb);
    let body = deb.clone();
    let server = serve(Box::new(move |_, request| ranged(&body, request)));
    let (dir, store) = store();
    let folder = dir.path().join("blobs").join(&package.sha256.to_string()[..2]);
    std::fs::create_dir_all(&folder).unwrap();
    let part = folder.join(format!("{}.deb.part", package.sha256));
    std::fs::write(&part, &deb[..50_000]).unwrap();
    store.ensure(std::slice::from_ref(&package), &mirrors(&server.url), &Silent).unwrap();
    assert_eq!(server.requests.lock().unwrap()[0].1, Some(50_000));
    // A part that is no beginning of the file is thrown away.
    std::fs::remove_file(folder.join(format!("{}.deb", package.sha256))).unwrap();
    std::fs::write(&part, vec![7; 50_000]).unwrap();
    store.ensure(std::slice::from_ref(&package), &mirrors(&server.url), &Silent).unwrap();
    assert_eq!(std::fs::read(folder.join(format!("{}.deb", package.sha256))).unwrap(), deb);
    assert!(!part.exists());
}

#[test]
fn a_server_without_ranges_is_read_from_the_start() {
    let deb = big_deb();
    let package = described("big", &deb);
    let body = deb.clone();
    let server = serve(Box::new(move |number, _| Response {
        stop_after: if number == 0 { 70_000 } else { usize::MAX },
        ..whole(&body)
    }));
    let (_dir, store) = store();
    store.ensure(std::slice::from_ref(&package), &mirrors(&server.url), &Silent).unwrap();
    assert!(store.missing(&[package]).is_empty());
}

#[test]
fn a_busy_server_is_asked_again() {
    let deb = big_deb();
    let package = described("big", &deb);
    let server = serve(Box::new(move |number, request| match number {
        0 | 1 => fail("503 Service Unavailable"),
        _ => ranged(&deb, request),
    }));
    let (_dir, store) = store();
    store.ensure(&[package], &mirrors(&server.url), &Silent).unwrap();
    assert_eq!(server.requests.lock().unwrap().len(), 3);
}

#[test]
fn a_file_that_is_gone_is_an_error_at_once_that_says_what_to_do() {
    let package = described("big", &big_deb());
    let server = serve(Box::new(|_, _| fail("404 Not Found")));
    let (_dir, store) = store();
    let message = store.ensure(&[package], &mirrors(&server.url), &Silent).unwrap_err().to_string();
    assert!(message.contains("big.deb") && message.contains("refresh the lock"), "{message}");
    assert_eq!(server.requests.lock().unwrap().len(), 1);
}

#[test]
fn another_file_than_the_locked_one_is_refused_with_both_hashes() {
    let deb = big_deb();
    let package = described("big", &deb);
    let mut other = deb.clone();
    other[5000] ^= 1;
    let found = Sha256::of(&other).to_string();
    let server = serve(Box::new(move |_, request| ranged(&other, request)));
    let (_dir, store) = store();
    let message = store.ensure(std::slice::from_ref(&package), &mirrors(&server.url), &Silent).unwrap_err().to_string();
    assert!(message.contains(&package.sha256.to_string()) && message.contains(&found), "{message}");
    assert_eq!(store.missing(&[package]).len(), 1);
}

#[test]
fn a_file_longer_than_locked_is_not_read_to_its_end() {
    let deb = big_deb();
    let package = described("big", &deb);
    let longer = [deb, vec![0; 1 << 20]].concat();
    let server = serve(Box::new(move |_, request| ranged(&longer, request)));
    let (_dir, store) = store();
    let message = store.ensure(&[package], &mirrors(&server.url), &Silent).unwrap_err().to_string();
    assert_eq!(server.requests.lock().unwrap().len(), 1);
    assert!(message.contains("size: expected"), "{message}");
}

#[test]
fn offline_lists_everything_that_is_missing() {
    let bench = Bench::new();
    let packages = [bench.offer("a", &deb("a", "", &[])), bench.offer("b", &deb("b", "", &[file("./b", "")]))];
    let offline = Store::open(bench.store.root(), true).unwrap();
    let message = offline.ensure(&packages, &bench.mirrors, &Silent).unwrap_err().to_string();
    assert!(message.contains("2 files are not in the store"), "{message}");
    assert!(message.contains("a_1.0_arm64.deb, b_1.0_arm64.deb") && message.contains("--offline"), "{message}");
    bench.store.ensure(&packages, &bench.mirrors, &Silent).unwrap();
    offline.ensure(&packages, &Mirrors::none(), &Silent).unwrap();
}

fn blobs(store: &Path, end: &str) -> Vec<PathBuf> {
    let folders = std::fs::read_dir(store.join("blobs")).unwrap().flatten();
    let files = folders.flat_map(|folder| std::fs::read_dir(folder.path()).unwrap().flatten());
    files.map(|file| file.path()).filter(|path| path.to_string_lossy().ends_with(end)).collect()
}

fn flip_a_byte(path: &Path) {
    let mut bytes = std::fs::read(path).unwrap();
    let middle = bytes.len() / 2;
    bytes[middle] ^= 1;
    std::fs::write(path, bytes).unwrap();
}

#[test]
fn a_damaged_decompressed_package_is_made_anew_and_a_damaged_package_is_an_error() {
    let bench = Bench::new();
    let package = bench.offer("a", &deb("a", "", &[file("./a", &"text ".repeat(5000))]));
    let packages = std::slice::from_ref(&package);
    bench.unpack(packages).unwrap();
    let root = bench.store.root();
    for end in [".tars", ".sum"] {
        flip_a_byte(&blobs(root, end)[0]);
        assert_eq!(bench.unpack(packages).unwrap().read("a").unwrap().len(), 25_000, "{end}");
    }
    std::fs::write(&blobs(root, ".tars")[0], b"").unwrap();
    bench.unpack(packages).unwrap();
    // Now both the decompressed form and the package itself.
    std::fs::remove_file(&blobs(root, ".tars")[0]).unwrap();
    flip_a_byte(&blobs(root, ".deb")[0]);
    let message = bench.unpack(packages).unwrap_err().to_string();
    assert!(message.contains("removed from the store") && message.contains(&package.sha256.to_string()), "{message}");
    bench.unpack(packages).unwrap();
}

#[test]
fn builds_at_the_same_time_share_one_store() {
    let bench = Bench::new();
    let packages: Vec<LockedPackage> = (0..12)
        .map(|n| {
            let name = format!("p{n}");
            bench.offer(&name, &deb(&name, "", &[file(&format!("./f{n}"), &format!("{n} ").repeat(9000))]))
        })
        .collect();
    std::thread::scope(|scope| {
        for _ in 0..4 {
            scope.spawn(|| {
                let store = Store::open(bench.store.root(), false).unwrap();
                store.ensure(&packages, &bench.mirrors, &Silent).unwrap();
                let none = fruit_debian::Diversions::default();
                fruit_debian::unpack_all(&store, "arm64", &packages, &none, 0, &Silent).unwrap();
            });
        }
    });
    assert_eq!(blobs(bench.store.root(), ".deb").len(), 12);
    assert!(blobs(bench.store.root(), ".part").is_empty());
    assert_eq!(std::fs::read_dir(bench.store.root().join("tmp")).unwrap().count(), 0);
}

#[derive(Default)]
struct Counted {
    announced: Mutex<BTreeMap<String, u64>>,
    bytes: Mutex<BTreeMap<String, u64>>,
}

impl Progress for Counted {
    fn start(&self, step: Step, _items: usize, bytes: u64) {
        self.announced.lock().unwrap().insert(format!("{step:?}"), bytes);
    }

    fn advance(&self, step: Step, bytes: u64) {
        *self.bytes.lock().unwrap().entry(format!("{step:?}")).or_default() += bytes;
    }
}

#[test]
fn progress_reaches_what_was_announced() {
    let bench = Bench::new();
    let packages = [bench.offer("a", &deb("a", "", &[])), bench.offer("b", &deb("b", "", &[file("./b", "x")]))];
    let counted = Counted::default();
    bench.store.ensure(&packages, &bench.mirrors, &counted).unwrap();
    let none = fruit_debian::Diversions::default();
    fruit_debian::unpack_all(&bench.store, "arm64", &packages, &none, 0, &counted).unwrap();
    assert_eq!(*counted.announced.lock().unwrap(), *counted.bytes.lock().unwrap());
    assert_eq!(counted.bytes.lock().unwrap().len(), 3);
}

#[test]
fn a_package_of_an_archive_without_mirror_says_how_to_give_one() {
    let (_dir, store) = store();
    let package = described("big", &big_deb());
    let message = store.ensure(&[package], &Mirrors::none(), &Silent).unwrap_err().to_string();
    assert!(message.contains("FRUITBUILD_MIRROR=debian=URL"), "{message}");
}

#[test]
fn the_server_reads_what_it_is_sent() {
    // Keeps the test's own server honest: a request for a missing path arrives as it was made.
    let server = serve(Box::new(|_, _| whole(b"x")));
    let mut stream = TcpStream::connect(server.url.trim_start_matches("http://").trim_end_matches("/debian")).unwrap();
    stream.write_all(b"GET /p HTTP/1.1\r\nRange: bytes=5-\r\n\r\n").unwrap();
    let mut text = String::new();
    stream.read_to_string(&mut text).unwrap();
    assert!(text.ends_with("\r\n\r\nx"));
    assert_eq!(server.requests.lock().unwrap()[0], ("/p".to_owned(), Some(5)));
}

/// Mirrors as the machine's apt names them.
fn mirrors_of_apt(sources_list: &str) -> Mirrors {
    let etc = tempfile::tempdir().unwrap();
    std::fs::write(etc.path().join("sources.list"), sources_list).unwrap();
    let nothing = BTreeMap::new();
    let sources = MirrorSources { options: &[], environment: None, configuration: &nothing, etc_apt: etc.path() };
    Mirrors::find(&sources).unwrap()
}

#[test]
fn a_page_in_place_of_a_file_is_named_as_a_captive_portal() {
    let package = described("big", &big_deb());
    let page = "<html><title>Hotel WiFi: sign in</title></html>".repeat(9);
    for length in [page.len(), usize::try_from(package.size).unwrap()] {
        let body: Vec<u8> = page.bytes().chain(std::iter::repeat(b' ')).take(length).collect();
        let server = serve(Box::new(move |_, _| whole(&body)));
        let (_dir, store) = store();
        let error =
            store.ensure(std::slice::from_ref(&package), &mirrors(&server.url), &Silent).unwrap_err().to_string();
        assert!(error.contains("captive portal") && error.contains("Hotel WiFi: sign in"), "{error}");
        assert_eq!(server.requests.lock().unwrap().len(), 1);
    }
}

#[test]
fn the_next_mirror_of_apt_is_asked_and_lists_of_mirrors_are_fetched() {
    let deb = big_deb();
    let package = described("big", &deb);
    let bad = serve(Box::new(|_, _| fail("404 Not Found")));
    let body = deb.clone();
    let good = serve(Box::new(move |_, request| ranged(&body, request)));
    let both = mirrors_of_apt(&format!("deb {} trixie main\ndeb {} trixie main\n", bad.url, good.url));
    let (_dir, first) = store();
    first.ensure(std::slice::from_ref(&package), &both, &Silent).unwrap();
    assert_eq!((bad.requests.lock().unwrap().len(), good.requests.lock().unwrap().len()), (1, 1));

    let list = format!("# ours\n{} priority:2\n{} priority:1\n", bad.url, good.url).into_bytes();
    let lists = serve(Box::new(move |_, _| whole(&list)));
    let listed = mirrors_of_apt(&format!("deb mirror+{}.txt trixie main\n", lists.url));
    let (_dir, second) = store();
    second.ensure(std::slice::from_ref(&package), &listed, &Silent).unwrap();
    assert_eq!(lists.requests.lock().unwrap()[0].0, "/debian.txt");
    assert_eq!(bad.requests.lock().unwrap().len(), 1);
}

/// A file that changes its state when `changes` says so, from a server that knows ranges and states.
fn of_state(state: &str, body: &[u8], request: &Request) -> Response {
    let headers = format!("ETag: \"{state}\"\r\n");
    let same = request.state.as_deref() == Some(&format!("\"{state}\""));
    match request.from {
        Some(_) if same => {
            let response = ranged(body, request);
            Response { headers: format!("{headers}{}", response.headers), ..response }
        }
        None if same => Response { headers, ..fail("304 Not Modified") },
        _ => Response { headers, ..whole(body) },
    }
}

#[test]
fn a_file_of_which_nothing_is_known_is_resumed_only_while_it_is_the_same() {
    let (old, new) = (vec![1u8; 300_000], vec![2u8; 200_000]);
    let (was, is) = (old.clone(), new.clone());
    let server = serve(Box::new(move |number, request| match number {
        0 => Response { stop_after: 100_000, ..of_state("a", &was, request) },
        1 => Response { stop_after: 50_000, ..of_state("a", &was, request) },
        _ => of_state("b", &is, request),
    }));
    let (_folder, store) = store();
    let (size, sha256) = store.pin(&[&server.url], None, &Silent).unwrap();
    assert_eq!((size, sha256), (200_000, Sha256::of(&new)));
    let from: Vec<_> = server.requests.lock().unwrap().iter().map(|(_, from)| *from).collect();
    assert_eq!(from, [None, Some(100_000), Some(150_000)]);
    // Asked again, the server need not send it again.
    assert_eq!(store.pin(&[&server.url], None, &Silent).unwrap(), (200_000, Sha256::of(&new)));
    assert_eq!(server.requests.lock().unwrap().len(), 4);
    assert!(blobs(store.root(), ".file").len() == 1 && old.len() > new.len());
}

#[test]
fn what_a_killed_build_left_of_a_download_is_gone_on_with() {
    let body: Vec<u8> = (0..200_000u32).flat_map(u32::to_le_bytes).collect();
    let served = body.clone();
    let server = serve(Box::new(move |_, request| of_state("a", &served, request)));
    let (_folder, store) = store();
    let name = store.root().join("urls").join(Sha256::of(server.url.as_bytes()).to_string());
    std::fs::create_dir_all(name.parent().unwrap()).unwrap();
    std::fs::write(name.with_extension("part"), &body[..5000]).unwrap();
    let state =
        serde_json::json!({"validators": {"url": server.url, "etag": "\"a\"", "last_modified": null}, "whole": null});
    std::fs::write(name.with_extension("json"), state.to_string()).unwrap();
    let pinned = store.pin(&[&server.url], Some(Digest::Sha256(Sha256::of(&body))), &Silent).unwrap();
    assert_eq!(pinned, (body.len() as u64, Sha256::of(&body)));
    assert_eq!(server.requests.lock().unwrap()[0].1, Some(5000));
}

#[test]
fn a_download_comes_from_the_first_mirror_that_has_it_and_must_be_the_one_that_was_named() {
    let good = serve(Box::new(|_, _| whole(b"a program")));
    let gone = serve(Box::new(|_, _| fail("404 Not Found")));
    let wrong = serve(Box::new(|_, _| whole(b"another program")));
    let (_folder, store) = store();
    let sum = Sha256::of(b"a program");
    let known = Some(Digest::Sha256(sum));
    let urls = [gone.url.as_str(), &wrong.url];
    let error = store.pin(&urls, known, &Silent).unwrap_err().to_string();
    assert!(error.contains(&gone.url) && blobs(store.root(), ".file").is_empty(), "{error}");
    assert_eq!(store.pin(&[&gone.url, &wrong.url, &good.url], known, &Silent).unwrap(), (9, sum));
    // Once it is there nobody is asked, not even offline.
    let offline = Store::open(store.root(), true).unwrap();
    assert_eq!(offline.pin(&[&gone.url], known, &Silent).unwrap(), (9, sum));
    let error = offline.pin(&[&good.url], None, &Silent).unwrap_err().to_string();
    assert!(error.contains("offline") && error.contains(&good.url), "{error}");
    let (url, sha256) = (good.url.clone(), Sha256::of(b"none"));
    let file = fruit_debian::LockedDownload { name: "p".into(), url, size: 9, sha256, sha512: None };
    let error = store.ensure_download(&file, &[&good.url], &Silent).unwrap_err().to_string();
    assert!(error.contains("SHA-256"), "{error}");
}

#[test]
fn a_download_of_which_the_sha_512_is_known_is_that_file_whatever_was_pinned_before() {
    let server = serve(Box::new(|_, request| of_state("a", b"a program", request)));
    let (_folder, store) = store();
    let (sum, wrong) = (Sha256::of(b"a program"), Sha512([7; 64]));
    let right = Sha512(<sha2::Sha512 as sha2::Digest>::digest(b"a program").into());
    let pin = |digest| store.pin(&[&server.url], Some(digest), &Silent).map_err(|error| error.to_string());
    let refused = |digest| {
        let error = pin(digest).unwrap_err();
        assert!(error.contains("SHA-512") && error.contains(&server.url), "{error}");
    };
    refused(Digest::Sha512(wrong));
    assert!(blobs(store.root(), ".file").is_empty());
    assert_eq!(pin(Digest::Sha512(right)), Ok((9, sum)));
    // The server says `not modified`, and the file is there by its SHA-256: both are no reason to believe it.
    refused(Digest::Sha512(wrong));
    refused(Digest::Both(sum, wrong));
    assert_eq!(pin(Digest::Both(sum, right)), Ok((9, sum)));
    assert_eq!(blobs(store.root(), ".file").len(), 1);
    // Fetched by the lock.
    std::fs::remove_dir_all(store.root().join("blobs")).unwrap();
    let mut file = fruit_debian::LockedDownload {
        name: "p".into(),
        url: server.url.clone(),
        size: 9,
        sha256: sum,
        sha512: Some(wrong),
    };
    let error = store.ensure_download(&file, &[&server.url], &Silent).unwrap_err().to_string();
    assert!(error.contains("SHA-512"), "{error}");
    file.sha512 = Some(right);
    store.ensure_download(&file, &[&server.url], &Silent).unwrap();
}
