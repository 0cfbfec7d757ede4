//! `fruitbuild run`: an image in QEMU, as its board file says.

use std::io::IsTerminal;
use std::net::TcpStream;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::time::{Duration, Instant};

use fruit_debian::{Lock, Mirrors, Store};
use fruit_emulate::{Plan, StartFiles};
use fruit_image::disk::DiskFile;
use fruit_image::fat::Volume;
use fruit_image::inspect;
use fruit_image::tree::Content;
use fruit_pipeline::boot_files::{BootPackages, package_file};
use fruit_pipeline::outputs::Names;
use fruit_pipeline::{lock, sources};
use fruit_recipe::{Board, FileOfPackage, Recipe};

use crate::cli;
use crate::failure::{Failure, at};
use crate::progress::Progress;
use crate::verbs::card_config;

/// Cards are at least this large, so that the data partition grows at first boot.
const LEAST_DISK: u64 = 1 << 30;
/// A device tree, loader or kernel larger than this is none.
const MAX_START_FILE: u64 = 64 << 20;
/// How long `--ssh` waits for the guest; an emulated Pi 3 on a busy machine takes minutes.
const PATIENCE: Duration = Duration::from_secs(600);

/// Boots an image in QEMU: `fruitbuild run`.
///
/// # Errors
/// An image or board that QEMU cannot run, or an emulator that is missing or ends with an error.
pub fn run(options: &cli::Run, progress: &Progress) -> Result<(), Failure> {
    let prepared = Prepared::new(options, progress)?;
    let port = match (options.ssh, options.ssh_port) {
        (_, Some(port)) => Some(port),
        _ => Some(fruit_emulate::free_port().map_err(|error| Failure::general(error.to_string()))?),
    };
    let plan = prepared.plan(port);
    if let Some(port) = port {
        progress.say(format!("ssh to the guest: ssh -p {port} root@127.0.0.1"));
    }
    if options.ssh { with_ssh(&plan, options, progress) } else { on_terminal(&plan, progress) }
}

/// Everything that QEMU needs, as files.
pub struct Prepared {
    recipe: Recipe,
    machine: String,
    files: StartFiles,
    disk: PathBuf,
    /// Holds the files and, if it is not to be kept, the disk.
    _folder: tempfile::TempDir,
}

impl Prepared {
    /// # Errors
    /// No image, no such machine of the board, start files that cannot be had.
    pub fn new(options: &cli::Run, progress: &Progress) -> Result<Prepared, Failure> {
        let is_recipe = options.what.extension().is_some_and(|e| e == "yaml" || e == "yml");
        if !is_recipe {
            return Err(Failure::input(format!(
                "{}: give the recipe of the image; with --image another image of it is started",
                options.what.display()
            )));
        }
        let recipe = fruit_recipe::load(&options.what, &fruit_pipeline::search())?;
        let image = options.image.clone().unwrap_or_else(|| Names::new(&recipe, &options.out).img);
        if !image.is_file() {
            let message = format!(
                "{}: there is no such image; make it with: fruitbuild build {}",
                image.display(),
                options.what.display()
            );
            return Err(Failure::input(message));
        }
        let machine = machine_name(&recipe.board, options.machine.as_deref())?;
        let folder = tempfile::tempdir().map_err(|error| Failure::general(error.to_string()))?;
        let disk = options.disk.clone().unwrap_or_else(|| folder.path().join("disk.img"));
        if !disk.exists() {
            fruit_emulate::make_disk(&image, &disk, LEAST_DISK).map_err(|error| Failure::general(error.to_string()))?;
        }
        if let Some(config) = &options.config {
            card_config::put(&disk, card_config::read(config)?)?;
        }
        let files = start_files(&recipe, &machine, &image, folder.path(), options, progress)?;
        Ok(Prepared { recipe, machine, files, disk, _folder: folder })
    }

    pub fn disk(&self) -> &Path {
        &self.disk
    }

    pub fn plan(&self, ssh_port: Option<u16>) -> Plan<'_> {
        let (name, qemu) = self
            .recipe
            .board
            .qemu
            .iter()
            .find(|(name, _)| name.as_str() == self.machine)
            .unwrap_or_else(|| unreachable!("machine_name found it"));
        let architecture = self.recipe.board.architecture.value;
        Plan {
            machine: name.as_str(),
            architecture,
            qemu,
            files: &self.files,
            disk: &self.disk,
            ssh_port,
            monitor: None,
        }
    }
}

fn machine_name(board: &Board, wanted: Option<&str>) -> Result<String, Failure> {
    let names: Vec<&str> = board.qemu.iter().map(|(name, _)| name.as_str()).collect();
    match (wanted, &names[..]) {
        (_, []) => Err(Failure::input(format!("no emulated machine is known for this board ({})", board.description))),
        (None, [first, ..]) => Ok((*first).to_owned()),
        (Some(wanted), names) if names.contains(&wanted) => Ok(wanted.to_owned()),
        (Some(wanted), names) => {
            Err(Failure::input(format!("the board has no emulated machine {wanted}; it has {}", names.join(", "))))
        }
    }
}

