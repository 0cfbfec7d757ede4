//! Files of packages for the boot partitions.

use std::collections::BTreeMap;

use fruit_image::tree::{Content, Inode, Kind, Tree, TreeError};
use fruit_recipe::PackagePath;
use fruit_root::glob::Glob;

use crate::error::Error;

/// Packages that are read but not installed in the root, each unpacked into a tree of its own.
pub type BootPackages = BTreeMap<String, Tree>;

/// Files of a package by a pattern.
///
/// # Errors
/// The package is not there.
pub fn matching<'p>(
    packages: &'p BootPackages,
    package: &str,
    pattern: &PackagePath,
) -> Result<Vec<(&'p str, &'p Content)>, Error> {
    let tree = packages
        .get(package)
        .ok_or_else(|| Error::other(format!("package {package} was not unpacked, though the board needs it")))?;
    let glob = Glob::new(pattern.as_str()).map_err(Error::input)?;
    Ok(tree
        .iter()
        .filter_map(|(path, _, inode)| match &inode.kind {
            Kind::File(content) if glob.matches(path) => Some((path, content)),
            _ => None,
        })
        .collect())
}

/// The one file of a package that the board names.
///
/// # Errors
/// The package or the file is not there.
pub fn package_file(packages: &BootPackages, package: &str, file: &PackagePath) -> Result<Content, Error> {
    let found = matching(packages, package, file)?;
    found.first().map(|(_, content)| (*content).clone()).ok_or_else(|| no_such_file(package, file))
}

/// What to say when a package lacks a file.
pub fn no_such_file(package: &str, file: &PackagePath) -> Error {
    Error::input(format!("package {package} has no file {file}, which the board asks for"))
}

/// Puts a file into the tree of a partition, with the folders that it needs.
///
/// # Errors
/// A path that the tree refuses.
pub fn put(tree: &mut Tree, path: &str, content: impl Into<Content>, time: i64) -> Result<(), Error> {
    let into_failure = |error: TreeError| Error::input(error.to_string());
    if let Some((folder, _)) = path.rsplit_once('/') {
        tree.make_dirs(folder, 0o755, time).map_err(into_failure)?;
    }
    tree.insert(path, Inode::file(content, 0o644, time)).map_err(into_failure)?;
    Ok(())
}
