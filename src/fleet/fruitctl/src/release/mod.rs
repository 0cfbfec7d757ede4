//! `fruitctl release`: repositories of releases that this machine hands on to the fleet's nodes.

use crate::failure::{Code, EXIT_CODES, Failure, Failures};
use crate::fleet::{Opened, Options, Repositories, Repository, now, usage};
use crate::net::{Contact, Held, Part, Session, survey};
use crate::output::print;
use crate::table::{self, plain};
use clap::{Args, Subcommand};
use fruit_record::body::ReleaseRoot;
use serde_json::{Value, json};
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

#[derive(Args)]
#[command(after_help = EXIT_CODES)]
pub struct ReleaseArgs {
    #[command(flatten)]
    options: Options,
    #[command(subcommand)]
    verb: ReleaseVerb,
}

#[derive(Subcommand)]
enum ReleaseVerb {
    /// Hand a repository on from now on, whenever this machine is connected with the fleet.
    Add(AddArgs),
    /// List the repositories that are handed on, with their latest releases.
    List,
    /// Show which nodes have how much of the releases that are handed on.
    Show(ShowArgs),
    /// Hand a repository on no longer. Nodes keep what they have.
    Drop(DropArgs),
}

#[derive(Args)]
pub struct AddArgs {
    /// Folder of the repository, as `fruitbuild publish` writes it.
    folder: PathBuf,
    /// Stay connected until so many nodes have all of each latest release.
    #[arg(long, value_name = "NODES")]
    until: Option<usize>,
    #[command(flatten)]
    contact: Contact,
}

#[derive(Args)]
pub struct ShowArgs {
    #[command(flatten)]
    contact: Contact,
}

#[derive(Args)]
pub struct DropArgs {
    /// Folder of the repository.
    folder: PathBuf,
}

/// Between two surveys.
const LOOK: Duration = Duration::from_secs(2);

impl ReleaseArgs {
    pub fn run(self) -> Result<(), Failure> {
        let options = &self.options;
        match self.verb {
            ReleaseVerb::Add(args) => args.run(options),
            ReleaseVerb::List => list(options),
            ReleaseVerb::Show(args) => args.run(options),
            ReleaseVerb::Drop(args) => args.run(options),
        }
    }
}

/// Whether the charter accepts a product's releases from this repository.
fn is_accepted(opened: &Opened, repository: &Repository, product: &str) -> bool {
    let root = ReleaseRoot { product: product.to_owned(), root: repository.id };
    opened.charter().releases.contains(&root)
}

fn value(opened: &Opened, repository: &Repository) -> Value {
    let latest = |product: &str| {
        let of_product =
            repository.latest().into_iter().filter(|release| release.product == product).map(
                |release| json!({"board": release.board, "version": release.version, "pieces": release.pieces.len()}),
            );
        of_product.collect::<Vec<_>>()
    };
    let products = repository.products().into_iter().map(
        |product| json!({"product": product, "accepted": is_accepted(opened, repository, &product), "latest": latest(&product)}),
    );
    json!({
        "folder": repository.folder,
        "id": repository.id.to_string(),
        "releases": repository.releases.len(),
        "products": products.collect::<Vec<_>>(),
    })
}

impl AddArgs {
    fn run(self, options: &Options) -> Result<(), Failure> {
        let folder = std::fs::canonicalize(&self.folder).map_err(crate::fleet::at(&self.folder))?;
        let repository = Repository::open(&folder, now())?;
        let opened = Opened::change(options)?;
        let mut all = Repositories::read(&opened.folder)?;
        all.add(&folder)?;
        all.write(&opened.folder)?;
        if options.json {
            print(format_args!("{:#}", value(&opened, &repository)));
        } else {
            print(format_args!(
                "{}: {} releases, repository {}",
                folder.display(),
                repository.releases.len(),
                repository.id
            ));
        }
        for product in repository.products() {
            if !is_accepted(&opened, &repository, &product) {
                options.say(format_args!(
                    "note: the charter does not accept releases of {product} from this repository, so no node installs them: \
                     `fruitctl fleet accept {product} {}`",
                    folder.display()
                ));
            }
        }
        drop(opened);
        match self.until {
            Some(nodes) => hand_on(options, &self.contact, &folder, nodes),
            None => {
                options.say(format_args!(
                    "note: nodes get it while `fruitctl serve` runs here, and from each other afterwards; `fruitctl release show` says \
                     how far it has come"
                ));
                Ok(())
            }
        }
    }
}

/// What is known of the releases of one repository.
fn of<'h>(held: &'h [Held], repository: &Repository) -> Vec<&'h Held> {
    held.iter().filter(|held| held.repository == repository.id.to_string()).collect()
}

