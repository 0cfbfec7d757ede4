//! Our own programs in an image: which ones, and the files that go with them.

use std::path::Path;

use fruit_image::tree::{Content, Inode};
use fruit_recipe::Recipe;

use super::root::{Baked, file_content};
use crate::device::Programs;
use crate::failure::Failure;
use crate::progress::Progress;

const INIT: &str = "fruit-init";

/// What a recipe wants of our programs; its settings are checked.
pub struct Wanted {
    names: Vec<&'static str>,
}

/// The programs themselves.
pub struct Obtained {
    /// fruit-init, for the initramfs.
    pub init: Content,
    pub in_root: Vec<Baked>,
    /// Name and SHA-256 of each program.
    pub hashes: Vec<(String, String)>,
}

/// Which programs the recipe's sections ask for.
///
/// # Errors
/// A setting that the program would refuse, on its line.
pub fn wanted(_recipe: &Recipe) -> Result<Wanted, Failure> {
    Ok(Wanted { names: vec![INIT] })
}

impl Wanted {
    /// Takes the programs from a release or compiles them.
    ///
    /// # Errors
    /// As [`Programs::obtain`].
    pub fn obtain(&self, recipe: &Recipe, cache: &Path, _epoch: i64, progress: &Progress) -> Result<Obtained, Failure> {
        let architecture = recipe.board.architecture.to_string();
        let files = Programs::new(cache).obtain(&self.names, &architecture, &|line| progress.say(line))?;
        let mut hashes = Vec::new();
        for (name, path) in &files {
            let content = file_content(path)?;
            hashes.push((name.clone(), super::inputs::sha256_of(&content)?));
        }
        let init = file_content(&files[INIT])?;
        Ok(Obtained { init, in_root: Vec::new(), hashes })
    }
}

/// A program of the root: executable by all, owned by root.
#[allow(dead_code)]
fn program(content: Content, epoch: i64) -> Inode {
    Inode::file(content, 0o755, epoch)
}
