//! Releases in a folder: a repository as `fruitbuild publish` makes it, or bundles that somebody copied there.

use std::fs;
use std::io;
use std::path::{Path, PathBuf};

use fruit_release::Name;
use fruit_release::bundle::ENDING;

/// Most bundles of a folder that are looked at.
const BUNDLES_MAX: usize = 16;

/// What a folder holds.
#[derive(Clone, PartialEq, Eq, Debug)]
pub enum Content {
    Repository,
    /// Newest first.
    Bundles(Vec<PathBuf>),
    Nothing,
}

/// Looks into a folder.
///
/// # Errors
/// It can't be read.
pub fn inspect(folder: &Path) -> io::Result<Content> {
    if folder.join(Name::Timestamp.to_string()).is_file() {
        return Ok(Content::Repository);
    }
    let mut bundles = Vec::new();
    for entry in fs::read_dir(folder)? {
        let path = entry?.path();
        let hidden = path.file_name().is_some_and(|name| name.to_string_lossy().starts_with('.'));
        if path.extension().is_some_and(|ending| ending == ENDING) && !hidden && path.is_file() {
            let changed = fs::metadata(&path).and_then(|meta| meta.modified())?;
            bundles.push((changed, path));
        }
    }
    bundles.sort_by(|a, b| b.cmp(a));
    bundles.truncate(BUNDLES_MAX);
    let bundles: Vec<PathBuf> = bundles.into_iter().map(|(_, path)| path).collect();
    Ok(if bundles.is_empty() { Content::Nothing } else { Content::Bundles(bundles) })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn put(folder: &Path, path: &str, bytes: &[u8]) {
        let path = folder.join(path);
        fs::create_dir_all(path.parent().unwrap()).unwrap();
        fs::write(path, bytes).unwrap();
    }

    #[test]
    fn a_folder_holds_a_repository_or_bundles() {
        let folder = tempfile::tempdir().unwrap();
        assert_eq!(inspect(folder.path()).unwrap(), Content::Nothing);
        put(folder.path(), "old.fruit", b"");
        std::thread::sleep(std::time::Duration::from_millis(20));
        put(folder.path(), "new.fruit", b"");
        put(folder.path(), "._new.fruit", b"what another system leaves on a stick");
        put(folder.path(), "other.txt", b"");
        let names = [folder.path().join("new.fruit"), folder.path().join("old.fruit")];
        assert_eq!(inspect(folder.path()).unwrap(), Content::Bundles(names.to_vec()));
        put(folder.path(), "metadata/timestamp.json", b"");
        assert_eq!(inspect(folder.path()).unwrap(), Content::Repository);
        assert!(inspect(&folder.path().join("none")).is_err());
    }
}
