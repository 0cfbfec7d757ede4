//! All that an image is made of, as hashes: tells whether a build would give anything new, and names the build.

use std::fs;
use std::io::Read;
use std::os::unix::fs::PermissionsExt;
use std::path::Path;

use fruit_contract::cmdline::hex;
use fruit_contract::image_manifest::Input;
use fruit_debian::Lock;
use fruit_image::tree::Content;
use fruit_recipe::Recipe;
use sha2::{Digest, Sha256};

use super::programs::Obtained;
use crate::failure::{Failure, at};

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
    pub fn gather(recipe: &Recipe, lock: &Lock, programs: &Obtained, epoch: i64) -> Result<Inputs, Failure> {
        let mut list = vec![
            input("recipe", recipe.name.as_str(), &recipe.fingerprint()),
            input("lock", recipe.name.as_str(), lock.to_text().as_bytes()),
        ];
        for folder in &recipe.overlays {
            overlay_files(&folder.path, folder.name.as_str(), &mut list)?;
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
fn overlay_files(folder: &Path, name: &str, list: &mut Vec<Input>) -> Result<(), Failure> {
    let mut entries = fs::read_dir(folder)
        .map_err(at(folder))?
        .map(|entry| entry.map(|entry| entry.path()))
        .collect::<Result<Vec<_>, _>>()
        .map_err(at(folder))?;
    entries.sort();
    for path in entries {
        let file_name = path.file_name().unwrap_or_default().to_string_lossy().into_owned();
        let name = format!("{name}/{file_name}");
        let meta = fs::symlink_metadata(&path).map_err(at(&path))?;
        if meta.is_dir() {
            list.push(input("overlay", &format!("{name}/"), b""));
            overlay_files(&path, &name, list)?;
        } else if meta.is_symlink() {
            let target = fs::read_link(&path).map_err(at(&path))?;
            list.push(input("overlay", &name, format!("link {}", target.display()).as_bytes()));
        } else if !meta.is_file() {
            // Opening a FIFO waits for a writer that never comes; reading some devices never ends.
            let what = "an overlay holds files, folders and symbolic links only; remove this FIFO, socket or device";
            return Err(Failure::input(format!("{}: {what}", path.display())));
        } else {
            let executable = meta.permissions().mode() & 0o111 != 0;
            let mut hash = Sha256::new();
            hash.update([u8::from(executable)]);
            // As a stream: an overlay may hold files of gigabytes.
            let mut file = fs::File::open(&path).map_err(at(&path))?;
            let mut buf = vec![0; READ];
            loop {
                match file.read(&mut buf) {
                    Ok(0) => break,
                    Ok(len) => hash.update(&buf[..len]),
                    Err(error) if error.kind() == std::io::ErrorKind::Interrupted => {}
                    Err(error) => return Err(at(&path)(error)),
                }
            }
            list.push(Input { kind: "overlay".to_owned(), name, sha256: hex(&hash.finalize()) });
        }
    }
    Ok(())
}

/// SHA-256 of a content, hex.
///
/// # Errors
/// A read error.
pub fn sha256_of(content: &Content) -> Result<String, Failure> {
    let mut hash = Sha256::new();
    let mut buf = vec![0; READ];
    let (mut at, len) = (0, content.len());
    while at < len {
        let part = &mut buf[..(len - at).min(READ as u64) as usize];
        content.read_at(part, at).map_err(|error| Failure::general(error.to_string()))?;
        hash.update(&*part);
        at += part.len() as u64;
    }
    Ok(hex(&hash.finalize()))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_fifo_and_a_socket_are_refused_by_name_and_never_opened() {
        let dir = tempfile::tempdir().unwrap();
        let fifo = dir.path().join("overlay.yaml");
        rustix::fs::mknodat(
            rustix::fs::CWD,
            &fifo,
            rustix::fs::FileType::Fifo,
            rustix::fs::Mode::RUSR | rustix::fs::Mode::WUSR,
            0,
        )
        .unwrap();
        let error = overlay_files(dir.path(), "odd", &mut Vec::new()).unwrap_err();
        assert!(error.to_string().contains("overlay.yaml: an overlay holds"), "{error}");
        fs::remove_file(&fifo).unwrap();
        let _socket = std::os::unix::net::UnixListener::bind(dir.path().join("sock")).unwrap();
        let error = overlay_files(dir.path(), "odd", &mut Vec::new()).unwrap_err();
        assert!(error.to_string().contains("sock: an overlay holds"), "{error}");
    }

    #[test]
    fn a_file_of_many_reads_has_the_hash_of_its_bytes() {
        let dir = tempfile::tempdir().unwrap();
        let bytes = vec![7; 3 * READ + 5];
        fs::write(dir.path().join("large"), &bytes).unwrap();
        let mut list = Vec::new();
        overlay_files(dir.path(), "odd", &mut list).unwrap();
        assert_eq!(list[0].sha256, hex(&Sha256::digest([&[0][..], &bytes].concat())));
        for bytes in [bytes, Vec::new()] {
            assert_eq!(sha256_of(&bytes.clone().into()).unwrap(), hex(&Sha256::digest(&bytes)));
        }
    }
}
