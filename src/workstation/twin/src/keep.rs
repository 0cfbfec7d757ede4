//! Layers in the store: a later build with the same packages, answers and tools need not run anything.
//!
//! ```text
//! layers/abcd….tar    new files, folders and links
//! layers/abcd….json   everything else, and the hash of the archive: written last
//! layers/abcd….log    what the scripts said
//! layers/abcd….1.work  the root of a run that goes on
//! ```

use std::fs::{self, File};
use std::path::{Path, PathBuf};

use fruit_base::{AtPath, PathError};
use fruit_debian::digest::Sha256;
use fruit_debian::tarball::{EntryKind, Tarball};
use fruit_image::sums::Summing;
use fruit_image::tree::{Content, Inode, Kind, Meta, Source};
use serde::{Deserialize, Serialize};

use crate::archive::Writer;
use crate::error::Error;
use crate::layer::{Layer, Rest};

/// Largest description of a layer read, in bytes.
const MAX_REST: u64 = 64 << 20;

#[derive(Serialize, Deserialize)]
struct Kept {
    /// Of the archive, hexadecimal digits.
    sha256: String,
    #[serde(flatten)]
    rest: Rest,
}

/// Where one layer is kept.
pub(crate) struct Place {
    stem: PathBuf,
}

impl Place {
    pub fn new(store: &Path, key: &str) -> Result<Place, Error> {
        let folder = store.join("layers");
        fs::create_dir_all(&folder).at(&folder)?;
        Ok(Place { stem: folder.join(key) })
    }

    fn file(&self, ending: &str) -> PathBuf {
        self.stem.with_extension(ending)
    }

    pub fn log(&self) -> PathBuf {
        self.file("log")
    }

    /// A folder for the run, of this process alone.
    pub fn work(&self) -> PathBuf {
        self.file(&format!("{}.work", std::process::id()))
    }

    /// The folder of all layers.
    pub fn folder(&self) -> &Path {
        self.stem.parent().unwrap_or(Path::new("."))
    }

    /// Writes a layer.
    ///
    /// # Errors
    /// Those of the file system.
    pub fn keep(&self, layer: &Layer) -> Result<(), Error> {
        let path = self.file("tar");
        let folder = self.folder();
        let temporary = tempfile::NamedTempFile::new_in(folder).at(folder)?;
        let mut writer = Writer::new(Summing::new(temporary.as_file()));
        let write = |writer: &mut Writer<Summing<&File>>| {
            for (path, inode) in &layer.puts {
                writer.add(path, inode)?;
            }
            layer.links.iter().try_for_each(|(path, target)| writer.add_link(path, target))
        };
        write(&mut writer).at(&path)?;
        let sha256 = writer.finish().at(&path)?.finish().0.to_string();
        temporary.persist(&path).map_err(|e| PathError::new(&path, e.error))?;
        let kept = Kept { sha256, rest: layer.rest.clone() };
        let text = serde_json::to_vec_pretty(&kept).map_err(|e| Error::Other(e.to_string()))?;
        let json = self.file("json");
        fruit_base::replace(&json, &text).at(&json)?;
        Ok(())
    }

    /// The layer, with the hash of all of it; `None` when none is kept, or one that is damaged or of another version.
    ///
    /// # Errors
    /// Those of the file system.
    pub fn open(&self) -> Result<Option<(Layer, String)>, Error> {
        let json = self.file("json");
        let Ok(meta) = fs::metadata(&json) else { return Ok(None) };
        if meta.len() > MAX_REST {
            return Ok(None);
        }
        let text = fs::read(&json).at(&json)?;
        let Ok(kept) = serde_json::from_slice::<Kept>(&text) else { return Ok(None) };
        let path = self.file("tar");
        let Ok(source) = Source::open(&path) else { return Ok(None) };
        let mut sum = Summing::new(std::io::sink());
        std::io::copy(&mut source.file(), &mut sum).at(&path)?;
        if sum.finish().0.to_string() != kept.sha256 {
            return Ok(None);
        }
        let mut layer = Layer { rest: kept.rest, ..Layer::default() };
        let file = File::open(&path).at(&path)?;
        let mut tar = Tarball::new(file).tolerant();
        let wrong = |e: fruit_debian::tarball::TarError| Error::Other(format!("{}: {e}", path.display()));
        while let Some(entry) = tar.next_entry().map_err(wrong)? {
            let kind = match entry.kind {
                EntryKind::Dir => Kind::Dir,
                EntryKind::Symlink(target) => Kind::Symlink(target),
                EntryKind::Fifo => Kind::Fifo,
                EntryKind::File => {
                    Kind::File(Content::Range { source: source.clone(), offset: entry.offset, len: entry.size })
                }
                EntryKind::HardLink(target) => {
                    layer.links.insert(entry.path, target);
                    continue;
                }
                EntryKind::CharDevice { .. } | EntryKind::BlockDevice { .. } => continue,
            };
            let mode = if matches!(kind, Kind::Symlink(_)) { 0o777 } else { entry.mode };
            let meta = Meta { mode, uid: entry.uid, gid: entry.gid, mtime: entry.mtime, xattrs: entry.xattrs };
            layer.puts.insert(entry.path, Inode { meta, kind });
        }
        Ok(Some((layer, Sha256::of(&text).to_string())))
    }
}
