//! Single files of a recipe laid over the root: none takes the place of another one by accident, none leaves the root.

use fruit_image::tree::{Content, Inode, Kind, Tree};

use crate::Error;
use crate::edit::TreeEditor;
use crate::finish::accounts::Accounts;

/// Folders that are made anew at each boot.
const VOLATILE: [&str; 5] = ["dev", "proc", "run", "sys", "tmp"];

/// What to lay.
#[derive(Clone, Debug)]
pub enum What {
    /// A file with its content and mode.
    File { content: Content, mode: u16 },
    /// A symbolic link and where it leads.
    Link(String),
}

/// Why a file was not laid.
#[derive(Debug, thiserror::Error)]
pub enum Refused {
    /// Something else is there; by its path in the root.
    #[error("/{0} is there already")]
    Taken(String),
    #[error("/{0} is a folder")]
    Folder(String),
    #[error("/{path} is really /{real}, which is made anew at each boot: no file of the image is seen there")]
    Volatile { path: String, real: String },
    #[error(transparent)]
    Root(#[from] Error),
}

/// Puts `what` at `path` (without leading slash), owned by root, and gives the path at which it really is: links to folders are
/// followed, as `/lib` is `/usr/lib`. Only with `replace` it may take the place of something else.
///
/// # Errors
/// Something is there, or the path cannot hold a file.
pub fn lay(tree: &mut Tree, path: &str, what: What, replace: bool, epoch: i64) -> Result<String, Refused> {
    let mut root = TreeEditor::new(tree, epoch);
    let real = root.place(path)?;
    let top = real.split('/').next().unwrap_or_default();
    if VOLATILE.contains(&top) {
        return Err(Refused::Volatile { path: path.to_owned(), real });
    }
    match root.tree.get(&real).map(|inode| &inode.kind) {
        Some(Kind::Dir) => return Err(Refused::Folder(real)),
        Some(_) if !replace => return Err(Refused::Taken(real)),
        _ => {}
    }
    let inode = match what {
        What::File { content, mode } => Inode::file(content, mode, epoch),
        What::Link(target) => Inode::symlink(target, epoch),
    };
    // Not in the place of the old one: the name of a hard link must not change what its other names show.
    root.tree.remove(&real);
    root.put(&real, inode)?;
    Ok(real)
}

/// Gives the file at `real` to `user` and `group`, names of the root's accounts or numbers. `place` is what errors call the line.
///
/// # Errors
/// An unknown account.
pub fn own(tree: &mut Tree, real: &str, user: &str, group: &str, place: &str) -> Result<(), Error> {
    let root = TreeEditor::new(tree, 0);
    let accounts = Accounts::load(&root)?;
    let (uid, gid) = (accounts.uid_of(place, user)?, accounts.gid_of(place, group)?);
    if let Some(inode) = tree.get_mut(real) {
        (inode.meta.uid, inode.meta.gid) = (uid, gid);
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn root() -> Tree {
        let mut tree = Tree::new(0);
        let mut root = TreeEditor::new(&mut tree, 0);
        root.write("etc/passwd", "root:x:0:0::/root:/bin/sh\nweb:x:200:201::/:/bin/sh\n", 0o644).unwrap();
        root.write("etc/group", "root:x:0:\nadm:x:4:\n", 0o644).unwrap();
        root.dir("usr/lib", 0o755, 0, 0).unwrap();
        root.symlink("usr/lib", "lib").unwrap();
        root.dir("var", 0o755, 0, 0).unwrap();
        root.symlink("/run", "var/run").unwrap();
        root.symlink("/../../outside", "etc/up").unwrap();
        tree
    }

    fn text(content: &str) -> What {
        What::File { content: content.into(), mode: 0o640 }
    }

    #[test]
    fn a_file_lands_where_links_lead_and_belongs_to_whom_the_recipe_says() {
        let mut tree = root();
        let real = lay(&mut tree, "lib/x/y.conf", text("y"), false, 7).unwrap();
        assert_eq!(real, "usr/lib/x/y.conf");
        own(&mut tree, &real, "web", "adm", "here").unwrap();
        let inode = tree.get(&real).unwrap();
        assert_eq!((inode.meta.uid, inode.meta.gid, inode.meta.mode), (200, 4, 0o640));
        own(&mut tree, &real, "12", "34", "here").unwrap();
        let unknown = own(&mut tree, &real, "wbe", "adm", "here").unwrap_err().to_string();
        assert_eq!(unknown, "here: there is no user \"wbe\"");
    }

    #[test]
    fn nothing_is_replaced_by_accident_and_nothing_lands_outside() {
        let mut tree = root();
        let refused =
            |tree: &mut Tree, path: &str, replace| lay(tree, path, text("x"), replace, 7).unwrap_err().to_string();
        assert_eq!(refused(&mut tree, "etc/group", false), "/etc/group is there already");
        assert_eq!(refused(&mut tree, "lib", false), "/lib is there already");
        assert_eq!(refused(&mut tree, "usr/lib", true), "/usr/lib is a folder");
        assert!(refused(&mut tree, "var/run/x", true).contains("/run/x"), "a link to a folder of the running system");
        assert!(refused(&mut tree, "etc/passwd/x", false).contains("etc/passwd"));
        lay(&mut tree, "etc/group", text("x"), true, 7).unwrap();
        // A link that climbs ends at the root.
        if let Ok(real) = lay(&mut tree, "etc/up/x", text("x"), false, 7) {
            assert_eq!(real, "outside/x");
        }
        assert!(tree.iter().all(|(path, ..)| !path.split('/').any(|part| part == "..")));
    }
}
