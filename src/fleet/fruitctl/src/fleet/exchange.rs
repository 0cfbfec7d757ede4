//! `fruitctl fleet join`, `export` and `import`: records in files, from one machine to another.

use super::folder::{ID, KEYS, RECORDS, create, write_id};
use super::opened::{LIMIT, file, left_out, load, write};
use super::{Opened, Options, usage};
use crate::failure::{Code, Failure};
use crate::output::print;
use clap::Args;
use fruit_record::class::Signers;
use fruit_record::{Class, Conflict, Key, Name, Outcome, RecordHash, Refused, Replica};
use fruit_release::keys::KeyStore;
use serde_json::json;
use std::path::{Path, PathBuf};

#[derive(Args)]
pub struct JoinArgs {
    /// File that `fruitctl fleet export` wrote.
    file: PathBuf,
    /// Hash of the fleet's charter, as somebody you trust has told you: `fruitctl fleet show` prints it.
    #[arg(long, value_name = "HASH")]
    charter: String,
    /// Name of the fleet here. Without it: the name that its charter has.
    #[arg(long)]
    name: Option<String>,
}

#[derive(Args)]
pub struct ExportArgs {
    /// File to write. It has no secrets in it.
    file: PathBuf,
}

#[derive(Args)]
pub struct ImportArgs {
    /// File that `fruitctl fleet export` wrote, anywhere.
    file: PathBuf,
}

impl JoinArgs {
    pub fn run(self, options: &Options) -> Result<(), Failure> {
        let hash = RecordHash::parse(&self.charter).ok_or_else(|| {
            usage(format!("--charter {:?} is no hash of a charter (64 hexadecimal digits)", self.charter))
        })?;
        let (replica, refused) = load(&self.file, None)?;
        // Whoever has root keys of long ago can write another row of charters that begins alike.
        if !replica.trust().has(&hash) {
            let message = format!(
                "{}: no charter in it has the hash {hash}: it is another fleet's, it is older than what you were told, or somebody \
                 has changed it",
                self.file.display()
            );
            return Err(Failure::new(Code::Untrusted, message));
        }
        let id = replica.trust().fleet();
        let name = self.name.unwrap_or_else(|| replica.trust().charter().name.clone());
        let folder = options.new_folder(&name)?;
        create(&folder, options, |beside| {
            KeyStore::open(&beside.join(KEYS))?.save(None)?;
            write(&beside.join(RECORDS), &replica)?;
            write_id(&beside.join(ID), &id)
        })?;
        if options.json {
            print(format_args!("{:#}", json!({"name": name, "id": id.to_string(), "folder": folder})));
        } else {
            print(format_args!("fleet {name}: {id}"));
            print(format_args!("folder: {}", folder.display()));
        }
        if refused.is_empty() { Ok(()) } else { Err(Failure::new(Code::Untrusted, "")) }
    }
}

impl ExportArgs {
    pub fn run(self, options: &Options) -> Result<(), Failure> {
        let opened = Opened::read(options)?;
        opened.whole()?;
        let shown = self.file.display();
        if self.file.file_name() == Some(RECORDS.as_ref()) {
            return Err(usage(format!("{shown}: a fleet keeps its own records under this name; name another file")));
        }
        let is_export = || file(&self.file, LIMIT).is_ok_and(|bytes| Replica::unpack(&bytes).is_ok());
        if self.file.symlink_metadata().is_ok() && !is_export() {
            return Err(usage(format!("{shown}: it is there already, and is no export; name another file")));
        }
        write(&self.file, &opened.replica)?;
        let count = opened.replica.records().count() + opened.replica.trust().charters().len();
        if options.json {
            print(format_args!("{:#}", json!({"file": self.file, "records": count, "id": opened.id().to_string()})));
        } else {
            print(format_args!("{}: {count} records of fleet {}", self.file.display(), opened.id()));
        }
        Ok(())
    }
}

/// What became of the records of a file.
#[derive(Default)]
struct Taken {
    new: usize,
    known: usize,
    older: usize,
    refused: Vec<Refused>,
}

impl Taken {
    fn count(&mut self, outcome: Result<Outcome, Refused>) {
        match outcome {
            Ok(Outcome::New) => self.new += 1,
            Ok(Outcome::Known) => self.known += 1,
            Ok(Outcome::Older) => self.older += 1,
            Err(why) => self.refused.push(why),
        }
    }
}

