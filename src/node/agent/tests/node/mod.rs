//! A node for the real program: its kernel files, its board behind a socket, its systemd, all in a folder.
#![allow(dead_code, reason = "each test program uses its part")]

pub mod systemd;

use std::fs;
use std::io::{BufRead, BufReader, Read, Write};
use std::os::unix::net::{UnixDatagram, UnixListener, UnixStream};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Output, Stdio};
use std::sync::{Arc, Mutex};
use std::thread;
use std::time::{Duration, Instant};

use fruit_contract::agent::status::Status;

/// Far more than anything takes: a test that waits this long has failed.
const PATIENCE: Duration = Duration::from_secs(60);

/// Waits until `look` sees something.
pub fn wait_for<T>(what: &str, mut look: impl FnMut() -> Option<T>) -> T {
    let end = Instant::now() + PATIENCE;
    loop {
        if let Some(seen) = look() {
            return seen;
        }
        assert!(Instant::now() < end, "waited in vain for {what}");
        thread::sleep(Duration::from_millis(10));
    }
}

/// The board's end of the two lines.
#[derive(Default)]
pub struct Lines {
    /// Everything that was driven: line number and level; `None` = the node let go of the line.
    pub driven: Vec<(u8, Option<bool>)>,
    /// Level of the signal line that a new listener is told.
    pub starts_low: bool,
    signal: Vec<UnixStream>,
    beaten: Vec<UnixStream>,
}

impl Lines {
    /// Sends levels of the signal line, ASCII, to whoever listens.
    pub fn signal(&mut self, levels: &[u8]) {
        self.signal.retain_mut(|stream| stream.write_all(levels).is_ok());
    }
}

pub struct Board(pub Arc<Mutex<Lines>>);

impl Board {
    fn open(path: &Path) -> Board {
        let lines = Arc::new(Mutex::new(Lines::default()));
        let listener = UnixListener::bind(path).unwrap();
        let board = Board(Arc::clone(&lines));
        thread::spawn(move || {
            for stream in listener.incoming() {
                let lines = Arc::clone(&lines);
                thread::spawn(move || Board::line(stream.unwrap(), &lines));
            }
        });
        board
    }

    fn line(mut stream: UnixStream, lines: &Mutex<Lines>) {
        let mut reader = BufReader::new(stream.try_clone().unwrap());
        let mut hello = String::new();
        reader.read_line(&mut hello).unwrap();
        let words: Vec<&str> = hello.split_whitespace().collect();
        let number: u8 = words[1].parse().unwrap();
        if words[2] == "IN" {
            let mut lines = lines.lock().unwrap();
            stream.write_all(if lines.starts_low { b"0" } else { b"1" }).unwrap();
            lines.signal.push(stream);
            return;
        }
        lines.lock().unwrap().beaten.push(stream);
        for byte in reader.bytes() {
            let Ok(byte) = byte else { break };
            lines.lock().unwrap().driven.push((number, Some(byte == b'1')));
        }
        lines.lock().unwrap().driven.push((number, None));
    }

    /// What was driven on a line so far.
    pub fn driven(&self, number: u8) -> Vec<Option<bool>> {
        let lines = self.0.lock().unwrap();
        lines.driven.iter().filter(|(line, _)| *line == number).map(|(_, level)| *level).collect()
    }

    /// Takes all lines away; the node may take them anew.
    pub fn unplug(&self) {
        let mut lines = self.0.lock().unwrap();
        for stream in std::mem::take(&mut lines.signal).iter().chain(&std::mem::take(&mut lines.beaten)) {
            let _ = stream.shutdown(std::net::Shutdown::Both); // one that has ended is away already
        }
    }

    pub fn beats(&self) -> usize {
        self.driven(5).iter().filter(|level| **level == Some(true)).count()
    }

    /// Sends levels of the signal line, ASCII, to an agent that listens.
    pub fn signal(&self, levels: &[u8]) {
        wait_for("the agent to listen to the signal line", || self.0.lock().unwrap().signal.last().map(|_| ()));
        self.0.lock().unwrap().signal(levels);
    }
}

/// The node without a running agent.
pub struct Node {
    pub folder: tempfile::TempDir,
    pub board: Board,
    notify: UnixDatagram,
}

/// A node with a running agent.
pub struct Agent {
    child: Child,
    log: Arc<Mutex<String>>,
}

/// The program under test; `FRUIT_AGENT` names another build of it.
fn program() -> PathBuf {
    std::env::var_os("FRUIT_AGENT").map_or_else(|| env!("CARGO_BIN_EXE_fruit-agent").into(), PathBuf::from)
}

