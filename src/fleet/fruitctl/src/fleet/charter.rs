//! The next charter: signed by root keys, here or on several machines, and taken.

use super::folder::ID;
use super::opened::file;
use super::{Opened, Options, Signer, at, usage};
use crate::failure::{Code, Failure};
use clap::Args;
use fruit_base::{Replace, replace_with};
use fruit_record::body::{Body, Charter, Operator};
use fruit_record::class::Signers;
use fruit_record::wire::sorted;
use fruit_record::{Class, Draft, KeyId, Record, Signature, limits};
use std::collections::{BTreeMap, BTreeSet};
use std::path::{Path, PathBuf};

/// What the file of a charter begins with that lacks signatures.
const MAGIC: &[u8] = b"fruit charter 1\n";

/// What all verbs have in common that change the charter.
#[derive(Args)]
pub struct CharterArgs {
    /// Sign anew what the new charter makes void, so that it stays: look at it first. You sign for what others have signed.
    #[arg(long)]
    keep: bool,
    /// Let become void what the new charter makes void.
    #[arg(long, conflicts_with = "keep")]
    void: bool,
    /// Write the charter to this file instead of taking it, signed by the root keys that are here: who has others signs it with
    /// `fruitctl fleet sign`.
    #[arg(long, value_name = "FILE", conflicts_with_all = ["keep", "void"])]
    draft: Option<PathBuf>,
}

/// What becomes of records that a new charter makes void.
#[derive(Clone, Copy, PartialEq, Eq)]
pub enum Anew {
    /// Nothing: there must be none.
    Refuse,
    /// They are signed anew, all of them.
    Keep,
    /// They are void.
    Void,
}

impl Anew {
    pub fn from_flags(keep: bool, void: bool) -> Anew {
        match (keep, void) {
            (true, _) => Anew::Keep,
            (_, true) => Anew::Void,
            _ => Anew::Refuse,
        }
    }
}

/// What became of the next charter.
pub enum Next {
    /// It counts; so many records were signed anew, and so many are void.
    Taken { renewed: usize, void: usize },
    /// It is in a file, and lacks signatures.
    Waits,
}

/// A charter that may lack signatures.
pub struct Waiting {
    pub draft: Draft,
    pub charter: Charter,
    signatures: Vec<Signature>,
    /// Root keys and threshold of the charter before.
    before: (Vec<KeyId>, u64),
}

impl Waiting {
    fn new(opened: &Opened, draft: Draft, signatures: Vec<Signature>) -> Result<Waiting, Failure> {
        let Body::Charter(charter) = draft.record().body() else { return Err(usage("this is no charter")) };
        let before = (opened.charter().root.clone(), opened.charter().threshold);
        Ok(Waiting { charter: (**charter).clone(), draft, signatures, before })
    }

    /// Root keys that may sign: of this charter and of the one before.
    fn keys(&self) -> Vec<KeyId> {
        sorted(self.before.0.iter().chain(&self.charter.root).copied())
    }

    /// How many more root keys have to sign: of the charter before, and of this one.
    fn lacks(&self, done: &BTreeSet<KeyId>) -> (u64, u64) {
        let lack = |root: &[KeyId], threshold: u64| {
            threshold.saturating_sub(root.iter().filter(|key| done.contains(key)).count() as u64)
        };
        (lack(&self.before.0, self.before.1), lack(&self.charter.root, self.charter.threshold))
    }

    fn done(&self) -> BTreeSet<KeyId> {
        self.signatures.iter().map(|signature| signature.key).collect()
    }

    pub fn is_complete(&self) -> bool {
        self.lacks(&self.done()) == (0, 0)
    }

    /// Root keys that have not signed yet, by their names here.
    fn away(&self, opened: &Opened, done: &BTreeSet<KeyId>) -> String {
        let away = self.keys().into_iter().filter(|key| !done.contains(key));
        sorted(away.map(|key| opened.name_of(&key))).join(", ")
    }

    /// Has the root keys sign that are here, until enough have. Returns their names.
    pub fn sign(&mut self, opened: &Opened, signer: &Signer<'_>) -> Result<Vec<String>, Failure> {
        let done = self.done();
        let keys: Vec<KeyId> = self.keys().into_iter().filter(|key| !done.contains(key)).collect();
        let enough = |more: &BTreeSet<KeyId>| self.lacks(&done.union(more).copied().collect()) == (0, 0);
        let signed = signer.collect(&opened.id(), std::slice::from_ref(&self.draft), &keys, enough)?;
        let new: Vec<Signature> = signed.into_iter().flatten().collect();
        let names = new.iter().map(|signature| opened.name_of(&signature.key)).collect();
        self.signatures.extend(new);
        Ok(names)
    }

