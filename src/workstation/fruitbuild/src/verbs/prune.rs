//! `fruitbuild prune`: releases out of a repository, and the pieces that none needs.

use fruit_publish::prune::{Taken, Taking, take_out};
use fruit_publish::signing::SigningSession;
use serde_json::json;

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
    let mut session = SigningSession::open(&access(&options.signing)?, progress)?;
    let taking = Taking {
        versions: &options.versions,
        keep: options.keep,
        grace: i64::from(options.grace) * DAY,
        dry_run: options.dry_run,
    };
    let Taken { releases, signed, cleared } = take_out(&mut session, taking)?;
    if !options.dry_run && !releases.is_empty() {
        signatures::report(&session, &signed, false, progress);
    }
    let Some(cleared) = cleared else {
        return Err(Failure::general("the change is not signed yet; once it is, `fruitbuild prune` clears away"));
    };
    if as_json {
        outln!("{:#}", json!({"removed": releases, "cleared": cleared, "dry_run": options.dry_run}));
        return Ok(());
    }
    let (takes, clears) = if options.dry_run { ("would take out", "would clear") } else { ("took out", "cleared") };
    for name in releases {
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
