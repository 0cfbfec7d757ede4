//! Registries that ask for tokens, redirect, break off and lie.

use std::collections::BTreeMap;
use std::io::{BufRead, BufReader, Write};
use std::net::{TcpListener, TcpStream};
use std::sync::{Arc, Mutex};

use fruit_containers::{Named, Origin, Platform, Registries, Wanted, ensure, lay, pin};
use fruit_debian::{LockedContainer, Sha256, Silent, Store};
use fruit_image::tree::Tree;
use serde_json::json;

/// How a server departs from what is right.
#[derive(Clone, Copy, PartialEq, Eq, Default)]
struct Faults {
    /// Files are at another server.
    redirect: bool,
    /// Each connection ends after so many bytes of a file.
    cut: Option<usize>,
    /// A file is another one.
    swapped: bool,
    /// The manifest that a digest names is another one.
    forged: bool,
    /// The token is to be asked for where anybody can listen.
    insecure: bool,
}

#[derive(Default)]
struct Content {
    faults: Faults,
    manifest: Vec<u8>,
    blobs: BTreeMap<String, Vec<u8>>,
    /// Where files are instead.
    elsewhere: String,
    /// Lines of requests, with what authorizes them.
    seen: Mutex<Vec<String>>,
}

/// A layer: one empty folder.
fn layer() -> Vec<u8> {
    let mut head = [0u8; 512];
    head[..4].copy_from_slice(b"etc/");
    head[100..107].copy_from_slice(b"0000755");
    head[156] = b'5';
    head[257..263].copy_from_slice(b"ustar\0");
    head[148..156].fill(b' ');
    let sum: u32 = head.iter().map(|byte| u32::from(*byte)).sum();
    head[148..155].copy_from_slice(format!("{sum:06o}\0").as_bytes());
    let mut all = head.to_vec();
    all.resize(64 << 10, 0);
    all
}

fn content(faults: Faults, architecture: &str) -> Content {
    let digest = |bytes: &[u8]| format!("sha256:{}", Sha256::of(bytes));
    let layer = layer();
    let config = json!({
        "architecture": architecture, "os": "linux",
        "rootfs": {"type": "layers", "diff_ids": [digest(&layer)]},
    });
    let config = config.to_string().into_bytes();
    let manifest = json!({
        "schemaVersion": 2,
        "config": {"mediaType": "application/vnd.oci.image.config.v1+json", "digest": digest(&config), "size": config.len()},
        "layers": [{"mediaType": "application/vnd.oci.image.layer.v1.tar", "digest": digest(&layer), "size": layer.len()}],
    });
    let blobs = BTreeMap::from([(digest(&config), config), (digest(&layer), layer)]);
    Content { faults, manifest: manifest.to_string().into_bytes(), blobs, ..Content::default() }
}

fn serve(content: Content) -> (String, Arc<Content>) {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let name = listener.local_addr().unwrap().to_string();
    let content = Arc::new(content);
    let (served, own) = (content.clone(), name.clone());
    std::thread::spawn(move || {
        for stream in listener.incoming().flatten() {
            let (served, own) = (served.clone(), own.clone());
            std::thread::spawn(move || answer(stream, &served, &own));
        }
    });
    (name, content)
}

