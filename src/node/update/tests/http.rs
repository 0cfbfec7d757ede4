//! Downloads from real servers on the loopback that misbehave in every way that servers do.

use std::io::Read;
use std::sync::atomic::Ordering::Relaxed;
use std::time::{Duration, Instant};

use crate::server::{Answer, Server};
use fruit_release::{Digest, Name, Source, SourceError};
use fruit_update::http::{self, Limits, Settings, Stop};

fn limits() -> Limits {
    Limits {
        connect: Duration::from_secs(5),
        head: Duration::from_secs(5),
        window: Duration::from_millis(800),
        least_rate: 20_000,
        pause: Duration::from_millis(10),
        pause_max: Duration::from_millis(50),
        failures: 4,
        penalty: Duration::from_millis(400),
    }
}

fn settings() -> Settings<'static> {
    Settings { limits: limits(), ..Settings::default() }
}

/// Bytes that differ everywhere.
fn content(len: usize) -> Vec<u8> {
    (0..len as u64).map(|i| (i.wrapping_mul(0x9E37_79B9_7F4A_7C15) >> 56) as u8).collect()
}

fn read_all(url: &str) -> (std::io::Result<Vec<u8>>, u32) {
    let mut download = http::download(url, &settings()).unwrap();
    let mut bytes = Vec::new();
    let result = download.read_to_end(&mut bytes);
    (result.map(|_| bytes), download.resumed())
}

#[test]
fn a_bundle_comes_whole() {
    let bytes = content(500_000);
    let server = Server::start({
        let bytes = bytes.clone();
        move |_, _| Answer::file(&bytes)
    });
    let (read, resumed) = read_all(&server.url("x.fruit"));
    assert_eq!((read.unwrap() == bytes, resumed), (true, 0));
}

#[test]
fn cut_connections_are_gone_on_with_where_they_ended() {
    let bytes = content(1_000_000);
    let server = Server::start({
        let bytes = bytes.clone();
        move |n, _| Answer { cut_after: (n < 4).then_some(200_000), ..Answer::file(&bytes) }
    });
    let (read, resumed) = read_all(&server.url("x.fruit"));
    assert!(read.unwrap() == bytes);
    assert_eq!(resumed, 4);
    let ranges: Vec<Option<String>> = server.requests().iter().map(|r| r.header("range")).collect();
    assert_eq!(ranges[0], None);
    assert_eq!(ranges[1].as_deref(), Some("bytes=200000-"));
    assert_eq!(server.requests()[1].header("if-range").as_deref(), Some("\"1\""));
}

#[test]
fn a_server_without_ranges_sends_all_again_and_what_is_known_is_passed_over() {
    let bytes = content(600_000);
    let server = Server::start({
        let bytes = bytes.clone();
        move |n, _| Answer { ranges: false, cut_after: (n == 0).then_some(300_000), ..Answer::file(&bytes) }
    });
    let (read, resumed) = read_all(&server.url("x.fruit"));
    assert!(read.unwrap() == bytes);
    assert_eq!(resumed, 1);
}

#[test]
fn a_stalled_connection_is_left_and_gone_on_with() {
    let bytes = content(600_000);
    let server = Server::start({
        let bytes = bytes.clone();
        move |n, _| Answer { stall_after: (n == 0).then_some(300_000), ..Answer::file(&bytes) }
    });
    let start = Instant::now();
    let (read, resumed) = read_all(&server.url("x.fruit"));
    assert!(read.unwrap() == bytes);
    assert_eq!(resumed, 1);
    assert!(start.elapsed() < Duration::from_secs(30));
}

#[test]
fn a_server_that_trickles_is_given_up() {
    let bytes = content(600_000);
    let server = Server::start(move |_, _| Answer { trickle: true, ..Answer::file(&bytes) });
    let start = Instant::now();
    let (read, _) = read_all(&server.url("x.fruit"));
    assert!(read.unwrap_err().to_string().contains("too slow"));
    assert!(start.elapsed() < Duration::from_secs(60));
}

#[test]
fn a_server_that_trickles_its_head_is_given_up() {
    let bytes = content(1000);
    let server = Server::start(move |_, _| Answer { trickle_head: true, ..Answer::file(&bytes) });
    let (read, _) = read_all(&server.url("x.fruit"));
    assert!(read.is_err());
}

#[test]
fn a_server_that_cuts_every_connection_soon_is_given_up() {
    let bytes = content(600_000);
    let server = Server::start(move |_, _| Answer { cut_after: Some(10), ..Answer::file(&bytes) });
    let (read, _) = read_all(&server.url("x.fruit"));
    assert!(read.unwrap_err().to_string().contains("failures in a row"));
}

