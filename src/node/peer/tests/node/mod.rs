//! Nodes as processes, a laptop, the updater of a node, and whoever attacks them.

#[path = "../daemon/mod.rs"]
mod daemon;

use std::io::{Read, Write};
use std::net::{IpAddr, Ipv4Addr};
use std::os::unix::net::UnixStream;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::time::Duration;

use ed25519_dalek::Signer;
use fruit_base::Sha256;
use fruit_contract::peer::status::Status;
use fruit_device::socket;
use fruit_peer::engine::{Engine, Network, Options};
use fruit_peer::pass::Pass;
use fruit_peer::store::Pieces;
use fruit_peer::wire::PROTOCOL;
use fruit_record::{Invite, Signature};
use fruit_release::folder::Folder;
use fruit_release::frame;
use fruit_release::local::{Answer, Request, repository_id};
use fruit_release::name::Name;
use fruit_release::tuf::{Clock, Time, Trust};
use iroh::endpoint::presets;
use iroh::{Endpoint, EndpointAddr, EndpointId, SecretKey};

pub use daemon::until;
use daemon::{ask, contact, prepare};

use crate::fleet::{ANNA, Fleet, id, key};
use crate::repository::{Files, Shop};

const LOOPBACK: IpAddr = IpAddr::V4(Ipv4Addr::LOCALHOST);
/// Longest wait for something that happens by itself.
const PATIENCE: Duration = Duration::from_secs(40);
const CACHE_MIB: u32 = 16;

/// A repository as a folder, with one release of a few chunks.
pub struct Release {
    pub folder: tempfile::TempDir,
    pub id: Sha256,
    pub chunks: Vec<Name>,
    /// One that no test fetches but the last.
    pub chunk: Name,
    pub content: Vec<u8>,
}

/// Signed by the code that `fruitbuild publish` signs with, and laid out as it does.
pub fn published() -> Release {
    let folder = tempfile::tempdir().unwrap();
    let pieces = Folder::new(folder.path());
    let mut content = Vec::new();
    let mut chunks = Vec::new();
    for n in 0..3u8 {
        // Does not compress.
        let mut state = u64::from(n) + 1;
        let mut word = || {
            state ^= state << 13;
            state ^= state >> 7;
            state ^= state << 17;
            state.to_le_bytes()
        };
        let chunk: Vec<u8> = (0..1 << 17).flat_map(|_| word()).collect();
        let name = Name::Chunk(Sha256::of(&chunk));
        pieces.put(&name, &frame::encode(&chunk, 1).unwrap()).unwrap();
        content.extend(chunk);
        chunks.push(name);
    }
    let mut shop = Shop::open();
    shop.release("1.1");
    let files: &Files = &shop.files;
    for (path, bytes) in files {
        pieces.put(&path.parse().unwrap(), bytes).unwrap();
    }
    let id = repository_id(&shop.file("1.root"));
    Release { folder, id, chunk: chunks[2].clone(), chunks, content }
}

/// An operator's machine, in this process.
pub struct Laptop {
    pub engine: Engine,
}

impl Laptop {
    pub fn start(fleet: &Fleet, seed: u8, served: &[&Path]) -> Laptop {
        let machine = id(seed);
        let bytes = key(ANNA).sign(&Pass::message(&fleet.id(), &machine, 0)).to_bytes();
        let pass = Pass { machine, not_after: 0, signature: Signature { key: id(ANNA), bytes } };
        let options = Options {
            key: key(seed),
            fleet: fleet.id(),
            invite: None,
            pass: Some(pass.encode()),
            replica: Some(fleet.replica.clone()),
            store: None,
            state_error: None,
            pieces: Pieces::open(served.iter().map(PathBuf::from).collect(), None, None),
            network: Network { bind: Some(LOOPBACK), port: 0, port_mapping: false, relays: Vec::new() },
            mdns: false,
            site: String::new(),
            facts: None,
            services: Default::default(),
            compare: Duration::from_secs(1),
            contacts: Vec::new(),
        };
        Laptop { engine: Engine::start(options, None).unwrap() }
    }

