//! Nodes as processes of their own: this test program, started again as what `fruit-peer run` is.

use fruit_base::Sha256;
use fruit_contract::peer::status::Status;
use fruit_device::socket;
use fruit_release::local::{Answer, MAGIC, Request};
use fruit_release::name::Name;
use std::io::Write;
use std::os::unix::net::UnixStream;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

/// The folder of the node that this program is to be.
const FOLDER: &str = "FRUITCTL_TEST_NODE";
/// Longest wait for something that happens by itself.
const PATIENCE: Duration = Duration::from_secs(60);

/// Waits until something is there.
#[track_caller]
pub fn until<T>(what: &str, mut look: impl FnMut() -> Option<T>) -> T {
    let begun = Instant::now();
    loop {
        if let Some(found) = look() {
            return found;
        }
        assert!(begun.elapsed() < PATIENCE, "{what}: not after {PATIENCE:?}");
        std::thread::sleep(Duration::from_millis(100));
    }
}

/// Is a node, in a process that was started as one.
pub fn run() {
    if let Some(folder) = std::env::var_os(FOLDER) {
        fruit_peer::daemon::run(&PathBuf::from(folder).join("peer.yaml"), Vec::new()).unwrap();
    }
}

pub struct Node {
    pub folder: tempfile::TempDir,
    process: Child,
}

impl Node {
    /// A board that found this invite on its card. `test` is the one that calls [`run`].
    pub fn start(test: &str, invite: &str) -> Node {
        let folder = tempfile::tempdir().unwrap();
        let at = folder.path().display();
        let config = format!(
            "listen: 127.0.0.1\nmdns: false\nport_mapping: false\ncompare: 1s\ncache_mib: 64\ninvite: {at}/invite\n\
             state: {at}/state\nshared: {at}/shared\nrun: {at}/run\n"
        );
        std::fs::write(folder.path().join("peer.yaml"), config).unwrap();
        std::fs::write(folder.path().join("invite"), format!("{}\n", invite.trim())).unwrap();
        let mut command = Command::new(std::env::current_exe().unwrap());
        command.args(["--exact", test, "--nocapture"]).env(FOLDER, folder.path()).env_remove("JOURNAL_STREAM");
        let process = command.stdout(Stdio::null()).spawn().unwrap();
        let node = Node { folder, process };
        until("the node answers", || node.ask());
        node
    }

    fn ask(&self) -> Option<Status> {
        let path = self.folder.path().join("run/peer.sock");
        serde_json::from_str(&socket::ask("fruit-peer", &path, "GET", "/status").ok()?).ok()
    }

    pub fn status(&self) -> Status {
        until("the node answers", || self.ask())
    }

    #[track_caller]
    pub fn is(&self, state: &str) {
        until(&format!("the node is {state}"), || (self.status().state == state).then_some(()));
    }

    /// As `--peer` takes it.
    pub fn contact(&self) -> String {
        until("it has an address", || {
            let status = self.status();
            Some(format!("{}@{}", status.id, status.addresses.first()?))
        })
    }

    /// What the node's updater gets from the network under this name.
    pub fn piece(&self, repository: &Sha256, name: &Name) -> Answer {
        let mut stream = UnixStream::connect(self.folder.path().join("run/pieces.sock")).unwrap();
        stream.set_read_timeout(Some(PATIENCE)).unwrap();
        stream.write_all(&MAGIC).unwrap();
        let request = Request::Give { repository: *repository, name: name.clone() };
        stream.write_all(&request.encode()).unwrap();
        Answer::read(&mut stream, request.answer_limit()).unwrap()
    }
}

impl Drop for Node {
    fn drop(&mut self) {
        let _ = self.process.kill();
        let _ = self.process.wait();
    }
}

/// A program that ends with the test.
pub struct Background(Child);

impl Background {
    pub fn start(mut command: Command, log: &Path) -> Background {
        let log = std::fs::File::create(log).unwrap();
        Background(command.stdout(log.try_clone().unwrap()).stderr(log).spawn().unwrap())
    }

    /// As Ctrl-C does; its exit code.
    pub fn end(&mut self) -> Option<i32> {
        let id = self.0.id().to_string();
        assert!(Command::new("kill").args(["-INT", &id]).status().unwrap().success());
        self.0.wait().unwrap().code()
    }

    /// Its exit code, once it has ended.
    pub fn wait(&mut self) -> Option<i32> {
        self.0.wait().unwrap().code()
    }

    /// As a power cut does.
    pub fn kill(&mut self) {
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}

impl Drop for Background {
    fn drop(&mut self) {
        self.kill();
    }
}
