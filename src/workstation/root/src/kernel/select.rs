//! Choice of modules: those named, what they need, and in which order they load.

use std::collections::{BTreeMap, BTreeSet};

use fruit_base::cores;
use fruit_image::tree::{Content, Kind, Tree};

use super::elf::{self, ModuleInfo, module_name};
use super::{DIR, compress};
use crate::Error;
use crate::error::candidates;

/// A chosen module, decompressed.
#[derive(Clone, Debug)]
pub struct Module {
    /// With underscores, as in /proc/modules.
    pub name: String,
    /// Relative to the modules directory, uncompressed: `kernel/fs/erofs/erofs.ko`.
    pub path: String,
    pub content: Content,
    pub info: ModuleInfo,
}

/// Modules chosen from one kernel, in load order: each after everything that it needs.
#[derive(Clone, Debug)]
pub struct Selection {
    /// `uname -r`.
    pub release: String,
    pub modules: Vec<Module>,
    /// Names asked for that the kernel does not have, when missing ones are allowed.
    pub missing: Vec<String>,
    /// Names asked for that are built into the kernel.
    pub builtin: Vec<String>,
}

impl Selection {
    /// Absolute paths in the device's root, in load order.
    pub fn load_order(&self) -> Vec<String> {
        self.modules.iter().map(|m| format!("/{DIR}/{}/{}", self.release, m.path)).collect()
    }

    /// Firmware files that the modules may ask for, as patterns relative to /lib/firmware, sorted.
    pub fn firmware(&self) -> BTreeSet<String> {
        self.modules.iter().flat_map(|m| m.info.firmware.iter().cloned()).collect()
    }

    /// Size of all modules in bytes, uncompressed.
    pub fn bytes(&self) -> u64 {
        self.modules.iter().map(|m| m.content.len()).sum()
    }
}

/// The module files of one kernel.
pub(super) struct Available {
    /// Module name → path relative to the modules directory, as packaged.
    files: BTreeMap<String, String>,
    builtin: BTreeSet<String>,
}

/// Chooses the modules `names` (dashes or underscores) of kernel `release` with everything they need: `depends`, and
/// soft dependencies as far as they exist. Load order follows the order of `names`.
///
/// # Errors
/// A name that is neither a module nor built in, with the names that look like it, unless `allow_missing`; a module
/// that cannot be read; a dependency that the package lacks.
pub fn select(tree: &Tree, release: &str, names: &[String], allow_missing: bool) -> Result<Selection, Error> {
    let available = Available::of(tree, release)?;
    let mut selection =
        Selection { release: release.to_owned(), modules: Vec::new(), missing: Vec::new(), builtin: Vec::new() };
    let mut wanted = Vec::new();
    for name in names {
        let module = module_name(name);
        if available.files.contains_key(&module) {
            wanted.push(module);
        } else if available.builtin.contains(&module) {
            selection.builtin.push(module);
        } else if allow_missing {
            selection.missing.push(module);
        } else {
            return Err(unknown(&available, release, name));
        }
    }
    let loaded = load_all(tree, release, &available, &wanted)?;
    let mut order = Order { loaded: &loaded, available: &available, done: BTreeSet::new(), out: Vec::new() };
    for name in &wanted {
        order.visit(name, 0);
    }
    selection.modules = order.out.iter().filter_map(|name| loaded.get(name).cloned()).collect();
    Ok(selection)
}

fn unknown(available: &Available, release: &str, name: &str) -> Error {
    let all = available.files.keys().chain(&available.builtin).map(String::as_str);
    Error::UnknownModule {
        module: name.to_owned(),
        release: release.to_owned(),
        candidates: candidates(&module_name(name), all),
    }
}

impl Available {
    pub(super) fn of(tree: &Tree, release: &str) -> Result<Available, Error> {
        let dir = format!("{DIR}/{release}");
        let mut files = BTreeMap::new();
        for (path, _, inode) in tree.below(&dir) {
            let is_module = [".ko", ".ko.xz", ".ko.zst", ".ko.gz"].iter().any(|end| path.ends_with(end));
            if is_module && matches!(inode.kind, Kind::File(_)) {
                files.insert(module_name(path), path[dir.len() + 1..].to_owned());
            }
        }
        let text = crate::edit::text(tree, &format!("{dir}/modules.builtin"))?.unwrap_or_default();
        if files.is_empty() && text.is_empty() {
            let found = super::releases(tree).join(", ");
            let what =
                format!("has no modules; kernels in this root: {}", if found.is_empty() { "none" } else { &found });
            return Err(Error::Invalid { path: dir, what });
        }
        Ok(Available { files, builtin: text.lines().map(module_name).collect() })
    }

