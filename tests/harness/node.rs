//! A node in an emulator: an image that was really built, the distribution's real U-Boot and kernel.

#![allow(dead_code)] // each test program uses its own part

use std::fs::File;
use std::io::Read;
use std::net::TcpStream;
use std::os::unix::fs::FileExt;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::sync::{Mutex, Once};
use std::time::{Duration, Instant};

use fruit_emulate::{Console, Options, Plan, Prepared, StartFiles};
use fruit_image::disk::DiskFile;
use fruit_image::gpt::{self, Partition};
use fruit_pipeline::sources::Sources;

use crate::harness::{image_of, out, recipe_path, succeed, tool};

/// The emulators run on machines that are busy with other things: this is for hangs, not for speed.
pub const PATIENCE: Duration = Duration::from_secs(420);

pub struct Node {
    prepared: Prepared,
    pub console: Option<Console>,
    port: u16,
    /// The connection that commands share while it lasts. An emulated node takes seconds to let somebody in.
    connection: Mutex<Option<Child>>,
    /// The machine's device tree, where it is not the emulator's or the image's own.
    device_tree: Option<PathBuf>,
    /// Image of a USB stick that is plugged in.
    stick: Option<PathBuf>,
    folder: tempfile::TempDir,
}

impl Node {
    /// A fresh card of `recipe` for `machine`, with a `fruit.yaml` that lets us in and says `more` besides.
    pub fn new(recipe: &str, machine: &str, more: &str) -> Node {
        Node::of_image(&image_of(recipe), &recipe_path(recipe), machine, more)
    }

    /// As [`Node::new`], of an image that was made of the recipe in that file.
    pub fn of_image(image: &Path, recipe: &Path, machine: &str, more: &str) -> Node {
        let folder = tempfile::tempdir().unwrap();
        let key = folder.path().join("key");
        succeed(tool("ssh-keygen", "openssh-client").args(["-q", "-t", "ed25519", "-N", "", "-f"]).arg(&key));
        let public = std::fs::read_to_string(key.with_extension("pub")).unwrap();
        let config = folder.path().join("fruit.yaml");
        std::fs::write(&config, format!("ssh_authorized_keys:\n  - {}\n{more}", public.trim())).unwrap();
        let options = Options {
            recipe: recipe.to_owned(),
            image: Some(image.to_owned()),
            machine: Some(machine.to_owned()),
            out: out(),
            disk: Some(folder.path().join("disk.img")),
            config: Some(config),
            sources: Sources::default(),
        };
        end_with_whoever_started_us();
        let prepared = Prepared::new(&options, &fruit_progress::Silent).unwrap();
        Node {
            prepared,
            console: None,
            port: fruit_emulate::free_port().unwrap(),
            connection: Mutex::default(),
            device_tree: None,
            stick: None,
            folder,
        }
    }

    pub fn disk(&self) -> &Path {
        self.prepared.disk()
    }

    /// Plugs in a HAT: to the device tree that the emulator makes for this machine comes what a Pi's firmware adds from
    /// the EEPROM of the HAT.
    pub fn plug_in_hat(&mut self, product: &str) {
        let file = self.folder.path().join("machine.dtb");
        // The emulator writes the file and ends.
        succeed(self.prepared.plan(None).command().arg("-machine").arg(format!("dumpdtb={}", file.display())));
        let put = || tool("fdtput", "device-tree-compiler");
        succeed(put().arg("-c").arg(&file).arg("/hat"));
        succeed(put().args(["-t", "s"]).arg(&file).args(["/hat", "product", product]));
        self.device_tree = Some(file);
    }

    /// Switches it on.
    pub fn start(&mut self) -> &mut Console {
        let socket = self.monitor();
        let plan = self.prepared.plan(Some(self.port));
        let device_tree = self.device_tree.clone().or_else(|| plan.files.device_tree.clone());
        let files = StartFiles { device_tree, ..plan.files.clone() };
        let plan = Plan { monitor: Some(&socket), files: &files, ..plan };
        let mut command = plan.command();
        if let Some(stick) = &self.stick {
            let drive = format!("if=none,id=stick,format=raw,file={}", stick.display());
            command.args(["-drive", &drive, "-device", "usb-storage,drive=stick"]);
        }
        self.console = Some(Console::start(command, plan.package()).unwrap());
        self.console()
    }

