//! A layer into the root of an image.

use std::collections::BTreeMap;

use fruit_image::tree::{Content, Inode, Kind, Meta, Tree};

use crate::architecture::Names;
use crate::error::Error;
use crate::first_boot::Maker;
use crate::layer::{Layer, Rights};

/// Largest text in which names of the architecture are looked for, in bytes.
const MAX_TEXT: u64 = 4 << 20;

impl Layer {
    /// Makes `tree`, in which the packages of an image are unpacked, what its scripts would have left. `from` is the
    /// architecture that they ran on, `to` the image's; both as Debian names them. Gives the paths that could not be laid.
    ///
    /// # Errors
    /// A layer that is not one of these packages.
    pub fn lay(&self, tree: &mut Tree, from: &str, to: &str, epoch: i64) -> Result<Vec<String>, Error> {
        let names = Names::new(from, to)?;
        let mut laying = Laying { tree, names, epoch, refused: Vec::new() };
        // Of the packages, before anything of them is moved away.
        let copies: Vec<(String, Option<Content>, &Rights)> = self
            .rest
            .copies
            .iter()
            .map(|(path, (from, rights))| (names.translate(path), laying.content(&names.translate(from)), rights))
            .collect();
        for path in &self.rest.gone {
            let path = names.translate(path);
            laying.tree.remove(&path);
        }
        for (path, inode) in &self.puts {
            laying.put(&names.translate(path), inode)?;
        }
        for (path, content, rights) in copies {
            match content {
                Some(content) => {
                    let mut inode = Inode { meta: Meta::root(0o755, epoch), kind: Kind::File(content) };
                    rights.give(&mut inode.meta);
                    laying.put(&path, &inode)?;
                }
                None => laying.refused.push(path),
            }
        }
        for (path, target) in &self.links {
            let (path, target) = (names.translate(path), names.translate(target));
            if laying.tree.get(&target).is_some_and(|inode| !inode.is_dir()) {
                laying.clear(&path, false);
                laying.parents(&path)?;
                laying.tree.link(&path, &target)?;
            } else {
                laying.refused.push(path);
            }
        }
        for (path, rights) in &self.rest.rights {
            // What the other architecture's package does not have needs no rights.
            if let Some(inode) = laying.tree.get_mut(&names.translate(path)) {
                rights.give(&mut inode.meta);
            }
        }
        laying.translate_names(&self.puts)?;
        for maker in &self.rest.report.makers {
            laying.unit(maker)?;
        }
        Ok(laying.refused)
    }
}

struct Laying<'t> {
    tree: &'t mut Tree,
    names: Names,
    epoch: i64,
    refused: Vec<String>,
}

impl Laying<'_> {
    fn content(&self, path: &str) -> Option<Content> {
        match &self.tree.get(path)?.kind {
            Kind::File(content) => Some(content.clone()),
            _ => None,
        }
    }

    /// Makes room for a file, or for a folder.
    fn clear(&mut self, path: &str, folder: bool) {
        if self.tree.get(path).is_some_and(|old| old.is_dir() != folder) {
            self.tree.remove(path);
        }
    }

    fn parents(&mut self, path: &str) -> Result<(), Error> {
        if let Some((parent, _)) = path.rsplit_once('/') {
            self.tree.make_dirs(parent, 0o755, self.epoch)?;
        }
        Ok(())
    }

    fn put(&mut self, path: &str, inode: &Inode) -> Result<(), Error> {
        self.clear(path, inode.is_dir());
        self.parents(path)?;
        // A new file, not another content of one that has more names.
        if !inode.is_dir() {
            self.tree.remove(path);
        }
        self.tree.insert(path, inode.clone())?;
        Ok(())
    }

    /// Links and texts say the names of this image's architecture.
    fn translate_names(&mut self, puts: &BTreeMap<String, Inode>) -> Result<(), Error> {
        if self.names.are_the_same() {
            return Ok(());
        }
        let mut changed: Vec<(String, Kind)> = Vec::new();
        for path in puts.keys().map(|path| self.names.translate(path)) {
            let exists = |path: &str| self.tree.resolve(path).is_ok_and(|real| self.tree.contains(&real));
            match self.tree.get(&path).map(|inode| &inode.kind) {
                Some(Kind::Symlink(target)) => {
                    let absolute = |target: &str| match target.strip_prefix('/') {
                        Some(target) => target.to_owned(),
                        None => format!("{}/{target}", path.rsplit_once('/').map_or("", |(parent, _)| parent)),
                    };
                    let mut new = self.names.translate(target);
                    if !exists(&absolute(&new)) {
                        let whole = self.names.translate_paths(&format!("/{}", absolute(&new)), &exists);
                        if whole.trim_start_matches('/') != absolute(&new) {
                            new = whole;
                        }
                    }
                    if new != *target {
                        changed.push((path.clone(), Kind::Symlink(new)));
                    }
                }
                Some(Kind::File(content)) if content.len() <= MAX_TEXT => {
                    let bytes = content.to_vec().map_err(|e| Error::Other(format!("/{path}: {e}")))?;
                    let Ok(text) = String::from_utf8(bytes) else { continue };
                    let new = self.names.translate_paths(&text, &exists);
                    if new != text {
                        changed.push((path.clone(), Kind::File(new.as_str().into())));
                    }
                }
                _ => {}
            }
        }
        for (path, kind) in changed {
            if let Some(inode) = self.tree.get_mut(&path) {
                inode.kind = kind;
            }
        }
        Ok(())
    }

    /// The unit that makes something on the node, where its program and systemd are.
    fn unit(&mut self, maker: &Maker) -> Result<(), Error> {
        let exists = |path: &str| self.tree.resolve(path).is_ok_and(|real| self.tree.contains(&real));
        if !exists(&maker.program) || !exists("usr/lib/systemd/systemd") {
            self.refused.push(maker.program.clone());
            return Ok(());
        }
        let dir = "usr/lib/systemd/system";
        let name = maker.unit_name();
        let epoch = self.epoch;
        self.put(&format!("{dir}/{name}"), &Inode::file(maker.unit.as_str(), 0o644, epoch))?;
        self.put(&format!("{dir}/basic.target.wants/{name}"), &Inode::symlink(format!("../{name}"), epoch))
    }
}