fn answer(mut stream: TcpStream, content: &Content, own: &str) {
    let mut lines = BufReader::new(stream.try_clone().unwrap()).lines().map_while(Result::ok);
    let Some(first) = lines.next() else { return };
    let (mut authorization, mut from) = (String::new(), 0usize);
    for line in lines.by_ref().take_while(|line| !line.is_empty()) {
        let (name, value) = line.split_once(": ").unwrap_or((&line, ""));
        match name.to_ascii_lowercase().as_str() {
            "authorization" => authorization = value.to_owned(),
            "range" => from = value.trim_start_matches("bytes=").trim_end_matches('-').parse().unwrap(),
            _ => {}
        }
    }
    let path = first.split(' ').nth(1).unwrap().to_owned();
    content.seen.lock().unwrap().push(format!("{path} [{authorization}] {from}"));
    let faults = content.faults;
    let mut reply = |status: &str, headers: &str, body: &[u8], stop: usize| {
        let head = format!("HTTP/1.1 {status}\r\nContent-Length: {}\r\nConnection: close\r\n{headers}\r\n", body.len());
        let _ = stream.write_all(head.as_bytes());
        let _ = stream.write_all(&body[..stop.min(body.len())]);
    };
    if path.starts_with("/token") {
        assert!(path.contains("service=tests") && path.contains("scope=repository%3Ateam%2Fapp%3Apull"), "{path}");
        return reply("200 OK", "", br#"{"token": "secret", "expires_in": 300}"#, usize::MAX);
    }
    let is_store = path.starts_with("/store/");
    if !is_store && authorization != "Bearer secret" {
        let realm =
            if faults.insecure { "http://tokens.invalid/token".to_owned() } else { format!("http://{own}/token") };
        let headers = format!("WWW-Authenticate: Bearer realm=\"{realm}\",service=\"tests\"\r\n");
        return reply("401 Unauthorized", &headers, b"{}", usize::MAX);
    }
    if path.starts_with("/v2/team/app/manifests/") {
        let mut bytes = content.manifest.clone();
        if faults.forged && path.contains("sha256:") {
            bytes.push(b' ');
        }
        return reply("200 OK", "", &bytes, usize::MAX);
    }
    let Some(bytes) = content.blobs.get(path.rsplit('/').next().unwrap()) else {
        return reply("404 Not Found", "", b"", usize::MAX);
    };
    if faults.redirect && !is_store {
        let to = format!("Location: http://{}/store/{}\r\n", content.elsewhere, path.rsplit('/').next().unwrap());
        return reply("307 Temporary Redirect", &to, b"", usize::MAX);
    }
    let mut bytes = bytes.clone();
    if faults.swapped {
        let last = bytes.len() - 1;
        bytes[last] ^= 1;
    }
    let stop = faults.cut.unwrap_or(usize::MAX);
    match from {
        0 => reply("200 OK", "", &bytes, stop),
        from => {
            let range = format!("Content-Range: bytes {from}-{}/{}\r\n", bytes.len() - 1, bytes.len());
            reply("206 Partial Content", &range, &bytes[from..], stop);
        }
    }
}

fn wanted(registry: &str) -> Wanted {
    let origin = Origin::Registry {
        registry: registry.to_owned(),
        repository: "team/app".into(),
        tag: Some("1".into()),
        digest: None,
    };
    Wanted { name: "app".into(), image: Some(format!("{registry}/team/app:1")), archive: None, origin }
}

/// Pins and fetches; then lays.
fn all(registry: &str, store: &Store) -> Result<LockedContainer, String> {
    let (wanted, platform) = ([wanted(registry)], Platform::of_debian("arm64").unwrap());
    let registries = Registries::default();
    let locked = pin(&wanted, &[], platform, store, &registries, &Silent).map_err(|error| error.to_string())?;
    ensure(&wanted, &locked, store, &registries, &Silent).map_err(|error| error.to_string())?;
    let named = [Named { locked: &locked[0], name: "r.test/team/app:1".into() }];
    let mut tree = Tree::new(0);
    lay(&named, platform, store, (&mut tree, "s"), 0).map_err(|error| error.to_string())?;
    assert!(tree.contains(&format!("s/overlay/{}/diff/etc", Sha256::of(&layer()))));
    Ok(locked.into_iter().next().unwrap())
}

fn with(faults: Faults, architecture: &str) -> (Result<LockedContainer, String>, Vec<String>) {
    let dir = tempfile::tempdir().unwrap();
    let store = Store::open(dir.path(), false).unwrap();
    let (registry, content) = serve(content(faults, architecture));
    let made = all(&registry, &store);
    let seen = content.seen.lock().unwrap().clone();
    (made, seen)
}

#[test]
fn a_token_is_asked_for_once_and_another_server_does_not_get_it() {
    let (elsewhere, other) = serve(content(Faults::default(), "arm64"));
    let mut served = content(Faults { redirect: true, ..Faults::default() }, "arm64");
    served.elsewhere = elsewhere;
    let (registry, served) = serve(served);
    let dir = tempfile::tempdir().unwrap();
    let store = Store::open(dir.path(), false).unwrap();
    all(&registry, &store).unwrap();
    let tokens = served.seen.lock().unwrap().iter().filter(|line| line.starts_with("/token")).count();
    assert!(tokens <= 2, "one for pinning, one for fetching: {:?}", served.seen.lock().unwrap());
    let seen = other.seen.lock().unwrap().clone();
    assert_eq!(seen.len(), 2, "{seen:?}");
    assert!(seen.iter().all(|line| line.contains("[]")), "a token went to another server: {seen:?}");
    // Offline, all of it is there; in another store, nothing is.
    let offline = Store::open(dir.path(), true).unwrap();
    let said = all(&registry, &offline).unwrap_err();
    assert!(said.contains("offline"), "a tag is not known offline: {said}");
}

#[test]
fn what_breaks_off_goes_on_where_it_ended() {
    let (made, seen) = with(Faults { cut: Some(30 << 10), ..Faults::default() }, "arm64");
    made.unwrap();
    assert!(seen.iter().any(|line| line.ends_with(&format!(" {}", 30 << 10))), "{seen:?}");
}

#[test]
fn a_registry_that_lies_is_not_believed() {
    let said = |faults: Faults, architecture: &str| with(faults, architecture).0.unwrap_err();
    let swapped = said(Faults { swapped: true, ..Faults::default() }, "arm64");
    assert!(swapped.contains("SHA-256"), "{swapped}");
    let insecure = said(Faults { insecure: true, ..Faults::default() }, "arm64");
    assert!(insecure.contains("tokens.invalid") || insecure.contains("not secure"), "{insecure}");
    let other = said(Faults::default(), "amd64");
    assert!(other.contains("is for linux/amd64, and the board needs linux/arm64"), "{other}");
    // By digest, another manifest is an error; by tag, there is none to compare with.
    let (registry, served) = serve(content(Faults { forged: true, ..Faults::default() }, "arm64"));
    let dir = tempfile::tempdir().unwrap();
    let store = Store::open(dir.path(), false).unwrap();
    let mut by_digest = wanted(&registry);
    let digest = format!("sha256:{}", Sha256::of(&served.manifest));
    by_digest.origin = Origin::Registry { registry, repository: "team/app".into(), tag: None, digest: Some(digest) };
    let platform = Platform::of_debian("arm64").unwrap();
    let forged = pin(&[by_digest], &[], platform, &store, &Registries::default(), &Silent);
    assert!(forged.unwrap_err().to_string().contains("SHA-256: expected"));
}