/// Stays until so many nodes have it.
fn hand_on(options: &Options, contact: &Contact, folder: &Path, nodes: usize) -> Result<(), Failure> {
    let repository = Repository::open(folder, now())?;
    let mut part = Session::begin(options, contact, false)?;
    let begun = Instant::now();
    let mut told = Vec::new();
    loop {
        let held = match &mut part {
            Part::Own(session) => {
                session.exchange()?;
                survey(&session.engine, &session.folder)?
            }
            Part::Served(_) => crate::net::served_survey(&options.folder()?).unwrap_or_default(),
        };
        let counts: Vec<usize> = of(&held, &repository).iter().map(|held| held.whole()).collect();
        if counts != told {
            of(&held, &repository).iter().for_each(|held| options.say(format_args!("{}", sentence(held))));
            told.clone_from(&counts);
        }
        if !counts.is_empty() && counts.iter().all(|count| *count >= nodes) {
            return match part {
                Part::Own(session) => session.end().map(drop),
                Part::Served(_) => Ok(()),
            };
        }
        if held.iter().all(|held| held.nodes.is_empty()) && begun.elapsed() >= contact.wait {
            return Err(crate::net::nobody(contact.wait));
        }
        std::thread::sleep(LOOK);
    }
}

fn sentence(held: &Held) -> String {
    let Held { product, board, version, nodes, .. } = held;
    format!(
        "{product} {version} for {board}: {} of {} nodes that are connected have all of it",
        held.whole(),
        nodes.len()
    )
}

fn list(options: &Options) -> Result<(), Failure> {
    let opened = Opened::read(options)?;
    let (mut rows, mut values, mut failures) = (Vec::new(), Vec::new(), Failures::default());
    for folder in Repositories::read(&opened.folder)?.folders() {
        let repository = match Repository::open(&folder, now()) {
            Ok(repository) => repository,
            Err(failure) => {
                failures.take(failure);
                continue;
            }
        };
        values.push(value(&opened, &repository));
        for release in repository.latest() {
            let accepted = if is_accepted(&opened, &repository, &release.product) { "yes" } else { "no" };
            let (product, version, board) = (release.product.clone(), release.version.clone(), release.board.clone());
            rows.push([product, version, board, accepted.into(), folder.display().to_string()].map(plain).into());
        }
    }
    if options.json {
        print(format_args!("{:#}", Value::from(values)));
    } else {
        let head = ["product", "latest", "board", "accepted", "folder"];
        print(format_args!("{}", table::render(&head, &rows, false).trim_end()));
    }
    failures.finish()
}

impl ShowArgs {
    fn run(self, options: &Options) -> Result<(), Failure> {
        let held = match Session::begin(options, &self.contact, false)? {
            Part::Served(_) => crate::net::served_survey(&options.folder()?)
                .ok_or_else(|| Failure::new(Code::NoAnswer, "`fruitctl serve` runs and does not answer"))?,
            Part::Own(mut session) => {
                if !session.settle(self.contact.wait)?.1 {
                    return Err(crate::net::nobody(self.contact.wait));
                }
                let held = survey(&session.engine, &session.folder)?;
                session.end()?;
                held
            }
        };
        let opened = Opened::read(options)?;
        if options.json {
            return Ok(crate::output::json(&held)?);
        }
        for held in &held {
            print(format_args!("{}", sentence(held)));
            for (node, has) in &held.nodes {
                let id = fruit_record::KeyId::parse(node);
                let name = id.and_then(|id| opened.replica.member(&id)).map(|member| member.name).unwrap_or_default();
                print(format_args!("  {name} ({}): {has} of {} pieces", node.get(..16).unwrap_or(node), held.pieces));
            }
        }
        Ok(())
    }
}

impl DropArgs {
    fn run(self, options: &Options) -> Result<(), Failure> {
        // A folder that is gone can be dropped too.
        let folder = std::fs::canonicalize(&self.folder).or_else(|_| std::path::absolute(&self.folder));
        let folder = folder.map_err(crate::fleet::at(&self.folder))?;
        let opened = Opened::change(options)?;
        let mut all = Repositories::read(&opened.folder)?;
        if !all.remove(&folder) {
            let message = format!("{}: it is not handed on (`fruitctl release list`)", folder.display());
            return Err(usage(message));
        }
        all.write(&opened.folder)?;
        if options.json {
            print(format_args!("{:#}", json!({"folder": folder})));
        } else {
            print(format_args!("{}: not handed on any longer", folder.display()));
        }
        Ok(())
    }
}