    pub fn write(&self, path: &Path) -> Result<(), Failure> {
        let bytes = [MAGIC, &self.draft.signed(self.signatures.iter().copied())].concat();
        replace_with(path, &bytes, Replace { mode: 0o644, durable: true }).map_err(at(path))
    }

    /// Reads what [`Waiting::write`] wrote, for this fleet. `None`: it counts here already.
    pub fn read(path: &Path, opened: &Opened) -> Result<Option<Waiting>, Failure> {
        let shown = path.display();
        let untrusted = |why: String| Failure::new(Code::Untrusted, format!("{shown}: {why}"));
        let bytes = file(path, (MAGIC.len() + limits::RECORD) as u64)?;
        let bytes = bytes.strip_prefix(MAGIC).ok_or_else(|| {
            usage(format!(
                "{shown}: it is no charter that waits for signatures; an export is taken with `fruitctl fleet import`"
            ))
        })?;
        let record = Record::parse(bytes).map_err(|why| untrusted(why.to_string()))?;
        if record.class() != Class::Charter {
            return Err(untrusted(format!("it is a {}, and no charter", record.class())));
        }
        let trust = opened.replica.trust();
        if trust.has(&record.hash()) {
            return Ok(None);
        }
        if record.head().previous != Some(trust.last_hash()) {
            return Err(untrusted(format!(
                "it does not follow charter {} that counts here: it is another fleet's, or either of them is older; exchange the \
                 records first (`fruitctl fleet export` and `import`), or make the change again",
                trust.version()
            )));
        }
        let draft = Draft::new(record.head().clone(), record.body().clone())?;
        let message = draft.message(&opened.id());
        let good = record.signatures().iter().filter(|signature| signature.verifies(&message)).copied().collect();
        let mut waiting = Waiting::new(opened, draft, good)?;
        let keys = waiting.keys();
        waiting.signatures.retain(|signature| keys.contains(&signature.key));
        Ok(Some(waiting))
    }

    /// What it lacks, for people.
    pub fn lack(&self, opened: &Opened) -> String {
        let done = self.done();
        let (old, new) = self.lacks(&done);
        format!("{} more of the root keys have to sign ({})", old.max(new), self.away(opened, &done))
    }

    /// What it changes, a line for each change.
    pub fn changes(&self, opened: &Opened) -> Vec<String> {
        changes(opened, opened.charter(), &self.charter)
    }

    /// Takes it, with what it makes void.
    pub fn take(self, opened: &mut Opened, signer: &Signer<'_>, anew: Anew) -> Result<Next, Failure> {
        let bytes = self.draft.signed(self.signatures);
        let before: Vec<Record> = opened.replica.records().map(|record| (**record).clone()).collect();
        opened.take(&bytes)?;
        let gone = before.iter().filter(|record| opened.replica.get(record.key()).is_none());
        let (of_nodes, of_operators): (Vec<&Record>, Vec<&Record>) =
            gone.partition(|record| record.class().signers() == Signers::Node);
        let mut renewed = 0;
        match anew {
            Anew::Refuse if !of_operators.is_empty() => {
                let message = format!(
                    "the new charter makes void {}: sign them anew with --keep, or let them be void with --void; nothing was changed",
                    by_class(&of_operators)
                );
                return Err(Failure::new(Code::Refused, message));
            }
            Anew::Keep if !of_operators.is_empty() => {
                renewed = renew(opened, signer, &of_operators)?;
                let void: Vec<&Record> =
                    of_operators.iter().copied().filter(|record| opened.replica.get(record.key()).is_none()).collect();
                if !void.is_empty() {
                    let message = format!(
                        "{} would be void, and you may not sign them: nothing was changed. Name somebody who may with --as, or let \
                         them be void with --void",
                        by_class(&void)
                    );
                    return Err(Failure::new(Code::Refused, message));
                }
            }
            _ => {}
        }
        // What nodes have signed stands again, as soon as they are members again.
        of_nodes.iter().for_each(|record| drop(opened.replica.offer(&record.encode())));
        opened.save()?;
        Ok(Next::Taken { renewed, void: of_operators.len() - renewed })
    }
}

/// `3 of class member, 1 of class job`
fn by_class(records: &[&Record]) -> String {
    let mut counts = BTreeMap::new();
    records.iter().for_each(|record| *counts.entry(record.class()).or_insert(0) += 1);
    let each: Vec<String> = counts.into_iter().map(|(class, count)| format!("{count} of class {class}")).collect();
    each.join(", ")
}

