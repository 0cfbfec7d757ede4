//! The root that will be switched to, seen from outside: every path is resolved inside it, so that a symbolic link such
//! as `/var/run -> /run` never leads into the initramfs.

use std::fs::{self, DirBuilder, File, OpenOptions, Permissions};
use std::io::{self, Read, Write};
use std::os::fd::AsRawFd;
use std::os::unix::fs::{DirBuilderExt, MetadataExt, OpenOptionsExt, PermissionsExt, chown};
use std::path::{Path, PathBuf};

use fruit_base::AtPath;
use rustix::fs::{Mode, OFlags, ResolveFlags, openat2};

/// A root folder.
pub struct NewRoot {
    handle: File,
    path: PathBuf,
}

/// Owner and mode of a file that is written.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Attributes {
    pub mode: u32,
    pub uid: u32,
    pub gid: u32,
}

impl Attributes {
    pub const fn root(mode: u32) -> Attributes {
        Attributes { mode, uid: 0, gid: 0 }
    }
}

impl NewRoot {
    /// # Errors
    /// Those of `open(2)`.
    pub fn open(path: &Path) -> io::Result<NewRoot> {
        let handle = File::open(path).at(path)?;
        Ok(NewRoot { handle, path: path.to_owned() })
    }

    /// Where the root is for the running process.
    pub fn path(&self) -> &Path {
        &self.path
    }

    /// The path, for the running process, of what `path` (absolute, in the root) leads to. Symbolic links on the way,
    /// and at the end, are followed inside the root.
    ///
    /// # Errors
    /// Those of `openat2(2)`, `NotFound` above all.
    pub fn resolve(&self, path: &str) -> io::Result<PathBuf> {
        let flags = OFlags::PATH | OFlags::CLOEXEC;
        let found = openat2(&self.handle, path, flags, Mode::empty(), ResolveFlags::IN_ROOT);
        let found = found.at(path)?;
        fs::read_link(format!("/proc/self/fd/{}", found.as_raw_fd()))
    }

    pub fn exists(&self, path: &str) -> bool {
        self.resolve(path).is_ok()
    }

    /// Makes a folder and those above it; what exists stays as it is. Returns its resolved path.
    ///
    /// # Errors
    /// Those of `mkdir(2)`; something on the way that is no folder.
    pub fn create_folder(&self, path: &str, attributes: Attributes) -> io::Result<PathBuf> {
        match self.resolve(path) {
            Ok(found) if found.is_dir() => return Ok(found),
            Ok(found) => return Err(io::Error::other(format!("{} is not a folder", found.display()))),
            Err(e) if e.kind() == io::ErrorKind::NotFound => {}
            Err(e) => return Err(e),
        }
        let (parent, name) = split(path)?;
        let parent = self.create_folder(parent, Attributes::root(0o755))?;
        let folder = parent.join(name);
        DirBuilder::new().mode(attributes.mode).create(&folder).at(&folder)?;
        set(&folder, attributes)?;
        Ok(folder)
    }

    /// Writes a file whole: under another name first, then in the place of what is there, even of a symbolic link.
    ///
    /// # Errors
    /// Those of writing; the message carries the path.
    pub fn write(&self, path: &str, content: &[u8], attributes: Attributes) -> io::Result<()> {
        let (parent, name) = split(path)?;
        let folder = self.create_folder(parent, Attributes::root(0o755))?;
        let temporary = folder.join(format!(".{name}.fruit-init"));
        let _ = fs::remove_file(&temporary);
        let write = || -> io::Result<()> {
            // Nobody else may read it before its mode is right.
            let mut file = OpenOptions::new().write(true).create_new(true).mode(0o600).open(&temporary)?;
            file.write_all(content)?;
            set(&temporary, attributes)?;
            fs::rename(&temporary, folder.join(name))
        };
        Ok(write().at(folder.join(name))?)
    }

    /// Makes a symbolic link, in the place of what is there.
    ///
    /// # Errors
    /// Those of `symlink(2)` and `rename(2)`.
    pub fn link(&self, path: &str, target: &str) -> io::Result<()> {
        let (parent, name) = split(path)?;
        let folder = self.create_folder(parent, Attributes::root(0o755))?;
        let temporary = folder.join(format!(".{name}.fruit-init"));
        let _ = fs::remove_file(&temporary);
        let link = || -> io::Result<()> {
            std::os::unix::fs::symlink(target, &temporary)?;
            fs::rename(&temporary, folder.join(name))
        };
        Ok(link().at(folder.join(name))?)
    }

