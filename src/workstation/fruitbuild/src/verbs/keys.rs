//! `fruitbuild keys`

use std::collections::BTreeSet;
use std::path::{Path, PathBuf};

use fruit_base::{AtPath, NotThreshold, Threshold};
use fruit_publish::lock::Lock;
use fruit_publish::passphrase;
use fruit_publish::signing::{SigningSession, role};
use fruit_release::keys::{Held, KeyStore, Passphrase, Plan, Repository};
use fruit_release::tuf::{PublicKey, Role};
use serde_json::json;

use crate::cli::{self, Keys};
use crate::failure::{Exit, Failure};
use crate::progress::Progress;
use crate::verbs::signatures::{self, access};

/// Manages the keys of releases: `fruitbuild keys`.
///
/// # Errors
/// The key folder cannot be read or written, a key is missing or exists already, or a passphrase is wrong.
pub fn keys(what: &Keys, as_json: bool, progress: &Progress) -> Result<(), Failure> {
    let (session, signed) = match what {
        Keys::Init { root, targets, snapshot, timestamp, agent, elsewhere, signing } => {
            let sizes = [root, targets, snapshot, timestamp];
            let mut session = init(sizes, agent, elsewhere, signing, progress)?;
            let signed = session.finish(&BTreeSet::new(), &[Role::Root, Role::Targets])?;
            (session, signed)
        }
        Keys::List { signing } => return list(&SigningSession::open(&access(signing)?, progress)?, as_json),
        Keys::Add { role: name, key, threshold, signing } => {
            let (mut session, role) = (open(signing, progress)?, role(name)?);
            let public = new_key(&mut session, key, signing)?;
            session.repository.add_key(&role, &public, session.now, &session.lifetimes)?;
            change_threshold(&mut session, &role, *threshold)?;
            let signed = session.finish(&BTreeSet::new(), &[Role::Root, Role::Targets])?;
            (session, signed)
        }
        Keys::Rotate { role: name, old, key, signing } => {
            let (mut session, role) = (open(signing, progress)?, role(name)?);
            let old = session.key(old)?;
            let public = new_key(&mut session, key, signing)?;
            session.repository.rotate(&role, &old, &public, session.now, &session.lifetimes)?;
            let signed = session.finish(&BTreeSet::new(), &[Role::Root, Role::Targets])?;
            (session, signed)
        }
        Keys::Revoke { role: name, key, threshold, signing } => {
            let (mut session, role) = (open(signing, progress)?, role(name)?);
            let key = session.key(key)?;
            // A lower threshold first: it may be what makes the key dispensable.
            change_threshold(&mut session, &role, *threshold)?;
            session.repository.revoke(&role, &key, session.now, &session.lifetimes)?;
            let signed = session.finish(&BTreeSet::new(), &[Role::Root, Role::Targets])?;
            (session, signed)
        }
    };
    signatures::report(&session, &signed, as_json, progress);
    Ok(())
}

/// For a change of keys. New keys would sign releases that wait, in passing.
fn open(options: &cli::Signing, progress: &Progress) -> Result<SigningSession, Failure> {
    let session = SigningSession::open(&access(options)?, progress)?;
    session.expect_no_draft(&Role::Targets)?;
    Ok(session)
}

fn change_threshold(session: &mut SigningSession, role: &Role, threshold: Option<u32>) -> Result<(), Failure> {
    match threshold {
        Some(threshold) => Ok(session.repository.set_threshold(role, threshold, session.now, &session.lifetimes)?),
        None => Ok(()),
    }
}

fn init(
    sizes: [&String; 4],
    agent: &[String],
    elsewhere: &[String],
    options: &cli::Signing,
    progress: &Progress,
) -> Result<SigningSession, Failure> {
    let access = access(options)?;
    let lock = Lock::take(&options.repository, &options.keys, progress)?;
    expect_nothing_there(options)?;
    let mut given = keys_elsewhere(agent, Held::Agent)?;
    given.extend(keys_elsewhere(elsewhere, Held::Elsewhere)?);
    let mut store = KeyStore::open(&options.keys)?;
    let mut plan = Plan::new();
    let mut passphrase = None;
    let mut wanted = Vec::new();
    for (role, size) in [Role::Root, Role::Targets, Role::Snapshot, Role::Timestamp].into_iter().zip(sizes) {
        let Threshold { needed: threshold, keys: count } =
            size.parse().map_err(|why: NotThreshold| Failure::input(format!("--{role} {size}: {why}")))?;
        for number in 1..=count {
            wanted.push((role.clone(), threshold, format!("{}-{number}", role.name())));
        }
    }
    if let Some((name, ..)) = given.iter().find(|(name, ..)| !wanted.iter().any(|(.., other)| other == name)) {
        return Err(Failure::input(format!(
            "{name}: the keys of this repository are called root-1, targets-1 and so on"
        )));
    }
    for (role, threshold, name) in wanted {
        let key = match given.iter().find(|(other, ..)| other == &name) {
            Some((_, file, held)) => note(&mut store, &name, file, *held)?,
            None => make(&mut store, &name, &mut passphrase, options)?,
        };
        let entry = plan.entry(role).or_insert_with(|| (Vec::new(), threshold));
        entry.0.push(key);
    }
    let mut session = SigningSession::with(&access, Repository::default(), lock)?;
    session.store = store;
    session.repository = Repository::new(&plan, session.now, &session.lifetimes)?;
    Ok(session)
}