/// The same content, signed by somebody else, is the same record. What counts of the old signatures stays: several may have to
/// sign.
fn renew(opened: &mut Opened, signer: &Signer<'_>, records: &[&Record]) -> Result<usize, Failure> {
    let keys: Vec<KeyId> = signer.operators(opened)?.iter().map(|operator| operator.key).collect();
    let next = |record: &&Record| Draft::new(record.head().clone(), record.body().clone());
    let drafts = records.iter().map(next).collect::<Result<Vec<Draft>, _>>()?;
    let enough = |done: &BTreeSet<KeyId>| done.len() == keys.len();
    let signed = signer.collect(&opened.id(), &drafts, &keys, enough)?;
    let mut renewed = 0;
    for ((record, draft), signatures) in records.iter().zip(&drafts).zip(signed) {
        let all = signatures.iter().chain(record.signatures()).copied();
        renewed += usize::from(opened.take(&draft.signed(all)).is_ok());
    }
    Ok(renewed)
}

/// Has the next charter signed by the root keys that are here, and takes it, or writes it to a file for others to sign.
pub fn adopt(opened: &mut Opened, charter: Charter, args: &CharterArgs, options: &Options) -> Result<Next, Failure> {
    if charter == *opened.charter() {
        return Err(Failure::new(Code::Refused, "this is what the charter says already: nothing was changed"));
    }
    let signer = Signer::new(&opened.store, options)?;
    let draft = Draft::new(opened.replica.next_charter(), Body::Charter(Box::new(charter)))?;
    let mut waiting = Waiting::new(opened, draft, Vec::new())?;
    if let Some(path) = &args.draft {
        if path.symlink_metadata().is_ok() || path.file_name() == Some(ID.as_ref()) {
            return Err(usage(format!("{}: it is there already; name another file", path.display())));
        }
        let names = waiting.sign(opened, &signer)?;
        waiting.write(path)?;
        let signed = if names.is_empty() { "nobody".to_owned() } else { names.join(", ") };
        options.say(format_args!("{}: signed by {signed}; {}", path.display(), waiting.lack(opened)));
        return Ok(Next::Waits);
    }
    let here: BTreeSet<KeyId> = waiting.keys().into_iter().filter(|key| signer.has(opened, key)).collect();
    if waiting.lacks(&here) != (0, 0) {
        let needed = waiting.before.1.max(waiting.charter.threshold);
        let message = format!(
            "a charter needs {needed} root keys, and {} are here; name the file of another one with --key-file ({}), or have it \
             signed where that is, with --draft FILE",
            here.len(),
            waiting.away(opened, &here)
        );
        return Err(Failure::new(Code::Refused, message));
    }
    waiting.sign(opened, &signer)?;
    waiting.take(opened, &signer, Anew::from_flags(args.keep, args.void))
}

fn operator(operator: &Operator) -> String {
    let Operator { name, key, roles, scope, expires } = operator;
    format!("{name}: {roles} for {scope}, key {}, expires: {}", key.short(), super::shown(*expires))
}

fn changes(opened: &Opened, before: &Charter, after: &Charter) -> Vec<String> {
    let mut lines = Vec::new();
    if before.name != after.name {
        lines.push(format!("the fleet is called {}", after.name));
    }
    if before.threshold != after.threshold {
        lines.push(format!("{} root keys sign a charter, not {}", after.threshold, before.threshold));
    }
    let mut differ = |what: &str, before: Vec<String>, after: Vec<String>| {
        let (old, new): (BTreeSet<_>, BTreeSet<_>) =
            (before.iter().cloned().collect(), after.iter().cloned().collect());
        lines.extend(old.difference(&new).map(|text| format!("- {what} {text}")));
        lines.extend(new.difference(&old).map(|text| format!("+ {what} {text}")));
    };
    let root = |charter: &Charter| charter.root.iter().map(|key| format!("{} ({key})", opened.name_of(key))).collect();
    differ("root key", root(before), root(after));
    let operators = |charter: &Charter| charter.operators.iter().map(operator).collect();
    differ("operator", operators(before), operators(after));
    let rules = |charter: &Charter| {
        charter
            .rules
            .iter()
            .map(|rule| format!("{} sign a {} from {} nodes on", rule.needed, rule.class, rule.from))
            .collect()
    };
    differ("rule", rules(before), rules(after));
    let releases =
        |charter: &Charter| charter.releases.iter().map(|r| format!("{} of root {}", r.product, r.root)).collect();
    differ("releases", releases(before), releases(after));
    let relays = |charter: &Charter| {
        charter.relays.iter().map(|r| format!("{} with certificate {}", r.address, r.pin)).collect()
    };
    differ("relay", relays(before), relays(after));
    let seeds = |charter: &Charter| charter.seeds.iter().map(|s| format!("{} at {}", s.node, s.address)).collect();
    differ("seed", seeds(before), seeds(after));
    if lines.is_empty() {
        lines.push("nothing that people read".to_owned());
    }
    lines
}
