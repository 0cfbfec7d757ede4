//! `fruitbuild check`

use std::path::Path;

use crate::cli;
use crate::failure::Failure;
use crate::progress::Progress;

/// Checks a recipe: `fruitbuild check`.
///
/// # Errors
/// The recipe or a file that it names is wrong, or standard output cannot be written.
pub fn check(recipe: &Path, settings: &cli::Settings, json: bool, progress: &Progress) -> Result<(), Failure> {
    let recipe = fruit_pipeline::check::check_set(recipe, &settings.set)?.recipe;
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
