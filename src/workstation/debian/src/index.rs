//! `Packages` indices: what a repository offers for one architecture.

use std::io::BufRead;

use crate::control::{decode, shorten};
use crate::digest::{Digest, Sha256, Sha512};
use crate::error::{Error, Result};
pub use crate::priority::Priority;
use crate::relation::is_package_name;
use crate::version::Version;

/// Longest line of an index, in bytes; the longest real one is a Depends field of some 50 kB.
const MAX_LINE: u64 = 4 << 20;

/// Value of the Multi-Arch field.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum MultiArch {
    No,
    Same,
    Foreign,
    Allowed,
}

/// A package in a version, as an index offers it. Relations are kept as text; most are never looked at.
#[derive(Clone, Debug)]
pub struct Offer {
    pub name: Box<str>,
    pub version: Version,
    pub architecture: Box<str>,
    pub multi_arch: MultiArch,
    pub essential: bool,
    pub priority: Priority,
    pub section: Box<str>,
    pub pre_depends: Box<str>,
    pub depends: Box<str>,
    pub recommends: Box<str>,
    pub conflicts: Box<str>,
    pub breaks: Box<str>,
    pub provides: Box<str>,
    /// Path in the archive (`pool/…`).
    pub path: Box<str>,
    /// Bytes.
    pub size: u64,
    pub digest: Digest,
    /// Which of the universe's repositories it is from.
    pub repository: usize,
}

/// An entry of an index that is not on offer.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct LeftOut {
    /// What the entry calls itself, whatever that is.
    pub name: String,
    /// What is wrong with it: `has no SHA256`.
    pub why: String,
}

/// What an index holds.
#[derive(Clone, Debug, Default)]
pub struct Index {
    pub offers: Vec<Offer>,
    /// Entries that cannot be used, at most [`MAX_LEFT_OUT`].
    pub left_out: Vec<LeftOut>,
    /// How many there are.
    pub left_out_count: usize,
}

/// How many unusable entries of an index are remembered.
pub const MAX_LEFT_OUT: usize = 10_000;

/// Reads an index, line by line so that most of it is forgotten at once. Packages of other architectures than
/// `architecture` and `all` are not looked at; an entry that lacks or garbles what is needed is left out, and no other
/// entry for its sake. Of a field given twice the last one counts, as with apt.
///
/// # Errors
/// A read error.
pub fn read_packages(mut input: impl BufRead, architecture: &str, repository: usize, file: &str) -> Result<Index> {
    let mut index = Index::default();
    let mut draft = Draft::default();
    let mut line = Vec::new();
    loop {
        line.clear();
        let wrong = |e: std::io::Error| Error::format(file, format!("cannot be read: {e}"));
        let read = std::io::Read::take(&mut input, MAX_LINE).read_until(b'\n', &mut line).map_err(wrong)?;
        if read as u64 == MAX_LINE && line.last() != Some(&b'\n') {
            input.skip_until(b'\n').map_err(wrong)?;
            draft.spoil(format!("has a line longer than {MAX_LINE} bytes"));
            continue;
        }
        // A line of blanks is part of a value; only an empty one ends the entry.
        let ends = line.iter().all(|b| matches!(b, b'\r' | b'\n'));
        if !ends {
            draft.line(line.trim_ascii_end());
            continue;
        }
        match std::mem::take(&mut draft).finish(architecture, repository) {
            Ok(offer) => index.offers.extend(offer),
            Err(left_out) => {
                index.left_out_count += 1;
                if index.left_out.len() < MAX_LEFT_OUT {
                    index.left_out.push(left_out);
                }
            }
        }
        if read == 0 {
            return Ok(index);
        }
    }
}

