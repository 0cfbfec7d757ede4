//! A small root of a static busybox, and what the tests ask of it.

use std::path::{Path, PathBuf};
use std::process::Command as Program;
use std::sync::OnceLock;
use std::time::Duration;

use fruit_sandbox::{Command, Ended, Limits, Root, Sandbox};
use tar::{Builder, EntryType, Header};
use tempfile::TempDir;

/// A root in a folder of its own, which goes with it.
pub struct Fixture {
    pub root: Root,
    pub folder: TempDir,
}

pub fn sandbox() -> &'static Sandbox {
    static SANDBOX: OnceLock<Sandbox> = OnceLock::new();
    SANDBOX.get_or_init(|| Sandbox::probe().unwrap_or_else(|reason| panic!("{reason}")))
}

impl Fixture {
    /// An empty root.
    pub fn empty() -> Fixture {
        let folder = tempfile::tempdir().unwrap();
        let root = sandbox().root(&folder.path().join("work")).unwrap_or_else(|error| panic!("{error}"));
        Fixture { root, folder }
    }

    /// A root with busybox in it.
    pub fn new() -> Fixture {
        let fixture = Fixture::empty();
        fixture.root.unpack(busybox()).unwrap_or_else(|error| panic!("{error}"));
        fixture
    }

    /// Runs a script of the shell.
    pub fn sh(&self, script: &str, limits: &Limits) -> (Ended, String) {
        let argv = ["/bin/sh", "-c", script].map(str::to_owned).to_vec();
        self.run(
            &Command { argv, env: vec![("PATH".into(), "/bin".into())], cwd: "/".into(), stdin: Vec::new() },
            limits,
        )
    }

    pub fn run(&self, command: &Command, limits: &Limits) -> (Ended, String) {
        let mut output = Vec::new();
        let ended = self.root.run(command, limits, &mut |piece| output.extend_from_slice(piece));
        (ended.unwrap_or_else(|error| panic!("{error}")), String::from_utf8_lossy(&output).into_owned())
    }

    /// What a script prints; it must end well.
    pub fn says(&self, script: &str) -> String {
        let (ended, output) = self.sh(script, &limits());
        assert!(ended.well(), "{script}: {}: {output}", ended.cause);
        output
    }

    /// The tree as lines: kind, mode, owner, size, name, target.
    pub fn tree(&self) -> Vec<String> {
        listed(&self.exported())
    }

    pub fn exported(&self) -> Vec<u8> {
        let mut tar = Vec::new();
        self.root.export(&mut tar).unwrap_or_else(|error| panic!("{error}"));
        tar
    }
}

/// For scripts that end soon.
pub fn limits() -> Limits {
    Limits { time: Duration::from_secs(20), memory: 512 << 20, processes: 200, ..Limits::default() }
}

pub fn listed(tar: &[u8]) -> Vec<String> {
    let mut archive = tar::Archive::new(tar);
    let line = |mut entry: tar::Entry<'_, &[u8]>| {
        let (path, target) =
            (entry.path_bytes().into_owned(), entry.link_name_bytes().map(|target| target.into_owned()));
        let mut more = String::new();
        for record in entry.pax_extensions().unwrap().into_iter().flatten() {
            let record = record.unwrap();
            more += &format!(" {}={:02x?}", record.key().unwrap(), record.value_bytes());
        }
        let header = entry.header();
        format!(
            "{} {:o} {}:{} {} {}{}{more}",
            header.entry_type().as_byte() as char,
            header.mode().unwrap(),
            header.uid().unwrap(),
            header.gid().unwrap(),
            header.size().unwrap(),
            String::from_utf8_lossy(&path),
            target.map(|target| format!(" -> {}", String::from_utf8_lossy(&target))).unwrap_or_default(),
        )
    };
    archive.entries().unwrap().map(|entry| line(entry.unwrap())).collect()
}

/// A header of an entry.
pub fn header(kind: EntryType, mode: u32, uid: u64, size: u64) -> Header {
    let mut header = Header::new_ustar();
    header.set_entry_type(kind);
    header.set_mode(mode);
    header.set_uid(uid);
    header.set_gid(uid);
    header.set_size(size);
    header.set_mtime(1_700_000_000);
    header
}

