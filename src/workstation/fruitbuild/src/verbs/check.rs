//! `fruitbuild check`

use std::path::Path;

use crate::failure::Failure;
use crate::pipeline;
use crate::progress::Progress;

pub fn check(recipe: &Path, json: bool, progress: &Progress) -> Result<(), Failure> {
    let recipe = fruit_recipe::load(recipe, &pipeline::search())?;
    pipeline::node_defaults(&recipe)?;
    pipeline::programs::wanted(&recipe)?;
    for folder in &recipe.overlays {
        let rules = folder.path.join(fruit_root::overlay::RULES_FILE);
        if let Ok(text) = std::fs::read_to_string(&rules) {
            fruit_root::overlay::parse_rules(&rules.display().to_string(), &text)?;
        }
    }
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