    /// Plugs in a USB stick, from the next start on: one FAT partition, as sticks are sold, with a folder's files.
    pub fn plug_in_stick(&mut self, files: &Path) {
        const START: u64 = 1 << 20;
        const SIZE: u64 = 256 << 20;
        let stick = self.folder.path().join("stick.img");
        File::create(&stick).unwrap().set_len(START + SIZE).unwrap();
        let mut table = tool("sfdisk", "fdisk");
        table.args(["--quiet", "--label", "dos"]).arg(&stick).stdin(Stdio::piped());
        let mut child = table.spawn().unwrap();
        std::io::Write::write_all(child.stdin.as_mut().unwrap(), b"start=2048, type=c\n").unwrap();
        assert!(child.wait().unwrap().success());
        let partition = format!("{}@@{START}", stick.display());
        let sectors = (SIZE / 512).to_string();
        succeed(tool("mformat", "mtools").args(["-F", "-v", "STICK", "-T", &sectors, "-i", &partition, "::"]));
        let entries = std::fs::read_dir(files).unwrap().map(|entry| entry.unwrap().path());
        succeed(tool("mcopy", "mtools").args(["-s", "-i", &partition]).args(entries).arg("::"));
        self.stick = Some(stick);
    }

    /// Puts a file of this machine on the node, through a pipe into `command`.
    pub fn pipe(&self, file: &Path, command: &str) -> Result<String, String> {
        let output = self.ssh_command().arg(command).stdin(File::open(file).unwrap()).output().unwrap();
        let text = format!("{}{}", String::from_utf8_lossy(&output.stdout), String::from_utf8_lossy(&output.stderr));
        if output.status.success() { Ok(text) } else { Err(format!("{command}: {}\n{text}", output.status)) }
    }

    /// Socket of the emulator's monitor, while it is switched on.
    pub fn monitor(&self) -> PathBuf {
        self.folder.path().join("monitor")
    }

    pub fn console(&mut self) -> &mut Console {
        self.console.as_mut().expect("the node is switched on")
    }

    /// Waits until ssh lets us in.
    pub fn wait_for_ssh(&mut self) {
        let start = Instant::now();
        self.wait_for_login(0);
        while !self.is_up() {
            let console = self.console().text();
            let tail = &console[console.floor_char_boundary(console.len().saturating_sub(4000))..];
            assert!(start.elapsed() < PATIENCE, "no ssh after {PATIENCE:?}; the console said:\n{tail}");
            std::thread::sleep(Duration::from_secs(1));
        }
    }

    /// How often the console asked for a login.
    fn logins(&self) -> usize {
        self.console.as_ref().map_or(0, |console| console.text().matches("login: ").count())
    }

    /// Waits until the console has asked for more logins than that: earlier, ssh refuses them, and each refusal costs a
    /// node that is starting a second or more. Only a hint; a node that shows no prompt is asked by ssh after a while.
    fn wait_for_login(&self, seen: usize) {
        let start = Instant::now();
        while self.logins() <= seen && start.elapsed() < PATIENCE / 4 {
            std::thread::sleep(Duration::from_millis(200));
        }
    }

    fn is_up(&self) -> bool {
        let mut banner = [0; 4];
        let Ok(mut stream) = TcpStream::connect(("127.0.0.1", self.port)) else { return false };
        stream.set_read_timeout(Some(Duration::from_secs(5))).unwrap();
        // QEMU itself accepts; only the guest's sshd says who it is. Before the boot is done, logins are refused.
        stream.read_exact(&mut banner).is_ok() && &banner == b"SSH-" && self.connect()
    }

    fn socket(&self) -> PathBuf {
        self.folder.path().join("ssh")
    }

    /// Makes the connection that commands share from now on.
    fn connect(&self) -> bool {
        self.disconnect();
        // A node that is reset says nothing any more.
        let alive = ["-o", "ServerAliveInterval=15", "-o", "ServerAliveCountMax=8"];
        let mut master = self.ssh_command();
        master.args(alive).args(["-M", "-N"]).stdin(Stdio::null()).stdout(Stdio::null()).stderr(Stdio::null());
        let mut child = master.spawn().unwrap();
        // The socket is there once the node has let us in.
        while !self.socket().exists() {
            if child.try_wait().unwrap().is_some() {
                return false;
            }
            std::thread::sleep(Duration::from_millis(50));
        }
        *self.connection.lock().unwrap() = Some(child);
        true
    }

    /// Ends the shared connection, as it would not survive what comes.
    fn disconnect(&self) {
        if let Some(mut child) = self.connection.lock().unwrap().take() {
            let _ = child.kill();
            let _ = child.wait();
        }
        let _ = std::fs::remove_file(self.socket());
    }

