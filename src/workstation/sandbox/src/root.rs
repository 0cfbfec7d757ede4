//! One root file system on the disk.

use std::fs::{self, DirBuilder, File, Permissions, TryLockError};
use std::io::{self, Read, Write};
use std::os::unix::fs::{DirBuilderExt, MetadataExt, PermissionsExt};
use std::path::{Path, PathBuf};
use std::sync::{Mutex, PoisonError};
use std::time::Duration;

use fruit_base::AtPath;

use crate::command::{Command, Ended, Limits};
use crate::error::Error;
use crate::helper::{Data, Helper};
use crate::ids::Ids;
use crate::protocol::{Answer, Disk, HELD, Run, Task, Unpacked};

/// File of a work folder that a root holds locked while it lives.
const LOCK: &str = "lock";
/// How much longer than it may a run takes before the helper itself is thought to hang.
const GRACE: Duration = Duration::from_secs(20);

/// A root file system on the disk. It is locked against other processes; dropping it removes it. Its methods block.
#[derive(Debug)]
pub struct Root {
    ids: Ids,
    dir: PathBuf,
    /// Held for as long as the root lives.
    _lock: File,
    /// What is known of its size; the lock keeps runs apart.
    disk: Mutex<Disk>,
}

impl Root {
    pub(crate) fn make(ids: &Ids, dir: &Path) -> Result<Root, Error> {
        let dir = std::path::absolute(dir).at(dir)?;
        let lock = claim(&dir)?;
        let root = Root { ids: ids.clone(), dir, _lock: lock, disk: Mutex::default() };
        root.clear()?;
        let held = root.held();
        DirBuilder::new().mode(0o777).create(&held).at(&held)?;
        // Whatever the umask is: the ids of the root are none that this user is in a group with.
        fs::set_permissions(&held, Permissions::from_mode(0o777)).at(&held)?;
        root.order(Task::Make)?;
        Ok(root)
    }

    fn held(&self) -> PathBuf {
        self.dir.join(HELD)
    }

    fn order(&self, task: Task) -> Result<Answer, Error> {
        Helper::start(&self.ids, &self.held(), task, Data::None)?.finish()
    }

    /// Fills the root from a tar stream (ustar, pax, GNU). Names are relative, parents that are missing are made, `0755` and
    /// root's. Owners go by number, times are whole seconds, xattrs are `SCHILY.xattr.*`, `security.capability` among them.
    ///
    /// May be given several streams: what comes later replaces what was there, while a folder stays, with new owner and mode,
    /// and so does a link that leads to a folder, as with dpkg. Links are followed within the root only.
    ///
    /// # Errors
    /// An entry that would leave the root or is damaged, by name; no room. The root may have a part of the entries then.
    pub fn unpack(&self, tar: impl Read) -> Result<Unpacked, Error> {
        let mut disk = self.disk.lock().unwrap_or_else(PoisonError::into_inner);
        let mut helper = Helper::start(&self.ids, &self.held(), Task::Unpack, Data::In)?;
        // What was there before a run is not what it has added.
        *disk = Disk::default();
        helper.feed(tar)?;
        match helper.finish()? {
            Answer::Unpacked(unpacked) => Ok(unpacked),
            _ => Err(Error::Lost(String::new())),
        }
    }

    /// Runs a program as the root's uid 0, and hands its output and what it says of errors to `output` as they come, together.
    ///
    /// `/dev`, `/proc`, `/run`, `/sys` and `/tmp` are made anew for each run, and gone after it. No process of the run outlives it.
    ///
    /// # Errors
    /// The program cannot be started. One that fails, or is stopped by a limit, is no error.
    pub fn run(&self, command: &Command, limits: &Limits, output: &mut dyn FnMut(&[u8])) -> Result<Ended, Error> {
        if command.argv.is_empty() {
            return Err(Error::NoProgram);
        }
        if !command.cwd.starts_with('/') || command.cwd.split('/').any(|part| part == "..") {
            return Err(Error::BadPath { what: "the folder to run in", text: command.cwd.clone() });
        }
        let mut disk = self.disk.lock().unwrap_or_else(PoisonError::into_inner);
        let task = Task::Run(Box::new(Run { command: command.clone(), limits: limits.clone(), disk: *disk }));
        let mut helper = Helper::start(&self.ids, &self.held(), task, Data::Out)?;
        let mut handed = |piece: &[u8]| {
            output(piece);
            Ok(())
        };
        helper.drain(Some(limits.time.saturating_add(GRACE)), &mut handed)?;
        match helper.finish()? {
            Answer::Ended(ended, known) => {
                *disk = known;
                Ok(ended)
            }
            _ => Err(Error::Lost(String::new())),
        }
    }

