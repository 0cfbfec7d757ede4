//! Kernel modules that the packages' own lists for systemd name.

use fruit_image::tree::Tree;

use super::elf::module_name;
use crate::Error;
use crate::edit::{exists, names, text};

/// Files in which packages name modules that are loaded at boot (modules-load.d(5)).
const LISTS: [&str; 2] = ["usr/lib/modules-load.d", "etc/modules-load.d"];
/// Formats of programs that systemd registers at boot (binfmt.d(5)); without the module its service fails.
const FORMATS: [&str; 2] = ["usr/lib/binfmt.d", "etc/binfmt.d"];
const FORMATS_MODULE: &str = "binfmt_misc";
const FORMATS_UNIT: &str = "systemd-binfmt.service";

/// A module that a file of a package asks for.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Wanted {
    pub module: String,
    /// The file, relative to the root.
    pub by: String,
}

/// Modules that systemd would load at boot for what is installed: without them `systemctl is-system-running` says
/// `degraded`. Empty in a root without systemd.
///
/// # Errors
/// A list that cannot be read.
pub fn wanted(tree: &Tree) -> Result<Vec<Wanted>, Error> {
    let mut found: Vec<Wanted> = Vec::new();
    if !exists(tree, "usr/lib/systemd/systemd") {
        return Ok(found);
    }
    for dir in LISTS {
        for path in files(tree, dir) {
            for line in text(tree, &path)?.unwrap_or_default().lines().map(str::trim) {
                let is_name = !line.is_empty() && line.len() < 64 && !line.contains(char::is_whitespace);
                if is_name && !line.starts_with(['#', ';']) && !found.iter().any(|w| w.module == module_name(line)) {
                    found.push(Wanted { module: module_name(line), by: path.clone() });
                }
            }
        }
    }
    if let Some(path) = FORMATS.iter().find_map(|dir| files(tree, dir).into_iter().next()) {
        found.push(Wanted { module: FORMATS_MODULE.to_owned(), by: path });
    }
    Ok(found)
}

fn files(tree: &Tree, dir: &str) -> Vec<String> {
    let names = names(tree, dir).into_iter().filter(|name| name.ends_with(".conf"));
    names.map(|name| format!("{dir}/{name}")).collect()
}

/// Units that would fail at each boot because the kernel lacks their module altogether.
pub fn hopeless_units(missing: &[Wanted]) -> Vec<String> {
    let formats = missing.iter().any(|wanted| wanted.module == FORMATS_MODULE);
    if formats { vec![FORMATS_UNIT.to_owned()] } else { Vec::new() }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::edit::TreeEditor;

    #[test]
    fn lists_for_systemd_are_asked_for_and_only_where_systemd_is() {
        let mut tree = Tree::new(0);
        let mut root = TreeEditor::new(&mut tree, 0);
        root.write("usr/lib/modules-load.d/iscsi.conf", "# comment\niscsi-tcp\n\nib_iser\n", 0o644).unwrap();
        root.write("usr/lib/binfmt.d/python3.13.conf", ":python3.13:M::…", 0o644).unwrap();
        assert!(wanted(root.tree).unwrap().is_empty());
        root.write("usr/lib/systemd/systemd", "", 0o755).unwrap();
        let found = wanted(&tree).unwrap();
        let modules: Vec<&str> = found.iter().map(|w| w.module.as_str()).collect();
        assert_eq!(modules, ["iscsi_tcp", "ib_iser", "binfmt_misc"]);
        assert_eq!(hopeless_units(&found), ["systemd-binfmt.service"]);
        assert!(hopeless_units(&found[..2]).is_empty());
    }
}
