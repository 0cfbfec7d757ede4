//! Where fleets are.

use super::{Options, at, usage};
use crate::failure::{Code, Failure};
use fruit_base::{Replace, replace_with};
use fruit_record::FleetId;
use fruit_record::wire::is_name;
use fruit_release::keys::read_bounded;
use std::fs::{self, DirBuilder, File};
use std::io::ErrorKind;
use std::os::unix::fs::DirBuilderExt;
use std::path::{Path, PathBuf};

/// The records of a fleet, in its folder.
pub const RECORDS: &str = "fleet.records";
/// Its keys.
pub const KEYS: &str = "keys";
/// Its id: records of another fleet are not taken for its own.
pub const ID: &str = "fleet.id";
/// Who changes a folder has locked this file in it.
const LOCK: &str = ".lock";

/// The folder that fleets are in.
pub fn all() -> Result<PathBuf, Failure> {
    if let Some(folder) = std::env::var_os("FRUITCTL_FLEETS").filter(|folder| !folder.is_empty()) {
        return Ok(folder.into());
    }
    let home = std::env::var_os("HOME").filter(|home| !home.is_empty()).map(|home| PathBuf::from(home).join(".config"));
    let config = std::env::var_os("XDG_CONFIG_HOME").map(PathBuf::from).filter(|path| path.is_absolute()).or(home);
    let config = config.ok_or_else(|| usage("HOME is not set: name the folder of the fleet with --fleet ./FOLDER"))?;
    Ok(config.join("fruit/fleets"))
}

/// The fleets that are known here.
pub fn known() -> Result<Vec<PathBuf>, Failure> {
    let folder = all()?;
    let entries = match fs::read_dir(&folder) {
        Err(error) if error.kind() == ErrorKind::NotFound => return Ok(Vec::new()),
        found => found.map_err(at(&folder))?,
    };
    let mut found = Vec::new();
    for entry in entries {
        let path = entry.map_err(at(&folder))?.path();
        // `.NAME.new` is what a killed command was making.
        if !fleet_name(&path).starts_with('.') && path.join(RECORDS).is_file() {
            found.push(path);
        }
    }
    found.sort();
    Ok(found)
}

/// The folder that a name or a path means.
pub fn named(name: &Path) -> Result<PathBuf, Failure> {
    let is_path = name.as_os_str().as_encoded_bytes().contains(&b'/') || ["", ".", ".."].map(Path::new).contains(&name);
    if is_path {
        return Ok(name.to_owned());
    }
    match name.to_str() {
        Some(text) if is_name(text) => Ok(all()?.join(text)),
        _ => Err(usage(format!(
            "{:?} is no name of a fleet: letters, digits, `-`, `_` and `.`",
            name.display().to_string()
        ))),
    }
}

impl Options {
    /// The name or folder that was given.
    pub fn given(&self) -> Option<PathBuf> {
        let variable = || std::env::var_os("FRUITCTL_FLEET").filter(|name| !name.is_empty()).map(PathBuf::from);
        self.fleet.clone().or_else(variable)
    }

    /// The folder of a new fleet: the one that --fleet names (the variable is for fleets that are there), or `name`'s.
    pub fn new_folder(&self, name: &str) -> Result<PathBuf, Failure> {
        named(&self.fleet.clone().unwrap_or_else(|| PathBuf::from(name)))
    }

    /// The folder of the fleet that is meant.
    pub fn folder(&self) -> Result<PathBuf, Failure> {
        if let Some(name) = self.given() {
            let folder = named(&name)?;
            if folder.join(RECORDS).is_file() {
                return Ok(folder);
            }
            let known: Vec<String> = known().unwrap_or_default().iter().map(|path| fleet_name(path)).collect();
            let known = if known.is_empty() {
                "none is known here".into()
            } else {
                format!("known here: {}", known.join(", "))
            };
            return Err(usage(format!("{}: there is no fleet in this folder; {known}", folder.display())));
        }
        let known = known()?;
        match known.as_slice() {
            [one] => Ok(one.clone()),
            [] => Err(usage(format!(
                "there is no fleet in {}; make one with `fruitctl fleet init NAME`, or take one that was exported with \
                 `fruitctl fleet join FILE --charter HASH`",
                all()?.display()
            ))),
            several => {
                let names: Vec<String> = several.iter().map(|path| fleet_name(path)).collect();
                Err(usage(format!("which fleet is meant? Name one with --fleet: {}", names.join(", "))))
            }
        }
    }
}

