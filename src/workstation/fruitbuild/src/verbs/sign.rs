//! `fruitbuild sign`

use std::collections::BTreeSet;
use std::io::{IsTerminal, Write};
use std::path::Path;

use fruit_base::AtPath;
use fruit_publish::signing::{SigningSession, role, sign_with};
use fruit_release::keys::{Draft, Entry, Held, KeyStore, write_atomically};
use fruit_release::tuf::{KeyId, Role};
use serde_json::json;

use crate::cli;
use crate::failure::{Exit, Failure};
use crate::progress::Progress;
use crate::verbs::signatures::{self, access};

/// Bytes of a bare ed25519 signature, as other tools write it.
const SIGNATURE: usize = 64;

/// Signs what waits for signatures: `fruitbuild sign`.
///
/// # Errors
/// Nothing that waits for signatures, keys that are missing or may not sign, or files that cannot be read or written.
pub fn sign(options: &cli::Sign, as_json: bool, progress: &Progress) -> Result<(), Failure> {
    if let Some(draft) = &options.draft {
        return sign_draft(draft, options, as_json, progress);
    }
    let mut session = SigningSession::open(&access(&options.signing)?, progress)?;
    if let Some(folder) = &options.export {
        return export(&session, folder, as_json, progress);
    }
    for file in &options.import {
        let bytes = std::fs::read(file).at(file)?;
        let signers = match <[u8; SIGNATURE]>::try_from(bytes.as_slice()) {
            Ok(signature) => session.repository.import_raw(&signature).map(|(_, id)| vec![id]),
            Err(_) => session.repository.import(&bytes),
        };
        let signers = signers.map_err(|error| {
            let failure = Failure::from(error);
            Failure::new(failure.exit, format!("{}: {failure}", file.display()))
        })?;
        progress.say(format!("{}: signed by {}", file.display(), session.names(&signers).join(", ")));
    }
    let renew = if options.renew.is_empty() && options.import.is_empty() {
        what_can_be_renewed(&session)?
    } else {
        options.renew.iter().map(|name| role(name)).collect::<Result<_, _>>()?
    };
    let complete = if options.import.is_empty() && !meant(&session, options, progress)? {
        Vec::new()
    } else {
        vec![Role::Root, Role::Targets]
    };
    let signed = session.finish(&renew, &complete)?;
    signatures::report(&session, &signed, as_json, progress);
    Ok(())
}

/// Whether the person wants the changes signed that wait. Renewing what expires, as a machine does it each night, must not.
fn meant(session: &SigningSession, options: &cli::Sign, progress: &Progress) -> Result<bool, Failure> {
    let drafts = || session.repository.drafts().filter(|d| matches!(d.role(), Role::Root | Role::Targets));
    if drafts().next().is_none() {
        return Ok(true);
    }
    for draft in drafts() {
        let changes = session.repository.changes(draft, &|id| session.store.name_of(id));
        progress.say(describe(draft, &changes).trim_end());
    }
    if options.yes {
        return Ok(true);
    }
    if options.renew.is_empty() && std::io::stdin().is_terminal() {
        return confirm().map(|()| true);
    }
    progress.say("this waits, and is not signed in passing: sign it with `fruitbuild sign --yes`, or drop it with `fruitbuild discard`");
    Ok(false)
}

/// The timestamp, and the snapshot if enough of its keys are at hand.
fn what_can_be_renewed(session: &SigningSession) -> Result<BTreeSet<Role>, Failure> {
    let root = session.repository.root()?;
    let mut renew = BTreeSet::from([Role::Timestamp]);
    let at_hand = |id: &&KeyId| session.store.entries().iter().any(|e| &e.id == *id && e.held != Held::Elsewhere);
    let snapshot = &root.roles[&Role::Snapshot];
    if snapshot.ids.iter().filter(at_hand).count() >= snapshot.threshold as usize {
        renew.insert(Role::Snapshot);
    }
    Ok(renew)
}

/// Three files for each draft: itself, the bytes to be signed for tools that know nothing of it, and what it changes.
fn export(session: &SigningSession, folder: &Path, as_json: bool, progress: &Progress) -> Result<(), Failure> {
    let waiting = session.repository.waiting();
    let mut names = Vec::new();
    for draft in session.repository.drafts().filter(|draft| waiting.iter().any(|w| &w.role == draft.role())) {
        let name = draft.name();
        let changes = session.repository.changes(draft, &|id| session.store.name_of(id));
        write_atomically(&folder.join(format!("{name}.json")), &draft.to_bytes())?;
        write_atomically(&folder.join(format!("{name}.bytes")), &draft.message())?;
        let text = describe(draft, &changes);
        write_atomically(&folder.join(format!("{name}.txt")), text.as_bytes())?;
        progress.say(format!("{}\nwrote {}", text.trim_end(), folder.join(format!("{name}.json")).display()));
        names.push(name);
    }
    if as_json {
        outln!("{:#}", json!({"exported": names}));
    } else if names.is_empty() {
        progress.say("nothing waits for signatures");
    }
    Ok(())
}

fn describe(draft: &Draft, lines: &[String]) -> String {
    let head = draft.head();
    let mut text = format!("{} {}, good until {}\n", draft.role(), head.version, head.expires);
    for line in lines {
        text.push_str(&format!("  {line}\n"));
    }
    text
}

/// On a machine that has keys and nothing else.
fn sign_draft(file: &Path, options: &cli::Sign, as_json: bool, progress: &Progress) -> Result<(), Failure> {
    let bytes = std::fs::read(file).at(file)?;
    let (mut draft, others) = Draft::read(&bytes)?;
    let store = KeyStore::open(&options.signing.keys)?;
    for name in &options.with {
        store.entry(name)?;
    }
    let chosen = |entry: &&Entry| options.with.is_empty() || options.with.iter().any(|name| name == &entry.name);
    let entries: Vec<Entry> = store.entries().iter().filter(chosen).cloned().collect();
    fruit_output::ask(format_args!("{}", describe(&draft, &draft.content(&|id| store.name_of(id)))));
    if !options.yes {
        confirm()?;
    }
    let signed = sign_with(&mut draft, &store, &entries, options.signing.passphrase_file.as_deref())?;
    if signed.is_empty() {
        return Err(Failure::general(format!("{}: no key is at hand that could sign", options.signing.keys.display())));
    }
    draft.carry(others);
    write_atomically(file, &draft.to_bytes())?;
    if as_json {
        outln!("{:#}", json!({"signed": signed}));
    } else {
        progress.say(format!("{}: signed by {}", file.display(), signed.join(", ")));
    }
    Ok(())
}

fn confirm() -> Result<(), Failure> {
    if !std::io::stdin().is_terminal() {
        return Err(Failure::new(Exit::Refused, "not asked before signing, since there is no terminal; say --yes"));
    }
    fruit_output::ask(format_args!("Sign this? [y/N] "));
    let _ = std::io::stderr().flush();
    let mut line = String::new();
    let _ = std::io::stdin().read_line(&mut line);
    if matches!(line.trim(), "y" | "Y" | "yes") {
        return Ok(());
    }
    Err(Failure::new(Exit::Refused, "nothing was signed"))
}
