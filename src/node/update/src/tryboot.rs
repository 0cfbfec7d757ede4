//! The boot choice on boards whose firmware tries a slot by itself (Raspberry Pi 4 and later).
//!
//! `autoboot.txt` on the firmware partition names the boot partition to start, and the one to start when the firmware is
//! told to try: once, by the argument `0 tryboot` of `reboot(2)`. Nothing but the file and that argument decides, and the
//! firmware counts nothing. So tries are counted here, in the boot-control block: before each restart that is a try one is
//! taken off, as the boot script of U-Boot does before it starts a kernel. A node that comes up in its old slot with tries
//! left tries again at its next restart; without, the release has failed.

use std::fs::{self, OpenOptions};
use std::io;
use std::os::unix::fs::FileExt;
use std::path::{Path, PathBuf};

use fruit_base::{AtPath, PathError};
use fruit_contract::autoboot::{self, NAME};
use fruit_contract::{BootControl, CommandLine, Slot};
use rustix::mount::{MountFlags, UnmountFlags, mount, unmount};

use crate::card::Control;

/// Most bytes of it that are read; the firmware reads one sector (documentation of `autoboot.txt`).
const FILE_MAX: usize = 512;
/// What the firmware says of how it started this system.
const FIRMWARE: &str = "proc/device-tree/chosen/bootloader/partition";
/// What `reboot(2)` is told to make the firmware try.
pub const REBOOT_ARGUMENT: &str = "0 tryboot";
const MOUNT_POINT: &str = "/run/fruit/update/firmware";

/// Whether the firmware chooses the slot. `root`: `/`. A slot on the command line is from a boot script, which chooses
/// then.
pub fn is_used(root: &Path, line: &CommandLine) -> bool {
    line.slot.is_none() && root.join(FIRMWARE).exists()
}

/// The folder of the firmware partition, for a moment.
pub trait Firmware {
    /// # Errors
    /// It can't be mounted, or what `with` returns.
    fn visit(&self, with: &mut dyn FnMut(&Path) -> io::Result<()>) -> io::Result<()>;
}

/// The partition on a node: mounted for as long as it is visited, since a FAT that is mounted for writing when the power
/// goes is a FAT to be repaired.
pub struct FirmwarePartition {
    device: PathBuf,
}

impl FirmwarePartition {
    pub fn new(device: impl Into<PathBuf>) -> FirmwarePartition {
        FirmwarePartition { device: device.into() }
    }
}

impl Firmware for FirmwarePartition {
    fn visit(&self, with: &mut dyn FnMut(&Path) -> io::Result<()>) -> io::Result<()> {
        let point = Path::new(MOUNT_POINT);
        fs::create_dir_all(point)?;
        let flags = MountFlags::NOSUID | MountFlags::NODEV | MountFlags::NOEXEC | MountFlags::SYNCHRONOUS;
        mount(&self.device, point, "vfat", flags, None).at(&self.device)?;
        let result = with(point);
        let unmounted = unmount(point, UnmountFlags::empty()).at(&self.device);
        result.and(unmounted.map_err(io::Error::from))
    }
}

/// What decides on such a board.
pub struct Tryboot {
    running: Slot,
    on_trial: bool,
    /// What is kept besides `autoboot.txt`: the trial, and what failed.
    block: Box<dyn Control>,
    firmware: Box<dyn Firmware>,
}

impl Tryboot {
    /// `running` and `on_trial`: as the firmware started this system.
    pub fn new(running: Slot, on_trial: bool, block: Box<dyn Control>, firmware: Box<dyn Firmware>) -> Tryboot {
        Tryboot { running, on_trial, block, firmware }
    }
}

impl Control for Tryboot {
    fn read(&self) -> io::Result<BootControl> {
        let mut state = self.block.read()?;
        if !self.on_trial {
            // The firmware started it without being told to try: this is the one that autoboot.txt names, also when the
            // power went after a commit had changed the file and before it had changed the block.
            if state.active != self.running {
                state.active = self.running;
                state.trial = state.trial.filter(|trial| trial.slot != self.running);
                state.failed = state.failed.filter(|&failed| failed != self.running);
            }
            if state.trial.is_some_and(|trial| trial.tries_left == 0) {
                state = state.fall_back();
            }
        }
        Ok(state)
    }

