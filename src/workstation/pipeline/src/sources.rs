//! Where packages come from: the mirrors, the repositories of a recipe, the package store.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex};

use fruit_base::{AtPath, PathError};
use fruit_debian::mirror::ENVIRONMENT;
use fruit_debian::{Keyring, MirrorSources, Mirrors, Repository, Store};
use fruit_progress::{Progress, Step, Unit};
use fruit_recipe::Recipe;
use serde::Deserialize;

use crate::error::Error;

/// Debian's name of the archive that a suite's security updates are in.
const DEBIAN: &str = "debian";
const DEBIAN_SECURITY: &str = "debian-security";

/// Variable of the environment that names registries of containers.
const REGISTRIES: &str = "FRUITBUILD_REGISTRY";
/// Variable of the environment that names the index of Python wheels.
const PYTHON_INDEX: &str = "FRUITBUILD_PYTHON_INDEX";

/// Where packages are taken from and kept.
#[derive(Clone, Debug, Default)]
pub struct Sources {
    /// Mirrors: URL, or ARCHIVE=URL.
    pub mirror: Vec<String>,
    /// Use nothing but what the package store holds.
    pub offline: bool,
    /// Folder of the package store and other caches; none: of the environment, or the user's.
    pub cache: Option<PathBuf>,
}

/// The user's own settings, `fruitbuild/config.yaml` in the configuration folder.
#[derive(Deserialize, Default)]
#[serde(deny_unknown_fields)]
struct Configuration {
    /// Archive name to address.
    #[serde(default)]
    mirrors: BTreeMap<String, String>,
    /// Name of a registry of containers to the address of the server that stands in for it.
    #[serde(default)]
    registries: BTreeMap<String, String>,
    /// Address of the index that Python wheels come from.
    python_index: Option<String>,
}

/// The index that Python wheels come from: of the environment (`FRUITBUILD_PYTHON_INDEX`), else of the user's configuration; none: what
/// pip's own configuration says.
///
/// # Errors
/// A value that is no address, an unreadable configuration.
pub fn python_index() -> Result<Option<String>, Error> {
    let environment = std::env::var(PYTHON_INDEX).ok().filter(|value| !value.is_empty());
    let index = match environment {
        Some(index) => Some(index),
        None => configuration()?.python_index,
    };
    if let Some(index) = &index
        && !["https://", "http://", "file://"].iter().any(|scheme| index.starts_with(scheme))
    {
        return Err(Error::input(format!("the Python index: {index:?} is no address; expected https://HOST/simple")));
    }
    Ok(index)
}

/// Servers that stand in for registries of containers: of the environment (`FRUITBUILD_REGISTRY`, each NAME=URL), else of the
/// user's configuration.
///
/// # Errors
/// A value that is not NAME=URL, an unreadable configuration.
pub fn registries() -> Result<BTreeMap<String, String>, Error> {
    let mut all = configuration()?.registries;
    let environment = std::env::var(REGISTRIES).unwrap_or_default();
    for word in environment.split([' ', ',']).filter(|word| !word.is_empty()) {
        let (name, url) = word
            .split_once('=')
            .ok_or_else(|| Error::input(format!("{REGISTRIES}: {word:?} is not of the form NAME=URL")))?;
        all.insert(name.to_owned(), url.to_owned());
    }
    for (name, url) in &all {
        if !url.starts_with("https://") && !url.starts_with("http://") {
            return Err(Error::input(format!("the registry {name}: {url:?} is no address; expected https://HOST")));
        }
    }
    Ok(all)
}

/// Folder of all that can be made again: `--cache`, or `fruitbuild` in the user's cache folder.
///
/// # Errors
/// Neither is known.
pub fn cache_folder(sources: &Sources) -> Result<PathBuf, Error> {
    let environment = std::env::var_os("FRUITBUILD_CACHE").filter(|folder| !folder.is_empty()).map(PathBuf::from);
    sources.cache.clone().or(environment).or_else(Store::default_root).ok_or_else(|| {
        Error::other("no folder for the package store: neither HOME nor XDG_CACHE_HOME is set; name one with --cache or FRUITBUILD_CACHE")
    })
}

/// Mirrors by option, environment, configuration and the machine's apt, and those that the recipe itself names.
///
/// # Errors
/// A value that is not a mirror, an unreadable configuration.
pub fn mirrors(sources: &Sources, recipe: &Recipe) -> Result<Mirrors, Error> {
    let configuration = configuration()?;
    let environment = std::env::var(ENVIRONMENT).ok();
    let mut mirrors = Mirrors::find(&MirrorSources {
        options: &sources.mirror,
        environment: environment.as_deref(),
        configuration: &configuration.mirrors,
        etc_apt: Path::new("/etc/apt"),
    })?;
    for (name, repository) in recipe.repositories.iter() {
        mirrors.set(name.as_str(), repository.url.as_str())?;
    }
    if let Some(mirror) = &recipe.distribution.mirror {
        mirrors.set(DEBIAN, mirror.as_str())?;
    }
    if let Some(mirror) = &recipe.distribution.security_mirror {
        mirrors.set(DEBIAN_SECURITY, mirror.as_str())?;
    }
    Ok(mirrors)
}