macro_rules! draft {
    ($($field:ident = $name:literal),* $(,)?) => {
        /// Values of the paragraph being read.
        #[derive(Default)]
        struct Draft { $($field: String,)* wanted: Option<&'static str>, seen: bool, wrong: Option<String> }

        impl Draft {
            fn slot(&mut self, name: &str) -> Option<(&'static str, &mut String)> {
                $(if name.eq_ignore_ascii_case($name) { return Some(($name, &mut self.$field)); })*
                None
            }
        }
    };
}

draft! {
    name = "Package", version = "Version", architecture = "Architecture", multi_arch = "Multi-Arch",
    essential = "Essential", priority = "Priority", section = "Section", pre_depends = "Pre-Depends",
    depends = "Depends", recommends = "Recommends", conflicts = "Conflicts", breaks = "Breaks",
    provides = "Provides", path = "Filename", size = "Size", sha256 = "SHA256", sha512 = "SHA512",
}

impl Draft {
    fn line(&mut self, line: &[u8]) {
        self.seen = true;
        // A line of blanks was trimmed to nothing.
        if line.first().is_none_or(|b| matches!(b, b' ' | b'\t')) {
            let Some(name) = self.wanted else { return };
            let room = MAX_LINE as usize;
            match self.slot(name) {
                Some((_, slot)) if slot.len() + line.len() <= room => slot.push_str(&decode(line)),
                Some(_) => self.spoil(format!("has a field {name} longer than {room} bytes")),
                None => {}
            }
            return;
        }
        self.wanted = None;
        let Some(colon) = line.iter().position(|b| *b == b':') else {
            self.spoil(format!("{:?} is not `Field: value`", shorten(&decode(line))));
            return;
        };
        if let Some((name, slot)) = self.slot(decode(&line[..colon]).trim_end()) {
            slot.clear();
            slot.push_str(decode(&line[colon + 1..]).trim());
            self.wanted = Some(name);
        }
    }

    /// The first mistake is the one that is told.
    fn spoil(&mut self, why: String) {
        self.seen = true;
        self.wrong.get_or_insert(why);
    }

    fn finish(self, architecture: &str, repository: usize) -> Result<Option<Offer>, LeftOut> {
        if !self.seen {
            return Ok(None);
        }
        let of_another =
            !self.architecture.is_empty() && self.architecture != architecture && self.architecture != "all";
        if of_another {
            return Ok(None);
        }
        let left_out = |why: String| LeftOut { name: shorten(&self.name), why };
        let wrong = |field: &str, value: &str, what: &str| {
            left_out(match value.is_empty() {
                true => format!("has no {field}"),
                false => format!("{field}: {:?} is not {what}", shorten(value)),
            })
        };
        if let Some(why) = &self.wrong {
            return Err(left_out(why.clone()));
        }
        if !is_package_name(&self.name) {
            return Err(wrong("Package", &self.name, "a package name"));
        }
        if self.architecture.is_empty() {
            return Err(wrong("Architecture", "", ""));
        }
        if !is_clean_path(&self.path) {
            return Err(wrong("Filename", &self.path, "a path inside the archive"));
        }
        let sha256 = match self.sha256.as_str() {
            "" if !self.sha512.is_empty() => None,
            text => Some(Sha256::parse(text).ok_or_else(|| wrong("SHA256", text, "a SHA-256 value"))?),
        };
        let sha512 = match self.sha512.as_str() {
            "" => None,
            text => Some(Sha512::parse(text).ok_or_else(|| wrong("SHA512", text, "a SHA-512 value"))?),
        };
        let digest = Digest::of(sha256, sha512).ok_or_else(|| wrong("SHA256", "", "a SHA-256 value"))?;
        Ok(Some(Offer {
            version: self.version.parse().map_err(|_| wrong("Version", &self.version, "a version"))?,
            multi_arch: match self.multi_arch.as_str() {
                "same" => MultiArch::Same,
                "foreign" => MultiArch::Foreign,
                "allowed" => MultiArch::Allowed,
                _ => MultiArch::No, // apt takes what it does not know for `no`, too
            },
            essential: self.essential.eq_ignore_ascii_case("yes"),
            priority: match self.priority.as_str() {
                "required" => Priority::Required,
                "important" => Priority::Important,
                "standard" => Priority::Standard,
                "extra" => Priority::Extra,
                _ => Priority::Optional,
            },
            size: self.size.parse().map_err(|_| wrong("Size", &self.size, "a number of bytes"))?,
            digest,
            name: self.name.into(),
            architecture: self.architecture.into(),
            section: self.section.into(),
            pre_depends: self.pre_depends.into(),
            depends: self.depends.into(),
            recommends: self.recommends.into(),
            conflicts: self.conflicts.into(),
            breaks: self.breaks.into(),
            provides: self.provides.into(),
            // Some servers do not take `./` for what it is.
            path: self.path.trim_start_matches("./").into(),
            repository,
        }))
    }
}

/// A path that stays inside its archive and is one line.
pub(crate) fn is_clean_path(path: &str) -> bool {
    path.len() <= 1024
        && !path.chars().any(char::is_control)
        && path.split('/').all(|part| part != "..")
        && path.rsplit('/').next().is_some_and(|name| !name.is_empty() && name != ".")
}