impl Node {
    /// A node whose agent beats fast. `more` are further lines of its configuration.
    pub fn new(more: &str) -> Node {
        let folder = tempfile::tempdir().unwrap();
        let root = folder.path();
        for name in [
            "proc/pressure",
            "proc/sys/kernel/random",
            "sys",
            "dev",
            "run/fruit-agent",
            "run/dbus",
            "run/systemd",
            "state",
        ] {
            fs::create_dir_all(root.join(name)).unwrap();
        }
        let config = format!(
            "lines: {{ chip: 'unix:{root}/board' }}\n\
             heartbeat: {{ high: 10ms, interval: 50ms }}\n\
             metrics: {{ socket: {root}/agent.sock }}\n\
             state: {root}/state\n{more}",
            root = root.display()
        );
        fs::write(root.join("agent.yaml"), config).unwrap();
        let board = Board::open(&root.join("board"));
        let notify = UnixDatagram::bind(root.join("notify")).unwrap();
        notify.set_nonblocking(true).unwrap();
        let node = Node { folder, board, notify };
        node.boot(1);
        node.pressure("0.00");
        node
    }

    /// A healthy node that says that it needs no board.
    pub fn forced(more: &str) -> Node {
        Node::new(&format!(
            "board: force\nhealth: {{ check: 500ms, patience: 0ms, grace: 0ms, systemd: ignore }}\n{more}"
        ))
    }

    pub fn path(&self, name: &str) -> PathBuf {
        self.folder.path().join(name)
    }

    /// Gives the node a new boot.
    pub fn boot(&self, number: u32) {
        let id = format!("00000000-0000-0000-0000-{number:012}\n");
        fs::write(self.path("proc/sys/kernel/random/boot_id"), id).unwrap();
    }

    /// Memory pressure, `full avg60`.
    pub fn pressure(&self, percent: &str) {
        let text = format!(
            "some avg10=0.00 avg60=0.00 avg300=0.00 total=0\nfull avg10=0.00 avg60={percent} avg300=0.00 total=0\n"
        );
        // Replaced as a whole: the agent may read it at any time.
        fs::write(self.path("proc/pressure/new"), text).unwrap();
        fs::rename(self.path("proc/pressure/new"), self.path("proc/pressure/memory")).unwrap();
    }

    fn command(&self, arguments: &[&str]) -> Command {
        let mut command = Command::new(program());
        command.args(arguments).arg("--config").arg(self.path("agent.yaml")).arg("--prefix").arg(self.folder.path());
        command.env("NOTIFY_SOCKET", self.path("notify")).env_remove("JOURNAL_STREAM");
        command
    }

    pub fn start(&self) -> Agent {
        let mut child = self.command(&["run"]).stderr(Stdio::piped()).spawn().unwrap();
        let log = Arc::new(Mutex::new(String::new()));
        let (stderr, lines) = (BufReader::new(child.stderr.take().unwrap()), Arc::clone(&log));
        thread::spawn(move || {
            for line in stderr.lines().map_while(Result::ok) {
                let mut lines = lines.lock().unwrap();
                lines.push_str(&line);
                lines.push('\n');
            }
        });
        Agent { child, log }
    }

    /// Runs another command of the program.
    pub fn run(&self, arguments: &[&str]) -> Output {
        self.command(arguments).env_remove("NOTIFY_SOCKET").output().unwrap()
    }

    /// Waits for a message to the service manager.
    pub fn notified(&self, message: &str) {
        let mut all = String::new();
        wait_for(message, || {
            let mut bytes = [0; 1024];
            while let Ok(count) = self.notify.recv(&mut bytes) {
                all.push_str(std::str::from_utf8(&bytes[..count]).unwrap());
            }
            all.contains(message).then_some(())
        });
    }

    /// What `fruit-agent status --json` says once it satisfies `wanted`.
    pub fn status(&self, wanted: impl Fn(&Status) -> bool) -> Status {
        let mut last = None;
        let end = Instant::now() + PATIENCE;
        while Instant::now() < end {
            let output = self.run(&["status", "--json"]);
            if output.status.success() {
                let status: Status = serde_json::from_slice(&output.stdout).unwrap();
                if wanted(&status) {
                    return status;
                }
                last = Some(status);
            }
            thread::sleep(Duration::from_millis(20));
        }
        panic!("the status never was as wanted; the last one: {last:#?}");
    }

    /// One exchange with the local socket.
    pub fn ask(&self, request: &str) -> String {
        let mut stream = UnixStream::connect(self.path("agent.sock")).unwrap();
        stream.write_all(request.as_bytes()).unwrap();
        let mut answer = String::new();
        stream.read_to_string(&mut answer).unwrap();
        answer
    }
}

impl Agent {
    pub fn pid(&self) -> u32 {
        self.child.id()
    }

    pub fn log(&self) -> String {
        self.log.lock().unwrap().clone()
    }

    pub fn logs(&self, text: &str) {
        let end = Instant::now() + PATIENCE;
        while !self.log().contains(text) {
            assert!(Instant::now() < end, "not logged: {text}\n{}", self.log());
            thread::sleep(Duration::from_millis(10));
        }
    }

    pub fn is_running(&mut self) -> bool {
        self.child.try_wait().unwrap().is_none()
    }

    /// SIGTERM, as systemd stops it.
    pub fn stop(mut self) -> String {
        let sent = Command::new("kill").args(["-TERM", &self.child.id().to_string()]).status().unwrap();
        assert!(sent.success());
        let status = self.child.wait().unwrap();
        assert!(status.success(), "{status}\n{}", self.log());
        self.log()
    }
}

/// As the power goes.
impl Drop for Agent {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}
