//! Runs packages' maintainer scripts for real, without root and without emulation: over the *twin*, the same packages of the
//! workstation's own architecture, in a sandbox. What the scripts changed is a [`Layer`], which is laid into the root of the image.
//!
//! ```text
//! Lock ─resolve─► LockedTwin ─Run::layer─► unpack, dpkg's database, scripts, difference ─► Layer (kept in the store)
//! Layer::lay ─► root of the image
//! ```
//!
//! What differs from machine to machine is not taken ([`rules`]), what every node must have for itself is made there
//! ([`first_boot`]), and a key that a script left is an error.

mod accounts;
mod answers;
mod architecture;
mod archive;
mod changes;
mod database;
mod error;
mod first_boot;
mod host_name;
mod keep;
mod keystore;
mod lay;
mod layer;
mod resolve;
mod rules;
mod run;
mod secrets;

use std::time::{Duration, Instant};

use fruit_debian::digest::Sha256;
use fruit_debian::package::Control;
use fruit_debian::{Diversions, LockedPackage, LockedTwin, PackageContents, Store, unpack_diverted};
use fruit_root::scripts::Diversion;
pub use fruit_sandbox::{Limits, Sandbox};

pub use answers::{Answer, Flaw, Templates};
pub use architecture::of_workstation;
pub use error::Error;
pub use first_boot::Maker;
pub use layer::{Layer, Report, Secret};
pub use resolve::{is_taken_for_configured, packages, resolve};

/// Raised when the same packages give another layer than before.
const FORMAT: u32 = 4;

/// What to run scripts over.
pub struct Run<'a> {
    /// Packages of the image, as its lock has them.
    pub installed: &'a [&'a LockedPackage],
    /// The same, unpacked.
    pub image: &'a [PackageContents],
    pub twin: &'a LockedTwin,
    /// The image's architecture, as Debian names it.
    pub architecture: &'a str,
    pub answers: &'a [Answer],
    /// Seconds since 1970.
    pub epoch: i64,
    pub limits: Limits,
    /// What scripts divert before anything is unpacked.
    pub diversions: &'a dyn Fn(&[&Control]) -> Vec<Diversion>,
}

/// A layer, and how it came about.
pub struct Made {
    pub layer: Layer,
    /// Of all of the layer, in hexadecimal digits.
    pub sha256: String,
    /// How long the scripts took; `None` when they had run before.
    pub took: Option<Duration>,
}

impl Layer {
    /// What is told about it.
    pub fn report(&self) -> &Report {
        &self.rest.report
    }

    /// How many paths it changes.
    pub fn len(&self) -> usize {
        let rest = &self.rest;
        self.puts.len() + self.links.len() + rest.copies.len() + rest.rights.len() + rest.gone.len()
    }

    /// Whether it changes nothing.
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }
}

impl Run<'_> {
    /// Names all that the layer follows from.
    fn key(&self, packages: &[LockedPackage]) -> String {
        let mut text = format!("format {FORMAT} epoch {} to {}\n{}\n", self.epoch, self.architecture, run::SCRIPT);
        for package in packages {
            text += &format!("{} {} {}\n", package.name, package.architecture, package.sha256);
        }
        let twin = self.twin;
        text += &format!("on {} tools {:?} configured {:?}\n", twin.architecture, twin.tools, twin.configured);
        text.extend(self.answers.iter().map(Answer::line));
        Sha256::of(text.as_bytes()).to_string()
    }

    /// The layer of these packages: of the store, or made now. The store has the twin's packages. `sandbox` is asked for when
    /// scripts must run.
    ///
    /// # Errors
    /// A script that fails, asks or hangs; no sandbox; what scripts left that no image can have.
    pub fn layer(
        &self,
        store: &Store,
        sandbox: &dyn Fn() -> Result<Sandbox, Error>,
        progress: &dyn fruit_debian::Progress,
    ) -> Result<Made, Error> {
        let packages = packages(self.installed, self.twin)?;
        let place = keep::Place::new(store.root(), &self.key(&packages))?;
        if let Some((layer, sha256)) = place.open()? {
            return Ok(Made { layer, sha256, took: None });
        }
        let sandbox = sandbox()?;
        sandbox.sweep(place.folder())?;
        let started = Instant::now();
        let diversions = |controls: &[&Control]| {
            let mut all = Diversions::default();
            for one in (self.diversions)(controls) {
                all.divert(one.from.trim_start_matches('/'), one.to.trim_start_matches('/'), &one.by);
            }
            all
        };
        let architecture = &self.twin.architecture;
        let (mut before, contents) =
            unpack_diverted(store, architecture, &packages, &diversions, self.epoch, progress)?;
        let controls: Vec<&Control> = contents.iter().map(|p| &p.control).collect();
        let diverted = (self.diversions)(&controls);
        let order = database::write(&mut before, &contents, self.image, self.twin, &diverted, self.epoch)?;
        run::prepare(&mut before, &order, architecture, self.answers, self.epoch)?;
        let places = (place.work(), place.log());
        let ran = run::run(&sandbox, &before, &contents, &self.limits, self.epoch, (&places.0, &places.1))?;
        let rules = rules::Rules::new();
        let changes = ran.read(|after| changes::between(&before, after, &rules))?;
        let names = architecture::Names::new(architecture, self.architecture)?;
        let layer = layer::make(changes, &before, &contents, self.twin, names, self.epoch)?;
        place.keep(&layer)?;
        let kept =
            place.open()?.ok_or_else(|| Error::Other("the layer of the scripts cannot be read again".to_owned()))?;
        Ok(Made { layer: kept.0, sha256: kept.1, took: Some(started.elapsed()) })
    }
}
