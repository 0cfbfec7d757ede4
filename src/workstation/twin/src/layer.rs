//! What scripts made, as it is kept and laid into the roots of images.

use std::collections::{BTreeMap, BTreeSet};

use fruit_debian::{LockedTwin, PackageContents};
use fruit_image::tree::{Content, Inode, Kind, Meta, Tree};
use serde::{Deserialize, Serialize};

use crate::accounts::Ids;
use crate::architecture::Names;
use crate::changes::{Change, Changes};
use crate::error::Error;
use crate::first_boot::{self, Maker};
use crate::{host_name, keystore, secrets};

/// What scripts made, in the names of the workstation's architecture.
#[derive(Debug, Default)]
pub struct Layer {
    /// New files, folders and links, by path.
    pub(crate) puts: BTreeMap<String, Inode>,
    /// More names of files, and the first name of each.
    pub(crate) links: BTreeMap<String, String>,
    pub(crate) rest: Rest,
}

/// What needs no archive.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct Rest {
    /// Programs and libraries that scripts copied: from where, and with which rights.
    pub copies: BTreeMap<String, (String, Rights)>,
    /// Files of packages of which only the rights are others.
    pub rights: BTreeMap<String, Rights>,
    pub gone: Vec<String>,
    pub report: Report,
}

/// Mode, owner and extended attributes.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct Rights {
    mode: u16,
    uid: u32,
    gid: u32,
    /// Values in hexadecimal digits.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    xattrs: BTreeMap<String, String>,
}

/// What is told about a layer.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Report {
    /// How many paths were left out, by the reason.
    pub left_out: BTreeMap<String, u64>,
    /// Files that cannot be carried over: they are of the workstation's architecture and no package's.
    pub foreign: Vec<String>,
    /// What is made on the node.
    pub makers: Vec<Maker>,
    pub secrets: Vec<Secret>,
    /// Folders below /var/lib that hold what scripts wrote.
    pub state: Vec<String>,
}

/// Something that must be another one on every machine.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Secret {
    pub path: String,
    pub what: String,
}

impl Rights {
    fn of(meta: &Meta) -> Rights {
        let xattrs = meta.xattrs.iter().map(|(name, value)| (name.clone(), fruit_base::hex::encode(value)));
        Rights { mode: meta.mode, uid: meta.uid, gid: meta.gid, xattrs: xattrs.collect() }
    }

    pub(crate) fn give(&self, meta: &mut Meta) {
        (meta.mode, meta.uid, meta.gid) = (self.mode, self.uid, self.gid);
        let xattrs = self.xattrs.iter().filter_map(|(name, hex)| Some((name.clone(), fruit_base::hex::decode(hex)?)));
        meta.xattrs = xattrs.collect();
    }
}

/// Makes a layer of changes to `before`, in which `packages` were unpacked.
///
/// # Errors
/// Account files that cannot be read.
pub(crate) fn make(
    changes: Changes,
    before: &Tree,
    packages: &[PackageContents],
    twin: &LockedTwin,
    names: Names,
    epoch: i64,
) -> Result<Layer, Error> {
    let left_out = changes.left_out.iter().map(|(reason, count)| ((*reason).to_owned(), *count)).collect();
    let report = Report { left_out, ..Report::default() };
    let mut sifting = Sifting {
        before,
        after: after(before, &changes)?,
        tools: Tools::of(packages, twin),
        names,
        layer: Layer { rest: Rest { report, ..Rest::default() }, ..Layer::default() },
    };
    for (path, change) in changes.all {
        sifting.take(path, change)?;
    }
    let mut layer = sifting.layer;
    settle_ids(&mut layer)?;
    for (path, inode) in &mut layer.puts {
        inode.meta.mtime = inode.meta.mtime.clamp(0, epoch.max(0));
        if let Kind::File(content) = &mut inode.kind
            && let Some(settled) = settled(path, content, epoch)?
        {
            *content = settled.into();
        }
    }
    layer.rest.report.state = state(&layer.puts);
    Ok(layer)
}

