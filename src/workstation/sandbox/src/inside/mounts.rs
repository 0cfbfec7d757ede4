//! What a root's programs see of files: the root, and new `/dev`, `/proc`, `/run`, `/sys` and `/tmp`.
//!
//! A root is hostile: its `/proc` may be a link that leads anywhere. So what comes from the workstation is taken as mounts that hang
//! nowhere yet, then the root becomes the only thing there is, and then they are hung into it.

use std::ffi::OsStr;
use std::io;
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::os::unix::ffi::OsStrExt;

use rustix::fs::{
    AtFlags, CWD, FileType, Mode, OFlags, ResolveFlags, fstat, mkdirat, open, openat, openat2, symlinkat,
};
use rustix::io::Errno;
use rustix::mount::{
    FsMountFlags, FsOpenFlags, MountAttrFlags, MountFlags, MountPropagationFlags, MoveMountFlags, OpenTreeFlags,
    UnmountFlags, fsconfig_create, fsconfig_set_string, fsmount, fsopen, mount_change, mount_remount, move_mount,
    open_tree, unmount,
};

use crate::protocol::{During, Failure, Outcome, ROOT, Step};

/// A folder, as a place only.
const FOLDER: OFlags = OFlags::PATH.union(OFlags::DIRECTORY).union(OFlags::NOFOLLOW).union(OFlags::CLOEXEC);

/// Devices that a root has, with their numbers (Documentation/admin-guide/devices.txt).
const DEVICES: [(&str, (u32, u32)); 6] =
    [("full", (1, 7)), ("null", (1, 3)), ("random", (1, 8)), ("tty", (5, 0)), ("urandom", (1, 9)), ("zero", (1, 5))];

/// Links in `/dev`, as `systemd` and `udev` make them.
const LINKS: [(&str, &str); 5] = [
    ("fd", "/proc/self/fd"),
    ("ptmx", "pts/ptmx"),
    ("stdin", "/proc/self/fd/0"),
    ("stdout", "/proc/self/fd/1"),
    ("stderr", "/proc/self/fd/2"),
];

/// Parts of `/proc` that settings of the kernel are in: for reading only.
const READ_ONLY: [&str; 5] = ["bus", "fs", "irq", "sys", "sysrq-trigger"];
/// Parts of it that tell of the workstation: what would be read is empty.
const HIDDEN: [&str; 8] =
    ["kallsyms", "kcore", "key-users", "keys", "latency_stats", "sched_debug", "timer_list", "timer_stats"];

const PLAIN: MountAttrFlags = MountAttrFlags::MOUNT_ATTR_NOSUID.union(MountAttrFlags::MOUNT_ATTR_NODEV);

/// Nothing that is mounted from here on shows outside, or the other way round.
pub fn keep_to_ourselves() -> Outcome<()> {
    mount_change("/", MountPropagationFlags::PRIVATE | MountPropagationFlags::REC)
        .during(Step::Mounts, "parting the mounts from those of the workstation")
}

/// The folder that roots are held in.
pub fn folder(held: &[u8]) -> Outcome<OwnedFd> {
    let held = OsStr::from_bytes(held);
    open(held, FOLDER, Mode::empty()).during(Step::Mounts, &format!("opening {}", held.display()))
}

pub fn make_root(held: &OwnedFd) -> Outcome<()> {
    mkdirat(held, ROOT, Mode::from_raw_mode(0o755)).during(Step::Tree, "making the root's folder")?;
    // Whatever the umask is.
    rustix::fs::chmodat(held, ROOT, Mode::from_raw_mode(0o755), AtFlags::empty())
        .during(Step::Tree, "setting the mode of the root's folder")
}

/// The root becomes all that there is.
pub fn only_the_root(held: &OwnedFd) -> Outcome<()> {
    let place = openat(held, ROOT, FOLDER, Mode::empty()).during(Step::Mounts, "opening the root's folder")?;
    let tree = copy(&place, "").during(Step::Mounts, "taking the root as a mount")?;
    enter(tree, place.as_fd())
}

/// As [`only_the_root`], with all that programs expect to be there. `memory` bounds what is written into memory, in bytes.
pub fn the_root_with_all(held: &OwnedFd, memory: u64) -> Outcome<()> {
    let devices = devices()?;
    let proc = proc()?;
    only_the_root(held)?;
    furnish(devices, proc, memory)
}

/// For a trial: an empty root in memory instead of one on the disk.
pub fn nothing_but_new() -> Outcome<()> {
    let devices = devices()?;
    let proc = proc()?;
    let place = open("/", FOLDER, Mode::empty()).during(Step::Mounts, "opening /")?;
    enter(memory("755", 1 << 20, PLAIN)?, place.as_fd())?;
    furnish(devices, proc, 4 << 20)
}

