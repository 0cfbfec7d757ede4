//! `fruitbuild discard`: changes that wait for signatures are dropped.

use fruit_publish::lock::Lock;
use fruit_publish::signing::role;
use fruit_release::keys::{Repository, discard_drafts};
use fruit_release::tuf::Role;
use serde_json::json;

use crate::cli;
use crate::failure::Failure;
use crate::progress::Progress;

/// Drops what waits for signatures: `fruitbuild discard`.
///
/// # Errors
/// The repository is in use, or its drafts cannot be read or removed.
pub fn discard(options: &cli::Discard, as_json: bool, progress: &Progress) -> Result<(), Failure> {
    let (folder, keys) = (&options.signing.repository, &options.signing.keys);
    let roles = match &options.roles[..] {
        [] => Role::TOP.to_vec(),
        names => names.iter().map(|name| role(name)).collect::<Result<_, _>>()?,
    };
    if !keys.is_dir() {
        return Err(Failure::input(format!("{}: there is no such key folder; name it: --keys DIR", keys.display())));
    }
    // The repository may be gone; its drafts are found by its path.
    let _lock = if folder.is_dir() { Some(Lock::take(folder, keys, progress)?) } else { None };
    let mut names = Vec::new();
    if folder.is_dir() {
        let repository = Repository::read(folder, keys)?;
        let dropped = repository.drafts().chain(repository.void()).filter(|draft| roles.contains(draft.role()));
        names.extend(dropped.map(|draft| draft.name()));
    }
    discard_drafts(folder, keys, &roles)?;
    if as_json {
        outln!("{:#}", json!({"dropped": names}));
    } else if names.is_empty() {
        progress.say("nothing waits for signatures");
    } else {
        outln!("dropped {}", names.join(", "));
    }
    Ok(())
}