    fn write(&self, next: &BootControl) -> io::Result<()> {
        // The file first: it alone decides what boots.
        if self.read()?.active != next.active {
            self.firmware.visit(&mut |folder| set_active(folder, next.active))?;
        }
        self.block.write(next)
    }
}

/// What a restart from `state` is to be: whether the firmware must be told to try, and the state that must be in force
/// before, with one try less. `on_trial`: the system that restarts is itself on trial.
pub fn before_restart(state: &BootControl, on_trial: bool) -> (bool, Option<BootControl>) {
    if on_trial {
        return (false, None);
    }
    let (choice, next) = state.boot();
    (choice.trial, next)
}

/// Makes `autoboot.txt` start `active`. A file of the same length, which is what images have, is written over in place:
/// its content is one sector, which a card writes whole or not at all, and nothing of the file system changes. Otherwise
/// a new file takes its place.
fn set_active(folder: &Path, active: Slot) -> io::Result<()> {
    let path = folder.join(NAME);
    let new = autoboot::text(active);
    let old = match fs::read(&path) {
        Ok(old) => old,
        Err(e) if e.kind() == io::ErrorKind::NotFound => Vec::new(),
        Err(e) => return Err(PathError::new(NAME, e).into()),
    };
    if old == new.as_bytes() {
        return Ok(());
    }
    if old.len() == new.len() && new.len() <= FILE_MAX {
        let file = OpenOptions::new().write(true).open(&path).at(NAME)?;
        file.write_all_at(new.as_bytes(), 0).and_then(|()| file.sync_all()).at(NAME)?;
    } else {
        fruit_base::replace(&path, new.as_bytes()).at(NAME)?;
    }
    if fs::read(&path).at(NAME)? == new.as_bytes() {
        Ok(())
    } else {
        Err(PathError::new(NAME, io::Error::other("what was written is not what is there")).into())
    }
}

#[cfg(test)]
mod tests {
    use std::cell::RefCell;
    use std::rc::Rc;

    use super::*;

    /// A card: the block, and the folder of the firmware partition.
    #[derive(Clone)]
    struct Fake {
        state: Rc<RefCell<BootControl>>,
        folder: Rc<tempfile::TempDir>,
        /// Fails when it is to be written.
        broken: Rc<RefCell<bool>>,
    }

    impl Control for Fake {
        fn read(&self) -> io::Result<BootControl> {
            Ok(*self.state.borrow())
        }
        fn write(&self, next: &BootControl) -> io::Result<()> {
            if *self.broken.borrow() {
                return Err(io::Error::other("the power is gone"));
            }
            *self.state.borrow_mut() = *next;
            Ok(())
        }
    }

    impl Firmware for Fake {
        fn visit(&self, with: &mut dyn FnMut(&Path) -> io::Result<()>) -> io::Result<()> {
            with(self.folder.path())
        }
    }

    /// What the daemon does before it restarts the node.
    fn take_try(control: &Tryboot, on_trial: bool) -> io::Result<bool> {
        let (tries, next) = before_restart(&control.read()?, on_trial);
        next.map_or(Ok(()), |next| control.write(&next))?;
        Ok(tries)
    }

    impl Fake {
        fn new() -> Fake {
            let folder = Rc::new(tempfile::tempdir().unwrap());
            fs::write(folder.path().join(NAME), autoboot::text(Slot::A)).unwrap();
            Fake { state: Rc::default(), folder, broken: Rc::default() }
        }

        fn booted(&self, running: Slot, on_trial: bool) -> Tryboot {
            Tryboot::new(running, on_trial, Box::new(self.clone()), Box::new(self.clone()))
        }

        fn file(&self) -> String {
            fs::read_to_string(self.folder.path().join(NAME)).unwrap()
        }

        /// What the firmware starts: the slot, and whether it is a try.
        fn boot(&self, try_it: bool) -> (Slot, bool) {
            let slot = if self.file() == autoboot::text(Slot::A) { Slot::A } else { Slot::B };
            if try_it { (slot.other(), true) } else { (slot, false) }
        }
    }

    #[test]
    fn the_file_is_that_of_the_image() {
        assert_eq!(autoboot::text(Slot::A).len(), autoboot::text(Slot::B).len());
    }

