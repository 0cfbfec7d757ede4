//! All that an image is made of, as hashes: tells whether a build would give anything new, and names the build.

use std::fs;
use std::io::Read;
use std::path::Path;

use fruit_base::{AtPath, PathError};
use fruit_contract::cmdline::hex;
use fruit_contract::image_manifest::Input;
use fruit_debian::Lock;
use fruit_recipe::Recipe;
use fruit_root::overlay::{EntryKind, Overlay, RULES_FILE};
use sha2::{Digest, Sha256};

use super::programs::Obtained;
use crate::error::Error;

/// Raised when the same inputs give other bytes than before.
const FORMAT: u32 = 1;
/// Bytes of a file read at a time.
const READ: usize = 1 << 16;

pub struct Inputs {
    pub list: Vec<Input>,
    /// Names the build: the same for the same inputs on any machine.
    pub build_id: String,
}

impl Inputs {
    /// Hashes recipe, lock, overlays, keys and programs. Packages are in the lock by their hashes.
    ///
    /// # Errors
    /// A file that cannot be read.
    pub fn gather(
        recipe: &Recipe,
        overlays: &[Overlay],
        lock: &Lock,
        programs: &Obtained,
        epoch: i64,
    ) -> Result<Inputs, Error> {
        let mut list = vec![
            input("recipe", recipe.name.as_str(), &recipe.fingerprint()),
            input("lock", recipe.name.as_str(), lock.to_text().as_bytes()),
        ];
        for (folder, overlay) in recipe.overlays.iter().zip(overlays) {
            overlay_files(&folder.path, folder.name.as_str(), overlay, &mut list)?;
        }
        list.extend(programs.hashes.iter().map(|(name, sha256)| Input {
            kind: "program".to_owned(),
            name: name.clone(),
            sha256: sha256.clone(),
        }));
        let files = programs.files.iter();
        list.extend(files.map(|(name, sha256)| Input {
            kind: "file".to_owned(),
            name: name.clone(),
            sha256: sha256.clone(),
        }));
        let mut hash = Sha256::new();
        hash.update(format!("fruitbuild {} format {FORMAT} epoch {epoch}\n", env!("CARGO_PKG_VERSION")));
        for input in &list {
            hash.update(format!("{} {} {}\n", input.kind, input.name, input.sha256));
        }
        let build_id = hex(&hash.finalize()[..16]);
        Ok(Inputs { list, build_id })
    }
}

fn input(kind: &str, name: &str, bytes: &[u8]) -> Input {
    Input { kind: kind.to_owned(), name: name.to_owned(), sha256: hex(&Sha256::digest(bytes)) }
}

/// Owner and time of an overlay's files do not count, whether they are executable does.
fn overlay_files(folder: &Path, name: &str, overlay: &Overlay, list: &mut Vec<Input>) -> Result<(), Error> {
    let rules = folder.join(RULES_FILE);
    if rules.is_file() {
        list.push(overlay_file(&rules, format!("{name}/{RULES_FILE}"), false)?);
    }
    for entry in overlay.entries() {
        let name = format!("{name}/{}", entry.path);
        list.push(match &entry.kind {
            EntryKind::Folder => input("overlay", &format!("{name}/"), b""),
            EntryKind::Link(target) => input("overlay", &name, format!("link {target}").as_bytes()),
            EntryKind::File { executable, .. } => overlay_file(&entry.file, name, *executable)?,
        });
    }
    Ok(())
}

/// Read as a stream: an overlay may hold files of gigabytes.
fn overlay_file(path: &Path, name: String, executable: bool) -> Result<Input, Error> {
    let mut hash = Sha256::new();
    hash.update([u8::from(executable)]);
    let mut file = fs::File::open(path).at(path)?;
    let mut buf = vec![0; READ];
    loop {
        match file.read(&mut buf) {
            Ok(0) => break,
            Ok(len) => hash.update(&buf[..len]),
            Err(error) if error.kind() == std::io::ErrorKind::Interrupted => {}
            Err(error) => return Err(PathError::new(path, error).into()),
        }
    }
    Ok(Input { kind: "overlay".to_owned(), name, sha256: hex(&hash.finalize()) })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_file_of_many_reads_has_the_hash_of_its_bytes() {
        let dir = tempfile::tempdir().unwrap();
        let bytes = vec![7; 3 * READ + 5];
        fs::write(dir.path().join("large"), &bytes).unwrap();
        let mut list = Vec::new();
        overlay_files(dir.path(), "odd", &Overlay::read(dir.path()).unwrap(), &mut list).unwrap();
        assert_eq!(list[0].sha256, hex(&Sha256::digest([&[0][..], &bytes].concat())));
    }
}
