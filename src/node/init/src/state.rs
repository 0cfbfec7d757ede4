//! State paths: folders and files of the root that live on the data partition, seeded from the image the first time.

use std::ffi::OsStr;
use std::fs::{self, File, Permissions};
use std::io;
use std::os::unix::fs::{FileTypeExt, MetadataExt, PermissionsExt, lchown, symlink};
use std::path::{Path, PathBuf};

use fruit_base::{AtPath, PathError};
use fruit_contract::init::StatePath;
use rustix::fs::{AtFlags, CWD, FileType, Mode, XattrFlags, mknodat};
use rustix::mount::mount_bind;

use crate::root::{Attributes, NewRoot};

/// Folder of the data partition that holds the state paths.
const STATE_FOLDER: &str = "state";

/// Binds `path` from the data partition, which is mounted at `data`, into the root.
///
/// # Errors
/// Those of copying and mounting; the path then is as the image has it, in RAM.
pub fn bind(root: &NewRoot, data: &Path, path: &StatePath) -> io::Result<()> {
    let stored = seed(root, data, path)?;
    let target = match root.resolve(path.as_str()) {
        Ok(target) => target,
        Err(_) if stored.is_dir() => root.create_folder(path.as_str(), Attributes::root(0o755))?,
        Err(_) => {
            root.write(path.as_str(), b"", Attributes::root(0o600))?;
            root.resolve(path.as_str())?
        }
    };
    if target.is_dir() != stored.is_dir() {
        let message = format!("{} is a folder in one place and a file in the other", path);
        return Err(io::Error::other(message));
    }
    Ok(mount_bind(&stored, &target).at(&target)?)
}

/// The path's place on the data partition; if it is not there yet, filled with what the image has, with owners, modes
/// and extended attributes. A power cut leaves it whole or absent.
///
/// # Errors
/// Those of copying.
pub fn seed(root: &NewRoot, data: &Path, path: &StatePath) -> io::Result<PathBuf> {
    let stored = data.join(STATE_FOLDER).join(path.as_str().trim_start_matches('/'));
    match fs::symlink_metadata(&stored) {
        Ok(meta) if meta.is_dir() || meta.is_file() => return Ok(stored),
        Ok(_) => return Err(PathError::new(&stored, io::Error::other("neither a folder nor a file")).into()),
        Err(e) if e.kind() == io::ErrorKind::NotFound => {}
        Err(e) => return Err(PathError::new(&stored, e).into()),
    }
    create_parents(root, data, path.as_str())?;
    // In the same file system, so that the last step is a rename; on the top, where no state path can be.
    let unfinished = data.join(STATE_FOLDER).join(".unfinished");
    remove(&unfinished)?;
    match root.resolve(path.as_str()) {
        Ok(original) => copy(&original, &unfinished)?,
        Err(_) => fs::create_dir(&unfinished).at(&unfinished)?,
    }
    rustix::fs::syncfs(File::open(data)?)?;
    fs::rename(&unfinished, &stored).at(&stored)?;
    Ok(stored)
}

/// The folders above the path, with owner and mode of those in the image: `/var/lib/private` must not become readable.
fn create_parents(root: &NewRoot, data: &Path, path: &str) -> io::Result<()> {
    let mut stored = data.join(STATE_FOLDER);
    make_folder(&stored, None)?;
    let mut original = String::new();
    let parts: Vec<&str> = path.trim_start_matches('/').split('/').collect();
    for part in &parts[..parts.len() - 1] {
        stored.push(part);
        original = format!("{original}/{part}");
        make_folder(&stored, root.resolve(&original).ok().as_deref())?;
    }
    Ok(())
}

fn make_folder(folder: &Path, like: Option<&Path>) -> io::Result<()> {
    match fs::create_dir(folder) {
        Err(e) if e.kind() == io::ErrorKind::AlreadyExists => return Ok(()),
        other => other.at(folder)?,
    }
    match like.and_then(|path| fs::metadata(path).ok()) {
        Some(meta) => copy_attributes(&meta, folder),
        None => fs::set_permissions(folder, Permissions::from_mode(0o755)),
    }
}

