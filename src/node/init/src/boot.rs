//! The story of a boot, step by step.

use std::fs;
use std::io;
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use fruit_contract::init::{OverlaySize, READ_ONLY_ROOT, RootFormat};
use fruit_contract::report::{BootReport, DataReport};
use fruit_contract::{
    BOOT_REPORT_PATH, CommandLine, Guid, HostFacts, HostName, INIT_CONFIG_PATH, InitConfig, NODE_CONFIG_NAME,
    NodeConfig, Problem, Slot, line_of, read,
};
use fruit_device::disk::{self, Disk};
use rustix::mount::{MountFlags, UnmountFlags, mount, mount_move, unmount};

use crate::board::{Board, slot_of_firmware};
use crate::handover::{c_string, restart_after_failure, switch_root};
use crate::log::{Log, emergency};
use crate::root::{Attributes, NewRoot};
use crate::{apply, data, machine, modules, state, verity};

/// Where things are mounted in the initramfs.
const LOWER: &str = "/ro";
const OVERLAY: &str = "/rw";
const NEW_ROOT: &str = "/new";
const DATA: &str = "/data";
const FIRMWARE: &str = "/firmware";
/// Number of the partition that holds fruit.yaml.
const FIRMWARE_PARTITION: u8 = 1;
/// One byte more than what is read of fruit.yaml, so that a longer one is seen to be too long.
const LONGEST_CONFIG: u64 = (64 << 10) + 1;

/// Whether this slot is on trial, for a panic that knows nothing else.
static ON_TRIAL: AtomicBool = AtomicBool::new(false);

/// Why the node can't boot from this slot: one sentence for the console.
#[derive(Debug, thiserror::Error)]
#[error("{0}")]
pub struct Failure(String);

impl From<String> for Failure {
    fn from(message: String) -> Failure {
        Failure(message)
    }
}

fn failed(what: impl std::fmt::Display) -> impl FnOnce(io::Error) -> Failure {
    move |e| Failure(format!("{what}: {e}"))
}

/// Boots. Never returns: the root's init takes over, or the machine restarts.
pub fn run() -> ! {
    std::panic::set_hook(Box::new(|info| {
        emergency(&format!("this is a bug, restarting: {info}"));
        restart_after_failure(ON_TRIAL.load(Ordering::Relaxed));
    }));
    let mut log = match mount_kernel_file_systems() {
        Ok(()) => Log::open(),
        Err(e) => {
            let mut log = Log::open();
            log.error(&e.to_string());
            log
        }
    };
    let Err(failure) = boot(&mut log);
    let trial = ON_TRIAL.load(Ordering::Relaxed);
    let next = if trial { "restarting, the loader falls back" } else { "restarting in 30 s" };
    log.error(&format!("can't boot: {failure}; {next}"));
    restart_after_failure(trial)
}

