//! `fruitctl carry`: records and pieces of releases on a stick, or in any other folder, to where no network goes. Whatever is on it is
//! taken to be written by an enemy; whatever moment it is pulled out at, the next time goes on.

mod pieces;
mod stick;

use crate::failure::{Code, EXIT_CODES, Failure};
use crate::fleet::{Opened, Options, Repositories, at, keep_request, merge, note_void, requests, usage};
use crate::output::print;
use clap::Args;
use fruit_base::Sha256;
use fruit_release::local::repository_id;
use fruit_release::name::Name;
use fruit_release::{Folder, Source};
use pieces::{Copied, Room, copy};
use serde_json::json;
use std::path::{Path, PathBuf};
use stick::Stick;

/// In the fleet's folder: repositories that came on sticks, by their ids.
const RELEASES: &str = "releases";

#[derive(Args)]
#[command(after_help = EXIT_CODES)]
pub struct CarryArgs {
    #[command(flatten)]
    options: Options,
    /// Stick, or another folder that gets from one machine to the other. What is carried is below `fruit-fleet` in it.
    folder: PathBuf,
    /// Carry records and requests of nodes only.
    #[arg(long)]
    no_releases: bool,
    /// Carry all releases. Without it: the latest one for each product and board, and the deltas that lead to it.
    #[arg(long)]
    all: bool,
    /// Compare also what is on the stick already with its name, piece by piece. It is done by itself after one was pulled out too early.
    #[arg(long)]
    check: bool,
    /// MiB of pieces that are copied at most, each way.
    #[arg(long, default_value_t = 32 << 10, value_name = "MIB")]
    most: u32,
}

/// What went over.
#[derive(Default)]
struct Carried {
    received: usize,
    sent: usize,
    requests: usize,
    taken: Copied,
    given: Copied,
}

impl CarryArgs {
    pub fn run(self) -> Result<(), Failure> {
        let options = &self.options;
        let folder = std::fs::canonicalize(&self.folder).map_err(at(&self.folder))?;
        let mut opened = Opened::change(options)?;
        if folder.starts_with(&opened.folder) {
            return Err(usage(format!("{}: this is the fleet's own folder: name a stick", folder.display())));
        }
        let mut stick = Stick::open(&folder, &opened)?;
        let mut done = Carried::default();
        self.records(&mut stick, &mut opened, &mut done)?;
        if !self.no_releases {
            let (local, check) = (local(&opened.folder)?, self.check || stick.was_cut());
            self.take(&stick, &mut opened, &local, &mut done)?;
            drop(opened);
            self.give(&stick, &local, check, &mut done)?;
        }
        stick.close()?;
        self.tell(&done);
        Ok(())
    }

    /// Records and requests, both ways.
    fn records(&self, stick: &mut Stick, opened: &mut Opened, done: &mut Carried) -> Result<(), Failure> {
        let options = &self.options;
        let theirs = stick.replica(options)?;
        let on_stick = theirs.as_ref().map_or(0, |theirs| theirs.records().count());
        if let Some(theirs) = &theirs {
            let before: Vec<_> = opened.replica.records().map(|record| record.key().clone()).collect();
            let (received, refused) = merge(theirs, &mut opened.replica)?;
            note_void(opened, &before, options);
            for why in refused.iter().take(10) {
                options.say(format_args!("a record of the stick is left out: {why}"));
            }
            done.received = received;
            if received > 0 {
                opened.save()?;
            }
        }
        for request in stick.requests()? {
            // One that does not count here may count elsewhere.
            done.requests += usize::from(keep_request(opened, &request).unwrap_or(false));
        }
        let same = theirs.is_some_and(|theirs| theirs.pack() == opened.replica.pack());
        if !same {
            stick.keep(&opened.replica)?;
            done.sent = opened.replica.records().count().saturating_sub(on_stick);
        }
        for pending in requests(opened)? {
            stick.keep_request(&pending.request.node, &pending.bytes()?)?;
        }
        Ok(())
    }