    #[test]
    fn a_release_that_proves_itself_becomes_the_one_that_boots() {
        let card = Fake::new();
        let old = card.booted(Slot::A, false);
        old.write(&old.read().unwrap().arm(Slot::B, 3).unwrap()).unwrap();
        assert_eq!(card.file(), autoboot::text(Slot::A), "a trial changes nothing of what boots");
        assert!(take_try(&old, false).unwrap());
        let (slot, trial) = card.boot(true);
        let new = card.booted(slot, trial);
        assert_eq!(new.read().unwrap().trial.unwrap().tries_left, 2);
        assert!(!take_try(&new, true).unwrap(), "a restart during the trial is not a try");
        new.write(&new.read().unwrap().commit(Slot::B).unwrap()).unwrap();
        assert_eq!(card.file(), autoboot::text(Slot::B));
        assert_eq!(card.boot(false), (Slot::B, false));
        assert_eq!(card.booted(Slot::B, false).read().unwrap().trial, None);
    }

    #[test]
    fn a_release_that_does_not_come_up_has_failed_when_its_tries_are_used_up() {
        let card = Fake::new();
        let old = card.booted(Slot::A, false);
        old.write(&old.read().unwrap().arm(Slot::B, 2).unwrap()).unwrap();
        for left in [1, 0] {
            assert!(take_try(&card.booted(Slot::A, false), false).unwrap());
            assert_eq!(card.state.borrow().trial.unwrap().tries_left, left);
            // It hangs, the watchdog resets, and the firmware starts what the file names.
        }
        let old = card.booted(Slot::A, false);
        let state = old.read().unwrap();
        assert_eq!((state.trial, state.failed, state.active), (None, Some(Slot::B), Slot::A));
        assert!(!take_try(&old, false).unwrap());
    }

    #[test]
    fn the_power_may_go_between_the_file_and_the_block() {
        let card = Fake::new();
        let old = card.booted(Slot::A, false);
        old.write(&old.read().unwrap().arm(Slot::B, 3).unwrap()).unwrap();
        assert!(take_try(&old, false).unwrap());
        let new = card.booted(Slot::B, true);
        *card.broken.borrow_mut() = true;
        assert!(new.write(&new.read().unwrap().commit(Slot::B).unwrap()).is_err());
        *card.broken.borrow_mut() = false;
        let (slot, trial) = card.boot(false);
        let state = card.booted(slot, trial).read().unwrap();
        assert_eq!((state.active, state.trial, state.failed), (Slot::B, None, None));
    }

    #[test]
    fn a_try_that_cannot_be_counted_is_not_made() {
        let card = Fake::new();
        let old = card.booted(Slot::A, false);
        old.write(&old.read().unwrap().arm(Slot::B, 3).unwrap()).unwrap();
        *card.broken.borrow_mut() = true;
        assert!(take_try(&old, false).is_err());
    }

    #[test]
    fn a_file_of_another_length_or_none_is_replaced() {
        let card = Fake::new();
        let others = || {
            let entries = fs::read_dir(card.folder.path()).unwrap().map(|entry| entry.unwrap().file_name());
            entries.filter(|name| name != NAME).collect::<std::collections::BTreeSet<_>>()
        };
        let before = others();
        for old in [Some("[all]\nboot_partition=2\n"), None] {
            match old {
                Some(text) => fs::write(card.folder.path().join(NAME), text).unwrap(),
                None => fs::remove_file(card.folder.path().join(NAME)).unwrap(),
            }
            set_active(card.folder.path(), Slot::B).unwrap();
            assert_eq!(card.file(), autoboot::text(Slot::B));
            assert_eq!(others(), before, "something is left beside the file");
        }
    }

    #[test]
    fn a_slot_on_the_command_line_is_a_boot_scripts() {
        let root = tempfile::tempdir().unwrap();
        let line = |text: &str| CommandLine::parse(text);
        assert!(!is_used(root.path(), &line("fruit.trial=0")));
        let place = root.path().join(FIRMWARE);
        fs::create_dir_all(place.parent().unwrap()).unwrap();
        fs::write(place, 2u32.to_be_bytes()).unwrap();
        assert!(is_used(root.path(), &line("")));
        assert!(!is_used(root.path(), &line("fruit.slot=a")));
    }
}