fn boot(log: &mut Log) -> Result<std::convert::Infallible, Failure> {
    let line = CommandLine::parse(&fs::read_to_string("/proc/cmdline").map_err(failed("/proc/cmdline"))?);
    log.set_debug(line.debug);
    let slot = choose_slot(&line, log);
    for problem in &line.problems {
        log.warn(format!("kernel command line: {problem}"));
    }
    let config = fs::read(INIT_CONFIG_PATH).map_err(failed(INIT_CONFIG_PATH))?;
    let config = InitConfig::from_json(&config).map_err(|e| format!("{INIT_CONFIG_PATH}: {e}"))?;
    log.info(&format!("{} {} for {}, slot {slot}", config.image.name, config.image.version, config.image.board));
    set_clock(config.image.build_time, log);
    log.step("start");

    let modules_missing = modules::load(&config.modules)?;
    log.debug(|| format!("modules not loaded: {modules_missing:?}"));
    log.step("modules");

    let disk = find_disk(&line, &config, log)?;
    log.step("disk");
    open_root(&disk, slot, &line, &config)?;
    log.step("root");
    lay_overlay(config.overlay.size)?;
    if config.root.apart {
        show_root_apart().unwrap_or_else(|e| log.warn(format!("{READ_ONLY_ROOT}: {e}")));
    }
    let root = NewRoot::open(Path::new(NEW_ROOT)).map_err(failed("the new root"))?;
    log.step("overlay");

    create_folder(DATA)?;
    let data = data::open(&disk, &config.data, Path::new(DATA), log);
    log.step("data");

    let board = Board::detect();
    let (hostname, problems) = apply_settings(&disk, &config, &board, &root, log);
    log.step("settings");

    let persistent = matches!(data, DataReport::Persistent { .. });
    let (machine_id, source) = machine::id(persistent.then_some(Path::new(DATA)), board.serial.as_deref());
    if let Err(e) = root.write("/etc/machine-id", format!("{machine_id}\n").as_bytes(), Attributes::root(0o444)) {
        log.warn(format!("no machine id: {e}"));
    }
    bind_state(&root, &config, persistent, log);
    log.step("state");

    let report = BootReport {
        image: config.image,
        slot,
        trial: ON_TRIAL.load(Ordering::Relaxed),
        disk: disk.device().display().to_string(),
        verity: line.verity.is_some(),
        data,
        hostname: hostname.to_string(),
        machine_id: source,
        serial: board.serial,
        model: board.model,
        config_problems: problems,
        warnings: log.warnings.clone(),
        modules_missing,
        timeline: log.timeline.clone(),
    };
    write_report(&report).unwrap_or_else(|e| log.warn(format!("{BOOT_REPORT_PATH}: {e}")));
    log.info(&format!("{hostname}: starting {}", config.root.init));
    log.hand_over();
    Err(failed(&config.root.init)(switch_root(Path::new(NEW_ROOT), &config.root.init)))
}

fn create_folder(path: &str) -> Result<(), Failure> {
    fs::create_dir_all(path).map_err(failed(path))
}

fn mount_kernel_file_systems() -> Result<(), Failure> {
    let no_exec = MountFlags::NOSUID | MountFlags::NODEV | MountFlags::NOEXEC;
    for (kind, path, flags, options) in [
        (c"proc", "/proc", no_exec, c""),
        (c"sysfs", "/sys", no_exec, c""),
        (c"devtmpfs", "/dev", MountFlags::NOSUID, c"mode=0755"),
        (c"tmpfs", "/run", MountFlags::NOSUID | MountFlags::NODEV, c"mode=0755,size=20%"),
    ] {
        create_folder(path)?;
        match mount(kind, path, kind, flags, options) {
            // Some kernels mount devtmpfs by themselves.
            Ok(()) | Err(rustix::io::Errno::BUSY) => {}
            Err(e) => return Err(Failure(format!("can't mount {path}: {e}"))),
        }
    }
    Ok(())
}

/// The loader says it on the command line; the firmware of a board with tryboot says it in the device tree.
fn choose_slot(line: &CommandLine, log: &mut Log) -> Slot {
    let (slot, trial) = match line.slot {
        Some(slot) => (slot, line.trial),
        None => slot_of_firmware().unwrap_or_else(|| {
            log.warn("neither fruit.slot nor the firmware says which slot this is; taking slot a");
            (Slot::A, line.trial)
        }),
    };
    ON_TRIAL.store(trial, Ordering::Relaxed);
    slot
}

/// Boards without a clock start in 1970, before every certificate and file of the image.
fn set_clock(build_time: u64, log: &mut Log) {
    let now = rustix::time::clock_gettime(rustix::time::ClockId::Realtime);
    let Ok(tv_sec) = i64::try_from(build_time) else { return };
    if now.tv_sec < tv_sec {
        let time = rustix::time::Timespec { tv_sec, tv_nsec: 0 };
        if let Err(e) = rustix::time::clock_settime(rustix::time::ClockId::Realtime, time) {
            log.warn(format!("can't set the clock: {e}"));
        }
    }
}