    /// Whether the kernel has `name` (as in /proc/modules) as a module of its own.
    pub(super) fn is_module(&self, name: &str) -> bool {
        self.files.contains_key(name)
    }

    /// The module that a soft dependency names: a module, or the generic implementation of a crypto algorithm, which
    /// is how softdeps in the kernel refer to aliases (`softdep libcrc32c pre: crc32c` → crc32c_generic).
    fn soft(&self, name: &str) -> Option<String> {
        let name = module_name(name);
        [name.clone(), format!("{name}_generic")].into_iter().find(|n| self.files.contains_key(n))
    }
}

/// `pre: a b post: c` → ([a, b], [c]).
fn soft_parts(text: &str) -> (Vec<&str>, Vec<&str>) {
    let (mut pre, mut post, mut into_post) = (Vec::new(), Vec::new(), false);
    for word in text.split_whitespace() {
        match word {
            "pre:" => into_post = false,
            "post:" => into_post = true,
            name if into_post => post.push(name),
            name => pre.push(name),
        }
    }
    (pre, post)
}

/// Reads the wanted modules and, round by round, those that they need.
fn load_all(
    tree: &Tree,
    release: &str,
    available: &Available,
    wanted: &[String],
) -> Result<BTreeMap<String, Module>, Error> {
    let mut loaded = BTreeMap::new();
    let mut todo: BTreeSet<String> = wanted.iter().cloned().collect();
    while !todo.is_empty() {
        let batch: Vec<(String, String, Content)> = todo
            .iter()
            .filter_map(|name| {
                let path = available.files.get(name)?;
                let full = format!("{DIR}/{release}/{path}");
                match &tree.get(&full)?.kind {
                    Kind::File(content) => Some((name.clone(), path.clone(), content.clone())),
                    _ => None,
                }
            })
            .collect();
        for module in read_parallel(&batch)? {
            loaded.insert(module.name.clone(), module);
        }
        todo.clear();
        for module in loaded.values() {
            for need in &module.info.depends {
                if available.files.contains_key(need) {
                    todo.insert(need.clone());
                } else if !available.builtin.contains(need) {
                    return Err(unknown(available, release, need));
                }
            }
            for text in &module.info.softdeps {
                let (pre, post) = soft_parts(text);
                todo.extend(pre.into_iter().chain(post).filter_map(|name| available.soft(name)));
            }
        }
        todo.retain(|name| !loaded.contains_key(name));
    }
    Ok(loaded)
}

/// Decompresses and parses on all cores: most of the time goes into xz.
fn read_parallel(batch: &[(String, String, Content)]) -> Result<Vec<Module>, Error> {
    cores::each(cores::count(), batch, |(name, path, content)| read_one(name, path, content))
}

fn read_one(name: &str, path: &str, content: &Content) -> Result<Module, Error> {
    let bytes = compress::plain(path, content)?;
    let info = elf::parse(path, &bytes)?;
    let stem = path.find(".ko").map_or(path, |i| &path[..i + 3]);
    // A module that is stored plain already stays a reference into its package.
    let content = if stem == path { content.clone() } else { bytes.into() };
    Ok(Module { name: name.to_owned(), path: stem.to_owned(), content, info })
}

struct Order<'a> {
    loaded: &'a BTreeMap<String, Module>,
    available: &'a Available,
    done: BTreeSet<String>,
    out: Vec<String>,
}

/// Chains of dependencies in the kernel are some ten long.
const MAX_CHAIN: usize = 200;

impl Order<'_> {
    fn visit(&mut self, name: &str, depth: usize) {
        if depth > MAX_CHAIN || !self.done.insert(name.to_owned()) {
            return;
        }
        let loaded = self.loaded;
        let Some(module) = loaded.get(name) else { return };
        let parts: Vec<_> = module.info.softdeps.iter().map(|text| soft_parts(text)).collect();
        for soft in parts.iter().flat_map(|(pre, _)| pre) {
            if let Some(found) = self.available.soft(soft) {
                self.visit(&found, depth + 1);
            }
        }
        for need in &module.info.depends {
            self.visit(need, depth + 1);
        }
        self.out.push(name.to_owned());
        for soft in parts.iter().flat_map(|(_, post)| post) {
            if let Some(found) = self.available.soft(soft) {
                self.visit(&found, depth + 1);
            }
        }
    }
}