#[test]
fn a_file_that_changes_during_the_download_is_noticed() {
    let (old, new) = (content(600_000), content(600_001));
    let server = Server::start({
        let (old, new) = (old.clone(), new.clone());
        move |n, _| match n {
            0 => Answer { cut_after: Some(300_000), ..Answer::file(&old) },
            _ => Answer { tag: "\"2\"", ..Answer::file(&new) },
        }
    });
    let error = read_all(&server.url("x.fruit")).0.unwrap_err();
    assert!(error.to_string().contains("changed during the download"), "{error}");
    // A server that sends the part without a look at If-Range.
    let server = Server::start(move |n, _| match n {
        0 => Answer { cut_after: Some(300_000), ..Answer::file(&old) },
        _ => Answer { tag: "\"2\"", heeds_if_range: false, ..Answer::file(&new) },
    });
    let error = read_all(&server.url("x.fruit")).0.unwrap_err();
    assert!(error.to_string().contains("changed during the download"), "{error}");
}

#[test]
fn a_server_that_lies_about_ranges_is_noticed() {
    let bytes = content(600_000);
    let server = Server::start(move |n, _| match n {
        0 => Answer { cut_after: Some(300_000), ..Answer::file(&bytes) },
        _ => Answer { shift: 1, ..Answer::file(&bytes) },
    });
    let error = read_all(&server.url("x.fruit")).0.unwrap_err();
    assert!(error.to_string().contains("asked for bytes from 300000"), "{error}");
}

#[test]
fn what_is_not_there_is_told_at_once() {
    let server = Server::start(|_, _| Answer { status: 404, ..Answer::file(b"no") });
    let error = read_all(&server.url("x.fruit")).0.unwrap_err();
    assert!(error.to_string().contains("404"), "{error}");
    assert_eq!(server.requests().len(), 1);
}

#[test]
fn redirects_are_followed_but_not_for_ever() {
    let bytes = content(1000);
    let server = Server::start({
        let bytes = bytes.clone();
        move |_, request| match request.path.as_str() {
            "/start" => Answer { status: 302, location: Some("/x".into()), ..Answer::file(b"") },
            "/loop" => Answer { status: 302, location: Some("/loop".into()), ..Answer::file(b"") },
            _ => Answer::file(&bytes),
        }
    });
    assert!(read_all(&server.url("start")).0.unwrap() == bytes);
    assert!(read_all(&server.url("loop")).0.is_err());
    assert!(server.requests().len() < 40);
}

#[test]
fn the_bandwidth_limit_holds_and_is_no_reason_to_give_up() {
    let bytes = content(150_000);
    let server = Server::start({
        let bytes = bytes.clone();
        move |_, _| Answer::file(&bytes)
    });
    // Below the rate at which a server would be left.
    let settings =
        Settings { bandwidth: Some(60_000), limits: Limits { least_rate: 100_000, ..limits() }, ..settings() };
    let start = Instant::now();
    let mut read = Vec::new();
    http::download(&server.url("x"), &settings).unwrap().read_to_end(&mut read).unwrap();
    assert!(read == bytes);
    assert!(start.elapsed() >= Duration::from_millis(2200), "{:?}", start.elapsed());
}

#[test]
fn a_stop_ends_a_download_that_hangs() {
    let bytes = content(600_000);
    let server = Server::start(move |_, _| Answer { stall_after: Some(1000), ..Answer::file(&bytes) });
    let stop = Stop::default();
    let settings = Settings { stop: stop.clone(), ..Settings::default() };
    let mut download = http::download(&server.url("x"), &settings).unwrap();
    let start = Instant::now();
    std::thread::scope(|scope| {
        scope.spawn(|| {
            std::thread::sleep(Duration::from_millis(300));
            stop.store(true, Relaxed);
        });
        assert!(download.read_to_end(&mut Vec::new()).unwrap_err().to_string().contains("stopped"));
    });
    assert!(start.elapsed() < Duration::from_secs(10));
}

fn repository(bytes: &'static [u8]) -> Server {
    Server::start(move |_, request| match request.path.as_str() {
        "/metadata/timestamp.json" => Answer::file(bytes),
        _ => Answer { status: 404, ..Answer::file(b"nothing here") },
    })
}