/// The last part of a folder's path.
pub fn fleet_name(folder: &Path) -> String {
    folder.file_name().map_or_else(|| folder.display().to_string(), |name| name.to_string_lossy().into_owned())
}

/// The id that a fleet's folder is about.
pub fn fleet_id(path: &Path) -> Result<FleetId, Failure> {
    let wrong = |why: &str| Failure::new(Code::Refused, format!("{}: {why}", path.display()));
    let bytes = read_bounded(path, 256)?.ok_or_else(|| {
        wrong("it is missing; export the records, and join them in another folder: `fruitctl fleet join --help`")
    })?;
    let id = std::str::from_utf8(&bytes).ok().and_then(|text| FleetId::parse(text.trim()));
    id.ok_or_else(|| wrong("it is no id of a fleet (64 hexadecimal digits)"))
}

pub fn write_id(path: &Path, id: &FleetId) -> Result<(), Failure> {
    replace_with(path, format!("{id}\n").as_bytes(), Replace { mode: 0o644, durable: true }).map_err(at(path))
}

/// Removes what a killed command was making; whatever else is there stays.
fn clear(beside: &Path) -> Result<(), Failure> {
    let entries = match fs::read_dir(beside) {
        Err(error) if error.kind() == ErrorKind::NotFound => return Ok(()),
        found => found.map_err(at(beside))?,
    };
    for entry in entries {
        let name = entry.map_err(at(beside))?.file_name();
        // Files are replaced by way of others beside them, whose names begin with a dot.
        let ours = [KEYS, RECORDS, ID].iter().any(|ours| name == *ours) || name.as_encoded_bytes().starts_with(b".");
        if !ours {
            let shown = beside.join(name);
            let message =
                format!("{}: a new fleet is made in this folder, and this is none: move it away", shown.display());
            return Err(Failure::new(Code::Refused, message));
        }
    }
    fs::remove_dir_all(beside).map_err(at(beside))
}

/// Waits until no other command changes what is in `folder`, and lets no other begin while the lock is held.
pub fn lock(folder: &Path, options: &Options) -> Result<File, Failure> {
    let path = folder.join(LOCK);
    let wait = || options.say(format_args!("waiting for another fruitctl that is changing {}", folder.display()));
    fruit_base::lock(&path, wait).map_err(at(&path))
}

/// Makes the folder of a fleet, whole or not at all: `fill` is given a folder beside it, which then takes its name.
pub fn create(
    folder: &Path,
    options: &Options,
    fill: impl FnOnce(&Path) -> Result<(), Failure>,
) -> Result<(), Failure> {
    let private = |path: &Path| DirBuilder::new().recursive(true).mode(0o700).create(path).map_err(at(path));
    let taken = || {
        Failure::new(
            Code::Refused,
            format!("{}: there is something already; choose another name or folder", folder.display()),
        )
    };
    let above = folder.parent().filter(|above| !above.as_os_str().is_empty()).unwrap_or(Path::new("."));
    private(above)?;
    let _lock = lock(above, options)?;
    if folder.symlink_metadata().is_ok() {
        return Err(taken());
    }
    let beside = above.join(format!(".{}.new", fleet_name(folder)));
    // What a killed command left, which held the lock.
    clear(&beside)?;
    private(&beside)?;
    let made = fill(&beside).and_then(|()| fs::rename(&beside, folder).map_err(at(folder)));
    if made.is_err() {
        let _ = fs::remove_dir_all(&beside);
    }
    made?;
    File::open(above).and_then(|above| above.sync_all()).map_err(at(above))
}
