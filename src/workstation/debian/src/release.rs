//! `InRelease`, or `Release` and `Release.gpg`: the signed table of contents of a suite (Debian repository format, "Release"
//! files). What apt takes is taken, with a warning where apt has one: everything here is signed by a key that the recipe
//! names, so odd fields are the repository's own doing.

use std::collections::BTreeMap;

use crate::control::Paragraph;
use crate::date;
use crate::digest::{Digest, Sha256};
use crate::error::{Error, Result};
use crate::keyring::{Clock, Keyring, Signed};

/// A file of the suite as the signed text vouches for it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Vouched {
    /// Bytes.
    pub size: u64,
    pub digest: Digest,
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
    /// What is odd about the file, and was taken.
    pub warnings: Vec<String>,
    files: BTreeMap<String, Vouched>,
}

/// The folder that a suite's table of contents and indices are in, below the repository's address: `dists/SUITE/`, or the path
/// of a flat repository, whose suite ends with `/`.
pub(crate) fn suite_folder(suite: &str) -> String {
    match suite.strip_suffix('/') {
        None => format!("dists/{suite}/"),
        Some(path) => {
            let path: Vec<&str> = path.split('/').filter(|part| !part.is_empty() && *part != ".").collect();
            path.iter().map(|part| format!("{part}/")).collect()
        }
    }
}

impl Release {
    /// Checks signature and dates of an InRelease file and reads it. `file` is what messages call it.
    ///
    /// # Errors
    /// No acceptable signature, an expired or undated file, a text that does not follow the format.
    pub fn verify(in_release: &[u8], keyring: &Keyring, clock: Clock, file: &str) -> Result<Release> {
        Release::read(keyring.verify_clearsigned(in_release, clock, file)?, clock, file)
    }

    /// As [`Release::verify`], for a Release file and its signature, Release.gpg.
    ///
    /// # Errors
    /// As [`Release::verify`].
    pub fn verify_detached(
        release: &[u8],
        signature: &[u8],
        keyring: &Keyring,
        clock: Clock,
        file: &str,
    ) -> Result<Release> {
        Release::read(keyring.verify_detached(release, signature, clock, file)?, clock, file)
    }

    fn read(signed: Signed, clock: Clock, file: &str) -> Result<Release> {
        let release = Release::parse(&signed, clock, file)?;
        match release.valid_until {
            Some(until) if until < clock.now && !clock.allow_expired => Err(Error::Expired {
                file: file.to_owned(),
                valid_until: date::format(until),
                now: date::format(clock.now),
            }),
            _ => Ok(release),
        }
    }

    fn parse(signed: &Signed, clock: Clock, file: &str) -> Result<Release> {
        let fields = Paragraph::parse_first(&signed.text, file)?;
        let mut warnings = Vec::new();
        let words = |name: &str| -> Vec<String> {
            fields.get(name).unwrap_or("").split_whitespace().map(str::to_owned).collect()
        };
        let yes = |name: &str| fields.get(name).is_some_and(|value| value.eq_ignore_ascii_case("yes"));
        let date = fields.get("Date").and_then(date::parse).unwrap_or_else(|| {
            let found = fields.get("Date").map_or("has no Date".to_owned(), |d| format!("Date: {d:?} is not a date"));
            warnings
                .push(format!("{file}: {found}; taken is that of its signature, {}", date::format(signed.signed_at)));
            signed.signed_at
        });
        let valid_until = match fields.get("Valid-Until").map(|text| (text, date::parse(text))) {
            Some((text, None)) if !clock.allow_expired => {
                return Err(Error::format(
                    file,
                    format!(
                        "Valid-Until: {text:?} is not a date; to use the repository nevertheless, set `check_valid_until: false` for it in the recipe"
                    ),
                ));
            }
            found => found.and_then(|(_, until)| until),
        };
        let mut files = parse_files(fields.get("SHA256").unwrap_or(""), |hash| Sha256::parse(hash).map(Digest::Sha256));
        for (path, vouched) in parse_files(fields.get("SHA512").unwrap_or(""), Digest::parse_sha512) {
            files
                .entry(path)
                .and_modify(|both: &mut Vouched| both.digest = both.digest.and_sha512(vouched.digest.sha512()))
                .or_insert(vouched);
        }
        if fields.get("SHA256").is_none() && fields.get("SHA512").is_none() {
            let others: Vec<&str> = ["SHA1", "MD5Sum"].into_iter().filter(|n| fields.get(n).is_some()).collect();
            let has =
                if others.is_empty() { "no hashes at all".to_owned() } else { format!("only {}", others.join(", ")) };
            return Err(Error::format(
                file,
                format!("has no field SHA256: {has}; the repository has to list its files with SHA-256 or SHA-512"),
            ));
        }
        Ok(Release {
            file: file.to_owned(),
            date,
            valid_until,
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
            files,
            warnings,
        })
    }

    /// What the signed text says of `path` (relative to the suite's folder).
    pub fn file(&self, path: &str) -> Option<Vouched> {
        self.files.get(path).copied()
    }

    /// # Errors
    /// The file calls itself another suite than `wanted`. That is worth a warning: repositories that are copied or renamed
    /// often say so. The path of a flat repository is not compared.
    pub fn check_suite(&self, wanted: &str) -> Result<()> {
        if wanted.ends_with('/') {
            return Ok(());
        }
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

/// Lines are `hash size path`. One that is not is passed over: the file that it was for is then not in the table. Of two
/// lines for one path the first counts.
fn parse_files(table: &str, digest: impl Fn(&str) -> Option<Digest>) -> BTreeMap<String, Vouched> {
    let mut files = BTreeMap::new();
    for line in table.lines() {
        let mut words = line.split_whitespace();
        let (Some(hash), Some(size), Some(path), None) = (words.next(), words.next(), words.next(), words.next())
        else {
            continue;
        };
        if let (Some(digest), Ok(size)) = (digest(hash), size.parse()) {
            files.entry(path.trim_start_matches("./").to_owned()).or_insert(Vouched { size, digest });
        }
    }
    files
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_suite_that_ends_with_a_slash_is_the_path_of_a_flat_repository() {
        let folder = |suite: &str| suite_folder(suite);
        assert_eq!([folder("trixie"), folder("a/b"), folder("/")], ["dists/trixie/", "dists/a/b/", ""]);
        assert_eq!([folder("./"), folder("bookworm-cran40/"), folder("/a//b/./")], ["", "bookworm-cran40/", "a/b/"]);
    }
}
