//! A TUF client over HTTP, in the calling convention of the public conformance tests:
//!
//! ```text
//! tuf-client --metadata-dir DIR init ROOT
//! tuf-client --metadata-dir DIR --metadata-url URL refresh
//! tuf-client --metadata-dir DIR --metadata-url URL --target-name PATH… --target-base-url URL --target-dir DIR download
//! ```

#![allow(clippy::print_stderr)] // what the conformance tests show of a failure

use std::error::Error;
use std::fs;
use std::io::{ErrorKind, Read, Write};
use std::path::{Path, PathBuf};
use std::process::ExitCode;
use std::time::{SystemTime, UNIX_EPOCH};

use fruit_release::tuf::{Clock, Search, Stored, Target, Time, Trust, Verified, Want};

type Result<T> = std::result::Result<T, Box<dyn Error>>;

fn main() -> ExitCode {
    match run() {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("tuf-client: {error}");
            ExitCode::FAILURE
        }
    }
}

fn run() -> Result<()> {
    let mut options: Vec<(String, String)> = Vec::new();
    let mut words = Vec::new();
    let mut arguments = std::env::args().skip(1);
    while let Some(argument) = arguments.next() {
        match argument.strip_prefix("--") {
            Some(name) => options.push((name.into(), arguments.next().ok_or("an option without its value")?)),
            None => words.push(argument),
        }
    }
    let option = |name: &str| {
        let found = options.iter().find(|(n, _)| n == name).map(|(_, value)| value.clone());
        found.ok_or_else(|| format!("--{name} is missing"))
    };
    let folder = PathBuf::from(option("metadata-dir")?);
    match words.iter().map(String::as_str).collect::<Vec<_>>().as_slice() {
        ["init", root] => {
            fs::create_dir_all(&folder)?;
            Ok(replace(&folder.join("root.json"), &fs::read(root)?)?)
        }
        ["refresh"] => refresh(&folder, &option("metadata-url")?).map(drop),
        ["download"] => {
            let names = options.iter().filter(|(name, _)| name == "target-name").map(|(_, value)| value.as_str());
            let repository = Repository {
                metadata: option("metadata-url")?,
                targets: option("target-base-url")?,
                cache: folder.clone(),
                artifacts: option("target-dir")?.into(),
            };
            let trust = refresh(&folder, &repository.metadata)?;
            names.into_iter().try_for_each(|name| repository.download(&trust, name))
        }
        _ => Err("expected init ROOT, refresh or download".into()),
    }
}

fn clock() -> Result<Clock> {
    let now = SystemTime::now().duration_since(UNIX_EPOCH)?.as_secs();
    Ok(Clock::Trusted(Time::from_seconds(i64::try_from(now)?)))
}

const FILES: [&str; 4] = ["root.json", "timestamp.json", "snapshot.json", "targets.json"];

fn refresh(folder: &Path, url: &str) -> Result<Trust> {
    let [root, timestamp, snapshot, targets] = FILES.map(|name| fs::read(folder.join(name)).ok());
    let root = root.ok_or("there is no trusted root; run init first")?;
    let (mut trust, left_out) = Trust::load(&Stored { root, timestamp, snapshot, targets, newest_signed: None })?;
    for reason in left_out {
        eprintln!("left out of what was stored: {reason}");
    }
    let mut refresh = trust.refresh(clock()?);
    while let Some(want) = refresh.want() {
        let file = metadata_file(&want);
        let bytes = fetch(&join(url, file), want.limit)?;
        eprintln!("{file}: {}", if bytes.is_some() { "fetched" } else { "not there" });
        refresh.give(bytes.as_deref())?;
        store(folder, &refresh.trust().stored())?;
    }
    eprintln!("metadata is {}", refresh.freshness());
    Ok(trust)
}

fn store(folder: &Path, stored: &Stored) -> Result<()> {
    let files = [Some(&stored.root), stored.timestamp.as_ref(), stored.snapshot.as_ref(), stored.targets.as_ref()];
    for (name, bytes) in FILES.into_iter().zip(files) {
        match bytes {
            Some(bytes) => replace(&folder.join(name), bytes)?,
            None => match fs::remove_file(folder.join(name)) {
                Err(error) if error.kind() != ErrorKind::NotFound => return Err(error.into()),
                _ => {}
            },
        }
    }
    Ok(())
}

struct Repository {
    metadata: String,
    targets: String,
    /// Also of delegated roles' metadata.
    cache: PathBuf,
    artifacts: PathBuf,
}

impl Repository {
    fn download(&self, trust: &Trust, path: &str) -> Result<()> {
        let mut search = trust.search(path, clock()?)?;
        while let Some(want) = search.want() {
            self.visit(&mut search, &want)?;
        }
        let target = search.finish()?;
        let place = self.artifacts.join(path.replace('%', "%25").replace('/', "%2F"));
        if fs::read(&place).is_ok_and(|bytes| target.accept(bytes).is_ok()) {
            eprintln!("{path}: there already");
            return Ok(());
        }
        let file = trust.file_of(&target);
        let url = join(&self.targets, file.strip_prefix("targets/").unwrap_or(&file));
        let bytes = self.artifact(&target, &url)?;
        Ok(replace(&place, &bytes)?)
    }

    fn artifact(&self, target: &Verified<Target>, url: &str) -> Result<Verified<Vec<u8>>> {
        let bytes = fetch(url, target.length())?.ok_or_else(|| format!("{url}: not there"))?;
        Ok(target.accept(bytes)?)
    }

    /// Gives the search a delegated role's metadata, from what was stored if that will do.
    fn visit(&self, search: &mut Search, want: &Want) -> Result<()> {
        let file = metadata_file(want);
        let unversioned = file.split_once('.').filter(|(number, _)| number.bytes().all(|b| b.is_ascii_digit()));
        let place = self.cache.join(unversioned.map_or(file, |(_, rest)| rest));
        if let Ok(bytes) = fs::read(&place)
            && search.give(Some(&bytes)).is_ok()
        {
            return Ok(());
        }
        let bytes = fetch(&join(&self.metadata, file), want.limit)?;
        search.give(bytes.as_deref())?;
        Ok(replace(&place, &bytes.unwrap_or_default())?)
    }
}

fn metadata_file(want: &Want) -> &str {
    want.name.strip_prefix("metadata/").unwrap_or(&want.name)
}

fn join(url: &str, file: &str) -> String {
    format!("{}/{file}", url.trim_end_matches('/'))
}

/// `None` if the server does not have it.
fn fetch(url: &str, limit: u64) -> Result<Option<Vec<u8>>> {
    let response = match ureq::get(url).call() {
        Ok(response) => response,
        Err(ureq::Error::StatusCode(403 | 404)) => return Ok(None),
        Err(error) => return Err(format!("{url}: {error}").into()),
    };
    let mut bytes = Vec::new();
    // One byte more than allowed shows that there is too much.
    response.into_body().into_reader().take(limit.saturating_add(1)).read_to_end(&mut bytes)?;
    if bytes.len() as u64 > limit {
        return Err(format!("{url}: more than {limit} bytes").into());
    }
    Ok(Some(bytes))
}

/// The file is the old one or the new one at any moment.
fn replace(path: &Path, bytes: &[u8]) -> std::io::Result<()> {
    let beside = path.with_extension("new");
    let mut file = fs::File::create(&beside)?;
    file.write_all(bytes)?;
    file.sync_all()?;
    fs::rename(beside, path)
}