/// A file without what is of the run or of its place; `None` when it stays as it is.
fn settled(path: &str, content: &Content, epoch: i64) -> Result<Option<Vec<u8>>, Error> {
    Ok(match path {
        "etc/ssl/certs/java/cacerts" => keystore::settle(&read(path, content)?, epoch),
        "etc/postfix/main.cf" => host_name::postfix(&read(path, content)?),
        _ => None,
    })
}

fn read(path: &str, content: &Content) -> Result<Vec<u8>, Error> {
    content.to_vec().map_err(|e| Error::Other(format!("/{path}: {e}")))
}

/// The tree with the changes made.
fn after(before: &Tree, changes: &Changes) -> Result<Tree, Error> {
    let mut tree = before.clone();
    for (path, change) in &changes.all {
        match change {
            Change::Gone => drop(tree.remove(path)),
            Change::Put(inode) => {
                if tree.get(path).is_some_and(|old| old.is_dir() != inode.is_dir()) {
                    tree.remove(path);
                }
                if let Some((parent, _)) = path.rsplit_once('/') {
                    tree.make_dirs(parent, 0o755, 0)?;
                }
                tree.insert(path, inode.clone())?;
            }
            Change::Link(_) | Change::Meta(_) => {}
        }
    }
    Ok(tree)
}

/// Folders that one package ships for all others.
const EVERYBODYS: [&str; 2] = ["etc/alternatives", "etc/default"];

/// Files and folders that only packages of the run itself have.
struct Tools(BTreeSet<String>);

impl Tools {
    fn of(packages: &[PackageContents], twin: &LockedTwin) -> Tools {
        let (tools, others): (Vec<&PackageContents>, Vec<_>) =
            packages.iter().partition(|p| twin.tools.contains(&p.name));
        let others: BTreeSet<&String> = others.iter().flat_map(|p| &p.paths).collect();
        let of_tools = tools.iter().flat_map(|p| &p.paths);
        let only = of_tools.filter(|path| !others.contains(path) && !EVERYBODYS.contains(&path.as_str()));
        Tools(only.cloned().collect())
    }

    /// Whether a path is one of theirs, or in a folder of theirs.
    fn have(&self, path: &str) -> bool {
        self.0.contains(path) || path.match_indices('/').any(|(at, _)| self.0.contains(&path[..at]))
    }
}

struct Sifting<'b> {
    before: &'b Tree,
    after: Tree,
    tools: Tools,
    names: Names,
    layer: Layer,
}

/// Reasons besides those of the rules.
const OF_TOOLS: &str = "of packages that only the run needed";
const PER_NODE: &str = "made on each node";
const BINARY: &str = "binary files that name the workstation's architecture";