    pub fn contact(&self) -> String {
        contact(|| self.engine.status().unwrap())
    }
}

/// `fruit-peer` on a node.
pub struct Peer {
    pub folder: tempfile::TempDir,
    contacts: Vec<String>,
    process: Child,
}

fn command(folder: &Path, contacts: &[String]) -> Command {
    let mut command = Command::new(env!("CARGO_BIN_EXE_fruit-peer"));
    command.arg("run").arg("--config").arg(folder.join("peer.yaml")).env_remove("JOURNAL_STREAM");
    for contact in contacts {
        command.arg("--address").arg(contact);
    }
    command
}

impl Peer {
    pub fn start(invite: &Invite, contacts: &[String]) -> Peer {
        Peer::start_with(invite, contacts, |_| {})
    }

    pub fn start_with(invite: &Invite, contacts: &[String], change: impl FnOnce(&Path)) -> Peer {
        let folder = prepare(&invite.to_text(), CACHE_MIB);
        change(folder.path());
        let process = command(folder.path(), contacts).spawn().unwrap();
        let peer = Peer { folder, contacts: contacts.to_vec(), process };
        until("the daemon answers", || ask(peer.folder.path()));
        peer
    }

    /// What it says before it ends, when it does not start.
    pub fn fails(change: impl FnOnce(&Path), invite: &Invite) -> String {
        let folder = prepare(&invite.to_text(), CACHE_MIB);
        change(folder.path());
        let output = command(folder.path(), &[]).stderr(Stdio::piped()).output().unwrap();
        assert!(!output.status.success());
        String::from_utf8(output.stderr).unwrap()
    }

    /// As a power cut does.
    pub fn kill(&mut self) {
        self.process.kill().unwrap();
        self.process.wait().unwrap();
    }

    pub fn restart(&mut self) {
        let _ = std::fs::remove_dir_all(self.folder.path().join("run"));
        self.process = command(self.folder.path(), &self.contacts).spawn().unwrap();
        until("the daemon answers", || ask(self.folder.path()));
    }

    pub fn metrics(&self) -> String {
        socket::ask("fruit-peer", &self.folder.path().join("run/peer.sock"), "GET", "/metrics").unwrap()
    }

    pub fn status(&self) -> Status {
        until("the daemon answers", || ask(self.folder.path()))
    }

    pub fn contact(&self) -> String {
        contact(|| self.status())
    }
}

impl Drop for Peer {
    fn drop(&mut self) {
        let _ = self.process.kill();
        let _ = self.process.wait();
    }
}

/// The updater of a node: asks over the socket, and verifies everything.
pub struct Updater(daemon::Updater);

impl Updater {
    pub fn of(peer: &Peer) -> Updater {
        Updater(daemon::Updater::of(peer.folder.path()))
    }

    pub fn ask(&mut self, repository: &Sha256, name: &Name) -> Answer {
        self.0.request(&Request::Give { repository: *repository, name: name.clone() })
    }

    /// All of the release: metadata first.
    pub fn update(&mut self, release: &Release) -> Vec<u8> {
        assert_eq!(self.0.request(&Request::Refresh { repository: release.id }), Answer::Here(Vec::new()));
        let Answer::Here(root) = self.ask(&release.id, &Name::Root(1)) else { panic!("no root") };
        assert_eq!(repository_id(&root), release.id);
        let mut trust = Trust::from_root(&root).unwrap();
        let clock = Clock::Unset { built: Time::from_seconds(0), saved: None };
        let mut refresh = trust.refresh(clock);
        while let Some(want) = refresh.want() {
            let bytes = match self.ask(&release.id, &want.name.parse().unwrap()) {
                Answer::Here(bytes) => Some(bytes),
                Answer::Nobody => None,
                other => panic!("{}: {other:?}", want.name),
            };
            refresh.give(bytes.as_deref()).unwrap_or_else(|error| panic!("{}: {error}", want.name));
        }
        assert_eq!(trust.targets(&clock).unwrap().len(), 2);
        let mut content = Vec::new();
        for chunk in &release.chunks {
            let Answer::Here(bytes) = self.ask(&release.id, chunk) else { panic!("no {chunk}") };
            content.extend(frame::decode(&bytes, 1 << 20).unwrap());
        }
        content
    }
}

