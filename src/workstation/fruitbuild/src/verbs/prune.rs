//! `fruitbuild prune`: releases out of a repository, and the pieces that none needs.

use std::collections::BTreeSet;

use fruit_publish::prune::{Sweep, chosen, needed, target_paths};
use fruit_publish::reference::Shelf;
use fruit_publish::signing::Desk;
use serde_json::json;

use fruit_release::tuf::Role;

use crate::cli;
use crate::failure::Failure;
use crate::progress::Progress;
use crate::verbs::signatures::{self, access};

const DAY: i64 = 86_400;
const MIB: f64 = (1 << 20) as f64;

/// Takes releases out of a repository: `fruitbuild prune`.
///
/// # Errors
/// The repository is in use or damaged, keys are missing, or files cannot be written or removed.
pub fn prune(options: &cli::Prune, as_json: bool, progress: &Progress) -> Result<(), Failure> {
    let repository = &options.signing.repository;
    let mut desk = Desk::open(&access(&options.signing)?, progress)?;
    desk.expect_no_draft(&Role::Targets)?;
    let shelf = Shelf::open(repository)?;
    let going = chosen(&shelf, &options.versions, options.keep)?;
    let paths: Vec<String> = going.iter().flat_map(|release| target_paths(release)).collect();
    let targets = desk.repository.targets()?;
    let until_now = needed(&shelf, targets.values(), &shelf.releases.iter().collect::<Vec<_>>())?;
    let names: Vec<String> = going.iter().map(|release| release.release.to_string()).collect();

    let changes = !options.dry_run && !paths.is_empty();
    if changes {
        desk.repository.remove_targets(&paths, desk.now, &desk.lifetimes)?;
        let signed = desk.finish(&BTreeSet::new(), &[Role::Targets])?;
        signatures::report(&desk, &signed, false, progress);
        if !signed.waiting.is_empty() {
            return Err(Failure::general("the change is not signed yet; once it is, `fruitbuild prune` clears away"));
        }
    }
    // The new metadata is needed as well.
    let after = if changes { &Shelf::open(repository)? } else { &shelf };
    let staying: Vec<_> = after.releases.iter().filter(|r| !going.iter().any(|g| g.name == r.name)).collect();
    let wanted = needed(after, targets.values().filter(|target| !paths.iter().any(|p| p == target.path())), &staying)?;
    let sweep = Sweep {
        needed: &wanted,
        until_now: &until_now,
        now: desk.now.seconds(),
        grace: i64::from(options.grace) * DAY,
        dry_run: options.dry_run,
    };
    let cleared = sweep.run(repository)?;
    if as_json {
        outln!("{:#}", json!({"removed": names, "cleared": cleared, "dry_run": options.dry_run}));
        return Ok(());
    }
    let (takes, clears) = if options.dry_run { ("would take out", "would clear") } else { ("took out", "cleared") };
    for name in names {
        outln!("{takes} {name}");
    }
    outln!("{clears} away {} pieces, {:.1} MiB", cleared.pieces, cleared.size as f64 / MIB);
    if cleared.later_pieces > 0 {
        outln!(
            "{} more, {:.1} MiB, when nothing has needed them for {} days: give `fruitbuild prune` again then",
            cleared.later_pieces,
            cleared.later_size as f64 / MIB,
            options.grace
        );
    }
    Ok(())
}
