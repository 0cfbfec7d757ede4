//! `fruitbuild check`

use std::path::Path;

use crate::failure::Failure;
use crate::progress::Progress;

/// Checks a recipe: `fruitbuild check`.
///
/// # Errors
/// The recipe or a file that it names is wrong, or standard output cannot be written.
pub fn check(recipe: &Path, json: bool, progress: &Progress) -> Result<(), Failure> {
    let recipe = fruit_pipeline::check::check(recipe)?.recipe;
    if json {
        outln!("{}", String::from_utf8_lossy(&recipe.fingerprint()));
    } else {
        progress.say(format!(
            "{}: no mistakes; {} {} for {}, {} packages named",
            recipe.path.display(),
            recipe.name,
            recipe.version,
            recipe.board_name,
            recipe.packages.len()
        ));
    }
    Ok(())
}