impl Sifting<'_> {
    fn leave_out(&mut self, reason: &str) {
        *self.layer.rest.report.left_out.entry(reason.to_owned()).or_default() += 1;
    }

    fn take(&mut self, path: String, change: Change) -> Result<(), Error> {
        if self.tools.have(&path) {
            self.leave_out(OF_TOOLS);
            return Ok(());
        }
        match change {
            Change::Gone => self.layer.rest.gone.push(path),
            Change::Link(target) => drop(self.layer.links.insert(path, target)),
            Change::Meta(meta) => drop(self.layer.rest.rights.insert(path, Rights::of(&meta))),
            Change::Put(inode) => match &inode.kind {
                Kind::File(content) => {
                    let bytes = read(&path, content)?;
                    self.file(path, inode, &bytes)?;
                }
                // The program that makes the files on the node wants an empty folder for them.
                _ if first_boot::maker(&path).is_some() => self.leave_out(PER_NODE),
                Kind::Symlink(_) => self.link(path, inode),
                _ => drop(self.layer.puts.insert(path, inode)),
            },
        }
        Ok(())
    }

    fn link(&mut self, path: String, inode: Inode) {
        let leads_to = self.after.resolve(&path).unwrap_or_default();
        let of_node = first_boot::maker(&leads_to).is_some() && path.starts_with("etc/ssl/certs/");
        if self.tools.have(&leads_to) {
            self.leave_out(OF_TOOLS);
        } else if of_node {
            self.leave_out(PER_NODE);
        } else {
            self.layer.puts.insert(path, inode);
        }
    }

    fn file(&mut self, path: String, inode: Inode, bytes: &[u8]) -> Result<(), Error> {
        if let Some(maker) = first_boot::maker(&path) {
            self.leave_out(PER_NODE);
            let makers = &mut self.layer.rest.report.makers;
            if !makers.contains(&maker) {
                makers.push(maker);
            }
            return Ok(());
        }
        if !self.names.are_the_same() && bytes.starts_with(b"\x7fELF") {
            return self.program(path, &inode, bytes);
        }
        if !self.names.are_the_same() && self.names.are_in(bytes) && std::str::from_utf8(bytes).is_err() {
            self.leave_out(BINARY);
            return Ok(());
        }
        if let Some(what) = self.secret(&path, inode.meta.mode, bytes)? {
            self.layer.rest.report.secrets.push(Secret { path: path.clone(), what });
        }
        self.layer.puts.insert(path, inode);
        Ok(())
    }

    fn secret(&self, path: &str, mode: u16, bytes: &[u8]) -> Result<Option<String>, Error> {
        if path == "etc/shadow" {
            let shadow = String::from_utf8_lossy(bytes);
            return Ok(secrets::password(&shadow).map(|name| format!("the password of the account {name}")));
        }
        if !secrets::may_hold(bytes.len() as u64) {
            return Ok(None);
        }
        let shipped = match self.before.get(path).map(|inode| &inode.kind) {
            Some(Kind::File(content)) => Some(read(path, content)?),
            _ => None,
        };
        let Some(what) = secrets::of(path, mode, bytes, shipped.as_deref()) else { return Ok(None) };
        // A package's own example is no secret of anybody's.
        Ok(self.shipped_as(bytes)?.is_none().then(|| what.to_owned()))
    }

    /// A program: the node has one of its own architecture where the workstation's came from.
    fn program(&mut self, path: String, inode: &Inode, bytes: &[u8]) -> Result<(), Error> {
        let rights = Rights::of(&inode.meta);
        if let Some(from) = self.shipped_as(bytes)? {
            self.layer.rest.copies.insert(path, (from, rights));
        } else if self.before.contains(&path) {
            self.layer.rest.rights.insert(path, rights);
        } else {
            self.layer.rest.report.foreign.push(path);
        }
        Ok(())
    }

    /// A file of a package with these very bytes.
    fn shipped_as(&self, bytes: &[u8]) -> Result<Option<String>, Error> {
        for (path, _, inode) in self.before.iter() {
            if let Kind::File(content) = &inode.kind
                && content.len() == bytes.len() as u64
                && read(path, content)? == bytes
            {
                return Ok(Some(path.to_owned()));
            }
        }
        Ok(None)
    }
}

fn settle_ids(layer: &mut Layer) -> Result<(), Error> {
    let ids = Ids::settle(&mut layer.puts)?;
    for inode in layer.puts.values_mut() {
        ids.translate(&mut inode.meta);
    }
    let copies = layer.rest.copies.values_mut().map(|(_, rights)| rights);
    for rights in copies.chain(layer.rest.rights.values_mut()) {
        let mut meta = Meta::root(0, 0);
        rights.give(&mut meta);
        ids.translate(&mut meta);
        *rights = Rights::of(&meta);
    }
    Ok(())
}

/// Folders below /var/lib in which scripts left files.
fn state(puts: &BTreeMap<String, Inode>) -> Vec<String> {
    let files = puts.iter().filter(|(_, inode)| matches!(inode.kind, Kind::File(_)));
    let folders = files.filter_map(|(path, _)| {
        let (name, _) = path.strip_prefix("var/lib/")?.split_once('/')?;
        Some(format!("/var/lib/{name}"))
    });
    folders.collect::<BTreeSet<_>>().into_iter().collect()
}
