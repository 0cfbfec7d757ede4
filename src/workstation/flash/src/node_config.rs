//! A `fruit.yaml` onto a card that is a file or disk here, as a person would do it at any PC.

use std::fs::File;
use std::io;
use std::os::unix::fs::FileExt;
use std::path::{Path, PathBuf};

use fruit_base::{AtPath, PathError};
use fruit_contract::NODE_CONFIG_NAME;
use fruit_image::disk::{Disk, DiskFile};
use fruit_image::fat::{self, Volume};
use fruit_image::gpt;
use fruit_image::storage::WriteAt;
use fruit_image::tree::{Inode, Tree};

/// Name of the partition that the file goes to.
pub const PARTITION: &str = "firmware";
/// Largest file of the firmware partition that is copied.
const MAX_FILE: u64 = 64 << 20;

/// Why a card did not get its `fruit.yaml`.
#[derive(thiserror::Error, Debug)]
pub enum ConfigError {
    /// Mistakes in the file, a line each.
    #[error("{0}")]
    Mistakes(String),
    #[error("{card}: {why}", card = card.display())]
    Card { card: PathBuf, why: String },
    #[error(transparent)]
    Path(#[from] PathError),
}

/// Reads a `fruit.yaml` with the node's own checks.
///
/// # Errors
/// No such file; mistakes in the file, by line.
pub fn read(config: &Path) -> Result<Vec<u8>, ConfigError> {
    let text = std::fs::read(config).at(config)?;
    let (_, problems) = fruit_contract::read(&text);
    if !problems.is_empty() {
        let lines: Vec<String> = problems.iter().map(|p| format!("{}: {p}", config.display())).collect();
        return Err(ConfigError::Mistakes(lines.join("\n")));
    }
    Ok(text)
}

/// Writes the firmware partition of `card` anew with `text`, of [`read`], as its `fruit.yaml`.
///
/// # Errors
/// A card that fruitbuild did not make; write errors.
pub fn put(card: &Path, text: Vec<u8>) -> Result<(), ConfigError> {
    let fail = |error: &dyn std::fmt::Display| ConfigError::Card { card: card.to_owned(), why: error.to_string() };
    let disk = DiskFile::open(card).map_err(|error| fail(&error))?;
    let found = gpt::read(&disk).map_err(|error| fail(&error))?;
    let partition = found.layout.partitions.iter().find(|p| p.name == PARTITION);
    let partition = partition.ok_or_else(|| fail(&"has no partition firmware"))?;
    let window = fruit_image::disk::Window::new(&disk, partition.start(), partition.size());
    let volume = Volume::open(&window).map_err(|error| fail(&error))?;
    let tree = with_config(&volume, text).map_err(|error| fail(&error))?;
    let options = fat::Options {
        kind: volume.kind(),
        size: partition.size(),
        label: volume.label().to_owned(),
        volume_id: volume.volume_id(),
        time: fruit_base::now(),
    };
    let mut memory = Memory { bytes: vec![0; usize::try_from(partition.size()).map_err(|error| fail(&error))?].into() };
    fat::write(&tree, &options, &memory).map_err(|error| fail(&error))?;
    let file = File::options().write(true).open(card).at(card)?;
    let bytes = memory.bytes.get_mut().unwrap_or_else(std::sync::PoisonError::into_inner);
    FileExt::write_all_at(&file, bytes, partition.start()).at(card)?;
    Ok(file.sync_all().at(card)?)
}

fn with_config<D: Disk + ?Sized>(volume: &Volume<'_, D>, text: Vec<u8>) -> Result<Tree, Box<dyn std::error::Error>> {
    let mut tree = Tree::new(0);
    for entry in volume.list()? {
        let path = entry.path.as_str();
        if entry.is_dir {
            tree.make_dirs(path, 0o755, 0)?;
        } else if path != NODE_CONFIG_NAME {
            if let Some((folder, _)) = path.rsplit_once('/') {
                tree.make_dirs(folder, 0o755, 0)?;
            }
            tree.insert(path, Inode::file(volume.content(&entry, MAX_FILE)?, 0o644, 0))?;
        }
    }
    tree.insert(NODE_CONFIG_NAME, Inode::file(text, 0o644, 0))?;
    Ok(tree)
}

/// A partition in memory: it is written to the card in one go.
struct Memory {
    bytes: std::sync::Mutex<Vec<u8>>,
}

impl WriteAt for Memory {
    fn write_all_at(&self, buf: &[u8], offset: u64) -> io::Result<()> {
        let past = || io::Error::new(io::ErrorKind::UnexpectedEof, "past the end of the partition");
        let mut bytes = self.bytes.lock().unwrap_or_else(std::sync::PoisonError::into_inner);
        let start = usize::try_from(offset).map_err(|_| past())?;
        let end = start.checked_add(buf.len()).ok_or_else(past)?;
        bytes.get_mut(start..end).ok_or_else(past)?.copy_from_slice(buf);
        Ok(())
    }
}
