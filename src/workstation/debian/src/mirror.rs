//! Where an archive is fetched from. This program knows no mirror itself: the address comes from an option, the
//! environment, the user's configuration, or what the machine's apt is set up with, in this order.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};

use crate::address::MAIN_ARCHIVE;
pub use crate::address::Mirror;
use crate::apt_sources;
use crate::error::{Error, Result};

/// Environment variable with a mirror (`URL`) or several (`debian=URL,debian-security=URL`).
pub const ENVIRONMENT: &str = "FRUITBUILD_MIRROR";

/// Mirrors of named archives (`debian`, `debian-security`, or what a recipe calls its own).
#[derive(Clone, Debug)]
pub struct Mirrors {
    /// Most important first.
    layers: Vec<BTreeMap<String, Vec<Mirror>>>,
    etc_apt: PathBuf,
    /// Addresses of lists of mirrors that the machine's apt names; and where.
    lists: Vec<(String, String)>,
    /// Sources of the machine's apt that cannot be used, with the reason.
    unusable: Vec<String>,
}

/// Where [`Mirrors::find`] looks.
#[derive(Clone, Debug)]
pub struct MirrorSources<'a> {
    /// Values of the command line's option, each `URL` or `ARCHIVE=URL`, or several with commas.
    pub options: &'a [String],
    /// Value of [`ENVIRONMENT`].
    pub environment: Option<&'a str>,
    /// Archive name to address, from the user's configuration.
    pub configuration: &'a BTreeMap<String, String>,
    /// Usually `/etc/apt`.
    pub etc_apt: &'a Path,
}

impl Mirrors {
    /// # Errors
    /// A value that is not a mirror. That an archive has none is told by [`Mirrors::of`], when it is needed.
    pub fn find(sources: &MirrorSources<'_>) -> Result<Mirrors> {
        let mut option = BTreeMap::new();
        for value in sources.options {
            parse_list(value, "the mirror option", &mut option)?;
        }
        let mut environment = BTreeMap::new();
        if let Some(value) = sources.environment.filter(|value| !value.trim().is_empty()) {
            parse_list(value, ENVIRONMENT, &mut environment)?;
        }
        let mut configuration = BTreeMap::new();
        for (archive, url) in sources.configuration {
            configuration.insert(archive.clone(), vec![Mirror::parse(url, "the user configuration")?]);
        }
        let machine = apt_sources::read(sources.etc_apt);
        Ok(Mirrors {
            layers: vec![option, environment, configuration, machine.mirrors],
            etc_apt: sources.etc_apt.to_owned(),
            lists: machine.lists,
            unusable: machine.unusable,
        })
    }

    /// No mirror at all, to be filled with [`Mirrors::set`].
    pub fn none() -> Mirrors {
        Mirrors {
            layers: vec![BTreeMap::new()],
            etc_apt: PathBuf::from("/etc/apt"),
            lists: Vec::new(),
            unusable: Vec::new(),
        }
    }

    /// Says where an archive is, unless an option or the environment said so: for repositories that a recipe brings.
    ///
    /// # Errors
    /// A value that is not a mirror.
    pub fn set(&mut self, archive: &str, url: &str) -> Result<()> {
        let mirror = Mirror::parse(url, &format!("the address of the repository {archive}"))?;
        let last = self.layers.len() - 1; // there is always a layer
        let layer = last.min(2);
        self.layers[layer].entry(archive.to_owned()).or_insert(vec![mirror]);
        Ok(())
    }

    /// The mirror of an archive that is asked first.
    ///
    /// # Errors
    /// As [`Mirrors::all_of`].
    pub fn of(&self, archive: &str) -> Result<Mirror> {
        let first = self.all_of(archive)?.into_iter().next();
        first.ok_or_else(|| self.none_for(archive))
    }

    /// The mirrors of an archive, in the order in which they are asked.
    ///
    /// # Errors
    /// [`Error::NoMirror`], which says how to give one.
    pub fn all_of(&self, archive: &str) -> Result<Vec<Mirror>> {
        let found = self.layers.iter().find_map(|layer| mirrors_in(layer, archive));
        found.ok_or_else(|| self.none_for(archive))
    }

    fn none_for(&self, archive: &str) -> Error {
        let mut apt = self.etc_apt.display().to_string();
        if !self.unusable.is_empty() {
            apt += &format!("; of its sources these cannot be used: {}", self.unusable.join("; "));
        }
        Error::NoMirror { archive: archive.to_owned(), apt }
    }

    pub(crate) fn lists(&self) -> &[(String, String)] {
        &self.lists
    }
}

/// The mirrors of an archive in a layer. A mirror of Debian's main archive serves the others beside it.
pub(crate) fn mirrors_in(layer: &BTreeMap<String, Vec<Mirror>>, archive: &str) -> Option<Vec<Mirror>> {
    let own = || layer.get(archive).cloned();
    let sisters = || {
        let main = layer.get(MAIN_ARCHIVE).filter(|_| archive.starts_with("debian-"))?;
        Some(main.iter().filter_map(|mirror| mirror.sister(archive)).collect())
    };
    own().or_else(sisters).filter(|mirrors| !mirrors.is_empty())
}

