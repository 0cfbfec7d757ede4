//! What a person has written, checked as far as it can be before anything is downloaded or compiled: recipe, board, overlays,
//! keys and the files that a recipe names.

use std::path::Path;

use fruit_contract::NodeConfig;
use fruit_debian::Repository;
use fruit_recipe::{Diagnostic, Recipe, UnitName};
use fruit_root::overlay::{EntryKind, Overlay, RULES_FILE};

use super::{node_defaults, programs, search, sources};
use crate::error::{Error, diagnostic};

/// A recipe and all that it names on this machine.
pub struct Checked {
    pub recipe: Recipe,
    /// Its `first_boot`.
    pub node: NodeConfig,
    pub programs: programs::Wanted,
    /// In the order of the recipe's own list.
    pub overlays: Vec<Overlay>,
    pub repositories: Vec<Repository>,
}

/// Checks the recipe at `path`.
///
/// # Errors
/// Whatever is wrong with it or with a file that it names, on its line where it has one.
pub fn check(path: &Path) -> Result<Checked, Error> {
    check_set(path, &[])
}

/// As [`check`], with values for the recipe's variables, each `NAME=VALUE`.
///
/// # Errors
/// As [`check`]; a variable that the recipe does not have, a value that it may not have.
pub fn check_set(path: &Path, settings: &[String]) -> Result<Checked, Error> {
    let recipe = fruit_recipe::load_set(path, &search(), settings)?;
    let node = node_defaults(&recipe)?;
    let programs = programs::wanted(&recipe)?;
    let overlays: Vec<Overlay> =
        recipe.overlays.iter().map(|folder| overlay(&folder.path)).collect::<Result<_, _>>()?;
    fits(&recipe, &overlays)?;
    let repositories = sources::repositories(&recipe)?;
    Ok(Checked { recipe, node, programs, overlays, repositories })
}

fn overlay(folder: &Path) -> Result<Overlay, Error> {
    let overlay = Overlay::read(folder)?;
    for unit in overlay.enable() {
        UnitName::new(unit)
            .map_err(|why| Error::input(format!("{}: enable: {why}", folder.join(RULES_FILE).display())))?;
    }
    Ok(overlay)
}

/// Largest root that a recipe may ask for, in bytes.
const LARGEST_ROOT: u64 = 65536 << 20;

/// That overlays fit is known from their files' sizes, before anything reads them: a file with holes takes minutes to read.
fn fits(recipe: &Recipe, overlays: &[Overlay]) -> Result<(), Error> {
    let room = recipe.partitions.root.bytes().unwrap_or(LARGEST_ROOT);
    for (folder, overlay) in recipe.overlays.iter().zip(overlays) {
        for entry in overlay.entries() {
            if let EntryKind::File { len, .. } = entry.kind
                && len > room
            {
                let message =
                    format!("/{} of this overlay has {len} bytes, and a root has room for {room}", entry.path);
                let made = Diagnostic::error(message).maybe_place(folder.name.place.clone());
                return Err(diagnostic(made.help("make the file smaller, or `partitions: {root: SIZE}` larger")));
            }
        }
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use std::fs;

    use super::*;
    use crate::{Options, sources::Sources};

    type Spoil = &'static dyn Fn(&Path);

    /// What a build of a project says that is made by `spoil`, and whether it began to download or to compile.
    fn build(spoil: impl Fn(&Path)) -> (String, bool) {
        let dir = tempfile::tempdir().unwrap();
        let folder = dir.path();
        fs::create_dir_all(folder.join("recipes")).unwrap();
        fs::create_dir_all(folder.join("overlays/odd/etc")).unwrap();
        let text = "extends: base.yaml\nname: x\nboard: qemu-arm64\ninit: busybox\noverlays: [busybox, odd]\n";
        fs::write(folder.join("recipes/x.yaml"), text).unwrap();
        spoil(folder);
        let options = Options {
            recipe: folder.join("recipes/x.yaml"),
            set: Vec::new(),
            out: folder.join("out"),
            locked: false,
            strict: false,
            force: false,
            sources: Sources { mirror: Vec::new(), offline: true, cache: Some(folder.join("cache")) },
        };
        let failure = crate::build(&options, &fruit_progress::Silent).err().unwrap();
        (failure.to_string(), folder.join("cache").exists())
    }

    fn fifo(path: &Path) {
        let mode = rustix::fs::Mode::RUSR | rustix::fs::Mode::WUSR;
        rustix::fs::mknodat(rustix::fs::CWD, path, rustix::fs::FileType::Fifo, mode, 0).unwrap();
    }

    fn more(folder: &Path, text: &str) {
        let recipe = folder.join("recipes/x.yaml");
        fs::write(&recipe, fs::read_to_string(&recipe).unwrap() + text).unwrap();
    }

    #[test]
    fn what_a_person_has_written_is_checked_before_anything_is_downloaded_or_compiled() {
        const RULES: &str = "overlays/odd/overlay.yaml";
        const KEY: &str = "recipes/key.asc";
        const REPOSITORY: &str = "repositories: {r: {url: 'http://x.invalid/', suite: s, key: key.asc}}\n";
        let table: [(&str, Spoil); 11] = [
            ("overlays/odd/etc/pipe: an overlay holds", &|f| fifo(&f.join("overlays/odd/etc/pipe"))),
            ("overlay.yaml: is not a regular file", &|f| fifo(&f.join(RULES))),
            ("made anew at each boot", &|f| {
                fs::create_dir_all(f.join("overlays/odd/run")).unwrap();
                fs::write(f.join("overlays/odd/run/x"), "").unwrap();
            }),
            ("has room for", &|f| {
                // No byte of it is read.
                let file = fs::File::create(f.join("overlays/odd/etc/large")).unwrap();
                file.set_len(1 << 40).unwrap();
            }),
            ("matches no file", &|f| fs::write(f.join(RULES), "files: [{path: etc/none, mode: '0600'}]").unwrap()),
            ("enable:", &|f| fs::write(f.join(RULES), "enable: [ssh]").unwrap()),
            ("key.asc", &|f| more(f, REPOSITORY)),
            ("FIFO", &|f| {
                more(f, REPOSITORY);
                fifo(&f.join(KEY));
            }),
            ("key.asc", &|f| {
                more(f, REPOSITORY);
                fs::write(f.join(KEY), "<html>not found</html>").unwrap();
            }),
            ("FIFO", &|f| {
                fifo(&f.join("recipes/b.yaml"));
                more(f, "x: y\n");
                let text = fs::read_to_string(f.join("recipes/x.yaml")).unwrap();
                fs::write(f.join("recipes/x.yaml"), text.replace("base.yaml", "b.yaml")).unwrap();
            }),
            ("out: is not a folder", &|f| fs::write(f.join("out"), "").unwrap()),
        ];
        for (words, spoil) in table {
            let (message, began) = build(spoil);
            assert!(message.contains(words) && !began, "{words}: {message}");
        }
        // Nothing spoilt: the build goes on, to what it has no packages for.
        let (message, began) = build(|_| {});
        assert!(began, "{message}");
    }
}
