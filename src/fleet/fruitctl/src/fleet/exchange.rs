//! `fruitctl fleet join`, `export` and `import`: records in files, from one machine to another.

use super::folder::{KEYS, RECORDS, create, named};
use super::opened::{LIMIT, file, load, write};
use super::{Opened, Options, usage};
use crate::failure::{Code, Failure};
use crate::output::print;
use clap::Args;
use fruit_record::{Class, FleetId, Outcome, Refused, Replica};
use fruit_release::keys::KeyStore;
use serde_json::json;
use std::path::{Path, PathBuf};

#[derive(Args)]
pub struct JoinArgs {
    /// File that `fruitctl fleet export` wrote.
    file: PathBuf,
    /// Id of the fleet, as somebody you trust has told you: `fruitctl fleet show` prints it.
    #[arg(long)]
    id: String,
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
        let id = FleetId::parse(&self.id);
        let id = id.ok_or_else(|| usage(format!("--id {:?} is no id of a fleet (64 hexadecimal digits)", self.id)))?;
        let replica = load(&self.file, Some(id))?;
        let name = self.name.unwrap_or_else(|| replica.trust().charter().name.clone());
        let folder = named(&options.given().unwrap_or_else(|| PathBuf::from(&name)))?;
        create(&folder, options, |beside| {
            KeyStore::open(&beside.join(KEYS))?.save(None)?;
            write(&beside.join(RECORDS), &replica)
        })?;
        if options.json {
            print(format_args!("{:#}", json!({"name": name, "id": id.to_string(), "folder": folder})));
        } else {
            print(format_args!("fleet {name}: {id}"));
            print(format_args!("folder: {}", folder.display()));
        }
        Ok(())
    }
}

impl ExportArgs {
    pub fn run(self, options: &Options) -> Result<(), Failure> {
        let opened = Opened::read(options)?;
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
        let taken = import(&mut opened.replica, &bytes).map_err(|why| of_file(&self.file, why))?;
        if taken.new > 0 {
            opened.save()?;
        }
        for why in taken.refused.iter().take(10) {
            crate::output::talk(format_args!("fruitctl: {}: a record is left out: {why}", self.file.display()));
        }
        let Taken { new, known, older, refused } = &taken;
        if options.json {
            print(format_args!("{:#}", json!({"new": new, "known": known, "older": older, "refused": refused.len()})));
        } else {
            print(format_args!("{new} new, {known} known, {older} older, {} left out", refused.len()));
        }
        if refused.is_empty() { Ok(()) } else { Err(Failure::new(Code::Untrusted, "")) }
    }
}

fn of_file(path: &Path, why: Refused) -> Failure {
    Failure::new(Code::Untrusted, format!("{}: {why}", path.display()))
}

fn import(replica: &mut Replica, bytes: &[u8]) -> Result<Taken, Refused> {
    let mut taken = Taken::default();
    let is_charter = |record: &&[u8]| record.get(1) == Some(&(Class::Charter as u8));
    let (charters, mut others): (Vec<&[u8]>, Vec<&[u8]>) = Replica::unpack(bytes)?.into_iter().partition(is_charter);
    taken.count(Ok(replica.offer_charters(charters)?));
    // What stands on a record that comes later in the file is taken on the next way through it.
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
            return Ok(taken);
        }
        others = again;
    }
}