    /// Writes the whole root as a tar stream: depth first, the names of a folder by their bytes, without a leading `/` or `./`, folders with a
    /// `/` at the end; the root itself is `./`. Owners by number, modes, times in seconds; xattrs in pax records. Of hard links the
    /// first name has the content. Sockets are left out. The same tree gives the same bytes.
    ///
    /// # Errors
    /// Those of the file system and of `to`.
    pub fn export(&self, mut to: impl Write) -> Result<(), Error> {
        let mut helper = Helper::start(&self.ids, &self.held(), Task::Export, Data::Out)?;
        helper.drain(None, &mut |piece| to.write_all(piece))?;
        helper.finish()?;
        to.flush().map_err(Error::Write)
    }

    /// Removes it, with the files of ids that are not this user's.
    ///
    /// # Errors
    /// Those of the file system.
    pub fn remove(self) -> Result<(), Error> {
        self.clear()?;
        let lock = self.dir.join(LOCK);
        fs::remove_file(&lock).at(&lock)?;
        // The folder stays where something else was put into it meanwhile.
        let _ = fs::remove_dir(&self.dir);
        Ok(())
    }

    fn clear(&self) -> Result<(), Error> {
        let held = self.held();
        if !exists(&held)? {
            return Ok(());
        }
        self.order(Task::Remove)?;
        fs::remove_dir(&held).at(&held)?;
        Ok(())
    }
}

impl Drop for Root {
    fn drop(&mut self) {
        // Nobody is left to tell; `Sandbox::sweep` finds what stays.
        if self.clear().is_ok() {
            let _ = fs::remove_file(self.dir.join(LOCK));
            let _ = fs::remove_dir(&self.dir);
        }
    }
}

/// Makes or takes over the work folder, and locks it.
fn claim(dir: &Path) -> Result<File, Error> {
    let path = dir.join(LOCK);
    if exists(dir)? {
        let empty = fs::read_dir(dir).at(dir)?.next().is_none();
        let folder = fs::symlink_metadata(dir).at(dir)?;
        let ours = folder.is_dir() && folder.uid() == rustix::process::geteuid().as_raw();
        if !ours || !(empty || exists(&path)?) {
            return Err(Error::NotOurs(dir.to_owned()));
        }
    } else {
        let parent = dir.parent().unwrap_or(dir);
        fs::create_dir_all(parent).at(parent)?;
        DirBuilder::new().mode(0o700).create(dir).at(dir)?;
    }
    // In here are programs with the set-user-id bit and files that any user may write: nobody else gets in.
    fs::set_permissions(dir, Permissions::from_mode(0o700)).at(dir)?;
    let lock = File::options().read(true).write(true).create(true).truncate(false).open(&path).at(&path)?;
    match lock.try_lock() {
        Ok(()) => {}
        Err(TryLockError::WouldBlock) => return Err(Error::InUse(dir.to_owned())),
        Err(TryLockError::Error(error)) => return Err(fruit_base::PathError::new(&path, error).into()),
    }
    // Who had it before us may have removed it while we waited to open it.
    let same =
        |there: fs::Metadata| lock.metadata().is_ok_and(|ours| (ours.dev(), ours.ino()) == (there.dev(), there.ino()));
    if fs::symlink_metadata(&path).is_ok_and(same) { Ok(lock) } else { Err(Error::InUse(dir.to_owned())) }
}

/// Whether something is there, a link that leads nowhere too.
fn exists(path: &Path) -> Result<bool, Error> {
    match fs::symlink_metadata(path) {
        Ok(_) => Ok(true),
        Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(false),
        Err(error) => Err(fruit_base::PathError::new(path, error).into()),
    }
}

/// Removes what roots whose program was killed left in `parent`; what is in use, or is none of ours, stays.
pub fn sweep(ids: &Ids, parent: &Path) -> Result<(), Error> {
    if !exists(parent)? {
        return Ok(());
    }
    for entry in fs::read_dir(parent).at(parent)? {
        let dir = entry.at(parent)?.path();
        let left = exists(&dir.join(LOCK)).unwrap_or(false);
        match if left { claim(&dir) } else { continue } {
            Ok(lock) => Root { ids: ids.clone(), dir, _lock: lock, disk: Mutex::default() }.remove()?,
            Err(Error::InUse(_) | Error::NotOurs(_)) => {}
            Err(error) => return Err(error),
        }
    }
    Ok(())
}