fn start_files(
    recipe: &Recipe,
    machine: &str,
    image: &Path,
    folder: &Path,
    options: &cli::Run,
    progress: &Progress,
) -> Result<StartFiles, Failure> {
    let Some(qemu) = recipe.board.qemu.get(machine) else {
        return Ok(StartFiles::default());
    };
    let packages = packages_of(recipe, options, progress)?;
    let write = |name: &str, bytes: &[u8]| -> Result<PathBuf, Failure> {
        let path = folder.join(name);
        std::fs::write(&path, bytes).map_err(at(&path))?;
        Ok(path)
    };
    let from_package = |name: &str, file: &Option<FileOfPackage>| -> Result<Option<PathBuf>, Failure> {
        let Some(file) = file else { return Ok(None) };
        let content: Content = package_file(&packages, file.package.as_str(), &file.file.value)?;
        let bytes = content.to_vec().map_err(|error| Failure::general(error.to_string()))?;
        write(name, &bytes).map(Some)
    };
    let device_tree = match &qemu.device_tree {
        Some(name) => Some(write("board.dtb", &from_boot_partition(image, name.as_str())?)?),
        None => None,
    };
    Ok(StartFiles {
        bios: from_package("bios.bin", &qemu.bios)?,
        kernel: from_package("kernel.bin", &qemu.kernel)?,
        device_tree,
    })
}

fn packages_of(recipe: &Recipe, options: &cli::Run, progress: &Progress) -> Result<BootPackages, Failure> {
    let from = sources::Sources::from(&options.sources);
    let store = Store::open(&sources::cache_folder(&from)?, from.offline)?;
    let mirrors: Mirrors = sources::mirrors(&from, recipe)?;
    let lock = Lock::load(&lock::path(&recipe.path))?;
    store.ensure(&fruit_pipeline::files_only(&lock), &mirrors, &sources::Bars::new(progress))?;
    Ok(fruit_pipeline::boot_packages(&lock, &store, 0)?)
}

/// The file of that name, in whatever folder, of the image's boot-a partition.
fn from_boot_partition(image: &Path, name: &str) -> Result<Vec<u8>, Failure> {
    let fail = |error: &dyn std::fmt::Display| Failure::general(format!("{}: boot-a: {error}", image.display()));
    let disk = DiskFile::open(image).map_err(|error| fail(&error))?;
    let window = inspect::partition(&disk, "boot-a").map_err(|error| fail(&error))?;
    let volume = Volume::open(&window).map_err(|error| fail(&error))?;
    let files = volume.list().map_err(|error| fail(&error))?;
    let found = files.iter().find(|f| !f.is_dir && f.path.rsplit('/').next() == Some(name));
    let file = found.ok_or_else(|| fail(&format!("has no file {name}")))?;
    volume.content(file, MAX_START_FILE).map_err(|error| fail(&error))
}

fn on_terminal(plan: &Plan<'_>, progress: &Progress) -> Result<(), Failure> {
    progress.say(if std::io::stdin().is_terminal() {
        "the console follows; end the machine with `poweroff` in it, or with Ctrl-C"
    } else {
        "the console follows"
    });
    let status = plan.command().status();
    let status = status.map_err(|error| missing(plan, &error))?;
    if status.success() { Ok(()) } else { Err(Failure::general(format!("{} ended with {status}", plan.program()))) }
}

fn missing(plan: &Plan<'_>, error: &std::io::Error) -> Failure {
    Failure::general(format!(
        "cannot start {}: {error}; install it with: fruitbuild setup   (or: apt-get install {})",
        plan.program(),
        plan.package()
    ))
}

fn with_ssh(plan: &Plan<'_>, options: &cli::Run, progress: &Progress) -> Result<(), Failure> {
    let port = plan.ssh_port.unwrap_or_default();
    let mut console = plan.start().map_err(|error| Failure::general(error.to_string()))?;
    progress.say("waiting for ssh");
    let started = Instant::now();
    while !answers_ssh(port) {
        if started.elapsed() > PATIENCE {
            return Err(Failure::general(format!(
                "no ssh after {} s; the console said:\n{}",
                PATIENCE.as_secs(),
                console.text()
            )));
        }
        std::thread::sleep(Duration::from_secs(1));
    }
    let mut ssh = Command::new("ssh");
    // An emulated card has a new host key each time.
    ssh.args(["-o", "StrictHostKeyChecking=no", "-o", "UserKnownHostsFile=/dev/null", "-o", "LogLevel=ERROR"]);
    if let Some(identity) = &options.identity {
        ssh.arg("-i").arg(identity);
    }
    let status = ssh.args(["-p", &port.to_string(), "root@127.0.0.1"]).status();
    let status =
        status.map_err(|error| Failure::general(format!("cannot run ssh: {error} (Debian: openssh-client)")))?;
    console.cut_power().map_err(|error| Failure::general(error.to_string()))?;
    if status.success() { Ok(()) } else { Err(Failure::general(format!("ssh ended with {status}"))) }
}

/// QEMU accepts connections before the guest does; only the guest sends a banner.
fn answers_ssh(port: u16) -> bool {
    use std::io::Read;
    let Ok(mut stream) = TcpStream::connect(("127.0.0.1", port)) else { return false };
    let mut banner = [0; 4];
    stream.set_read_timeout(Some(Duration::from_secs(5))).is_ok()
        && stream.read_exact(&mut banner).is_ok()
        && &banner == b"SSH-"
}