fn configuration() -> Result<Configuration, Error> {
    let home = std::env::var_os("HOME").map(|home| PathBuf::from(home).join(".config"));
    let Some(folder) = std::env::var_os("XDG_CONFIG_HOME").map(PathBuf::from).or(home) else {
        return Ok(Configuration::default());
    };
    let path = folder.join("fruitbuild/config.yaml");
    match std::fs::read_to_string(&path) {
        Ok(text) => Ok(fruit_recipe::read_str(&path, &text)?),
        Err(error) if error.kind() == std::io::ErrorKind::NotFound => Ok(Configuration::default()),
        Err(error) => Err(PathError::new(&path, error).into()),
    }
}

/// The suites and components that a recipe takes packages from, the distribution's first.
///
/// # Errors
/// A key file that cannot be read.
pub fn repositories(recipe: &Recipe) -> Result<Vec<Repository>, Error> {
    repositories_for(recipe, recipe.board.architecture.value.as_str())
}

/// As [`repositories`], for packages of another architecture than the board's.
///
/// # Errors
/// As [`repositories`].
pub fn repositories_for(recipe: &Recipe, architecture: &str) -> Result<Vec<Repository>, Error> {
    let distribution = &recipe.distribution;
    let keyring = match &distribution.keyring {
        Some(file) => read_keyring(&file.resolve(&file.value))?,
        None => Arc::new(Keyring::debian_archive()?),
    };
    let components: Vec<String> = distribution.components.iter().map(|c| c.as_str().to_owned()).collect();
    // A mirror that the recipe names keeps old states, whose dates have passed.
    let allow_expired = !distribution.check_valid_until.unwrap_or(distribution.mirror.is_none());
    let suite = distribution.suite.as_str();
    let mut suites = vec![(DEBIAN, suite.to_owned())];
    if distribution.updates {
        suites.push((DEBIAN, format!("{suite}-updates")));
    }
    if distribution.security {
        suites.push((DEBIAN_SECURITY, format!("{suite}-security")));
    }
    let mut all: Vec<Repository> = suites
        .into_iter()
        .map(|(archive, suite)| Repository {
            archive: archive.to_owned(),
            suite,
            components: components.clone(),
            keyring: keyring.clone(),
            allow_expired,
        })
        .collect();
    for (name, repository) in recipe.repositories.iter() {
        let listed = &repository.architectures;
        if !listed.is_empty() && !listed.iter().any(|a| a.value.as_str() == architecture) {
            continue;
        }
        all.push(Repository {
            archive: name.as_str().to_owned(),
            suite: repository.suite.as_str().to_owned(),
            components: repository.components.iter().map(|c| c.as_str().to_owned()).collect(),
            keyring: read_keyring(&repository.key.resolve(&repository.key.value))?,
            allow_expired: !repository.check_valid_until,
        });
    }
    Ok(all)
}

fn read_keyring(path: &Path) -> Result<Arc<Keyring>, Error> {
    let bytes = std::fs::read(path).at(path)?;
    let keyring = Keyring::parse(&bytes, &path.display().to_string());
    Ok(Arc::new(keyring.map_err(|why| Error::input(why.to_string()))?))
}

/// Says the package crate's progress as ours.
pub struct Bars<'p> {
    progress: &'p dyn Progress,
    steps: Mutex<BTreeMap<u8, Box<dyn Step>>>,
}

impl<'p> Bars<'p> {
    pub fn new(progress: &'p dyn Progress) -> Bars<'p> {
        Bars { progress, steps: Mutex::default() }
    }
}

impl fruit_debian::Progress for Bars<'_> {
    fn start(&self, step: fruit_debian::Step, _items: usize, bytes: u64) {
        let name = match step {
            fruit_debian::Step::Indices => "fetching indices",
            fruit_debian::Step::Download => "fetching packages",
            fruit_debian::Step::Decompress => "decompressing",
            fruit_debian::Step::Read => "reading packages",
        };
        if let Ok(mut steps) = self.steps.lock() {
            steps.insert(step as u8, self.progress.step(name, bytes, Unit::Bytes));
        }
    }

    fn advance(&self, step: fruit_debian::Step, bytes: u64) {
        if let Ok(steps) = self.steps.lock()
            && let Some(step) = steps.get(&(step as u8))
        {
            step.add(bytes);
        }
    }

    fn finish(&self, step: fruit_debian::Step) {
        if let Ok(mut steps) = self.steps.lock() {
            steps.remove(&(step as u8));
        }
    }

    fn note(&self, text: &str) {
        self.progress.say(text);
    }
}
