//! The last look at a root before it is written.

use fruit_image::tree::{InodeId, Kind, Tree};

use crate::edit::{exists, names};

/// Something in the root that will not work on the device.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Problem {
    pub path: String,
    pub what: String,
}

/// Clamps every modification time to `epoch` (seconds since 1970), so that the time of the build does not show, and
/// returns what is broken: alternatives and unit links that lead nowhere, units that start programs that are not there.
pub fn finish(tree: &mut Tree, epoch: i64) -> Vec<Problem> {
    let paths: Vec<(String, InodeId)> = tree.iter().map(|(path, id, _)| (path.to_owned(), id)).collect();
    for (path, _) in paths {
        if let Some(inode) = tree.get_mut(&path) {
            inode.meta.mtime = inode.meta.mtime.clamp(0, epoch.max(0));
        }
    }
    check(tree)
}

/// What is broken in `tree`.
pub fn check(tree: &Tree) -> Vec<Problem> {
    let mut problems = Vec::new();
    dangling(tree, "etc/alternatives", &mut problems);
    for dir in ["etc/systemd/system", "usr/lib/systemd/system"] {
        dangling(tree, dir, &mut problems);
    }
    missing_programs(tree, &mut problems);
    problems
}

/// Symbolic links below `dir` that lead nowhere; links to /dev are masks.
fn dangling(tree: &Tree, dir: &str, problems: &mut Vec<Problem>) {
    for (path, _, inode) in tree.below(dir) {
        if let Kind::Symlink(target) = &inode.kind
            && !target.starts_with("/dev/")
            && !exists(tree, path)
            && !template_exists(tree, path, target)
        {
            problems.push(Problem { path: path.to_owned(), what: format!("leads to {target}, which does not exist") });
        }
    }
}

/// Unit links are used by their name: `x.wants/getty@tty1.service → ../getty@.service` and links by bare name resolve
/// in systemd's search path.
fn template_exists(tree: &Tree, path: &str, target: &str) -> bool {
    let name = target.rsplit('/').next().unwrap_or(target);
    let is_dependency = path
        .rsplit('/')
        .nth(1)
        .is_some_and(|dir| dir.ends_with(".wants") || dir.ends_with(".requires") || dir.ends_with(".upholds"));
    is_dependency
        && ["etc/systemd/system", "usr/lib/systemd/system"].iter().any(|dir| exists(tree, &format!("{dir}/{name}")))
}

/// Enabled services whose program is missing.
fn missing_programs(tree: &Tree, problems: &mut Vec<Problem>) {
    for dir in names(tree, "etc/systemd/system") {
        if !(dir.ends_with(".wants") || dir.ends_with(".requires")) {
            continue;
        }
        for unit in names(tree, &format!("etc/systemd/system/{dir}")) {
            let path = format!("etc/systemd/system/{dir}/{unit}");
            let Ok(text) = tree.read(&path) else { continue };
            let text = String::from_utf8_lossy(&text);
            for line in text.lines().filter_map(|line| line.trim().strip_prefix("ExecStart=")) {
                let program =
                    line.trim_start_matches(['@', '-', ':', '+', '!', '|']).split_whitespace().next().unwrap_or("");
                let literal = program.starts_with('/') && !program.contains(['%', '$']);
                if literal && !line.starts_with('-') && !exists(tree, program.trim_start_matches('/')) {
                    problems
                        .push(Problem { path: path.clone(), what: format!("starts {program}, which does not exist") });
                }
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::edit::TreeEditor;

    #[test]
    fn times_are_clamped_and_broken_links_are_told() {
        let mut tree = Tree::new(99);
        let mut root = TreeEditor::new(&mut tree, 99);
        root.write("usr/lib/systemd/system/a.service", "[Service]\nExecStart=/usr/bin/none\n", 0o644).unwrap();
        root.symlink("/usr/lib/systemd/system/a.service", "etc/systemd/system/multi-user.target.wants/a.service")
            .unwrap();
        root.symlink("/usr/lib/systemd/system/gone.service", "etc/systemd/system/gone.service").unwrap();
        root.symlink("/dev/null", "etc/systemd/system/masked.service").unwrap();
        root.symlink("/usr/bin/nothing", "etc/alternatives/x").unwrap();
        let problems = finish(&mut tree, 50);
        let paths: Vec<&str> = problems.iter().map(|p| p.path.as_str()).collect();
        assert_eq!(
            paths,
            [
                "etc/alternatives/x",
                "etc/systemd/system/gone.service",
                "etc/systemd/system/multi-user.target.wants/a.service"
            ]
        );
        assert!(tree.iter().all(|(.., inode)| inode.meta.mtime <= 50));
    }
}
