//! The node as the daemon deals with it. Tests put another in its place, made of plain files.

use std::fs;
use std::io;
use std::path::{Path, PathBuf};
use std::time::Duration;

use fruit_contract::agent::config::AgentConfig;
use fruit_contract::report::BootReport;
use fruit_contract::update::config::UpdateConfig;
use fruit_contract::update::window::WeekMinute;
use fruit_contract::{CommandLine, Guid};
use fruit_device::disk;
use fruit_device::journal;

use super::below;
use crate::anchor::Anchor;
use crate::card::{self, CardError, Control, ControlBlock};
use crate::facts::{Facts, FactsError, Roots};
use crate::health::Endpoints;
use crate::inhibit::{self, Inhibitor};
use crate::state::Memory;
use crate::store::{self, Folder};
use crate::tryboot::{self, FirmwarePartition, Tryboot};
use crate::updater::{Updater, UpdaterError};
use crate::{local_time, lock, restart};

/// Partition with the firmware, and the one with the boot-control block.
const FIRMWARE_PARTITION: u8 = 1;
const STATE_PARTITION: u8 = 6;
/// What is remembered when the data partition is of no use.
const SPARE_FOLDER: &str = "/run/fruit/update/memory";

/// Why the node can't be worked with.
#[derive(Debug, thiserror::Error)]
pub enum NodeError {
    #[error(transparent)]
    Facts(#[from] FactsError),
    #[error(transparent)]
    Card(#[from] CardError),
    #[error(transparent)]
    Updater(#[from] UpdaterError),
    #[error("{path}: {source}")]
    Store { path: String, source: io::Error },
}

/// Where a node's files are.
#[derive(Clone, Debug)]
pub struct Installation {
    /// `/`
    pub root: PathBuf,
    /// Root metadata of the image; without it the fleet says whose releases are taken.
    pub anchor: Option<PathBuf>,
}

/// What the daemon needs of a node.
pub struct Node {
    pub installation: Installation,
    /// Held by whoever changes something.
    pub lock: PathBuf,
    pub endpoints: Endpoints,
    /// The disk that it runs from.
    pub disk: String,
    /// Card and memory, read anew.
    pub open: Box<dyn Fn() -> Result<Updater, NodeError>>,
    /// The time of the week, if the node knows it.
    pub time: Box<dyn Fn() -> Option<WeekMinute>>,
    pub inhibitors: Box<dyn Fn() -> Vec<Inhibitor>>,
    /// Restarts in good order; `true`: the firmware is to be told to try the other slot.
    pub restart: Box<dyn Fn(bool) -> io::Result<()>>,
    /// Whether tries must be counted and the firmware be told (see [`tryboot`]).
    pub tryboot: bool,
}

impl Node {
    /// The machine that this program runs on.
    ///
    /// # Errors
    /// It is not a node, or this is not root.
    pub fn of_machine(installation: Installation, config: &UpdateConfig) -> Result<Node, NodeError> {
        let roots = Roots::below(&installation.root);
        let (report, line) = (roots.boot_report()?, roots.command_line()?);
        let (root, open_config) = (installation.root.clone(), config.clone());
        let (time_root, restart_root) = (root.clone(), root.clone());
        Ok(Node {
            lock: below(&root, lock::PATH),
            endpoints: Endpoints { agent: agent_socket(&root), ..Endpoints::default() },
            disk: report.disk.clone(),
            tryboot: tryboot::is_used(&root, &line),
            open: Box::new(move || open(&root, &open_config)),
            time: Box::new(move || if local_time::is_known(&time_root) { local_time::now() } else { None }),
            inhibitors: Box::new(inhibit::all),
            restart: Box::new(move |tries| {
                restart::restart(&restart_root, &restart::way(&restart_root, tries), &restart::kernel)
            }),
            installation,
        })
    }

    /// Counts the try that a restart is, where the loader does not count (see [`tryboot`]): the one thing that must be done
    /// before each restart, whoever asks for it. Whether the firmware is to be told to try.
    ///
    /// # Errors
    /// The boot choice can't be read or written; then the node must not restart.
    pub fn count_try(&self, updater: &Updater) -> Result<bool, CardError> {
        if !self.tryboot {
            return Ok(false);
        }
        let (tries, next) = tryboot::before_restart(&updater.card.control()?, updater.card.trial);
        if let Some(next) = next {
            updater.card.set_control(&next)?;
        }
        Ok(tries)
    }

    /// Whom it obeys in what it installs.
    ///
    /// # Errors
    /// Those of [`Anchor::of`].
    pub fn anchor(&self, updater: &Updater) -> io::Result<Anchor> {
        let Installation { root, anchor } = &self.installation;
        Anchor::of(root, anchor.as_deref(), &*updater.store, &updater.facts.image.name)
    }
}

/// Where the power agent answers; without a configuration that can be read it is at the usual place.
fn agent_socket(root: &Path) -> PathBuf {
    let config = AgentConfig::read(&below(root, fruit_contract::agent::config::CONFIG_PATH)).unwrap_or_default();
    config.metrics.socket.path().to_owned()
}

/// Card and memory of the node whose files are below `root`.
///
/// # Errors
/// It is not a node; its card can't be read.
pub fn open(root: &Path, config: &UpdateConfig) -> Result<Updater, NodeError> {
    let roots = Roots::below(root);
    let (report, line) = (roots.boot_report()?, roots.command_line()?);
    let mut facts = Facts::new(&report, &line, &roots, config.epoch);
    if let Some(product) = &config.product {
        product.as_str().clone_into(&mut facts.image.name);
    }
    let control = if tryboot::is_used(root, &line) { Some(firmware_control(&report, &line)?) } else { None };
    let card = card::open(&report, line.disk, control)?;
    let store = usable_store(&below(root, store::FOLDER), &below(root, SPARE_FOLDER))?;
    Ok(Updater::new(card, Box::new(store), facts)?)
}

/// What is remembered, or a memory in RAM where that can't even be read: a release on trial must be judged all the same.
fn usable_store(folder: &Path, spare: &Path) -> Result<Folder, NodeError> {
    let trouble = match Folder::new(folder) {
        Ok(store) => match Memory::load(&store) {
            Ok(_) => return Ok(store),
            Err(error) => error.to_string(),
        },
        Err(error) => error.to_string(),
    };
    journal::warn(&format!("{trouble}; what happens is remembered in RAM only"));
    Folder::new(spare).map_err(|source| NodeError::Store { path: spare.display().to_string(), source })
}

fn firmware_control(report: &BootReport, line: &CommandLine) -> Result<Box<dyn Control>, CardError> {
    let guid = line.disk.unwrap_or_else(|| Guid::of_disk(&report.image.name));
    let disk = disk::wait(guid, Duration::ZERO).map_err(CardError::Disk)?;
    let device = |number: u8| {
        let number = disk.number_of(disk.table.disk.partition(number)).map_err(CardError::Disk)?;
        disk.partition(number).map(|partition| partition.device).map_err(CardError::Disk)
    };
    let state = device(STATE_PARTITION)?;
    let file = fs::OpenOptions::new().read(true).write(true).open(&state);
    let file = file.map_err(|source| CardError::Open { device: state.display().to_string(), source })?;
    let firmware = FirmwarePartition::new(device(FIRMWARE_PARTITION)?);
    let block = Box::new(ControlBlock::new(file));
    Ok(Box::new(Tryboot::new(report.slot, report.trial, block, Box::new(firmware))))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_memory_that_cannot_be_read_is_replaced_by_one_in_ram() {
        let folder = tempfile::tempdir().unwrap();
        let (usual, spare) = (folder.path().join("usual"), folder.path().join("spare"));
        usable_store(&usual, &spare).unwrap();
        assert!(!spare.exists());
        // What a damaged file system can have in the place of a file.
        fs::create_dir(usual.join("state.0")).unwrap();
        usable_store(&usual, &spare).unwrap();
        assert!(spare.is_dir());
        fs::remove_dir_all(&spare).unwrap();
        fs::remove_dir_all(&usual).unwrap();
        fs::write(&usual, "no folder").unwrap();
        usable_store(&usual, &spare).unwrap();
        assert!(spare.is_dir());
    }
}
