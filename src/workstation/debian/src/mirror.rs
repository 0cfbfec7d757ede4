//! Where an archive is fetched from. This program knows no mirror itself: the address comes from an option, the
//! environment, the user's configuration, or what the machine's apt is set up with, in this order.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};

use crate::apt_sources;
use crate::error::{Error, Result};

/// Environment variable with a mirror (`URL`) or several (`debian=URL,debian-security=URL`).
pub const ENVIRONMENT: &str = "FRUITBUILD_MIRROR";

/// The archive that a lone address is for.
const MAIN_ARCHIVE: &str = "debian";

/// Base address of an archive (`…/debian`), without slash at the end.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct Mirror(String);

impl Mirror {
    /// # Errors
    /// Anything but an absolute `http`, `https` or `file` address. `origin` says where the value was written.
    pub fn parse(value: &str, origin: &str) -> Result<Mirror> {
        let bad =
            |why: &str| Error::BadMirror { origin: origin.to_owned(), value: value.to_owned(), why: why.to_owned() };
        let url = value.trim().trim_end_matches('/');
        let (scheme, rest) = url
            .split_once("://")
            .ok_or_else(|| bad("expected an address such as http://HOST/debian or file:///PATH"))?;
        match scheme {
            "http" | "https" if !rest.starts_with('/') && !rest.is_empty() => {}
            "file" if rest.starts_with('/') => {}
            "http" | "https" => return Err(bad("it names no host")),
            "file" => return Err(bad("a file address needs an absolute path: file:///PATH")),
            _ => return Err(bad("only http, https and file are known")),
        }
        if url.bytes().any(|b| b.is_ascii_whitespace() || b.is_ascii_control()) {
            return Err(bad("it has a space or control character in it"));
        }
        Ok(Mirror(url.to_owned()))
    }

    pub fn as_str(&self) -> &str {
        &self.0
    }

    /// Address of `path` below this mirror. On the web `+` is written as `%2B`, since some object stores take it for a blank.
    pub fn join(&self, path: &str) -> String {
        if self.0.starts_with("file:") {
            return format!("{}/{path}", self.0);
        }
        let mut url = format!("{}/", self.0);
        for byte in path.bytes() {
            match byte {
                b'a'..=b'z'
                | b'A'..=b'Z'
                | b'0'..=b'9'
                | b'/'
                | b'.'
                | b'-'
                | b'_'
                | b'~'
                | b':'
                | b'='
                | b'@'
                | b',' => {
                    url.push(char::from(byte));
                }
                _ => url += &format!("%{byte:02X}"),
            }
        }
        url
    }

    /// The address with its last component replaced: `…/debian` → `…/debian-security`.
    fn sister(&self, archive: &str) -> Option<Mirror> {
        let stem = self.0.strip_suffix(MAIN_ARCHIVE)?.strip_suffix('/')?;
        Some(Mirror(format!("{stem}/{archive}")))
    }
}

impl std::fmt::Display for Mirror {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(&self.0)
    }
}

/// Mirrors of named archives (`debian`, `debian-security`, or what a recipe calls its own).
#[derive(Clone, Debug)]
pub struct Mirrors {
    /// Most important first.
    layers: Vec<BTreeMap<String, Mirror>>,
    etc_apt: PathBuf,
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
            configuration.insert(archive.clone(), Mirror::parse(url, "the user configuration")?);
        }
        let machine = apt_sources::mirrors(sources.etc_apt);
        Ok(Mirrors { layers: vec![option, environment, configuration, machine], etc_apt: sources.etc_apt.to_owned() })
    }

    /// No mirror at all, to be filled with [`Mirrors::set`].
    pub fn none() -> Mirrors {
        Mirrors { layers: vec![BTreeMap::new()], etc_apt: PathBuf::from("/etc/apt") }
    }

    /// Says where an archive is, unless an option or the environment said so: for repositories that a recipe brings.
    ///
    /// # Errors
    /// A value that is not a mirror.
    pub fn set(&mut self, archive: &str, url: &str) -> Result<()> {
        let mirror = Mirror::parse(url, &format!("the address of the repository {archive}"))?;
        let last = self.layers.len() - 1; // there is always a layer
        let layer = last.min(2);
        self.layers[layer].entry(archive.to_owned()).or_insert(mirror);
        Ok(())
    }

    /// The mirror of an archive.
    ///
    /// # Errors
    /// [`Error::NoMirror`], which says how to give one.
    pub fn of(&self, archive: &str) -> Result<Mirror> {
        let found = self.layers.iter().find_map(|layer| {
            let sister = || layer.get(MAIN_ARCHIVE).filter(|_| archive.starts_with("debian-"))?.sister(archive);
            layer.get(archive).cloned().or_else(sister)
        });
        found.ok_or_else(|| Error::NoMirror { archive: archive.to_owned(), apt: self.etc_apt.display().to_string() })
    }
}

fn parse_list(value: &str, origin: &str, into: &mut BTreeMap<String, Mirror>) -> Result<()> {
    for part in value.split(',').map(str::trim).filter(|part| !part.is_empty()) {
        // `=` may also be part of an address.
        let (archive, url) = match part.split_once('=') {
            Some((archive, url)) if !archive.contains([':', '/']) => (archive.trim(), url),
            _ => (MAIN_ARCHIVE, part),
        };
        into.insert(archive.to_owned(), Mirror::parse(url, origin)?);
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
    fn what_is_no_address_is_refused() {
        for bad in ["host/debian", "ftp://h/debian", "http://", "file://relative/x", "http://a b/"] {
            assert!(Mirror::parse(bad, "here").is_err(), "{bad}");
        }
    }
}