/// An archive with one entry, whose name and target may be what a polite archiver would never write.
pub fn entry(kind: EntryType, name: &str, target: &str, content: &[u8]) -> Vec<u8> {
    let mut header = header(kind, 0o644, 0, content.len() as u64);
    header.as_old_mut().name[..name.len()].copy_from_slice(name.as_bytes());
    header.as_old_mut().linkname[..target.len()].copy_from_slice(target.as_bytes());
    header.set_cksum();
    let mut tar = header.as_bytes().to_vec();
    tar.extend_from_slice(content);
    tar.resize(tar.len().next_multiple_of(512), 0);
    tar
}

/// Folders, busybox with a link for each applet, and the program that attacks.
pub fn busybox() -> &'static [u8] {
    static TAR: OnceLock<Vec<u8>> = OnceLock::new();
    TAR.get_or_init(|| {
        let busybox = tool("busybox", "busybox-static");
        let program = std::fs::read(&busybox).unwrap();
        assert!(
            !has_interpreter(&program),
            "{} is not static; install the Debian package busybox-static",
            busybox.display()
        );
        let mut tar = Builder::new(Vec::new());
        for folder in ["bin", "dev", "etc", "proc", "root", "run", "sys", "tmp", "var"] {
            tar.append_data(&mut header(EntryType::Directory, 0o755, 0, 0), format!("{folder}/"), &[][..]).unwrap();
        }
        let mut add = |name: &str, mode: u32, content: &[u8]| {
            tar.append_data(&mut header(EntryType::Regular, mode, 0, content.len() as u64), name, content).unwrap();
        };
        add("bin/busybox", 0o755, &program);
        add("marker", 0o644, b"the root\n");
        let attack = attack();
        add("bin/attack", 0o755, &attack);
        add("bin/setuid", 0o4755, &attack);
        add("etc/passwd", 0o644, b"root:x:0:0::/root:/bin/sh\nnobody:x:65534:65534::/:/bin/sh\n");
        let applets = Program::new(&busybox).arg("--list").output().unwrap();
        for applet in String::from_utf8(applets.stdout).unwrap().lines().filter(|name| *name != "busybox") {
            tar.append_link(&mut header(EntryType::Symlink, 0o777, 0, 0), format!("bin/{applet}"), "busybox").unwrap();
        }
        tar.into_inner().unwrap()
    })
}

/// Whether an ELF program of 64 bits asks for a dynamic linker (`PT_INTERP`).
fn has_interpreter(elf: &[u8]) -> bool {
    let number =
        |at: usize, size: usize| elf[at..at + size].iter().rev().fold(0_usize, |sum, byte| sum << 8 | *byte as usize);
    let (table, each, count) = (number(32, 8), number(54, 2), number(56, 2));
    (0..count).any(|index| number(table + index * each, 4) == 3)
}

fn attack() -> Vec<u8> {
    let folder = tempfile::tempdir().unwrap();
    let program = folder.path().join("attack");
    let source = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/hostile/attack.c");
    let done = Program::new(tool("cc", "gcc libc6-dev"))
        .args(["-static", "-O1", "-w", "-o"])
        .arg(&program)
        .arg(source)
        .output();
    let done = done.unwrap();
    assert!(done.status.success(), "{}", String::from_utf8_lossy(&done.stderr));
    std::fs::read(program).unwrap()
}

/// A program of the machine; its Debian package is named when it is missing.
pub fn tool(program: &str, package: &str) -> PathBuf {
    let folders = ["/usr/bin", "/bin", "/usr/sbin", "/sbin"].map(Path::new).map(|folder| folder.join(program));
    let found = folders.into_iter().find(|path| path.is_file());
    found.unwrap_or_else(|| {
        panic!("{program} is missing; install the Debian package {package} (or run: fruitbuild setup --tests)")
    })
}

/// Processes of this machine that have `word` in their command line.
pub fn processes_with(word: &str) -> usize {
    let own = std::process::id().to_string();
    let entries = std::fs::read_dir("/proc").unwrap().flatten().filter(|entry| entry.file_name() != *own);
    let lines = entries.filter_map(|entry| std::fs::read(entry.path().join("cmdline")).ok());
    lines.filter(|line| line.windows(word.len()).any(|part| part == word.as_bytes())).count()
}