#[test]
fn pieces_come_by_name_and_missing_ones_are_none() {
    let server = repository(b"{}");
    for url in [server.url(""), server.url("").trim_end_matches('/').to_owned()] {
        let mut mirrors = http::mirrors(vec![url], &settings()).unwrap();
        assert_eq!(mirrors.get(&Name::Timestamp, 100).unwrap().as_deref(), Some(&b"{}"[..]));
    }
    let mut mirrors = http::mirrors(vec![server.url("")], &settings()).unwrap();
    assert_eq!(mirrors.get(&Name::Root(2), 100).unwrap(), None);
    assert_eq!(mirrors.get(&Name::Chunk(Digest::of(b"x")), 100).unwrap(), None);
    assert_eq!(server.requests()[3].path, format!("/{}", Name::Chunk(Digest::of(b"x"))));
}

#[test]
fn larger_pieces_than_allowed_are_broken_however_the_server_says_it() {
    for chunked in [false, true] {
        let server = Server::start(move |_, _| Answer { chunked, ..Answer::file(&[b'x'; 5000]) });
        let mut mirrors = http::mirrors(vec![server.url("")], &settings()).unwrap();
        let result = mirrors.get(&Name::Timestamp, 4000);
        assert!(matches!(result, Err(SourceError::Broken { .. })), "{result:?}");
        assert_eq!(mirrors.get(&Name::Timestamp, 5000).unwrap().unwrap().len(), 5000);
    }
}

#[test]
fn endless_data_ends_at_the_limit() {
    let server = Server::start(|_, _| Answer { endless: true, ..Answer::file(b"x") });
    let mut mirrors = http::mirrors(vec![server.url("")], &settings()).unwrap();
    let result = mirrors.get(&Name::Timestamp, u64::MAX);
    assert!(matches!(result, Err(SourceError::Broken { .. })), "{result:?}");
}

#[test]
fn a_mirror_that_fails_is_passed_over_and_comes_back_later() {
    let good = repository(b"good");
    let bad = Server::start(|n, _| match n {
        0 => Answer { status: 503, ..Answer::file(b"") },
        _ => Answer::file(b"well again"),
    });
    let mut mirrors = http::mirrors(vec![bad.url(""), good.url("")], &settings()).unwrap();
    for _ in 0..3 {
        assert_eq!(mirrors.get(&Name::Timestamp, 100).unwrap().as_deref(), Some(&b"good"[..]));
    }
    assert_eq!(bad.requests().len(), 1, "a mirror that failed is not asked for a while");
    std::thread::sleep(Duration::from_millis(500));
    assert_eq!(mirrors.get(&Name::Timestamp, 100).unwrap().as_deref(), Some(&b"well again"[..]));
}

#[test]
fn a_mirror_that_gave_wrong_bytes_comes_last() {
    let (first, second) = (repository(b"altered"), repository(b"right"));
    let mut mirrors = http::mirrors(vec![first.url(""), second.url("")], &settings()).unwrap();
    assert_eq!(mirrors.get(&Name::Timestamp, 100).unwrap().as_deref(), Some(&b"altered"[..]));
    mirrors.distrust();
    assert_eq!(mirrors.get(&Name::Timestamp, 100).unwrap().as_deref(), Some(&b"right"[..]));
}

#[test]
fn a_piece_that_one_mirror_lacks_is_taken_from_the_next() {
    let (behind, ahead) = (Server::start(|_, _| Answer { status: 404, ..Answer::file(b"") }), repository(b"new"));
    let mut mirrors = http::mirrors(vec![behind.url(""), ahead.url("")], &settings()).unwrap();
    assert_eq!(mirrors.get(&Name::Timestamp, 100).unwrap().as_deref(), Some(&b"new"[..]));
}

#[test]
fn a_server_that_is_down_for_a_moment_is_asked_again() {
    let server = Server::start(|n, _| match n {
        0 | 1 => Answer { cut_after: Some(0), ..Answer::file(b"late") },
        _ => Answer::file(b"late"),
    });
    let mut mirrors = http::mirrors(vec![server.url("")], &settings()).unwrap();
    assert_eq!(mirrors.get(&Name::Timestamp, 100).unwrap().as_deref(), Some(&b"late"[..]));
    // Nobody listens any more.
    let gone = server.url("");
    drop(server);
    let mut mirrors = http::mirrors(vec![gone], &settings()).unwrap();
    assert!(matches!(mirrors.get(&Name::Timestamp, 100), Err(SourceError::Unreachable { .. })));
}

#[test]
fn certificates_that_are_none_are_refused() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("ca.pem");
    std::fs::write(&path, "no certificate").unwrap();
    for path in [path, folder.path().join("none.pem")] {
        let settings = Settings { ca: Some(&path), ..settings() };
        let error = http::mirrors(vec!["https://localhost/".into()], &settings).err().unwrap();
        assert!(error.to_string().contains(".pem"), "{error}");
    }
}
