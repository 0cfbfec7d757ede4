//! `fruit-peer` as a process that tests start and ask: those of fruit-peer, and those of fruitctl.

use std::io::Write;
use std::os::unix::net::UnixStream;
use std::path::Path;
use std::time::Instant;

use fruit_contract::peer::status::Status;
use fruit_device::socket;
use fruit_release::local::{Answer, MAGIC, Request};

use super::PATIENCE;

/// Waits until something is there.
#[track_caller]
pub fn until<T>(what: &str, mut look: impl FnMut() -> Option<T>) -> T {
    let begun = Instant::now();
    loop {
        if let Some(found) = look() {
            return found;
        }
        assert!(begun.elapsed() < PATIENCE, "{what}: not after {PATIENCE:?}");
        std::thread::sleep(std::time::Duration::from_millis(50));
    }
}

/// The folder of a node on loopback, with its configuration `peer.yaml` and an invite.
pub fn prepare(invite: &str, cache_mib: u32) -> tempfile::TempDir {
    let folder = tempfile::tempdir().unwrap();
    let at = folder.path().display();
    let config = format!(
        "listen: 127.0.0.1\nmdns: false\nport_mapping: false\ncompare: 1s\ncache_mib: {cache_mib}\ninvite: {at}/invite\n\
         state: {at}/state\nshared: {at}/shared\nrun: {at}/run\n"
    );
    std::fs::write(folder.path().join("peer.yaml"), config).unwrap();
    std::fs::write(folder.path().join("invite"), format!("{}\n", invite.trim())).unwrap();
    folder
}

/// Its status, once it answers.
pub fn ask(folder: &Path) -> Option<Status> {
    let answer = socket::ask("fruit-peer", &folder.join("run/peer.sock"), "GET", "/status").ok()?;
    serde_json::from_str(&answer).ok()
}

/// Where it is, as others are told.
pub fn contact(status: impl Fn() -> Status) -> String {
    until("it has an address", || {
        let status = status();
        Some(format!("{}@{}", status.id, status.addresses.first()?))
    })
}

/// The node's updater.
pub struct Updater(UnixStream);

impl Updater {
    pub fn of(folder: &Path) -> Updater {
        let mut stream = UnixStream::connect(folder.join("run/pieces.sock")).unwrap();
        stream.set_read_timeout(Some(PATIENCE)).unwrap();
        stream.write_all(&MAGIC).unwrap();
        Updater(stream)
    }

    pub fn request(&mut self, request: &Request) -> Answer {
        self.0.write_all(&request.encode()).unwrap();
        Answer::read(&mut self.0, request.answer_limit()).unwrap()
    }
}