fn find_disk(line: &CommandLine, config: &InitConfig, log: &mut Log) -> Result<Disk, Failure> {
    let guid = line.disk.unwrap_or_else(|| Guid::of_disk(&config.image.name));
    let mut disk = disk::wait(guid, Duration::from_secs(config.disk_timeout_s.into()))?;
    if disk.table.from_backup {
        log.warn(format!("the partition table of {} is damaged, repairing it from its backup", disk.name));
        data::repair_table(&disk)?;
        data::reread_table(&mut disk)?;
    }
    Ok(disk)
}

/// Mounts the slot's root, checked by dm-verity if the command line has its root hash.
fn open_root(disk: &Disk, slot: Slot, line: &CommandLine, config: &InitConfig) -> Result<(), Failure> {
    let number = disk.number_of(disk.table.disk.partition(slot.root_partition()))?;
    let partition = disk.partition(number)?;
    let device = match &line.verity {
        Some(verity) => {
            let extent = disk.table.extent(number).ok_or_else(|| format!("partition {number} is empty"))?;
            verity::check_fits(verity, extent)?;
            verity::open(verity, &partition.numbers)
                .map_err(failed(format!("dm-verity over {}", partition.device.display())))?
        }
        None => {
            return Err(Failure(
                "no usable fruit.verity on the kernel command line: this root can't be checked".into(),
            ));
        }
    };
    create_folder(LOWER)?;
    let format = config.root.format.name();
    // A journal can't be replayed on a read-only device, and a root that is only read never needs it.
    let options = (config.root.format == RootFormat::Ext4).then_some(c"noload");
    mount(&device, LOWER, format, MountFlags::RDONLY, options)
        .map_err(|e| Failure(format!("can't mount {} of slot {slot} as {format}: {e}", partition.device.display())))
}

/// Options of the overlay's tmpfs. In pages of RAM the kernel rounds by itself.
fn overlay_options(size: OverlaySize) -> String {
    format!("mode=0755,size={size}")
}

fn lay_overlay(size: OverlaySize) -> Result<(), Failure> {
    create_folder(OVERLAY)?;
    let options = c_string(&overlay_options(size)).map_err(failed(OVERLAY))?;
    mount(c"tmpfs", OVERLAY, c"tmpfs", MountFlags::empty(), options.as_c_str())
        .map_err(|e| Failure(format!("can't mount the RAM overlay ({size}): {e}")))?;
    for folder in ["upper", "work"] {
        create_folder(&format!("{OVERLAY}/{folder}"))?;
    }
    // The top folder of the overlay shows the upper's attributes.
    let set = || -> io::Result<()> {
        use std::os::unix::fs::MetadataExt;
        let root = fs::metadata(LOWER)?;
        let upper = format!("{OVERLAY}/upper");
        std::os::unix::fs::chown(&upper, Some(root.uid()), Some(root.gid()))?;
        fs::set_permissions(&upper, root.permissions())
    };
    set().map_err(failed(OVERLAY))?;
    create_folder(NEW_ROOT)?;
    mount(c"overlay", NEW_ROOT, c"overlay", MountFlags::empty(), c"lowerdir=/ro,upperdir=/rw/upper,workdir=/rw/work")
        .map_err(|e| Failure(format!("can't mount the overlay: {e}")))
}

/// Lets the running system see the root below the overlay, which goes on with a mount of its own.
fn show_root_apart() -> io::Result<()> {
    fs::create_dir_all(READ_ONLY_ROOT)?;
    Ok(mount_move(LOWER, READ_ONLY_ROOT)?)
}

/// fruit.yaml of partition 1, empty if there is none. Whatever goes wrong, the node boots with the image's settings.
fn node_file(disk: &Disk, log: &mut Log) -> (Vec<u8>, Option<Problem>) {
    match read_node_file(disk) {
        Ok(Some(bytes)) => (bytes, None),
        Ok(None) => {
            log.info(&format!("no {NODE_CONFIG_NAME} on the firmware partition"));
            (Vec::new(), None)
        }
        Err(e) => {
            let message = format!("can't be read: {e}");
            (Vec::new(), Some(Problem { line: None, column: None, key: String::new(), message }))
        }
    }
}