fn parse_list(value: &str, origin: &str, into: &mut BTreeMap<String, Vec<Mirror>>) -> Result<()> {
    for part in value.split(',').map(str::trim).filter(|part| !part.is_empty()) {
        // `=` may also be part of an address.
        let (archive, url) = match part.split_once('=') {
            Some((archive, url)) if !archive.contains([':', '/']) => (archive.trim(), url),
            _ => (MAIN_ARCHIVE, part),
        };
        into.insert(archive.to_owned(), vec![Mirror::parse(url, origin)?]);
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn mirrors(options: &[&str], environment: Option<&str>, configuration: &[(&str, &str)], etc: &Path) -> Mirrors {
        let options: Vec<String> = options.iter().map(|s| (*s).to_owned()).collect();
        let configuration = configuration.iter().map(|(a, u)| ((*a).to_owned(), (*u).to_owned())).collect();
        let sources = MirrorSources { options: &options, environment, configuration: &configuration, etc_apt: etc };
        Mirrors::find(&sources).unwrap()
    }

    #[test]
    fn option_goes_before_environment_before_configuration_before_apt() {
        let etc = tempfile::tempdir().unwrap();
        std::fs::write(etc.path().join("sources.list"), "deb http://apt.test/debian trixie main\n").unwrap();
        let of = |m: &Mirrors| m.of("debian").unwrap().to_string();
        let conf = [("debian", "http://conf.test/debian/")];
        assert_eq!(
            of(&mirrors(&["http://o.test/debian"], Some("http://e.test/debian"), &conf, etc.path())),
            "http://o.test/debian"
        );
        assert_eq!(of(&mirrors(&[], Some("http://e.test/debian"), &conf, etc.path())), "http://e.test/debian");
        assert_eq!(of(&mirrors(&[], Some(""), &conf, etc.path())), "http://conf.test/debian");
        assert_eq!(of(&mirrors(&[], None, &[], etc.path())), "http://apt.test/debian");
    }

    #[test]
    fn a_lone_debian_mirror_serves_its_sister_archives() {
        let none = Path::new("/nonexistent");
        let lone = mirrors(&[], Some("https://m.test/pub/debian/"), &[], none);
        assert_eq!(lone.of("debian-security").unwrap().as_str(), "https://m.test/pub/debian-security");
        let both = mirrors(&[], Some("debian=http://a.test/debian,debian-security=http://b.test/s"), &[], none);
        assert_eq!(both.of("debian-security").unwrap().as_str(), "http://b.test/s");
        let odd = mirrors(&[], Some("http://a.test/snapshot"), &[], none);
        assert!(odd.of("debian-security").is_err());
    }

    #[test]
    fn a_missing_mirror_says_how_to_give_one() {
        let error = mirrors(&[], None, &[], Path::new("/nonexistent")).of("debian").unwrap_err().to_string();
        assert!(error.contains("FRUITBUILD_MIRROR=debian=URL") && error.contains("/nonexistent"), "{error}");
    }

    #[test]
    fn odd_file_names_are_written_as_an_address_has_them() {
        let join = |mirror: &str, path: &str| Mirror::parse(mirror, "here").unwrap().join(path);
        assert_eq!(
            join("http://h/d/", "pool/a b+1%3a~\u{e9}?#.deb"),
            "http://h/d/pool/a%20b%2B1%253a~%C3%A9%3F%23.deb"
        );
        assert_eq!(join("file:///d", "pool/a b+1%3a.deb"), "file:///d/pool/a b+1%3a.deb");
    }

    #[test]
    fn local_addresses_are_those_of_apt() {
        let parse = |value: &str| Mirror::parse(value, "here").unwrap().to_string();
        for local in ["file:/srv/debian", "file:///srv/debian/", "copy:/srv/debian", "file://localhost/srv/debian"] {
            assert_eq!(parse(local), "file:///srv/debian");
        }
        assert_eq!(parse("http://[2001:db8::1]:8080/debian/"), "http://[2001:db8::1]:8080/debian");
    }

    #[test]
    fn sources_of_apt_that_cannot_be_used_are_named_when_nothing_else_is_there() {
        let etc = tempfile::tempdir().unwrap();
        std::fs::write(etc.path().join("sources.list"), "deb cdrom:[Debian 13]/ trixie main\n").unwrap();
        let error = mirrors(&[], None, &[], etc.path()).of("debian").unwrap_err().to_string();
        assert!(error.contains("cdrom:[Debian 13]/ (") && error.contains("sources.list:1: discs"), "{error}");
    }

    #[test]
    fn what_is_no_address_is_refused() {
        for bad in ["host/debian", "ftp://h/debian", "http://", "file://relative/x", "http://a b/"] {
            assert!(Mirror::parse(bad, "here").is_err(), "{bad}");
        }
    }
}