impl ImportArgs {
    pub fn run(self, options: &Options) -> Result<(), Failure> {
        let bytes = file(&self.file, LIMIT)?;
        let mut opened = Opened::change(options)?;
        let before: Vec<Key> = opened.replica.records().map(|record| record.key().clone()).collect();
        let taken = import(&mut opened.replica, &bytes).map_err(|why| of_file(&self.file, why))?;
        note_void(&opened, &before, options);
        if taken.new > 0 {
            opened.save()?;
        }
        // Here only: what counts is kept, and not what it was in conflict with.
        for Conflict { key, version, counts, .. } in opened.replica.conflicts() {
            let (class, name) = (key.class, name(&key.name));
            options.say(format_args!(
                "conflict: two of version {version} of {class} {name} were signed; {} counts, everywhere",
                counts.short()
            ));
        }
        left_out(&self.file, &taken.refused);
        let Taken { new, known, older, refused } = &taken;
        if options.json {
            print(format_args!("{:#}", json!({"new": new, "known": known, "older": older, "refused": refused.len()})));
        } else {
            print(format_args!("{new} new, {known} known, {older} older, {} left out", refused.len()));
        }
        if refused.is_empty() { Ok(()) } else { Err(Failure::new(Code::Untrusted, "")) }
    }
}

/// Takes over from one replica into another what that one lacks; how many records are new, and why others are left out.
pub fn merge(from: &Replica, into: &mut Replica) -> Result<(usize, Vec<Refused>), Failure> {
    let mut taken = Taken::default();
    if from.trust().last_hash() != into.trust().last_hash() {
        let row: Vec<Vec<u8>> = from.trust().charters().iter().map(|charter| charter.encode()).collect();
        let outcome = into.offer_charters(row.iter().map(Vec::as_slice));
        taken.count(Ok(outcome.map_err(|why| of_file(Path::new("the fleet's nodes"), why))?));
    }
    let lacking = from.records().filter(|record| {
        into.get(record.key()).is_none_or(|here| here.hash() != record.hash() || here.encode() != record.encode())
    });
    let lacking: Vec<Vec<u8>> = lacking.map(|record| record.encode()).collect();
    take_all(into, lacking.iter().map(Vec::as_slice).collect(), &mut taken);
    if from.of_class(Class::Floor).next().is_some() {
        for blob in Replica::unpack_blobs(&from.pack()).map_err(Refused::from)? {
            taken.new += usize::from(into.supply(blob).map_err(Refused::from)?);
        }
    }
    Ok((taken.new, taken.refused))
}

/// Says what does not count any more under what has come: nobody has signed it anew.
pub fn note_void(opened: &Opened, before: &[Key], options: &Options) {
    let by_operators = |key: &&Key| matches!(key.class.signers(), Signers::Operators(_));
    let mut void = std::collections::BTreeMap::new();
    for key in before.iter().filter(by_operators).filter(|key| opened.replica.get(key).is_none()) {
        *void.entry(key.class).or_insert(0) += 1;
    }
    for (class, count) in void {
        options.say(format_args!(
            "note: {count} records of class {class} are void under the charter and floors that have come"
        ));
    }
}

/// What people call a record.
fn name(name: &Name) -> String {
    match name {
        Name::Single => String::new(),
        Name::Text(text) => text.clone(),
        Name::Id(id) => id.short(),
    }
}

fn of_file(path: &Path, why: Refused) -> Failure {
    let hint = match why {
        Refused::CharterFork { .. } => {
            ": it has other charters than the ones here, and root keys that count here have not signed their end. Two \
             people changed the charter at once, or somebody has root keys that were replaced: ask those who have the root keys"
        }
        _ => "",
    };
    Failure::new(Code::Untrusted, format!("{}: {why}{hint}", path.display()))
}

fn import(replica: &mut Replica, bytes: &[u8]) -> Result<Taken, Refused> {
    let mut taken = Taken::default();
    let is_charter = |record: &&[u8]| record.get(1) == Some(&(Class::Charter as u8));
    let (charters, others): (Vec<&[u8]>, Vec<&[u8]>) = Replica::unpack(bytes)?.into_iter().partition(is_charter);
    taken.count(Ok(replica.offer_charters(charters)?));
    take_all(replica, others, &mut taken);
    for blob in Replica::unpack_blobs(bytes)? {
        taken.new += usize::from(replica.supply(blob)?);
    }
    Ok(taken)
}

/// Takes records. What stands on one that comes later is taken on the next way through them.
fn take_all(replica: &mut Replica, mut others: Vec<&[u8]>, taken: &mut Taken) {
    loop {
        let (mut again, new) = (Vec::new(), taken.new);
        for record in others {
            match replica.offer(record) {
                Err(Refused::NotAMember(_)) => again.push(record),
                outcome => taken.count(outcome),
            }
        }
        if again.is_empty() || taken.new == new {
            again.into_iter().for_each(|record| taken.count(replica.offer(record)));
            break;
        }
        others = again;
    }
}
