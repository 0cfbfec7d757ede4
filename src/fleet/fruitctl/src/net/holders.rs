//! How far releases have come: which nodes have how many of their pieces.

use super::session::ended;
use super::socket;
use crate::failure::Failure;
use crate::fleet::{Repositories, Repository, now};
use fruit_peer::engine::Engine;
use serde::{Deserialize, Serialize};
use std::path::Path;

/// What a node has of a release.
#[derive(Clone, Serialize, Deserialize)]
pub struct Held {
    pub repository: String,
    pub product: String,
    pub board: String,
    pub version: String,
    /// Pieces of the whole release that were asked for.
    pub pieces: u64,
    /// Nodes that are connected, by their ids, with the pieces that each has.
    pub nodes: Vec<(String, u64)>,
}

impl Held {
    /// Nodes that have all of it.
    pub fn whole(&self) -> usize {
        self.nodes.iter().filter(|(_, has)| *has >= self.pieces).count()
    }
}

/// Asks the nodes that are connected about the latest releases of the repositories that are handed on here.
pub fn survey(engine: &Engine, fleet: &Path) -> Result<Vec<Held>, Failure> {
    let mut all = Vec::new();
    for folder in Repositories::read(fleet)?.folders() {
        // One that is away, on a stick perhaps, is handed on by nobody now.
        let Ok(repository) = Repository::open(&folder, now()) else { continue };
        for release in repository.latest() {
            let mut names = release.pieces.clone();
            names.truncate(fruit_peer::machine::survey::MOST);
            let pieces = names.len() as u64;
            let found = engine.survey(repository.id, names).map_err(ended)?;
            all.push(Held {
                repository: repository.id.to_string(),
                product: release.product.clone(),
                board: release.board.clone(),
                version: release.version.clone(),
                pieces,
                nodes: found.into_iter().map(|(node, has)| (node.to_string(), has)).collect(),
            });
        }
    }
    Ok(all)
}

/// The same of `fruitctl serve`, if it runs.
pub fn of_serve(fleet: &Path) -> Option<Vec<Held>> {
    serde_json::from_str(&socket::ask(fleet, "holders")?).ok()
}
