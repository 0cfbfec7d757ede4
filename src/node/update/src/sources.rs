//! The sources that the configuration names, one after the other, whatever they are.

use std::fs::File;
use std::io::{self, BufReader};
use std::path::{Path, PathBuf};

use fruit_contract::update::config::SourceAddress;
use fruit_release::bundle::Stream;
use fruit_release::local::SOCKET_PATH;
use fruit_release::{Digest, Folder, Source};

use crate::folder::{self, Content};
use crate::http::{self, HttpError, Mirrors, Settings};
use crate::peers::Peers;
use crate::usb::{self, Stick};

/// Bytes of a bundle that are read at once.
const BUFFER: usize = 256 << 10;

/// All sources of a configuration.
pub struct Sources {
    /// All URLs together: they are one repository.
    mirrors: Option<Mirrors>,
    folders: Vec<PathBuf>,
    usb: bool,
    peers: Option<Peers>,
    root: PathBuf,
    /// The disk that the node runs from, such as `/dev/mmcblk0`.
    own_disk: String,
}

/// One place that releases can be taken from.
pub enum Candidate<'s> {
    Mirrors(&'s mut Mirrors),
    Peers(&'s mut Peers),
    Repository(PathBuf),
    Bundle(PathBuf),
}

impl Candidate<'_> {
    /// The pieces that are there, from the beginning.
    ///
    /// # Errors
    /// The bundle can't be opened.
    pub fn source(&mut self) -> io::Result<Box<dyn Source + '_>> {
        Ok(match self {
            Candidate::Mirrors(mirrors) => Box::new(&mut **mirrors),
            Candidate::Peers(peers) => Box::new(&mut **peers),
            Candidate::Repository(folder) => Box::new(Folder::new(&*folder)),
            Candidate::Bundle(path) => {
                let file = File::open(&*path)?;
                Box::new(Stream::new(BufReader::with_capacity(BUFFER, file), path.display().to_string()))
            }
        })
    }

    /// What it gave was not right.
    pub fn distrust(&mut self) {
        if let Candidate::Mirrors(mirrors) = self {
            Source::distrust(*mirrors);
        }
    }

    /// The one repository that it can have; none if it may have any.
    pub fn repository(&self) -> Option<Digest> {
        match self {
            Candidate::Peers(peers) => Some(peers.repository()),
            _ => None,
        }
    }

    /// What to call it in messages.
    pub fn place(&self) -> String {
        match self {
            Candidate::Mirrors(mirrors) => mirrors.place(),
            Candidate::Peers(peers) => peers.place(),
            Candidate::Repository(path) | Candidate::Bundle(path) => path.display().to_string(),
        }
    }
}

impl Sources {
    /// `root`: `/`.
    ///
    /// # Errors
    /// Certificates that can't be read.
    pub fn new(
        addresses: &[SourceAddress],
        settings: &Settings<'_>,
        root: &Path,
        own_disk: &str,
    ) -> Result<Sources, HttpError> {
        let (mut urls, mut folders, mut usb, mut peers) = (Vec::new(), Vec::new(), false, None);
        for address in addresses {
            match address {
                SourceAddress::Url(url) => urls.push(url.clone()),
                SourceAddress::Folder(path) => folders.push(path.clone()),
                SourceAddress::Usb => usb = true,
                SourceAddress::Peers => {
                    peers = Some(Peers::new(root.join(SOCKET_PATH.trim_start_matches('/')), settings));
                }
            }
        }
        let mirrors = if urls.is_empty() { None } else { Some(http::mirrors(urls, settings)?) };
        Ok(Sources { mirrors, folders, usb, peers, root: root.to_owned(), own_disk: own_disk.to_owned() })
    }

    /// USB storage that is plugged in, if that is a source.
    pub fn sticks(&self) -> Vec<Stick> {
        if self.usb { usb::sticks(&self.root, &self.own_disk) } else { Vec::new() }
    }

    /// Goes through everything that there is, sticks first: somebody stands beside them. Peers come before servers: they are
    /// nearer. `repositories`: what peers are asked for. `visit` returns whether to go on; `say` is told of what can't be read.
    pub fn visit(
        &mut self,
        repositories: &[Digest],
        visit: &mut dyn FnMut(&mut Candidate<'_>) -> bool,
        say: &mut dyn FnMut(&str),
    ) {
        for stick in self.sticks() {
            match usb::mount_stick(&stick) {
                Ok(mounted) => {
                    if !visit_folder(mounted.folder(), visit, say) {
                        return;
                    }
                }
                Err(error) => say(&format!("USB storage can't be read: {error}")),
            }
        }
        for folder in &self.folders {
            // Where a stick is mounted is an empty folder, or none, most of the time.
            if folder.exists() && !visit_folder(folder, visit, say) {
                return;
            }
        }
        // Without an invite no such process runs.
        if let Some(peers) = self.peers.as_mut().filter(|peers| peers.is_there()) {
            if repositories.is_empty() {
                say(
                    "peers can't be asked: by root metadata of a later version they don't know which repository is meant",
                );
            }
            for repository in repositories {
                peers.begin(*repository);
                if !visit(&mut Candidate::Peers(peers)) {
                    return;
                }
            }
        }
        if let Some(mirrors) = &mut self.mirrors {
            visit(&mut Candidate::Mirrors(mirrors));
        }
    }
}

fn visit_folder(path: &Path, visit: &mut dyn FnMut(&mut Candidate<'_>) -> bool, say: &mut dyn FnMut(&str)) -> bool {
    match folder::inspect(path) {
        Ok(Content::Repository) => visit(&mut Candidate::Repository(path.to_owned())),
        Ok(Content::Bundles(bundles)) => bundles.into_iter().all(|bundle| visit(&mut Candidate::Bundle(bundle))),
        Ok(Content::Nothing) => true,
        Err(error) => {
            say(&format!("{}: {error}", path.display()));
            true
        }
    }
}

#[cfg(test)]
mod tests {
    use std::fs;

    use super::*;

    #[test]
    fn folders_come_before_servers_and_a_visit_ends_when_it_is_told() {
        let folder = tempfile::tempdir().unwrap();
        fs::write(folder.path().join("x.fruit"), "").unwrap();
        fs::write(folder.path().join("y.fruit"), "").unwrap();
        let addresses = ["https://a.example/".to_owned(), folder.path().display().to_string(), "/nowhere".to_owned()];
        let addresses = addresses.map(|address| SourceAddress::try_from(address).unwrap());
        let mut sources = Sources::new(&addresses, &Settings::default(), Path::new("/"), "/dev/mmcblk0").unwrap();
        for (most, expected) in [(1, 1), (2, 2), (9, 3)] {
            let mut places = Vec::new();
            let mut visit = |candidate: &mut Candidate<'_>| {
                places.push(candidate.place());
                places.len() < most
            };
            sources.visit(&[], &mut visit, &mut |said| panic!("{said}"));
            assert_eq!(places.len(), expected, "{places:?}");
            assert!(places[0].ends_with(".fruit"));
        }
    }
}