    /// Releases that the charter accepts, from the stick.
    fn take(
        &self,
        stick: &Stick,
        opened: &mut Opened,
        local: &[(Sha256, PathBuf)],
        done: &mut Carried,
    ) -> Result<(), Failure> {
        let own = opened.folder.join(RELEASES);
        let mut room = Room::new(self.most);
        for id in fruit_record::wire::sorted(opened.charter().releases.iter().map(|accepted| accepted.root)) {
            let from = stick.repository(&id);
            let to = own.join(id.to_string());
            // Whoever publishes here has it, and nobody else writes into that folder.
            let is_published = local.iter().any(|(known, folder)| *known == id && *folder != to);
            if is_published || !stick::is_repository(&from) {
                continue;
            }
            std::fs::create_dir_all(&to).map_err(at(&to))?;
            let copied = copy(&id, &from, &to, self.all, self.check, &mut room)?;
            self.complain(&from, &copied);
            done.taken += copied;
            if Folder::new(&to).has(&Name::Timestamp) {
                let mut all = Repositories::read(&opened.folder)?;
                all.add(&to)?;
                all.write(&opened.folder)?;
            }
        }
        Ok(())
    }

    /// Releases that this machine hands on, to the stick.
    fn give(&self, stick: &Stick, local: &[(Sha256, PathBuf)], check: bool, done: &mut Carried) -> Result<(), Failure> {
        let mut room = Room::new(self.most);
        for (id, from) in local {
            let to = stick.repository(id);
            stick::make(&to)?;
            let copied = copy(id, from, &to, self.all, check, &mut room)?;
            self.complain(from, &copied);
            done.given += copied;
        }
        Ok(())
    }

    fn complain(&self, from: &Path, copied: &Copied) {
        if copied.damaged > 0 {
            let (count, from) = (copied.damaged, from.display());
            self.options
                .say(format_args!("note: {from}: {count} pieces are not what their names say, and are left out"));
        }
    }

    fn tell(&self, done: &Carried) {
        let Carried { received, sent, requests, taken, given } = done;
        if self.options.json {
            let pieces = |copied: &Copied| json!({"pieces": copied.pieces, "bytes": copied.bytes, "missing": copied.missing, "damaged": copied.damaged});
            let value = json!({
                "received": received, "sent": sent, "requests": requests, "taken": pieces(taken), "given": pieces(given),
            });
            return print(format_args!("{value:#}"));
        }
        let mib = |copied: &Copied| copied.bytes.div_ceil(1 << 20);
        print(format_args!(
            "from the stick: {received} records, {requests} requests of nodes, {} pieces, {} MiB",
            taken.pieces,
            mib(taken)
        ));
        print(format_args!(
            "to the stick: {sent} records more than it had, {} pieces, {} MiB",
            given.pieces,
            mib(given)
        ));
        let missing = taken.missing + given.missing;
        if missing > 0 {
            self.options
                .say(format_args!("note: {missing} pieces of these releases were not where they were taken from"));
        }
    }
}

/// The repositories that are handed on here, by their ids. One that is not there, such as on a disk that is not plugged in, is left out.
fn local(fleet: &Path) -> Result<Vec<(Sha256, PathBuf)>, Failure> {
    let root = Name::Root(1);
    let id = |folder: PathBuf| {
        let bytes = Folder::new(&folder).get(&root, root.limit()).ok()??;
        Some((repository_id(&bytes), folder))
    };
    Ok(Repositories::read(fleet)?.folders().into_iter().filter_map(id).collect())
}

/// What is on a stick is not as it must be.
fn not_plain(path: &Path) -> Failure {
    Failure::new(
        Code::Untrusted,
        format!("{}: it is a link or a special file, which `fruitctl carry` never makes: remove it", path.display()),
    )
}