    /// Runs a command on the node: its output, or what it said on its way to failing.
    pub fn ssh(&self, command: &str) -> Result<String, String> {
        let output = self.ssh_command().arg(command).output().unwrap();
        let text = |bytes: &[u8]| String::from_utf8_lossy(bytes).into_owned();
        if output.status.success() {
            Ok(text(&output.stdout).trim_end().to_owned())
        } else {
            Err(format!("{command}: {}\n{}\n{}", output.status, text(&output.stdout), text(&output.stderr)))
        }
    }

    fn ssh_command(&self) -> Command {
        let mut ssh = tool("ssh", "openssh-client");
        ssh.args(["-o", "StrictHostKeyChecking=no", "-o", "UserKnownHostsFile=/dev/null", "-o", "LogLevel=ERROR"])
            .args(["-o", "ConnectTimeout=20", "-o", "BatchMode=yes", "-o", "KexAlgorithms=curve25519-sha256", "-i"])
            .arg(self.folder.path().join("key"))
            // Without a master there, the command connects by itself.
            .arg("-S")
            .arg(self.socket())
            .args(["-p", &self.port.to_string(), "root@127.0.0.1"]);
        ssh
    }

    /// As [`Node::ssh`], of a command that must succeed.
    pub fn run(&self, command: &str) -> String {
        self.ssh(command).unwrap_or_else(|error| panic!("{error}"))
    }

    /// Reboots in good order and waits until it is back.
    pub fn reboot(&mut self) {
        let before = self.run("cat /proc/sys/kernel/random/boot_id");
        self.leave("reboot");
        self.comes_back(&before);
    }

    /// Runs a command that ends this boot.
    pub fn leave(&self, command: &str) {
        let _ = self.ssh(command);
        self.disconnect();
    }

    /// Waits until it is in another boot than the one of that id.
    pub fn comes_back(&self, before: &str) {
        let start = Instant::now();
        self.disconnect();
        self.wait_for_login(self.logins());
        loop {
            std::thread::sleep(Duration::from_secs(1));
            match self.ssh("cat /proc/sys/kernel/random/boot_id") {
                Ok(id) if id != before => {
                    assert!(self.connect(), "no second connection");
                    return;
                }
                _ => assert!(start.elapsed() < PATIENCE, "the node did not come back"),
            }
        }
    }

    pub fn cut_power(&mut self) {
        self.disconnect();
        self.console().cut_power().unwrap();
        self.console = None;
    }

    /// What fruit-init told about this boot.
    pub fn boot_report(&self) -> serde_json::Value {
        serde_json::from_str(&self.run("cat /run/fruit/boot.json")).unwrap()
    }

    pub fn partition(&self, name: &str) -> Partition {
        partition(self.disk(), name)
    }

    /// Changes bytes of the card, which must be switched off.
    pub fn write(&self, offset: u64, bytes: &[u8]) {
        assert!(self.console.is_none(), "the card is in use");
        File::options().write(true).open(self.disk()).unwrap().write_all_at(bytes, offset).unwrap();
    }

    pub fn read(&self, offset: u64, len: usize) -> Vec<u8> {
        let mut bytes = vec![0; len];
        File::open(self.disk()).unwrap().read_exact_at(&mut bytes, offset).unwrap();
        bytes
    }

    /// Copies one partition over another of the same size.
    pub fn copy_partition(&self, from: &str, to: &str) {
        let (from, to) = (self.partition(from), self.partition(to));
        const PIECE: u64 = 1 << 20;
        for at in (0..from.size()).step_by(PIECE as usize) {
            let bytes = self.read(from.start() + at, PIECE.min(from.size() - at) as usize);
            self.write(to.start() + at, &bytes);
        }
    }
}

impl Drop for Node {
    fn drop(&mut self) {
        self.disconnect();
    }
}

/// Emulators end with this program; and this program ends when whoever runs the tests is killed, so that nothing of a
/// test run is left behind.
fn end_with_whoever_started_us() {
    static ONCE: Once = Once::new();
    ONCE.call_once(|| {
        let parent = rustix::process::getppid();
        std::thread::spawn(move || {
            while rustix::process::getppid() == parent {
                std::thread::sleep(Duration::from_millis(500));
            }
            std::process::exit(1);
        });
    });
}

pub fn partition(image: &Path, name: &str) -> Partition {
    let disk = DiskFile::open(image).unwrap();
    let found = gpt::read(&disk).unwrap();
    found.layout.partitions.into_iter().find(|p| p.name == name).unwrap_or_else(|| panic!("no partition {name}"))
}

/// Where the image of a recipe is, for looking into it.
pub fn image(recipe: &str) -> PathBuf {
    image_of(recipe)
}
