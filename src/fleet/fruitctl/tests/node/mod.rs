//! Nodes as processes of their own: this test program, started again as what `fruit-peer run` is.

#[path = "../../../../node/peer/tests/daemon/mod.rs"]
mod daemon;

use daemon::ask;
pub use daemon::until;
use fruit_base::Sha256;
use fruit_contract::peer::status::Status;
use fruit_release::local::{Answer, Request};
use fruit_release::name::Name;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::time::Duration;

/// The folder of the node that this program is to be.
const FOLDER: &str = "FRUITCTL_TEST_NODE";
/// Longest wait for something that happens by itself.
const PATIENCE: Duration = Duration::from_secs(60);
const CACHE_MIB: u32 = 64;

/// Is a node, in a process that was started as one.
pub fn run() {
    if let Some(folder) = std::env::var_os(FOLDER) {
        fruit_peer::daemon::run(&PathBuf::from(folder).join("peer.yaml"), Vec::new()).unwrap();
    }
}

pub struct Node {
    pub folder: tempfile::TempDir,
    command: Command,
    process: Child,
}

impl Node {
    /// A board that found this invite on its card. `test` is the one that calls [`run`].
    pub fn start(test: &str, invite: &str) -> Node {
        Node::start_with(test, invite, "")
    }

    /// With this address of its own.
    pub fn start_at(test: &str, invite: &str, listen: &str) -> Node {
        let change = |config: String| config.replace("listen: 127.0.0.1\n", &format!("listen: '{listen}'\n"));
        Node::start_changed(test, invite, change, std::convert::identity)
    }

    /// With more lines of configuration.
    pub fn start_with(test: &str, invite: &str, more: &str) -> Node {
        Node::start_changed(test, invite, |config| config + more, std::convert::identity)
    }

    /// On a network of its own, that `enter` leads to.
    pub fn start_in(test: &str, invite: &str, enter: impl FnOnce(&Command) -> Command) -> Node {
        Node::start_changed(test, invite, |config| config.replace("listen: 127.0.0.1\n", ""), |command| enter(&command))
    }

    fn start_changed(
        test: &str,
        invite: &str,
        change: impl FnOnce(String) -> String,
        enter: impl FnOnce(Command) -> Command,
    ) -> Node {
        let folder = daemon::prepare(invite, CACHE_MIB);
        let config = folder.path().join("peer.yaml");
        std::fs::write(&config, change(std::fs::read_to_string(&config).unwrap())).unwrap();
        let mut command = Command::new(std::env::current_exe().unwrap());
        command.args(["--exact", test, "--nocapture"]).env(FOLDER, folder.path()).env_remove("JOURNAL_STREAM");
        let mut command = enter(command);
        let process = command.stdout(Stdio::null()).spawn().unwrap();
        let node = Node { folder, command, process };
        node.status();
        node
    }

    /// As a power cut does.
    pub fn stop(&mut self) {
        let _ = self.process.kill();
        let _ = self.process.wait();
    }

    pub fn again(&mut self) {
        self.process = self.command.spawn().unwrap();
        self.status();
    }

    pub fn status(&self) -> Status {
        until("the node answers", || ask(self.folder.path()))
    }

    #[track_caller]
    pub fn is(&self, state: &str) {
        until(&format!("the node is {state}"), || (self.status().state == state).then_some(()));
    }

    /// As `--peer` takes it.
    pub fn contact(&self) -> String {
        daemon::contact(|| self.status())
    }

    /// What the node's updater gets from the network under this name.
    pub fn piece(&self, repository: &Sha256, name: &Name) -> Answer {
        let request = Request::Give { repository: *repository, name: name.clone() };
        daemon::Updater::of(self.folder.path()).request(&request)
    }
}

impl Drop for Node {
    fn drop(&mut self) {
        self.stop();
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