/// Hangs `tree` at `place`, and makes it the root of this process and its children.
fn enter(tree: OwnedFd, place: BorrowedFd<'_>) -> Outcome<()> {
    move_mount(&tree, "", place, "", MoveMountFlags::MOVE_MOUNT_F_EMPTY_PATH | MoveMountFlags::MOVE_MOUNT_T_EMPTY_PATH)
        .during(Step::Mounts, "mounting the root")?;
    let old = open("/", FOLDER, Mode::empty()).during(Step::Mounts, "opening /")?;
    let pivot = || -> rustix::io::Result<()> {
        rustix::process::fchdir(&tree)?;
        // Both at one place: the old root lies on the new one, from where it is taken away.
        rustix::process::pivot_root(".", ".")?;
        rustix::process::fchdir(&old)?;
        unmount(".", UnmountFlags::DETACH)?;
        rustix::process::chdir("/")
    };
    pivot().during(Step::Mounts, "making the root the only thing there is")?;
    // The flags that the file system underneath is mounted with must stay.
    let kept = rustix::fs::statvfs("/").during(Step::Mounts, "reading the flags of /")?.f_flag;
    let mut flags = MountFlags::BIND | MountFlags::NODEV;
    for (bit, flag) in [
        (rustix::fs::StatVfsMountFlags::NOSUID, MountFlags::NOSUID),
        (rustix::fs::StatVfsMountFlags::NOATIME, MountFlags::NOATIME),
        (rustix::fs::StatVfsMountFlags::NODIRATIME, MountFlags::NODIRATIME),
        (rustix::fs::StatVfsMountFlags::RELATIME, MountFlags::RELATIME),
    ] {
        if kept.contains(bit) {
            flags |= flag;
        }
    }
    if kept.contains(rustix::fs::StatVfsMountFlags::NOEXEC) {
        return Err(Failure::new(
            Step::Mounts,
            "the work folder",
            "its file system is mounted `noexec`; name a folder on another one (FRUITBUILD_CACHE)",
        ));
    }
    mount_remount("/", flags, c"").during(Step::Mounts, "forbidding devices in the root")
}

/// A copy of what is mounted at a place, which hangs nowhere.
fn copy(place: impl AsFd, path: &str) -> rustix::io::Result<OwnedFd> {
    let flags = OpenTreeFlags::OPEN_TREE_CLONE | OpenTreeFlags::OPEN_TREE_CLOEXEC | OpenTreeFlags::AT_EMPTY_PATH;
    open_tree(place, path, flags)
}

/// The workstation's devices; they cannot be made without root.
fn devices() -> Outcome<Vec<(&'static str, OwnedFd)>> {
    let take = |(name, numbers): (&'static str, (u32, u32))| {
        let path = format!("/dev/{name}");
        let device = copy(CWD, &path).during(Step::Mounts, &path)?;
        let found = fstat(&device).during(Step::Mounts, &path)?;
        let is = (rustix::fs::major(found.st_rdev), rustix::fs::minor(found.st_rdev));
        if FileType::from_raw_mode(found.st_mode) != FileType::CharacterDevice || is != numbers {
            return Err(Failure::new(Step::Mounts, path, "is not the device of this name"));
        }
        Ok((name, device))
    };
    DEVICES.into_iter().map(take).collect()
}

/// A `/proc` of this process namespace. The kernel allows it only while the old one can be seen.
fn proc() -> Outcome<OwnedFd> {
    let make = || -> rustix::io::Result<OwnedFd> {
        let context = fsopen("proc", FsOpenFlags::FSOPEN_CLOEXEC)?;
        fsconfig_create(&context)?;
        fsmount(&context, FsMountFlags::FSMOUNT_CLOEXEC, PLAIN | MountAttrFlags::MOUNT_ATTR_NOEXEC)
    };
    make().during(Step::Proc, "mounting /proc")
}

/// A file system in memory of at most `size` bytes, and a file for each 4 KiB.
fn memory(mode: &str, size: u64, flags: MountAttrFlags) -> Outcome<OwnedFd> {
    let make = || -> rustix::io::Result<OwnedFd> {
        let context = fsopen("tmpfs", FsOpenFlags::FSOPEN_CLOEXEC)?;
        for (key, value) in
            [("mode", mode), ("size", &size.to_string()), ("nr_inodes", &(size / 4096 + 16).to_string())]
        {
            fsconfig_set_string(context.as_fd(), key, value)?;
        }
        fsconfig_create(&context)?;
        fsmount(&context, FsMountFlags::FSMOUNT_CLOEXEC, flags)
    };
    make().during(Step::Mounts, "making a file system in memory")
}

