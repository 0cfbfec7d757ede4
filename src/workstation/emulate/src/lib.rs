//! Starting an image in QEMU as its board file says.

mod bound;
mod console;
mod error;
mod prepare;

use std::ffi::OsString;
use std::fs::{self, File};
use std::io;
use std::net::TcpListener;
use std::path::{Path, PathBuf};
use std::process::Command;

use fruit_base::AtPath;
use fruit_recipe::{Architecture, Qemu, QemuDisk};

pub use console::{Console, ConsoleError};
pub use error::Error;
pub use prepare::{Options, Prepared};

/// Files that QEMU starts with, written out of their packages.
#[derive(Clone, Debug, Default)]
pub struct StartFiles {
    pub bios: Option<PathBuf>,
    pub kernel: Option<PathBuf>,
    pub device_tree: Option<PathBuf>,
}

/// One emulated machine with one disk.
#[derive(Clone, Debug)]
pub struct Plan<'a> {
    /// QEMU's name of the machine.
    pub machine: &'a str,
    pub architecture: Architecture,
    pub qemu: &'a Qemu,
    pub files: &'a StartFiles,
    /// Raw disk image; changed by the guest.
    pub disk: &'a Path,
    /// Port of this machine's loopback that leads to the guest's port 22.
    pub ssh_port: Option<u16>,
    /// Where QEMU's monitor (QMP) is to listen.
    pub monitor: Option<&'a Path>,
}

impl Plan<'_> {
    /// The QEMU command, with the guest's console on its standard input and output.
    pub fn command(&self) -> Command {
        let mut command = Command::new(self.program());
        command.args(self.arguments());
        command
    }

    /// Starts it with the console under our hands.
    ///
    /// # Errors
    /// QEMU is not installed.
    pub fn start(&self) -> Result<Console, ConsoleError> {
        Console::start(self.command(), self.package())
    }

    pub fn program(&self) -> String {
        format!("qemu-system-{}", self.architecture.qemu())
    }

    /// The Debian package of [`Plan::program`].
    pub fn package(&self) -> &'static str {
        match self.architecture {
            Architecture::Amd64 => "qemu-system-x86",
            Architecture::Arm64 | Architecture::Armhf => "qemu-system-arm",
        }
    }

    fn arguments(&self) -> Vec<OsString> {
        let Plan { qemu, files, .. } = self;
        let mut list: Vec<OsString> = Vec::new();
        let mut add = |words: &[&str]| list.extend(words.iter().map(|word| OsString::from(*word)));
        let machine = qemu.options.iter().fold(self.machine.to_owned(), |all, option| format!("{all},{option}"));
        add(&[
            "-M",
            &machine,
            "-m",
            &format!("{}M", qemu.memory.value.bytes() >> 20),
            "-smp",
            &qemu.smp.get().to_string(),
        ]);
        add(&["-accel", if qemu.single_thread { "tcg,thread=single" } else { "tcg,thread=multi" }]);
        if let Some(cpu) = &qemu.cpu {
            add(&["-cpu", cpu]);
        }
        add(&["-display", "none", "-monitor", "none"]);
        for _ in 0..qemu.console_port.get() {
            add(&["-serial", "null"]);
        }
        add(&["-serial", "stdio"]);
        let forward = self.ssh_port.map_or(String::new(), |port| format!(",hostfwd=tcp:127.0.0.1:{port}-:22"));
        if let Some(device) = &qemu.network {
            add(&["-netdev", &format!("user,id=net0{forward}"), "-device", &format!("{device},netdev=net0")]);
        }
        if let Some(watchdog) = &qemu.watchdog {
            add(&["-device", watchdog]);
        }
        if let Some(socket) = self.monitor {
            add(&["-qmp", &format!("unix:{},server=on,wait=off", escaped(socket))]);
        }
        for argument in &qemu.arguments {
            add(&[argument]);
        }
        let named = [("-bios", &files.bios), ("-kernel", &files.kernel), ("-dtb", &files.device_tree)];
        for (flag, file) in named {
            if let Some(file) = file {
                list.extend([OsString::from(flag), file.into()]);
            }
        }
        list.extend(disk_arguments(qemu.disk.value, self.disk));
        list
    }
}

/// A file name within an option. QEMU's rule is that its commas are doubled.
fn escaped(file: &Path) -> String {
    file.to_string_lossy().replace(',', ",,")
}

fn disk_arguments(kind: QemuDisk, file: &Path) -> Vec<OsString> {
    let drive = |interface: &str| {
        let mut drive = OsString::from("file=");
        drive.push(escaped(file));
        drive.push(format!(",format=raw,cache=unsafe,{interface}"));
        drive
    };
    let device = |name: &str| {
        vec!["-drive".into(), drive("if=none,id=disk0"), "-device".into(), format!("{name},drive=disk0").into()]
    };
    match kind {
        QemuDisk::Sd => vec!["-drive".into(), drive("if=sd")],
        QemuDisk::VirtioMmio => device("virtio-blk-device"),
        QemuDisk::VirtioPci => device("virtio-blk-pci"),
    }
}

/// Copies an image, holes kept, and makes it as large as a card: the next power of two (emulated SD cards accept no
/// other size), at least `least` bytes.
///
/// # Errors
/// File system errors, with the path.
pub fn make_disk(image: &Path, disk: &Path, least: u64) -> io::Result<()> {
    let source = File::open(image).at(image)?;
    let target = File::create(disk).at(disk)?;
    copy_sparse(&source, &target).at(disk)?;
    let size = fs::metadata(image).at(image)?.len().max(least).next_power_of_two();
    Ok(target.set_len(size).at(disk)?)
}

fn copy_sparse(source: &File, target: &File) -> io::Result<()> {
    use rustix::fs::{SeekFrom, copy_file_range, seek};
    let length = source.metadata()?.len();
    target.set_len(length)?;
    let mut at = 0;
    while at < length {
        let Ok(start) = seek(source, SeekFrom::Data(at)) else { break };
        let end = seek(source, SeekFrom::Hole(start))?;
        let (mut from, mut to) = (start, start);
        while from < end {
            let count = usize::try_from(end - from).unwrap_or(usize::MAX).min(1 << 30);
            if copy_file_range(source, Some(&mut from), target, Some(&mut to), count)? == 0 {
                return Err(io::ErrorKind::UnexpectedEof.into());
            }
        }
        at = end;
    }
    Ok(())
}

/// A port of the loopback that nobody uses now.
///
/// # Errors
/// No port is free.
pub fn free_port() -> io::Result<u16> {
    Ok(TcpListener::bind("127.0.0.1:0")?.local_addr()?.port())
}