fn expect_nothing_there(options: &cli::Signing) -> Result<(), Failure> {
    if !options.repository.join("metadata").exists() && !options.keys.join("keys.json").exists() {
        return Ok(());
    }
    let message = format!(
        "{} or {}: there is a repository or a key folder already. If it is another product's, name folders for this one: \
         --repository DIR --keys DIR",
        options.repository.display(),
        options.keys.display()
    );
    Err(Failure::new(Exit::Refused, message))
}

/// `NAME=FILE` of keys whose secret half is not in the key folder.
fn keys_elsewhere(options: &[String], held: Held) -> Result<Vec<(String, PathBuf, Held)>, Failure> {
    let one = |option: &String| {
        let (name, file) = option
            .split_once('=')
            .ok_or_else(|| Failure::input(format!("{option:?}: expected NAME=FILE, such as root-2=yubikey.pub")))?;
        Ok((name.to_owned(), PathBuf::from(file), held))
    };
    options.iter().map(one).collect()
}

fn make(
    store: &mut KeyStore,
    name: &str,
    passphrase: &mut Option<Passphrase>,
    options: &cli::Signing,
) -> Result<PublicKey, Failure> {
    if passphrase.is_none() {
        *passphrase = Some(passphrase::ask(options.passphrase_file.clone(), "the new keys", true)?);
    }
    match passphrase {
        Some(passphrase) => Ok(store.make(name, passphrase)?.public),
        None => Err(Failure::new(Exit::Refused, "no passphrase")),
    }
}

fn note(store: &mut KeyStore, name: &str, file: &Path, held: Held) -> Result<PublicKey, Failure> {
    let line = std::fs::read_to_string(file).at(file)?;
    Ok(store.note(name, &line, held)?.public)
}

/// The key that a command names: known, noted, or made now.
fn new_key(session: &mut SigningSession, key: &cli::NewKey, options: &cli::Signing) -> Result<PublicKey, Failure> {
    match (&key.agent, &key.elsewhere) {
        (Some(file), _) => note(&mut session.store, &key.name, file, Held::Agent),
        (None, Some(file)) => note(&mut session.store, &key.name, file, Held::Elsewhere),
        (None, None) => match session.store.entry(&key.name) {
            Ok(entry) => Ok(entry.public),
            Err(_) => make(&mut session.store, &key.name, &mut None, options),
        },
    }
}

fn list(session: &SigningSession, as_json: bool) -> Result<(), Failure> {
    let root = session.repository.root()?;
    let mut rows = Vec::new();
    for (role, keys) in &root.roles {
        let expires = session.repository.expires(role);
        let stale = expires.is_some_and(|time| time <= session.now);
        let state = match expires {
            None => "not published yet".to_owned(),
            Some(time) if stale => format!("expired {time}"),
            Some(time) => format!("until {time}"),
        };
        let keys_json: Vec<_> = keys
            .ids
            .iter()
            .map(|id| {
                let entry = session.store.entries().iter().find(|entry| &entry.id == id);
                json!({"name": entry.map(|entry| &entry.name), "id": id.as_str(), "held": entry.map(|entry| entry.held)})
            })
            .collect();
        if !as_json {
            outln!("{:10} {} of {} keys  {state}", role.name(), keys.threshold, keys.ids.len());
            for id in &keys.ids {
                let held = match session.store.entries().iter().find(|entry| &entry.id == id).map(|entry| entry.held) {
                    Some(Held::File) => "in a file",
                    Some(Held::Agent) => "in ssh-agent",
                    Some(Held::Elsewhere) => "elsewhere",
                    None => "unknown here",
                };
                outln!("  {:20} {held:13} {id}", session.store.name_of(id));
            }
        }
        rows.push(json!({
            "role": role.name(),
            "threshold": keys.threshold,
            "keys": keys_json,
            "expires": expires.map(|time| time.to_string()),
            "expired": stale,
        }));
    }
    let waiting: Vec<String> = session.repository.waiting().iter().map(|w| w.role.name().to_owned()).collect();
    if as_json {
        outln!("{:#}", json!({"roles": rows, "waiting": waiting}));
    } else if !waiting.is_empty() {
        outln!("waiting for signatures: {}", waiting.join(", "));
    }
    Ok(())
}
