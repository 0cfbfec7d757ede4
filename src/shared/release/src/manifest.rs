//! What is in a release: the bytes of a slot's two volumes as hashes of chunks, and for deltas where each chunk's bytes
//! can be taken from.
//!
//! Both are files that targets metadata vouches for: JSON in a zstd frame. A chunk is [`CHUNK`] bytes of a volume, the
//! last one what is left.

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};

use crate::digest::Digest;
use crate::frame::{self, FrameError};

/// Bytes of a chunk. Small enough for memory, large enough to compress well.
pub const CHUNK: u64 = 1 << 20;
/// Most bytes of a volume: more than any slot, and few enough chunks to hold them all in memory.
pub const VOLUME_MAX: u64 = 64 << 30;
/// Most bytes of a manifest's or delta's JSON.
pub const TEXT_MAX: usize = 8 << 20;
/// Most bytes of release notes.
pub const NOTES_MAX: usize = 64 << 10;

const FORMAT: u32 = 1;
/// Level of zstd for what is made once and read often.
#[cfg(feature = "sign")]
const LEVEL: i32 = 19;

/// The two volumes of a slot, in the order in which they are numbered and written.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Debug, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum VolumeKind {
    /// Root file system. Its hash tree is made on the node.
    Root,
    /// FAT with kernel, initramfs, device trees and command line. Written last: without it nothing of the slot starts.
    Boot,
}

impl VolumeKind {
    pub const ALL: [VolumeKind; 2] = [VolumeKind::Root, VolumeKind::Boot];

    /// The number that deltas know it by.
    pub const fn number(self) -> u8 {
        match self {
            VolumeKind::Root => 0,
            VolumeKind::Boot => 1,
        }
    }

    pub const fn name(self) -> &'static str {
        match self {
            VolumeKind::Root => "root",
            VolumeKind::Boot => "boot",
        }
    }
}

/// dm-verity of the root: what its superblock and tree are made from, and what must come out.
#[derive(Clone, PartialEq, Eq, Debug, Serialize, Deserialize)]
pub struct Verity {
    /// 16 bytes of the superblock, hexadecimal.
    pub uuid: String,
    /// Value of `fruit.verity=`: data blocks, first block of the tree, root hash, salt.
    pub parameters: String,
}

/// One volume.
#[derive(Clone, PartialEq, Eq, Debug, Serialize, Deserialize)]
pub struct Volume {
    pub kind: VolumeKind,
    /// Bytes, without superblock and hash tree.
    pub len: u64,
    /// Of the root.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub verity: Option<Verity>,
    /// SHA-256 of each chunk.
    pub chunks: Vec<Digest>,
}

impl Volume {
    /// Bytes of chunk `i`; 0 past the end.
    pub fn chunk_len(&self, i: usize) -> usize {
        let start = (i as u64).saturating_mul(CHUNK);
        self.len.saturating_sub(start).min(CHUNK) as usize
    }
}

/// What a release consists of.
#[derive(Clone, PartialEq, Eq, Debug, Serialize, Deserialize)]
pub struct Manifest {
    pub format: u32,
    pub product: String,
    pub board: String,
    pub version: String,
    /// Names the build: 32 hexadecimal digits.
    pub build_id: String,
    /// Seconds since 1970: the date of the packages.
    pub build_time: u64,
    /// For people, in Markdown.
    #[serde(default, skip_serializing_if = "String::is_empty")]
    pub notes: String,
    /// Names and versions of the packages in it, for people.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    pub packages: BTreeMap<String, String>,
    /// The slots of cards that are made with this release's image: an update cannot change them.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub slot_sizes: Option<SlotSizes>,
    /// One of each kind, in the order of [`VolumeKind::ALL`].
    pub volumes: Vec<Volume>,
}

/// Bytes of the partitions of a slot.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Serialize, Deserialize)]
pub struct SlotSizes {
    pub root: u64,
    pub boot: u64,
}

/// Where a chunk's bytes come from.
#[derive(Clone, PartialEq, Eq, Debug, Serialize, Deserialize)]
#[serde(untagged)]
pub enum ChunkSource {
    /// A run of bytes of the old slot.
    Copy { volume: u8, offset: u64 },
    /// A patch over the old slot.
    Patch { patch: Digest, size: u32 },
    /// Nothing of the old slot: the chunk itself is fetched.
    Full {},
}

/// How a release comes out of an older one.
#[derive(Clone, PartialEq, Eq, Debug, Serialize, Deserialize)]
pub struct Delta {
    pub format: u32,
    /// What must be in the old slot.
    pub from: State,
    /// Digest of the release's manifest file.
    pub to: Digest,
    /// For each volume of the manifest, for each chunk.
    pub volumes: Vec<Vec<ChunkSource>>,
}

/// Identity of a slot's content.
#[derive(Clone, PartialEq, Eq, Debug, Serialize, Deserialize)]
pub struct State {
    pub version: String,
    pub build_id: String,
    /// Root hash of dm-verity: a running node knows it from its kernel command line.
    pub root_hash: Digest,
    /// Bytes of the volumes, in the order of their numbers.
    pub lens: Vec<u64>,
}