fn remove(path: &Path) -> io::Result<()> {
    let result = match fs::symlink_metadata(path) {
        Ok(meta) if meta.is_dir() => fs::remove_dir_all(path),
        Ok(_) => fs::remove_file(path),
        Err(_) => Ok(()),
    };
    Ok(result.at(path)?)
}

/// Copies a file or a folder with all that is in it. Hard links become separate files: state is small, and links between
/// state paths could not be kept anyway.
fn copy(from: &Path, to: &Path) -> io::Result<()> {
    let meta = fs::symlink_metadata(from).at(from)?;
    let kind = meta.file_type();
    let made = if kind.is_dir() {
        fs::create_dir(to)
    } else if kind.is_file() {
        fs::copy(from, to).map(drop)
    } else if kind.is_symlink() {
        fs::read_link(from).and_then(|target| symlink(target, to))
    } else {
        let node = if kind.is_fifo() {
            FileType::Fifo
        } else if kind.is_socket() {
            FileType::Socket
        } else if kind.is_char_device() {
            FileType::CharacterDevice
        } else {
            FileType::BlockDevice
        };
        mknodat(CWD, to, node, Mode::from_raw_mode(0o600), meta.rdev()).map_err(Into::into)
    };
    made.at(to)?;
    if kind.is_dir() {
        for entry in fs::read_dir(from).at(from)? {
            let name = entry.at(from)?.file_name();
            copy(&from.join(&name), &to.join(&name))?;
        }
    }
    copy_attributes(&meta, to)?;
    if kind.is_file() || kind.is_dir() {
        copy_xattrs(from, to)?;
    }
    // Last, since all of the above change it.
    let times = [(meta.atime(), meta.atime_nsec()), (meta.mtime(), meta.mtime_nsec())];
    let [last_access, last_modification] =
        times.map(|(tv_sec, tv_nsec)| rustix::fs::Timespec { tv_sec, tv_nsec: tv_nsec as _ });
    let times = rustix::fs::Timestamps { last_access, last_modification };
    Ok(rustix::fs::utimensat(CWD, to, &times, AtFlags::SYMLINK_NOFOLLOW).at(to)?)
}

fn copy_attributes(meta: &fs::Metadata, to: &Path) -> io::Result<()> {
    lchown(to, Some(meta.uid()), Some(meta.gid())).at(to)?;
    if meta.file_type().is_symlink() {
        return Ok(());
    }
    // After the owner, whose change clears set-id bits.
    Ok(fs::set_permissions(to, Permissions::from_mode(meta.mode() & 0o7777)).at(to)?)
}

