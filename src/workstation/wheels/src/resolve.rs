//! Asks the workstation's pip which wheels answer a list of requirements on another machine.

use std::collections::BTreeMap;
use std::fs;
use std::io::Read;
use std::process::{Command, Stdio};

use fruit_base::{PathError, Sha256};
use serde::Deserialize;

use crate::{Target, normalized};

const ASK: &str = include_str!("ask.py");
/// Longest report that is read, in bytes. With all metadata, one of a hundred wheels has some megabytes.
const REPORT_MAX: u64 = 256 << 20;
/// Bytes of pip's words that an error shows.
const SAID: usize = 4000;

/// A wheel that pip chose.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Chosen {
    /// As [`normalized`].
    pub name: String,
    pub version: String,
    pub url: String,
    pub sha256: Sha256,
}

/// Why no wheels were chosen.
#[derive(Debug, thiserror::Error)]
pub enum NotChosen {
    #[error("Python wheels are chosen by pip, and this machine has none ({0}); install the Debian package python3-pip")]
    NoPip(String),
    #[error("pip found no wheels for Python {python} on {machine}:\n{said}")]
    Refused { python: String, machine: String, said: String },
    #[error("pip's report: {0}")]
    Report(String),
    #[error("{0}: the index gives no SHA-256 for its wheel; it cannot be pinned")]
    NoHash(String),
    #[error("{0}: the index asks for a name and password; wheels are fetched without")]
    Login(String),
    #[error(transparent)]
    Path(#[from] PathError),
}

#[derive(Deserialize)]
struct Report {
    environment: BTreeMap<String, String>,
    install: Vec<Installed>,
}

#[derive(Deserialize)]
struct Installed {
    metadata: Metadata,
    download_info: DownloadInfo,
}

#[derive(Deserialize)]
struct Metadata {
    name: String,
    version: String,
}

#[derive(Deserialize)]
struct DownloadInfo {
    url: String,
    #[serde(default)]
    archive_info: ArchiveInfo,
}

#[derive(Deserialize, Default)]
struct ArchiveInfo {
    #[serde(default)]
    hashes: BTreeMap<String, String>,
    /// `sha256=…`, of older versions of pip.
    #[serde(default)]
    hash: Option<String>,
}

/// Chooses wheels for `requirements` (PEP 508) and all that they require, in order of their names. Versions of `kept` stay where
/// they can. The index is `index`, or else what pip's own configuration names. No code of a package runs: only wheels count.
///
/// # Errors
/// There is no pip, or it finds no answer.
pub fn resolve(
    target: &Target,
    requirements: &[String],
    kept: &[(String, String)],
    index: Option<&str>,
) -> Result<Vec<Chosen>, NotChosen> {
    let folder = tempfile::tempdir().map_err(|error| PathError::new(std::env::temp_dir(), error))?;
    let report = folder.path().join("report.json");
    let mut command = Command::new("python3");
    // `-I`: nothing of the folder that somebody stands in is imported.
    command.args(["-I", "-c", ASK, &markers(target).to_string(), "install"]);
    command.args(["--dry-run", "--ignore-installed", "--only-binary=:all:", "--no-input", "--quiet"]);
    command.args(["--disable-pip-version-check", "--no-color", "--implementation", "cp"]);
    command.args(["--python-version", &target.python_version()]);
    command.args(["--abi", &format!("cp{}{}", target.python.0, target.python.1)]);
    for platform in target.platforms() {
        command.args(["--platform", &platform]);
    }
    command.arg("--target").arg(folder.path().join("nothing")).arg("--report").arg(&report);
    if let Some(index) = index {
        command.args(["--index-url", index]);
    }
    if !kept.is_empty() {
        let constraints = folder.path().join("constraints.txt");
        let text: String = kept.iter().map(|(name, version)| format!("{name}=={version}\n")).collect();
        fs::write(&constraints, text).map_err(|error| PathError::new(&constraints, error))?;
        command.arg("--constraint").arg(&constraints);
    }
    command.arg("--").args(requirements);
    // What a person has set for their own installations is not meant for this one.
    command.env("PIP_USER", "0").env("PIP_REQUIRE_VIRTUALENV", "0").env_remove("PIP_TARGET").env_remove("PIP_PREFIX");
    let run = command.stdin(Stdio::null()).output().map_err(|error| NotChosen::NoPip(format!("python3: {error}")))?;
    if !run.status.success() {
        let said = String::from_utf8_lossy(&run.stderr);
        let said = shown(&said);
        return Err(match said.lines().last() {
            Some("there is no pip") => NotChosen::NoPip(said),
            _ => NotChosen::Refused {
                python: target.python_version(),
                machine: target.machine.to_owned(),
                said: said.replace("No matching distribution", "No matching wheel"),
            },
        });
    }
    read(&fs::File::open(&report).map_err(|error| PathError::new(&report, error))?, target)
}

/// Markers that differ between the workstation and the target.
fn markers(target: &Target) -> serde_json::Value {
    serde_json::json!({
        "implementation_name": "cpython",
        "implementation_version": target.full_version,
        "os_name": "posix",
        "platform_machine": target.machine,
        "platform_python_implementation": "CPython",
        "platform_system": "Linux",
        "python_full_version": target.full_version,
        "python_version": target.python_version(),
        "sys_platform": "linux",
    })
}

/// The end of what pip said, harmless for a terminal.
fn shown(said: &str) -> String {
    let from = said.len().saturating_sub(SAID);
    let from = (from..=said.len()).find(|at| said.is_char_boundary(*at)).unwrap_or(said.len());
    fruit_base::invisible::for_a_terminal(said[from..].trim())
}

fn read(report: &fs::File, target: &Target) -> Result<Vec<Chosen>, NotChosen> {
    let wrong = |why: String| NotChosen::Report(why);
    let mut text = Vec::new();
    report.take(REPORT_MAX + 1).read_to_end(&mut text).map_err(|error| wrong(error.to_string()))?;
    if text.len() as u64 > REPORT_MAX {
        return Err(wrong(format!("it has more than {REPORT_MAX} bytes")));
    }
    let report: Report = serde_json::from_slice(&text).map_err(|error| wrong(error.to_string()))?;
    for (marker, value) in markers(target).as_object().into_iter().flatten() {
        let counted = report.environment.get(marker);
        if counted.map(String::as_str) != value.as_str() {
            let counted = counted.map_or("nothing", String::as_str);
            return Err(wrong(format!(
                "{marker} was {counted} and not {value}: this version of pip cannot choose for others"
            )));
        }
    }
    let mut all: Vec<Chosen> = report.install.into_iter().map(chosen).collect::<Result<_, _>>()?;
    all.sort_by(|a, b| a.name.cmp(&b.name));
    Ok(all)
}

fn chosen(one: Installed) -> Result<Chosen, NotChosen> {
    let Installed { metadata: Metadata { name, version }, download_info: DownloadInfo { url, archive_info } } = one;
    let by_older = archive_info.hash.as_deref().and_then(|hash| hash.strip_prefix("sha256=")).map(str::to_owned);
    let sha256 = archive_info.hashes.get("sha256").cloned().or(by_older).and_then(|text| text.parse().ok());
    let (url, _) = url.split_once('#').unwrap_or((&url, ""));
    if url.split('/').nth(2).is_some_and(|host| host.contains('@')) {
        return Err(NotChosen::Login(name));
    }
    if !url.split('?').next().is_some_and(|path| path.ends_with(".whl")) {
        return Err(NotChosen::Report(format!("{name} is no wheel")));
    }
    match sha256 {
        Some(sha256) => Ok(Chosen { name: normalized(&name), version, url: url.to_owned(), sha256 }),
        None => Err(NotChosen::NoHash(name)),
    }
}
