//! `Packages` indices: what a repository offers for one architecture.

use std::io::BufRead;

use crate::control::shorten;
use crate::digest::Sha256;
use crate::error::{Error, Result};
use crate::relation::is_package_name;
use crate::version::Version;

/// Longest line of an index, in bytes; the longest real one is a Depends field of some 50 kB.
const MAX_LINE: u64 = 4 << 20;

/// How much a system needs a package (Debian Policy 2.5), the most needed first.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, serde::Serialize, serde::Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Priority {
    Required,
    Important,
    Standard,
    Optional,
    Extra,
}

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
    pub sha256: Sha256,
    /// Which of the universe's repositories it is from.
    pub repository: usize,
}

/// Reads an index, line by line so that most of it is forgotten at once. Packages of other architectures than
/// `architecture` and `all` are left out.
///
/// # Errors
/// A read error, or a paragraph that lacks or garbles what is needed; the package is named.
pub fn read_packages(mut input: impl BufRead, architecture: &str, repository: usize, file: &str) -> Result<Vec<Offer>> {
    let mut offers = Vec::new();
    let mut draft = Draft::default();
    let mut line = Vec::new();
    loop {
        line.clear();
        let read = std::io::Read::take(&mut input, MAX_LINE)
            .read_until(b'\n', &mut line)
            .map_err(|e| Error::format(file, format!("cannot be read: {e}")))?;
        if read as u64 == MAX_LINE {
            return Err(Error::format(file, format!("has a line longer than {MAX_LINE} bytes")));
        }
        let text = line.trim_ascii_end();
        if text.is_empty() {
            offers.extend(std::mem::take(&mut draft).finish(architecture, repository, file)?);
            if read == 0 {
                return Ok(offers);
            }
            continue;
        }
        draft.line(text, file)?;
    }
}

macro_rules! draft {
    ($($field:ident = $name:literal),* $(,)?) => {
        /// Values of the paragraph being read.
        #[derive(Default)]
        struct Draft { $($field: String,)* wanted: Option<&'static str>, seen: bool }

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
    provides = "Provides", path = "Filename", size = "Size", sha256 = "SHA256",
}

impl Draft {
    fn line(&mut self, line: &[u8], file: &str) -> Result<()> {
        self.seen = true;
        let wrong = |line: &[u8]| {
            Error::format(file, format!("{:?} is not `Field: value`", shorten(&String::from_utf8_lossy(line))))
        };
        if matches!(line[0], b' ' | b'\t') {
            let Some(name) = self.wanted else { return Ok(()) };
            let text = std::str::from_utf8(line).map_err(|_| wrong(line))?;
            if let Some((_, slot)) = self.slot(name) {
                slot.push_str(text);
            }
            return Ok(());
        }
        self.wanted = None;
        let colon = line.iter().position(|b| *b == b':').ok_or_else(|| wrong(line))?;
        let name = std::str::from_utf8(&line[..colon]).map_err(|_| wrong(line))?;
        let Some((name, slot)) = self.slot(name) else { return Ok(()) };
        if !slot.is_empty() {
            return Err(Error::format(file, format!("the field {name} is given twice in one paragraph")));
        }
        let value = std::str::from_utf8(&line[colon + 1..]).map_err(|_| wrong(line))?;
        slot.push_str(value.trim());
        self.wanted = Some(name);
        Ok(())
    }

    fn finish(self, architecture: &str, repository: usize, file: &str) -> Result<Option<Offer>> {
        if !self.seen {
            return Ok(None);
        }
        let wrong = |what: &str, value: &str| {
            Error::format(file, format!("package {:?}: {what}: {:?}", shorten(&self.name), shorten(value)))
        };
        if !is_package_name(&self.name) {
            return Err(wrong("the name is missing or is no package name", &self.name));
        }
        if self.architecture != architecture && self.architecture != "all" {
            return Ok(None);
        }
        if !is_clean_path(&self.path) {
            return Err(wrong("Filename is not a path inside the archive", &self.path));
        }
        Ok(Some(Offer {
            version: self.version.parse().map_err(|_| wrong("Version is not a version", &self.version))?,
            multi_arch: match self.multi_arch.as_str() {
                "" | "no" => MultiArch::No,
                "same" => MultiArch::Same,
                "foreign" => MultiArch::Foreign,
                "allowed" => MultiArch::Allowed,
                other => return Err(wrong("Multi-Arch is none of no, same, foreign, allowed", other)),
            },
            essential: self.essential.eq_ignore_ascii_case("yes"),
            priority: match self.priority.as_str() {
                "required" => Priority::Required,
                "important" => Priority::Important,
                "standard" => Priority::Standard,
                "extra" => Priority::Extra,
                _ => Priority::Optional,
            },
            size: self.size.parse().map_err(|_| wrong("Size is not a number", &self.size))?,
            sha256: Sha256::parse(&self.sha256).ok_or_else(|| wrong("SHA256 is not one", &self.sha256))?,
            name: self.name.into(),
            architecture: self.architecture.into(),
            section: self.section.into(),
            pre_depends: self.pre_depends.into(),
            depends: self.depends.into(),
            recommends: self.recommends.into(),
            conflicts: self.conflicts.into(),
            breaks: self.breaks.into(),
            provides: self.provides.into(),
            path: self.path.into(),
            repository,
        }))
    }
}

/// Relative, without `..`, empty components or characters that have a meaning in an address.
pub(crate) fn is_clean_path(path: &str) -> bool {
    let path = path.strip_prefix("./").unwrap_or(path);
    path.len() <= 1024
        && path.bytes().all(|b| b.is_ascii_graphic() && !b"?#\\".contains(&b))
        && path.split('/').all(|part| !part.is_empty() && part != "." && part != "..")
}
