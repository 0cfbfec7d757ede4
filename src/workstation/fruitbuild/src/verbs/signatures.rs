//! What the verbs that sign share: their options, and what they say in the end.

use std::str::FromStr;

use fruit_publish::signing::{Access, SigningSession, role};
use fruit_release::keys::{Lifetimes, Signed, Waiting};
use fruit_release::tuf::Role;
use serde_json::{Value, json};

use crate::cli;
use crate::failure::Failure;
use crate::progress::Progress;

/// Where repository and keys are, by the options.
///
/// # Errors
/// A lifetime that is none.
pub fn access(options: &cli::Signing) -> Result<Access, Failure> {
    Ok(Access {
        repository: options.repository.clone(),
        keys: options.keys.clone(),
        passphrase_file: options.passphrase_file.clone(),
        lifetimes: lifetimes(&options.expires)?,
    })
}

fn lifetimes(options: &[String]) -> Result<Lifetimes, Failure> {
    let mut lifetimes = Lifetimes::default();
    for option in options {
        let (name, days) = option
            .split_once('=')
            .ok_or_else(|| Failure::input(format!("--expires {option}: expected ROLE=DAYS, such as timestamp=30")))?;
        let days = u32::from_str(days).ok().filter(|&days| days > 0);
        let days = days.ok_or_else(|| Failure::input(format!("--expires {option}: the days are a number from 1")))?;
        match role(name)? {
            Role::Root => lifetimes.root = days,
            Role::Snapshot => lifetimes.snapshot = days,
            Role::Timestamp => lifetimes.timestamp = days,
            Role::Targets | Role::Delegated(_) => lifetimes.targets = days,
        }
    }
    Ok(lifetimes)
}

/// Says what was written and what waits.
pub fn report(session: &SigningSession, signed: &Signed, as_json: bool, progress: &Progress) {
    let names: Vec<&str> = signed.files.iter().map(|(name, _)| name.as_str()).collect();
    if as_json {
        let waiting: Vec<Value> = signed.waiting.iter().map(|waiting| waiting_json(session, waiting)).collect();
        outln!("{:#}", json!({"written": names, "waiting": waiting}));
        return;
    }
    for name in names {
        progress.say(format!("wrote {}", session.folder().join(name).display()));
    }
    for waiting in &signed.waiting {
        progress.say(format!(
            "{} {} waits for signatures: {} of {} are there; keys that have not signed: {}",
            waiting.role,
            waiting.version,
            waiting.valid,
            waiting.needed,
            session.names(&waiting.missing).join(", ")
        ));
    }
    if !signed.waiting.is_empty() {
        progress.say("take it to them with: fruitbuild sign --export DIR");
    }
}

fn waiting_json(session: &SigningSession, waiting: &Waiting) -> Value {
    json!({
        "role": waiting.role.name(),
        "version": waiting.version,
        "valid": waiting.valid,
        "needed": waiting.needed,
        "missing": session.names(&waiting.missing),
    })
}
