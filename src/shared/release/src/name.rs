//! Names of what travels, which are also paths: in a repository's folder, below a URL, in a bundle.
//!
//! ```text
//! metadata/3.root.json  metadata/timestamp.json  metadata/7.snapshot.json  metadata/7.targets.json
//! targets/pistack-raspberrypi3-1.4.2/SHA256.release
//! targets/pistack-raspberrypi3-1.4.2/SHA256.0123456789abcdef.delta
//! blobs/ab/abcd….zst      a chunk of a slot, named by the SHA-256 of what is in it, as a zstd frame
//! blobs/ab/abcd….patch    a patch that makes a chunk, named by its own SHA-256
//! ```
//! A chunk's name does not depend on how it was compressed: any node that holds the slot can serve it.

use std::fmt;
use std::str::FromStr;

use crate::digest::Digest;
use crate::tuf::limits;

/// One thing that travels.
#[derive(Clone, PartialEq, Eq, Hash, PartialOrd, Ord, Debug)]
pub enum Name {
    /// Root metadata of that version.
    Root(u32),
    Timestamp,
    Snapshot(u32),
    Targets(u32),
    /// A file that targets metadata vouches for: SHA-256 and path, which is `FOLDER/FILE`.
    Target(Digest, String),
    Chunk(Digest),
    Patch(Digest),
}

/// Longest folder of a target's path, in bytes: what a tar head can have before the last slash, less `targets/`.
pub const FOLDER_MAX: usize = 140;
/// Longest file of a target's path, in bytes: what a tar head can have behind the last slash, less the hash.
pub const FILE_MAX: usize = 35;

const KIB: u64 = 1 << 10;
const MIB: u64 = 1 << 20;

impl Name {
    /// Most bytes that anything of that name may have. A reader takes no more than this, whatever the other side says.
    pub const fn limit(&self) -> u64 {
        match self {
            Name::Root(_) => limits::ROOT as u64,
            Name::Timestamp => limits::TIMESTAMP as u64,
            Name::Snapshot(_) => limits::SNAPSHOT as u64,
            Name::Targets(_) => limits::TARGETS as u64,
            Name::Target(..) => 4 * MIB,
            // A frame of incompressible bytes is a little larger than they are.
            Name::Chunk(_) | Name::Patch(_) => MIB + 64 * KIB,
        }
    }

    /// Whether signatures or hashes within metadata vouch for it, so that it comes before what they need.
    pub const fn is_metadata(&self) -> bool {
        matches!(self, Name::Root(_) | Name::Timestamp | Name::Snapshot(_) | Name::Targets(_))
    }
}

impl fmt::Display for Name {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Name::Root(version) => write!(f, "metadata/{version}.root.json"),
            Name::Timestamp => f.write_str("metadata/timestamp.json"),
            Name::Snapshot(version) => write!(f, "metadata/{version}.snapshot.json"),
            Name::Targets(version) => write!(f, "metadata/{version}.targets.json"),
            Name::Target(digest, path) => {
                let (folder, file) = path.split_once('/').unwrap_or(("", path));
                write!(f, "targets/{folder}/{digest}.{file}")
            }
            Name::Chunk(digest) => write!(f, "blobs/{:02x}/{digest}.zst", digest.0[0]),
            Name::Patch(digest) => write!(f, "blobs/{:02x}/{digest}.patch", digest.0[0]),
        }
    }
}

#[derive(Clone, PartialEq, Eq, Debug, thiserror::Error)]
#[error("{0:?} is not the name of anything in a release repository")]
pub struct NotAName(pub String);

/// Whether `text` can be the path of a target: `FOLDER/FILE` of letters, digits, `.`, `_`, `+`, `~` and `-`, no dot first.
pub fn is_target_path(text: &str) -> bool {
    let known = |c: u8| c.is_ascii_alphanumeric() || b"._+~-".contains(&c);
    let part = |text: &str, max| (1..=max).contains(&text.len()) && !text.starts_with('.') && text.bytes().all(known);
    text.split_once('/').is_some_and(|(folder, file)| part(folder, FOLDER_MAX) && part(file, FILE_MAX))
}

impl FromStr for Name {
    type Err = NotAName;

    fn from_str(text: &str) -> Result<Name, NotAName> {
        let wrong = || NotAName(text.chars().take(200).collect());
        let parsed = match text.split_once('/') {
            Some(("metadata", file)) => metadata(file),
            Some(("targets", rest)) => target(rest),
            Some(("blobs", rest)) => rest.split_once('/').and_then(|(_, file)| {
                let (digest, ending) = file.split_once('.')?;
                match ending {
                    "zst" => Some(Name::Chunk(digest.parse().ok()?)),
                    "patch" => Some(Name::Patch(digest.parse().ok()?)),
                    _ => None,
                }
            }),
            _ => None,
        };
        // Only the one spelling of a name counts: no leading zeros, no other folder of a blob.
        parsed.filter(|name| name.to_string() == text).ok_or_else(wrong)
    }
}

fn target(rest: &str) -> Option<Name> {
    let (folder, file) = rest.split_once('/')?;
    let (digest, file) = file.split_once('.')?;
    let path = format!("{folder}/{file}");
    is_target_path(&path).then_some(Name::Target(digest.parse().ok()?, path))
}

fn metadata(file: &str) -> Option<Name> {
    if file == "timestamp.json" {
        return Some(Name::Timestamp);
    }
    let (version, role) = file.split_once('.')?;
    let version: u32 = version.parse().ok().filter(|&v| v > 0)?;
    match role {
        "root.json" => Some(Name::Root(version)),
        "snapshot.json" => Some(Name::Snapshot(version)),
        "targets.json" => Some(Name::Targets(version)),
        _ => None,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_are_read_as_they_are_shown() {
        let digest = Digest::of(b"x");
        for name in [
            Name::Root(3),
            Name::Timestamp,
            Name::Snapshot(7),
            Name::Targets(u32::MAX),
            Name::Target(digest, "pistack-raspberrypi3-1.4.2/0123456789abcdef.delta".into()),
            Name::Chunk(digest),
            Name::Patch(digest),
        ] {
            assert_eq!(name.to_string().parse(), Ok(name));
        }
    }

    #[test]
    fn nothing_else_is_a_name() {
        let digest = Digest::of(b"x").to_string();
        for bad in [
            "",
            "/",
            "metadata/../timestamp.json",
            "metadata/timestamp.json/",
            "metadata/03.root.json",
            "metadata/+3.root.json",
            "metadata/0.root.json",
            "metadata/4294967296.root.json",
            "./metadata/timestamp.json",
            "targets/.hidden",
            &format!("targets/{digest}.release"),
            &format!("targets/a/{digest}."),
            &format!("targets/a/{digest}..x"),
            &format!("targets/a/{digest}.b/c"),
            &format!("targets/../{digest}.b"),
            &format!("targets//{digest}.b"),
            &format!("targets/a/{}.b", digest.to_uppercase()),
            &format!("blobs/00/{digest}.zst"),
            &format!("blobs/{}/{digest}.gz", &digest[..2]),
            &format!("blobs/{}/{digest}", &digest[..2]),
        ] {
            assert!(bad.parse::<Name>().is_err(), "{bad}");
        }
    }

    proptest::proptest! {
        #[test]
        fn no_text_makes_it_panic(text in "(metadata/|targets/|blobs/|[0-9a-f]{64}|\\.|zst|\\PC){0,8}") {
            let _ = text.parse::<Name>();
        }
    }
}