    /// Content and attributes of a file of at most `limit` bytes.
    ///
    /// # Errors
    /// Those of reading; a larger file.
    pub fn read(&self, path: &str, limit: u64) -> io::Result<(Vec<u8>, Attributes)> {
        let resolved = self.resolve(path)?;
        let read = || -> io::Result<(Vec<u8>, Attributes)> {
            let file = File::open(&resolved)?;
            let meta = file.metadata()?;
            let mut content = Vec::new();
            file.take(limit + 1).read_to_end(&mut content)?;
            if content.len() as u64 > limit {
                return Err(io::Error::other(format!("more than {limit} bytes")));
            }
            Ok((content, Attributes { mode: meta.mode() & 0o7777, uid: meta.uid(), gid: meta.gid() }))
        };
        Ok(read().at(&resolved)?)
    }
}

fn set(path: &Path, attributes: Attributes) -> io::Result<()> {
    let meta = fs::symlink_metadata(path)?;
    // Owner first: a change of owner clears set-id bits.
    if (meta.uid(), meta.gid()) != (attributes.uid, attributes.gid) {
        chown(path, Some(attributes.uid), Some(attributes.gid))?;
    }
    fs::set_permissions(path, Permissions::from_mode(attributes.mode))
}

fn split(path: &str) -> io::Result<(&str, &str)> {
    match path.rsplit_once('/') {
        Some((parent, name)) if !name.is_empty() && name != ".." && name != "." => {
            Ok((if parent.is_empty() { "/" } else { parent }, name))
        }
        _ => Err(io::Error::other(format!("'{path}' names no file"))),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::os::unix::fs::symlink;

    fn root() -> (tempfile::TempDir, NewRoot) {
        let folder = tempfile::tempdir().unwrap();
        let root = NewRoot::open(folder.path()).unwrap();
        (folder, root)
    }

    fn mine(mode: u32) -> Attributes {
        let meta = fs::metadata("/proc/self").unwrap();
        Attributes { mode, uid: meta.uid(), gid: meta.gid() }
    }

    #[test]
    fn absolute_links_stay_inside_the_root() {
        let (folder, root) = root();
        fs::create_dir_all(folder.path().join("run/lock")).unwrap();
        fs::create_dir(folder.path().join("var")).unwrap();
        symlink("/run", folder.path().join("var/run")).unwrap();
        symlink("../../../../run/lock", folder.path().join("var/lock")).unwrap();
        let inside = fs::canonicalize(folder.path()).unwrap();
        assert_eq!(root.resolve("/var/run").unwrap(), inside.join("run"));
        assert_eq!(root.resolve("/var/lock").unwrap(), inside.join("run/lock"));
        root.write("/var/run/x/y", b"1", mine(0o640)).unwrap();
        assert_eq!(fs::read(folder.path().join("run/x/y")).unwrap(), b"1");
    }

    #[test]
    fn a_written_file_replaces_a_link_and_has_its_mode() {
        let (folder, root) = root();
        fs::create_dir(folder.path().join("etc")).unwrap();
        symlink("/nowhere", folder.path().join("etc/localtime")).unwrap();
        root.write("/etc/localtime", b"x", mine(0o600)).unwrap();
        let meta = fs::symlink_metadata(folder.path().join("etc/localtime")).unwrap();
        assert!(meta.is_file());
        assert_eq!(meta.mode() & 0o7777, 0o600);
        root.link("/etc/localtime", "../usr/share/zoneinfo/UTC").unwrap();
        assert!(fs::symlink_metadata(folder.path().join("etc/localtime")).unwrap().is_symlink());
        assert_eq!(fs::read_dir(folder.path().join("etc")).unwrap().count(), 1, "nothing temporary is left");
    }

    #[test]
    fn folders_are_made_once_and_kept_as_they_are() {
        let (folder, root) = root();
        root.create_folder("/a/b", mine(0o700)).unwrap();
        root.create_folder("/a/b", mine(0o755)).unwrap();
        let mode = |p: &str| fs::metadata(folder.path().join(p)).unwrap().mode() & 0o7777;
        assert_eq!((mode("a"), mode("a/b")), (0o755, 0o700));
        fs::write(folder.path().join("file"), "").unwrap();
        assert!(root.create_folder("/file/x", mine(0o755)).is_err());
    }

    #[test]
    fn a_file_that_is_too_large_is_not_read() {
        let (_folder, root) = root();
        root.write("/x", b"12345", mine(0o644)).unwrap();
        assert_eq!(root.read("/x", 5).unwrap().0, b"12345");
        assert!(root.read("/x", 4).is_err());
    }

    #[test]
    fn paths_that_name_no_file_are_refused() {
        let (_folder, root) = root();
        for path in ["/", "", "x", "/a/..", "/a/"] {
            assert!(root.write(path, b"", mine(0o644)).is_err(), "{path}");
        }
    }
}