#[derive(Debug, thiserror::Error)]
pub enum ManifestError {
    #[error(transparent)]
    Frame(#[from] FrameError),
    #[error("not the JSON that it should be: {0}")]
    Json(#[from] serde_json::Error),
    #[error("format {0}, this program knows 1: it needs a newer one")]
    Format(u32),
    #[error("{0}")]
    Content(String),
}

impl Manifest {
    pub fn new(product: &str, board: &str, version: &str) -> Manifest {
        Manifest {
            format: FORMAT,
            product: product.into(),
            board: board.into(),
            version: version.into(),
            build_id: String::new(),
            build_time: 0,
            notes: String::new(),
            packages: BTreeMap::new(),
            slot_sizes: None,
            volumes: Vec::new(),
        }
    }

    /// Path of its target.
    pub fn target_path(&self) -> String {
        format!("{}/release", self.folder())
    }

    /// Path of the target of a delta to it from an older build, named by 32 hexadecimal digits.
    pub fn delta_path(&self, from_build_id: &str) -> String {
        let short: String = from_build_id.chars().take(16).collect();
        format!("{}/{short}.delta", self.folder())
    }

    fn folder(&self) -> String {
        format!("{}-{}-{}", self.product, self.board, self.version)
    }

    pub fn volume(&self, kind: VolumeKind) -> Option<&Volume> {
        self.volumes.iter().find(|volume| volume.kind == kind)
    }

    /// The file that is signed. The same manifest gives the same bytes.
    ///
    /// # Errors
    /// What [`Manifest::read`] would refuse.
    #[cfg(feature = "sign")]
    pub fn write(&self) -> Result<Vec<u8>, ManifestError> {
        self.check()?;
        frame::encode(&serde_json::to_vec(self)?, LEVEL).map_err(Into::into)
    }

    /// Reads a verified file.
    ///
    /// # Errors
    /// Anything that a builder does not write.
    pub fn read(file: &[u8]) -> Result<Manifest, ManifestError> {
        let manifest: Manifest = serde_json::from_slice(&frame::decode(file, TEXT_MAX)?)?;
        manifest.check()?;
        Ok(manifest)
    }

    fn check(&self) -> Result<(), ManifestError> {
        let wrong = |what: String| Err(ManifestError::Content(what));
        if self.format != FORMAT {
            return Err(ManifestError::Format(self.format));
        }
        if self.notes.len() > NOTES_MAX {
            return wrong(format!("release notes of {} bytes, at most {NOTES_MAX} are allowed", self.notes.len()));
        }
        if self.volumes.iter().map(|v| v.kind).ne(VolumeKind::ALL) {
            return wrong("the volumes are not root and boot, once each".into());
        }
        for volume in &self.volumes {
            let name = volume.kind.name();
            if volume.len == 0 || volume.len > VOLUME_MAX || !volume.len.is_multiple_of(512) {
                return wrong(format!("the {name} volume has {} bytes", volume.len));
            }
            if volume.chunks.len() as u64 != volume.len.div_ceil(CHUNK) {
                return wrong(format!("the {name} volume of {} bytes has {} chunks", volume.len, volume.chunks.len()));
            }
            if volume.verity.is_some() != (volume.kind == VolumeKind::Root) {
                return wrong("the root, and nothing but the root, must have verity parameters".into());
            }
        }
        Ok(())
    }
}

impl Delta {
    pub fn new(from: State, to: Digest, volumes: Vec<Vec<ChunkSource>>) -> Delta {
        Delta { format: FORMAT, from, to, volumes }
    }

    /// The file that is signed. The same delta gives the same bytes.
    ///
    /// # Errors
    /// JSON or zstd failing; neither is expected.
    #[cfg(feature = "sign")]
    pub fn write(&self) -> Result<Vec<u8>, ManifestError> {
        frame::encode(&serde_json::to_vec(self)?, LEVEL).map_err(Into::into)
    }

    /// Reads a verified file that belongs to `manifest`, whose file has the digest `to`.
    ///
    /// # Errors
    /// Anything that a builder does not write; another release's delta.
    pub fn read(file: &[u8], manifest: &Manifest, to: Digest) -> Result<Delta, ManifestError> {
        let delta: Delta = serde_json::from_slice(&frame::decode(file, TEXT_MAX)?)?;
        let wrong = |what: String| Err(ManifestError::Content(what));
        if delta.format != FORMAT {
            return Err(ManifestError::Format(delta.format));
        }
        if delta.to != to {
            return wrong(format!("a delta to release {}, not to {to}", delta.to));
        }
        if delta.from.lens.len() != VolumeKind::ALL.len() || delta.volumes.len() != manifest.volumes.len() {
            return wrong(format!("a delta of {} volumes", delta.volumes.len()));
        }
        for (volume, sources) in manifest.volumes.iter().zip(&delta.volumes) {
            if sources.len() != volume.chunks.len() {
                return wrong(format!("{} sources for {} chunks", sources.len(), volume.chunks.len()));
            }
            for (i, source) in sources.iter().enumerate() {
                let ChunkSource::Copy { volume: from, offset } = source else { continue };
                let len = delta.from.lens.get(usize::from(*from)).copied().unwrap_or(0);
                let end = offset.checked_add(volume.chunk_len(i) as u64);
                if end.is_none_or(|end| end > len) {
                    return wrong(format!("a copy from byte {offset} of old volume {from}, which has {len} bytes"));
                }
            }
        }
        Ok(delta)
    }
}