/// Capabilities, ACLs and what else there is; the kernel's own (`trusted.overlay.*` of the RAM overlay) stay behind.
fn copy_xattrs(from: &Path, to: &Path) -> io::Result<()> {
    let mut names = vec![0u8; 64 << 10];
    let length = match rustix::fs::listxattr(from, &mut names) {
        Ok(length) => length,
        Err(rustix::io::Errno::NOTSUP) => return Ok(()),
        Err(e) => return Err(PathError::new(from, e).into()),
    };
    let mut value = vec![0u8; 64 << 10];
    for name in names[..length].split(|&b| b == 0).filter(|n| !n.is_empty() && !n.starts_with(b"trusted.")) {
        let name = <OsStr as std::os::unix::ffi::OsStrExt>::from_bytes(name);
        let length = rustix::fs::getxattr(from, name, &mut value).at(from)?;
        rustix::fs::setxattr(to, name, &value[..length], XattrFlags::empty()).at(to)?;
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    struct Card {
        root: tempfile::TempDir,
        data: tempfile::TempDir,
    }

    impl Card {
        fn new() -> Card {
            Card { root: tempfile::tempdir().unwrap(), data: tempfile::tempdir().unwrap() }
        }

        fn seed(&self, path: &str) -> io::Result<PathBuf> {
            seed(&NewRoot::open(self.root.path()).unwrap(), self.data.path(), &path.parse().unwrap())
        }
    }

    #[test]
    fn a_state_path_starts_with_what_the_image_has() {
        let card = Card::new();
        let original = card.root.path().join("var/lib/thing");
        fs::create_dir_all(original.join("inner")).unwrap();
        fs::set_permissions(card.root.path().join("var/lib"), Permissions::from_mode(0o711)).unwrap();
        fs::set_permissions(&original, Permissions::from_mode(0o2750)).unwrap();
        fs::write(original.join("inner/file"), "content").unwrap();
        fs::set_permissions(original.join("inner/file"), Permissions::from_mode(0o4711)).unwrap();
        symlink("/etc/x", original.join("link")).unwrap();
        rustix::fs::setxattr(original.join("inner/file"), "user.note", b"kept", XattrFlags::empty()).unwrap();

        let stored = card.seed("/var/lib/thing").unwrap();
        assert_eq!(stored, card.data.path().join("state/var/lib/thing"));
        let mode = |p: PathBuf| fs::symlink_metadata(p).unwrap().mode() & 0o7777;
        assert_eq!(mode(stored.clone()), 0o2750);
        assert_eq!(mode(card.data.path().join("state/var/lib")), 0o711);
        assert_eq!(mode(stored.join("inner/file")), 0o4711);
        assert_eq!(fs::read(stored.join("inner/file")).unwrap(), b"content");
        assert_eq!(fs::read_link(stored.join("link")).unwrap(), Path::new("/etc/x"));
        let mut value = [0u8; 16];
        assert_eq!(rustix::fs::getxattr(stored.join("inner/file"), "user.note", &mut value).unwrap(), 4);
        let times = |p: PathBuf| fs::metadata(p).unwrap().mtime_nsec();
        assert_eq!(times(stored.join("inner/file")), times(original.join("inner/file")));
    }

    #[test]
    fn state_that_is_there_is_never_touched() {
        let card = Card::new();
        fs::create_dir_all(card.root.path().join("etc/x")).unwrap();
        fs::write(card.root.path().join("etc/x/new"), "image").unwrap();
        fs::create_dir_all(card.data.path().join("state/etc/x")).unwrap();
        fs::write(card.data.path().join("state/etc/x/mine"), "state").unwrap();
        let stored = card.seed("/etc/x").unwrap();
        assert!(!stored.join("new").exists());
        assert_eq!(fs::read(stored.join("mine")).unwrap(), b"state");
    }

    #[test]
    fn an_interrupted_seed_is_done_again() {
        let card = Card::new();
        fs::create_dir_all(card.root.path().join("srv")).unwrap();
        fs::write(card.root.path().join("srv/a"), "a").unwrap();
        fs::create_dir_all(card.data.path().join("state/.unfinished/half")).unwrap();
        let stored = card.seed("/srv").unwrap();
        assert_eq!(fs::read_dir(&stored).unwrap().count(), 1);
        assert!(!card.data.path().join("state/.unfinished").exists());
    }

    #[test]
    fn a_path_that_the_image_lacks_is_an_empty_folder() {
        let card = Card::new();
        let stored = card.seed("/var/lib/containers").unwrap();
        assert!(stored.is_dir());
        assert_eq!(fs::read_dir(&stored).unwrap().count(), 0);
    }

    #[test]
    fn a_single_file_can_be_state() {
        let card = Card::new();
        fs::create_dir_all(card.root.path().join("etc")).unwrap();
        fs::write(card.root.path().join("etc/key"), "k").unwrap();
        assert_eq!(fs::read(card.seed("/etc/key").unwrap()).unwrap(), b"k");
    }

    #[test]
    fn links_in_the_image_are_followed_inside_it() {
        let card = Card::new();
        fs::create_dir_all(card.root.path().join("srv/real")).unwrap();
        fs::write(card.root.path().join("srv/real/f"), "x").unwrap();
        symlink("/srv", card.root.path().join("opt")).unwrap();
        assert_eq!(fs::read(card.seed("/opt/real").unwrap().join("f")).unwrap(), b"x");
    }

    #[test]
    fn a_link_on_the_data_partition_is_not_followed() {
        let card = Card::new();
        fs::create_dir_all(card.data.path().join("state")).unwrap();
        symlink("/etc", card.data.path().join("state/srv")).unwrap();
        assert!(card.seed("/srv").is_err());
    }
}
