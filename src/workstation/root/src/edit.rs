//! Writing into a tree as a script in the running root would: parents follow symbolic links (`/lib` is `/usr/lib`)
//! and are made when missing.

use fruit_image::tree::{Inode, Kind, Meta, Tree, TreeError};

use crate::Error;

/// A tree being changed, and the time that new files get.
pub(crate) struct TreeEditor<'a> {
    pub tree: &'a mut Tree,
    /// Seconds since 1970 given to everything made here.
    pub epoch: i64,
}

impl<'a> TreeEditor<'a> {
    pub fn new(tree: &'a mut Tree, epoch: i64) -> TreeEditor<'a> {
        TreeEditor { tree, epoch }
    }

    /// Whether `path` names something when links are followed.
    pub fn exists(&self, path: &str) -> bool {
        exists(self.tree, path)
    }

    /// The text of a file, `None` when there is none.
    ///
    /// # Errors
    /// A file that cannot be read.
    pub fn text(&self, path: &str) -> Result<Option<String>, Error> {
        text(self.tree, path)
    }

    /// Puts a root-owned regular file at `path`, in place of whatever non-directory is there.
    pub fn write(&mut self, path: &str, content: impl Into<Vec<u8>>, mode: u16) -> Result<(), Error> {
        self.write_owned(path, content, mode, 0, 0)
    }

    pub fn write_owned(
        &mut self,
        path: &str,
        content: impl Into<Vec<u8>>,
        mode: u16,
        uid: u32,
        gid: u32,
    ) -> Result<(), Error> {
        let mut inode = Inode::file(content.into(), mode, self.epoch);
        inode.meta.uid = uid;
        inode.meta.gid = gid;
        self.put(path, inode)
    }

    /// As [`TreeEditor::write`], unless something is there already.
    pub fn write_new(&mut self, path: &str, content: impl Into<Vec<u8>>, mode: u16) -> Result<(), Error> {
        if self.exists(path) || self.tree.contains(&self.place(path)?) {
            return Ok(());
        }
        self.write(path, content, mode)
    }

    pub fn symlink(&mut self, target: &str, path: &str) -> Result<(), Error> {
        self.put(path, Inode::symlink(target, self.epoch))
    }

    /// Makes the directory `path`; one that exists keeps its metadata.
    pub fn dir(&mut self, path: &str, mode: u16, uid: u32, gid: u32) -> Result<(), Error> {
        if self.exists(path) {
            return Ok(());
        }
        let meta = Meta { uid, gid, ..Meta::root(mode, self.epoch) };
        self.put(path, Inode { meta, kind: Kind::Dir })
    }

    /// Copies a file of the root to `to`, unless `to` exists or `from` does not.
    pub fn copy_new(&mut self, from: &str, to: &str, mode: u16) -> Result<(), Error> {
        match self.text(from)? {
            Some(content) => self.write_new(to, content, mode),
            None => Ok(()),
        }
    }

    pub fn put(&mut self, path: &str, inode: Inode) -> Result<(), Error> {
        let place = self.place(path)?;
        if let Some((parent, _)) = place.rsplit_once('/') {
            self.tree.make_dirs(parent, 0o755, self.epoch)?;
        }
        self.tree.insert(&place, inode)?;
        Ok(())
    }

    /// `path` with the links of its parents followed; missing parents are taken as they are written.
    pub fn place(&self, path: &str) -> Result<String, Error> {
        let Some((parent, name)) = path.rsplit_once('/') else { return Ok(path.to_owned()) };
        let mut real = String::new();
        for component in parent.split('/') {
            let next = if real.is_empty() { component.to_owned() } else { format!("{real}/{component}") };
            real = match self.tree.get(&next).map(|inode| &inode.kind) {
                Some(Kind::Symlink(_)) => self.tree.resolve(&next)?,
                Some(Kind::Dir) | None => next,
                Some(_) => return Err(TreeError::ParentNotDir(path.to_owned()).into()),
            };
        }
        Ok(if real.is_empty() { name.to_owned() } else { format!("{real}/{name}") })
    }
}

pub(crate) fn exists(tree: &Tree, path: &str) -> bool {
    tree.resolve(path).is_ok_and(|real| tree.contains(&real))
}

pub(crate) fn text(tree: &Tree, path: &str) -> Result<Option<String>, Error> {
    if !exists(tree, path) {
        return Ok(None);
    }
    let bytes = tree.read(path).map_err(|source| Error::Read { path: path.to_owned(), source })?;
    Ok(Some(String::from_utf8_lossy(&bytes).into_owned()))
}

/// Names in `dir` (links followed), in byte order; nothing when it is no directory.
pub(crate) fn names(tree: &Tree, dir: &str) -> Vec<String> {
    match tree.resolve(dir) {
        Ok(real) if tree.contains(&real) => tree.children(&real).map(|(name, ..)| name.to_owned()).collect(),
        _ => Vec::new(),
    }
}
