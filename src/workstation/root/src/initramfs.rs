//! What the initramfs holds: fruit-init as `/init`, its configuration, and the modules that it loads.

use fruit_image::tree::{Content, Inode, Kind, Meta, Tree};

use crate::Error;
use crate::edit::TreeEditor;
use crate::kernel::{DIR, Selection};

/// A tree to be written as cpio. `init` is the static program, `config` the bytes of `/etc/fruit/init.json`, `modules`
/// the selection whose [`Selection::load_order`] the configuration lists. `extra` are further files by path (device
/// firmware that early modules ask for, for instance), mode 0644.
///
/// # Errors
/// An `extra` path that is not clean or collides with another file.
pub fn tree(
    init: Content,
    config: Vec<u8>,
    modules: &Selection,
    extra: &[(String, Content)],
    epoch: i64,
) -> Result<Tree, Error> {
    let mut tree = Tree::new(epoch);
    let mut root = TreeEditor::new(&mut tree, epoch);
    for dir in ["dev", "proc", "sys", "run", "root", "etc/fruit", "tmp"] {
        root.dir(dir, 0o755, 0, 0)?;
    }
    // The kernel opens /dev/console for the first process before anything mounts devtmpfs (init/main.c).
    let meta = |mode| Meta::root(mode, epoch);
    root.put("dev/console", Inode { meta: meta(0o600), kind: Kind::CharDevice { major: 5, minor: 1 } })?;
    root.put("dev/null", Inode { meta: meta(0o666), kind: Kind::CharDevice { major: 1, minor: 3 } })?;
    // /dev/kmsg is where fruit-init talks before it knows a console.
    root.put("dev/kmsg", Inode { meta: meta(0o644), kind: Kind::CharDevice { major: 1, minor: 11 } })?;
    root.put("init", Inode::file(init, 0o755, epoch))?;
    root.write("etc/fruit/init.json", config, 0o644)?;
    root.symlink("usr/lib", "lib")?;
    for module in &modules.modules {
        let path = format!("{DIR}/{}/{}", modules.release, module.path);
        root.put(&path, Inode::file(module.content.clone(), 0o644, epoch))?;
    }
    for (path, content) in extra {
        root.put(path.trim_start_matches('/'), Inode::file(content.clone(), 0o644, epoch))?;
    }
    Ok(tree)
}