fn terminals() -> Outcome<OwnedFd> {
    let make = || -> rustix::io::Result<OwnedFd> {
        let context = fsopen("devpts", FsOpenFlags::FSOPEN_CLOEXEC)?;
        // Group 5 is `tty` on Debian.
        for (key, value) in [("mode", "620"), ("ptmxmode", "666"), ("gid", "5"), ("max", "64")] {
            fsconfig_set_string(context.as_fd(), key, value)?;
        }
        fsconfig_create(&context)?;
        fsmount(
            &context,
            FsMountFlags::FSMOUNT_CLOEXEC,
            MountAttrFlags::MOUNT_ATTR_NOSUID | MountAttrFlags::MOUNT_ATTR_NOEXEC,
        )
    };
    make().during(Step::Mounts, "making /dev/pts")
}

fn furnish(devices: Vec<(&str, OwnedFd)>, proc: OwnedFd, most: u64) -> Outcome<()> {
    hang(proc, "proc")?;
    let null = devices.iter().find(|(name, _)| *name == "null");
    for name in HIDDEN {
        let Some((_, null)) = null else { continue };
        let nothing = copy(null, "").during(Step::Mounts, "/dev/null")?;
        over(nothing, &format!("/proc/{name}"))?;
    }
    for name in READ_ONLY {
        let path = format!("/proc/{name}");
        match copy(CWD, &path) {
            Err(Errno::NOENT) => continue,
            copied => over(copied.during(Step::Mounts, &path)?, &path)?,
        }
        let flags = MountFlags::BIND | MountFlags::RDONLY | MountFlags::NOSUID | MountFlags::NODEV | MountFlags::NOEXEC;
        mount_remount(&*path, flags, c"").during(Step::Mounts, &path)?;
    }
    hang(memory("555", 4096, PLAIN | MountAttrFlags::MOUNT_ATTR_RDONLY)?, "sys")?;
    hang(memory("755", most / 4, PLAIN)?, "run")?;
    make_folder("/run/lock", 0o1777)?;
    hang(memory("1777", most / 4, PLAIN)?, "tmp")?;
    // Not sticky: in a folder with that bit and of another owner, opening a device to write is refused (protected_regular).
    hang(memory("755", 1 << 20, MountAttrFlags::MOUNT_ATTR_NOSUID | MountAttrFlags::MOUNT_ATTR_NOEXEC)?, "dev")?;
    for (name, device) in devices {
        let path = format!("/dev/{name}");
        let create = OFlags::CREATE | OFlags::EXCL | OFlags::WRONLY | OFlags::CLOEXEC;
        drop(open(&*path, create, Mode::from_raw_mode(0o666)).during(Step::Mounts, &path)?);
        over(device, &path)?;
    }
    for (name, target) in LINKS {
        symlinkat(target, CWD, format!("/dev/{name}")).during(Step::Mounts, name)?;
    }
    make_folder("/dev/pts", 0o755)?;
    over(terminals()?, "/dev/pts")?;
    make_folder("/dev/shm", 0o1777)?;
    over(memory("1777", most / 4, PLAIN)?, "/dev/shm")
}

/// Makes a folder in a file system of ours.
fn make_folder(path: &str, mode: u32) -> Outcome<()> {
    mkdirat(CWD, path, Mode::from_raw_mode(mode)).during(Step::Mounts, path)?;
    rustix::fs::chmodat(CWD, path, Mode::from_raw_mode(mode), AtFlags::empty()).during(Step::Mounts, path)
}

/// Hangs a mount at a folder of the root, which is made when it is missing and must not be a link.
fn hang(mount: OwnedFd, name: &str) -> Outcome<()> {
    let root = open("/", FOLDER, Mode::empty()).during(Step::Mounts, "/")?;
    let find = || openat2(&root, name, FOLDER, Mode::empty(), ResolveFlags::BENEATH | ResolveFlags::NO_SYMLINKS);
    let place = match find() {
        Err(Errno::NOENT) => mkdirat(&root, name, Mode::from_raw_mode(0o755)).and_then(|()| find()),
        found => found,
    };
    let place = place.map_err(|error| {
        let why = format!("must be a folder of the root, where something is mounted: {}", io::Error::from(error));
        Failure { number: Some(error.raw_os_error()), ..Failure::new(Step::Mounts, format!("/{name}"), why) }
    })?;
    let flags = MoveMountFlags::MOVE_MOUNT_F_EMPTY_PATH | MoveMountFlags::MOVE_MOUNT_T_EMPTY_PATH;
    move_mount(&mount, "", &place, "", flags).during(Step::Mounts, name)
}

/// Lays a mount over something in a file system of ours; where there is nothing, there is nothing to do.
fn over(mount: OwnedFd, path: &str) -> Outcome<()> {
    match move_mount(&mount, "", CWD, path, MoveMountFlags::MOVE_MOUNT_F_EMPTY_PATH) {
        Err(Errno::NOENT) | Ok(()) => Ok(()),
        Err(error) => Err(error).during(Step::Mounts, path),
    }
}
