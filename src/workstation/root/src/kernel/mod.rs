//! Kernel modules: which of a distribution's thousands an image carries, stored decompressed (small deltas, no work at
//! boot), and the index files that udev and modprobe find them by.

mod compress;
pub mod depmod;
pub mod elf;
pub mod index;
pub mod needs;
mod select;
pub mod sets;

use fruit_image::tree::{Inode, Kind, Tree};

use crate::Error;
use crate::edit::{TreeEditor, names, text};

pub use select::{Module, Selection, select};

/// Where kernels keep their modules, below the merged /usr.
pub const DIR: &str = "usr/lib/modules";

/// Releases (`uname -r`) of the kernels in the root, in byte order.
pub fn releases(tree: &Tree) -> Vec<String> {
    names(tree, DIR).into_iter().filter(|name| tree.get(&format!("{DIR}/{name}")).is_some_and(Inode::is_dir)).collect()
}

/// The kernel image of a release: `boot/vmlinuz-RELEASE`.
///
/// # Errors
/// No such file, with the kernels that there are.
pub fn image<'a>(tree: &'a Tree, release: &str) -> Result<&'a fruit_image::tree::Content, Error> {
    let path = format!("boot/vmlinuz-{release}");
    match tree.get(&path).map(|inode| &inode.kind) {
        Some(Kind::File(content)) => Ok(content),
        _ => {
            let found: Vec<String> = names(tree, "boot").into_iter().filter(|n| n.starts_with("vmlinu")).collect();
            Err(Error::Invalid { path, what: format!("no such kernel; in /boot there is {found:?}") })
        }
    }
}

/// Replaces the modules of `selection`'s kernel in the root by the selection, plain, with fresh index files, and
/// removes other kernels' modules. `modules.order` shrinks to the selection; `modules.builtin` stays.
///
/// # Errors
/// An unreadable `modules.*` file of the package.
pub fn install(tree: &mut Tree, selection: &Selection, epoch: i64) -> Result<(), Error> {
    let dir = format!("{DIR}/{}", selection.release);
    let read = |name: &str| text(tree, &format!("{dir}/{name}"));
    let order = read("modules.order")?.unwrap_or_default();
    let builtin = read("modules.builtin")?.unwrap_or_default();
    let modinfo_path = format!("{dir}/modules.builtin.modinfo");
    let modinfo = match tree.contains(&modinfo_path) {
        true => tree.read(&modinfo_path).map_err(|source| Error::Read { path: modinfo_path.clone(), source })?,
        false => Vec::new(),
    };
    for release in releases(tree) {
        tree.remove(&format!("{DIR}/{release}"));
    }
    let mut root = TreeEditor::new(tree, epoch);
    for module in &selection.modules {
        root.put(&format!("{dir}/{}", module.path), Inode::file(module.content.clone(), 0o644, epoch))?;
    }
    let mut files = depmod::files(&selection.modules, &order, &builtin, &modinfo);
    let kept: String = order
        .lines()
        .filter(|line| selection.modules.iter().any(|m| m.path == *line))
        .flat_map(|line| [line, "\n"])
        .collect();
    files.insert("modules.order", kept.into_bytes());
    files.insert("modules.builtin", builtin.into_bytes());
    files.insert("modules.builtin.modinfo", modinfo);
    for (name, content) in files {
        root.write(&format!("{dir}/{name}"), content, 0o644)?;
    }
    Ok(())
}
