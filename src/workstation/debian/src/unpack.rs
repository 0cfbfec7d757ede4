//! Packages into one file tree, as dpkg would lay them out, without running anything of theirs.

mod order;
mod place;

use std::collections::BTreeMap;

use fruit_base::cores;
use fruit_image::tree::Tree;

use crate::error::Result;
use crate::locked::LockedPackage;
use crate::package::{Control, OpenPackage};
use crate::progress::{Progress, Step};
use crate::store::Store;

pub use order::dependency_order;
pub use place::Unpacker;

/// Threads that read and decompress; each may need some 10 MiB for its dictionary.
const MAX_WORKERS: usize = 8;

/// Renamings that dpkg-divert would have done: a file at the first path that any other package ships lands at the
/// second.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Diversions(BTreeMap<String, Diversion>);

#[derive(Clone, Debug, PartialEq, Eq)]
struct Diversion {
    to: String,
    by: String,
}

impl Diversions {
    /// Files at `path` go to `to`, but for those of the package `by`. Paths without leading slash.
    pub fn divert(&mut self, path: &str, to: &str, by: &str) {
        self.0.insert(path.to_owned(), Diversion { to: to.to_owned(), by: by.to_owned() });
    }

    fn destination<'p>(&'p self, path: &'p str, package: &str) -> &'p str {
        self.0.get(path).filter(|diversion| diversion.by != package).map_or(path, |diversion| &diversion.to)
    }
}

/// What a package brought into the tree.
#[derive(Clone, Debug)]
pub struct PackageContents {
    pub name: String,
    pub version: String,
    pub architecture: String,
    pub control: Control,
    /// Where its files and folders are in the tree, sorted; without those that another package replaces.
    pub paths: Vec<String>,
    /// Bytes of its regular files, hard links counted once.
    pub bytes: u64,
}

/// Unpacks packages that are in the store: in order of their dependencies, so that the outcome is the same for the
/// same set. `mtime` (seconds since 1970-01-01 UTC) is for folders that no package ships. Contents stay in the store
/// and are read from there when the tree's files are.
///
/// # Errors
/// A package that is missing, damaged, hostile, or ships a file of another one.
pub fn unpack_all(
    store: &Store,
    architecture: &str,
    packages: &[LockedPackage],
    diversions: &Diversions,
    mtime: i64,
    progress: &dyn Progress,
) -> Result<(Tree, Vec<PackageContents>)> {
    unpack_diverted(store, architecture, packages, &|_| diversions.clone(), mtime, progress)
}

/// As [`unpack_all`], with the diversions that follow from the packages' own control files.
///
/// # Errors
/// As [`unpack_all`].
pub fn unpack_diverted(
    store: &Store,
    architecture: &str,
    packages: &[LockedPackage],
    diversions: &dyn Fn(&[&Control]) -> Diversions,
    mtime: i64,
    progress: &dyn Progress,
) -> Result<(Tree, Vec<PackageContents>)> {
    let mut contents = Vec::new();
    let mut opened = open_all(store, packages, progress)?;
    let found = diversions(&opened.iter().map(|p| &p.control).collect::<Vec<_>>());
    let mut unpacker = Unpacker::new(architecture, found, mtime)?;
    let order = dependency_order(&opened.iter().map(|p| &p.control).collect::<Vec<_>>());
    for number in order {
        unpacker.add(&opened[number])?;
        opened[number].entries = Vec::new();
    }
    let (tree, mut placed) = unpacker.finish();
    for package in opened {
        let (paths, bytes) = placed.remove(package.control.name()).unwrap_or_default();
        contents.push(PackageContents {
            name: package.control.name().to_owned(),
            version: package.control.version().to_owned(),
            architecture: package.control.architecture().to_owned(),
            control: package.control,
            paths,
            bytes,
        });
    }
    Ok((tree, contents))
}

/// Opens packages on all processors, the largest first; the result is in the order of `packages`.
///
/// # Errors
/// As [`Store::open_package`].
pub fn open_all(store: &Store, packages: &[LockedPackage], progress: &dyn Progress) -> Result<Vec<OpenPackage>> {
    allow_open_files(packages.len());
    let workers = cores::count().min(MAX_WORKERS);
    let mut by_size: Vec<usize> = (0..packages.len()).collect();
    by_size.sort_by_key(|number| std::cmp::Reverse(packages[*number].size));

    let packed: Vec<usize> = by_size.iter().copied().filter(|n| !store.is_decompressed(&packages[*n])).collect();
    if !packed.is_empty() {
        progress.start(Step::Decompress, packed.len(), packed.iter().map(|n| packages[*n].size).sum());
        let result = cores::each(workers, &packed, |number| -> Result<()> {
            store.decompress(&packages[*number])?;
            progress.advance(Step::Decompress, packages[*number].size);
            progress.item_done(Step::Decompress, &packages[*number].name);
            Ok(())
        });
        progress.finish(Step::Decompress);
        result?;
    }
    progress.start(Step::Read, packages.len(), packages.iter().map(|p| p.size).sum());
    let result = cores::each(workers, &by_size, |number| -> Result<_> {
        let open = store.open_package(&packages[*number])?;
        progress.advance(Step::Read, packages[*number].size);
        progress.item_done(Step::Read, &packages[*number].name);
        Ok((*number, open))
    });
    progress.finish(Step::Read);
    let mut opened = result?;
    opened.sort_by_key(|(number, _)| *number);
    Ok(opened.into_iter().map(|(_, open)| open).collect())
}

/// Every package stays open while its files are read; the usual soft limit of 1024 files does not suffice for large
/// sets. Without the right to raise it, opening fails later with the system's own words.
fn allow_open_files(packages: usize) {
    use rustix::process::{Resource, getrlimit, setrlimit};
    let wanted = packages as u64 + 256;
    let mut limit = getrlimit(Resource::Nofile);
    if limit.current.is_some_and(|soft| soft < wanted) {
        limit.current = Some(limit.maximum.map_or(wanted, |hard| hard.min(wanted)));
        let _ = setrlimit(Resource::Nofile, limit);
    }
}