/// Applies fruit.yaml over what the image says; returns the host name and what was wrong.
fn apply_settings(
    disk: &Disk,
    config: &InitConfig,
    board: &Board,
    root: &NewRoot,
    log: &mut Log,
) -> (HostName, Vec<Problem>) {
    let (file, unreadable) = node_file(disk, log);
    let (node, mistakes) = read(&file);
    let node = node.over(config.node.clone());
    let hostname = hostname(&node, config, board);
    let mut unfit = apply::apply(&node, &hostname, root);
    for problem in &mut unfit {
        problem.line = line_of(&file, problem.key.split(['[', '.']).next().unwrap_or_default());
    }
    let problems: Vec<Problem> = unreadable.into_iter().chain(mistakes).chain(unfit).collect();
    for problem in &problems {
        log.error(&problem.to_string());
    }
    if let Err(e) = rustix::system::sethostname(hostname.as_str().as_bytes()) {
        log.warn(format!("can't set the host name: {e}"));
    }
    (hostname, problems)
}

fn read_node_file(disk: &Disk) -> Result<Option<Vec<u8>>, String> {
    let number = disk.number_of(disk.table.disk.partition(FIRMWARE_PARTITION))?;
    let device = disk.partition(number)?.device;
    fs::create_dir_all(FIRMWARE).map_err(|e| e.to_string())?;
    let flags = MountFlags::RDONLY | MountFlags::NODEV | MountFlags::NOSUID | MountFlags::NOEXEC;
    mount(&device, FIRMWARE, c"vfat", flags, None)
        .map_err(|e| format!("{} can't be mounted: {e}", device.display()))?;
    let result = read_file_in(Path::new(FIRMWARE));
    let _ = unmount(FIRMWARE, UnmountFlags::DETACH);
    result
}

/// The file's first bytes, one more than it may have.
fn read_file_in(folder: &Path) -> Result<Option<Vec<u8>>, String> {
    use std::io::Read;
    let file = match fs::File::open(folder.join(NODE_CONFIG_NAME)) {
        Ok(file) => file,
        Err(e) if e.kind() == io::ErrorKind::NotFound => {
            // What Windows makes of it when it hides endings.
            let hidden = ["fruit.yaml.txt", "fruit.yml"].iter().find(|name| folder.join(name).exists());
            return match hidden {
                Some(name) => Err(format!("the file is called {name}: rename it to {NODE_CONFIG_NAME}")),
                None => Ok(None),
            };
        }
        Err(e) => return Err(e.to_string()),
    };
    let mut bytes = Vec::new();
    file.take(LONGEST_CONFIG).read_to_end(&mut bytes).map_err(|e| e.to_string())?;
    Ok(Some(bytes))
}

fn hostname(node: &NodeConfig, config: &InitConfig, board: &Board) -> HostName {
    let facts = HostFacts { serial: board.serial.clone(), mac: board.mac.clone(), name: config.image.name.clone() };
    node.hostname.clone().unwrap_or_default().expand(&facts)
}

/// Brings the data partition and the state paths into the root.
fn bind_state(root: &NewRoot, config: &InitConfig, persistent: bool, log: &mut Log) {
    let place = root.create_folder(config.data.mount.as_str(), Attributes::root(0o755));
    if !persistent {
        for path in config.state_paths.iter().filter(|path| !root.exists(path.as_str())) {
            if let Err(e) = root.create_folder(path.as_str(), Attributes::root(0o755)) {
                log.warn(format!("state path {path}: {e}"));
            }
        }
        return;
    }
    for path in &config.state_paths {
        if let Err(e) = state::bind(root, Path::new(DATA), path) {
            log.warn(format!("state path {path} is in RAM only: {e}"));
        }
    }
    let moved = place.and_then(|place: PathBuf| rustix::mount::mount_move(DATA, &place).map_err(Into::into));
    if let Err(e) = moved {
        log.warn(format!("the data partition is not at {}: {e}", config.data.mount));
    }
}

fn write_report(report: &BootReport) -> io::Result<()> {
    let path = Path::new(BOOT_REPORT_PATH);
    fs::create_dir_all(path.parent().unwrap_or(Path::new("/run")))?;
    fs::write(path, report.to_json())
}
