//! The recipe's `sysctl` in the root.

use fruit_image::tree::{Inode, Tree};
use fruit_recipe::{Diagnostic, InitSystem, Recipe};

use crate::device_files::put;
use crate::error::{Error, diagnostic};

/// Before an operator's 99-local.conf.
const FILE: &str = "etc/sysctl.d/90-fruitbuild.conf";

/// Writes the settings where the init system reads them at boot (sysctl.d(5)).
///
/// # Errors
/// An init that would not read them, on the recipe's line.
pub fn write(recipe: &Recipe, tree: &mut Tree, epoch: i64) -> Result<(), Error> {
    let Some((first, _)) = recipe.sysctl.iter().next() else { return Ok(()) };
    let there = |path: &str| tree.resolve(path).is_ok_and(|real| tree.contains(&real));
    let reader = match recipe.init.value {
        InitSystem::Systemd => there("usr/lib/systemd/systemd-sysctl").then_some(()),
        // What overlays/busybox starts at boot; an overlay may have put something else there.
        InitSystem::Busybox => {
            let boot = tree.read("usr/lib/fruit/boot").unwrap_or_default();
            let program = ["usr/sbin/sysctl", "sbin/sysctl", "usr/bin/sysctl"].iter().any(|path| there(path));
            (String::from_utf8_lossy(&boot).contains("/etc/sysctl.d/") && program).then_some(())
        }
    };
    if reader.is_none() {
        let made = Diagnostic::error("nothing in this image applies settings of the kernel at boot");
        return Err(diagnostic(made.maybe_place(first.place.clone()).help(match recipe.init.value {
            InitSystem::Systemd => "keep systemd's own files (`prune`)",
            InitSystem::Busybox => "use the overlay `busybox`, or have your own /usr/lib/fruit/boot run `sysctl -p` for /etc/sysctl.d/*.conf",
        })));
    }
    let lines: String = recipe.sysctl.iter().map(|(name, value)| format!("{name} = {}\n", value.as_str())).collect();
    put(tree, FILE, Inode::file(lines.as_str(), 0o644, epoch), epoch)
}
