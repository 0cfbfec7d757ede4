//! `InRelease`: the signed table of contents of a suite (Debian repository format, "Release" files).

use std::collections::BTreeMap;

use crate::control::Paragraph;
use crate::date;
use crate::digest::Sha256;
use crate::error::{Error, Result};
use crate::keyring::{Clock, Keyring};

/// A file of the suite as the signed text vouches for it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Vouched {
    /// Bytes.
    pub size: u64,
    pub sha256: Sha256,
}

/// A Release file whose signature was checked; [`Release::verify`] is the only way to get one.
#[derive(Clone, Debug)]
pub struct Release {
    file: String,
    /// When it was made; seconds since 1970-01-01 UTC.
    pub date: i64,
    pub valid_until: Option<i64>,
    pub suite: Option<String>,
    pub codename: Option<String>,
    pub components: Vec<String>,
    pub architectures: Vec<String>,
    /// Indices may be fetched by their hash, so that a mirror being updated serves a whole state.
    pub by_hash: bool,
    /// Packages of architecture `all` are (also) in the indices of the real architectures.
    pub all_in_every_index: bool,
    files: BTreeMap<String, Vouched>,
}

impl Release {
    /// Checks signature and dates of an InRelease file and reads it. `file` is what messages call it.
    ///
    /// # Errors
    /// No acceptable signature, an expired or undated file, a text that does not follow the format.
    pub fn verify(in_release: &[u8], keyring: &Keyring, clock: Clock, file: &str) -> Result<Release> {
        let text = keyring.verify_clearsigned(in_release, clock, file)?;
        let release = Release::parse(&text, file)?;
        match release.valid_until {
            Some(until) if until < clock.now && !clock.allow_expired => Err(Error::Expired {
                file: file.to_owned(),
                valid_until: date::format(until),
                now: date::format(clock.now),
            }),
            _ => Ok(release),
        }
    }

    fn parse(text: &str, file: &str) -> Result<Release> {
        let fields = Paragraph::parse_one(text.as_bytes(), file)?;
        let words = |name: &str| -> Vec<String> {
            fields.get(name).unwrap_or("").split_whitespace().map(str::to_owned).collect()
        };
        let dated = |name: &str, value: &str| {
            date::parse(value).ok_or_else(|| Error::format(file, format!("{name}: {value:?} is not a date in UTC")))
        };
        let yes = |name: &str| fields.get(name).is_some_and(|value| value.eq_ignore_ascii_case("yes"));
        Ok(Release {
            file: file.to_owned(),
            date: dated("Date", fields.require("Date", file)?)?,
            valid_until: fields.get("Valid-Until").map(|value| dated("Valid-Until", value)).transpose()?,
            suite: fields.get("Suite").map(str::to_owned),
            codename: fields.get("Codename").map(str::to_owned),
            // Security archives used to write `updates/main`.
            components: words("Components")
                .into_iter()
                .map(|c| c.rsplit('/').next().unwrap_or_default().to_owned())
                .collect(),
            all_in_every_index: !words("Architectures").iter().any(|a| a == "all")
                || words("No-Support-for-Architecture-all").iter().any(|w| w == "Packages"),
            architectures: words("Architectures"),
            by_hash: yes("Acquire-By-Hash"),
            files: parse_files(fields.require("SHA256", file)?, file)?,
        })
    }

    /// What the signed text says of `path` (relative to the suite's folder).
    pub fn file(&self, path: &str) -> Option<Vouched> {
        self.files.get(path).copied()
    }

    /// # Errors
    /// The mirror served the (validly signed) Release file of another suite.
    pub fn check_suite(&self, wanted: &str) -> Result<()> {
        let wanted = wanted.trim_end_matches('/');
        let names = [&self.codename, &self.suite];
        if names.iter().all(|name| name.is_none()) || names.iter().any(|name| name.as_deref() == Some(wanted)) {
            return Ok(());
        }
        Err(Error::Mismatch {
            file: self.file.clone(),
            what: "suite",
            expected: wanted.to_owned(),
            found: names.iter().filter_map(|name| name.as_deref()).collect::<Vec<_>>().join(" or "),
        })
    }

    pub(crate) fn file_name(&self) -> &str {
        &self.file
    }
}

fn parse_files(table: &str, file: &str) -> Result<BTreeMap<String, Vouched>> {
    let mut files = BTreeMap::new();
    for line in table.lines().filter(|line| !line.trim().is_empty()) {
        let wrong = || Error::format(file, format!("SHA256: {:?} is not `hash size path`", line.trim()));
        let mut words = line.split_whitespace();
        let (Some(hash), Some(size), Some(path), None) = (words.next(), words.next(), words.next(), words.next())
        else {
            return Err(wrong());
        };
        let sha256 = Sha256::parse(hash).ok_or_else(wrong)?;
        let size = size.parse().map_err(|_| wrong())?;
        let vouched = Vouched { size, sha256 };
        if files.insert(path.to_owned(), vouched).is_some_and(|before| before != vouched) {
            return Err(Error::format(file, format!("SHA256: two different lines for {path}")));
        }
    }
    Ok(files)
}