/// Somebody with a key of their own and no invite: opens a connection, says what one of six attackers says, and gets nothing.
pub fn stranger(seed: u8, contact: &str, release: &Release) {
    let (peer, address) = contact.split_once('@').unwrap();
    let peer = EndpointId::from_bytes(&fruit_record::KeyId::parse(peer).unwrap().0).unwrap();
    let target = EndpointAddr::new(peer).with_ip_addr(address.parse().unwrap());
    let give = Request::Give { repository: release.id, name: Name::Root(1) }.encode();
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
    runtime.block_on(async {
        let endpoint = Endpoint::builder(presets::Minimal)
            .secret_key(SecretKey::from_bytes(&[seed; 32]))
            .clear_ip_transports()
            .bind_addr("127.0.0.1:0")
            .unwrap()
            .bind()
            .await
            .unwrap();
        let connection = endpoint.connect(target, PROTOCOL).await.unwrap();
        let (mut tx, mut rx) = connection.open_bi().await.unwrap();
        let bytes: &[u8] = match seed % 6 {
            0 => &[0, 0, 0, 5, 3, 1, 0, 0, 0],
            1 => &[0xff; 64],
            2 => b"GET / HTTP/1.1\r\n\r\n",
            3 => &[0, 0, 0, 2, 2, 1],
            4 => &[0, 0, 0, 1, 250],
            _ => &[],
        };
        // It may have been cut off already.
        let _ = tx.write_all(bytes).await;
        let mut got = Vec::new();
        if let Ok((mut asking, mut answer)) = connection.open_bi().await {
            let _ = asking.write_all(&give).await;
            let _ = asking.finish();
            if let Ok(bytes) = tokio::time::timeout(Duration::from_secs(2), answer.read_to_end(1 << 20)).await {
                got = bytes.unwrap_or_default();
            }
        }
        assert_eq!(got, b"", "a piece for stranger {seed}");
        let said = tokio::time::timeout(Duration::from_secs(2), rx.read_to_end(1 << 20)).await;
        let said = said.ok().and_then(Result::ok).unwrap_or_default();
        // At most why it is cut off.
        assert!(said.is_empty() || said[4] == 13, "{said:?}");
        assert!(said.len() < 400);
        endpoint.close().await;
    });
}

/// A program of the node that says nonsense on its sockets.
pub fn hostile_updater(peer: &Peer) {
    let run = peer.folder.path().join("run");
    for bytes in [&b"GET / HTTP/1.1\r\n\r\n"[..], b"FPS1\x09", b"FPS1\x01", &[&b"FPS1\x01"[..], &[0xff; 34]].concat()] {
        let mut stream = UnixStream::connect(run.join("pieces.sock")).unwrap();
        stream.set_read_timeout(Some(Duration::from_secs(8))).unwrap();
        // It may be closed before all is written.
        let _ = stream.write_all(bytes);
        let _ = stream.shutdown(std::net::Shutdown::Write);
        let mut got = Vec::new();
        let _ = stream.read_to_end(&mut got);
        assert_eq!(got, b"");
    }
    let mut stream = UnixStream::connect(run.join("peer.sock")).unwrap();
    let _ = stream.write_all(&[b'x'; 10_000]);
    let mut got = Vec::new();
    let _ = stream.read_to_end(&mut got);
    assert_eq!(got, b"");
}
