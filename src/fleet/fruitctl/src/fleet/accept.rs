//! `fruitctl fleet accept`: whose releases the nodes of the fleet install.

use super::charter::Next;
use super::opened::{LIMIT, file};
use super::{CharterArgs, Opened, Options, adopt, usage};
use crate::failure::{Code, Failure};
use crate::output::print;
use clap::Args;
use fruit_base::Sha256;
use fruit_record::body::ReleaseRoot;
use fruit_release::name::Name;
use fruit_release::tuf::Trust;
use serde_json::json;
use std::path::{Path, PathBuf};

#[derive(Args)]
pub struct AcceptArgs {
    /// Product: the name of the recipe.
    product: String,
    /// A repository of releases (a folder as `fruitbuild publish` writes it), or its file `1.root.json`.
    #[arg(required_unless_present = "remove")]
    repository: Option<PathBuf>,
    /// Accept no releases of this product any more, or none of this repository.
    #[arg(long)]
    remove: bool,
    #[command(flatten)]
    charter: CharterArgs,
}

/// The id of the repository at `path`: of its folder, or of its first root metadata.
fn repository(path: &Path) -> Result<Sha256, Failure> {
    let path = if path.is_dir() { path.join(Name::Root(1).to_string()) } else { path.to_owned() };
    let bytes = file(&path, LIMIT)?;
    let root = Trust::from_root(&bytes);
    root.map_err(|error| Failure::new(Code::Untrusted, format!("{}: {error}", path.display())))?;
    Ok(fruit_release::local::repository_id(&bytes))
}

impl AcceptArgs {
    pub fn run(self, options: &Options) -> Result<(), Failure> {
        let root = self.repository.as_deref().map(repository).transpose()?;
        let mut opened = Opened::change(options)?;
        let mut charter = opened.charter().clone();
        let before = charter.releases.len();
        let is_meant = |one: &ReleaseRoot| one.product == self.product && root.is_none_or(|root| one.root == root);
        charter.releases.retain(|one| !is_meant(one));
        match root {
            Some(root) if !self.remove => {
                charter.releases.push(ReleaseRoot { product: self.product.clone(), root });
                charter.releases.sort_unstable();
            }
            _ if charter.releases.len() == before => {
                return Err(usage(format!("the charter accepts no such releases of {}", self.product)));
            }
            _ => {}
        }
        if matches!(adopt(&mut opened, charter, &self.charter, options)?, Next::Waits) {
            return Ok(());
        }
        let version = opened.replica.trust().version();
        let roots: Vec<String> = opened
            .charter()
            .releases
            .iter()
            .filter(|one| one.product == self.product)
            .map(|one| one.root.to_string())
            .collect();
        if options.json {
            print(format_args!("{:#}", json!({"product": self.product, "roots": roots, "charter": version})));
        } else if roots.is_empty() {
            print(format_args!("{}: no releases are accepted; charter {version}", self.product));
        } else {
            print(format_args!(
                "{}: releases of root {} are accepted; charter {version}",
                self.product,
                roots.join(", ")
            ));
        }
        Ok(())
    }
}
