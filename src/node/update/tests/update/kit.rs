//! Releases for tests: images, signed metadata, a repository, bundles.

use std::collections::BTreeMap;

use ed25519_dalek::{Signer, SigningKey};
use fruit_delta::{File as DeltaFile, Options as DeltaOptions, Source as DeltaSource, Volume as DeltaVolume, encode};
use fruit_release::bundle::Writer;
use fruit_release::manifest::{CHUNK, ChunkSource, State, Verity, Volume, VolumeKind};
use fruit_release::{Delta, Digest, Manifest, Name, Sink, Source, SourceError, frame};
use fruit_verity::{BLOCK, Options, Params, Tree};
use serde_json::{Value, json};
use sha2::{Digest as _, Sha256};

pub const PRODUCT: &str = "pistack";
pub const BOARD: &str = "raspberrypi3";
pub const COMPATIBLE: &str = "raspberrypi,3-model-b";
pub const LATER: &str = "2040-01-01T00:00:00Z";
/// When everything was signed and built.
pub const TIME: u64 = 1_790_000_000;

/// Both volumes of a release, with what describes it.
#[derive(Clone)]
pub struct Image {
    pub version: String,
    pub board: String,
    pub epoch: u64,
    pub min_bootloader: u64,
    pub root: Vec<u8>,
    pub boot: Vec<u8>,
    pub params: Params,
}

/// Bytes that do not compress, and differ for each seed.
pub fn noise(len: usize, seed: u64) -> Vec<u8> {
    let mut state = seed.wrapping_mul(0x9E37_79B9_7F4A_7C15) | 1;
    let word = |state: &mut u64| {
        *state ^= *state << 13;
        *state ^= *state >> 7;
        *state ^= *state << 17;
        state.to_le_bytes()
    };
    let mut bytes: Vec<u8> = (0..len.div_ceil(8)).flat_map(|_| word(&mut state)).collect();
    bytes.truncate(len);
    bytes
}

struct Memory(std::cell::RefCell<Vec<u8>>);

impl fruit_verity::WriteAt for Memory {
    fn write_all_at(&self, buf: &[u8], offset: u64) -> std::io::Result<()> {
        let (mut bytes, at) = (self.0.borrow_mut(), offset as usize);
        let len = bytes.len().max(at + buf.len());
        bytes.resize(len, 0);
        bytes[at..at + buf.len()].copy_from_slice(buf);
        Ok(())
    }
}

/// A root of a little more than two chunks, and a boot volume.
pub fn old() -> Image {
    Image::new("1.0", noise((2 << 20) + 12288, 1), noise(300 << 10, 2))
}

/// The old one with a hundred bytes of its root changed to a value, at each of these places.
pub fn changed(places: &[(usize, u8)]) -> Image {
    let Image { mut root, boot, .. } = old();
    for (at, byte) in places {
        root[*at..*at + 100].fill(*byte);
    }
    Image::new("1.1", root, boot)
}

impl Image {
    /// The command line with the root hash is in the boot volume, as in real ones.
    pub fn new(version: &str, root: Vec<u8>, mut boot: Vec<u8>) -> Image {
        let memory = Memory(vec![].into());
        let options = Options { uuid: [7; 16], salt: b"salt".to_vec() };
        let mut tree = Tree::new(&memory, 0, root.len() as u64, &options).unwrap();
        tree.data(&root).unwrap();
        let params = tree.finish().unwrap();
        let line = format!("fruit.verity={params}\n");
        boot[..line.len()].copy_from_slice(line.as_bytes());
        let (board, epoch, min_bootloader) = (BOARD.to_owned(), 1, 0);
        Image { version: version.into(), board, epoch, min_bootloader, root, boot, params }
    }

    pub fn build_id(&self) -> String {
        Digest::of(&[&self.root[..], &self.boot[..], self.version.as_bytes()].concat()).to_string()[..32].to_owned()
    }

    /// Superblock and tree behind the data, as they are on a card.
    pub fn root_with_tree(&self) -> Vec<u8> {
        let memory = Memory(self.root.clone().into());
        let options = Options { uuid: [7; 16], salt: b"salt".to_vec() };
        let mut tree = Tree::new(&memory, 0, self.root.len() as u64, &options).unwrap();
        tree.data(&self.root).unwrap();
        tree.finish().unwrap();
        memory.0.into_inner()
    }

    pub fn volume(&self, kind: VolumeKind) -> &[u8] {
        match kind {
            VolumeKind::Root => &self.root,
            VolumeKind::Boot => &self.boot,
        }
    }

    pub fn manifest(&self) -> Manifest {
        let volume = |kind: VolumeKind| {
            let bytes = self.volume(kind);
            let verity = (kind == VolumeKind::Root)
                .then(|| Verity { uuid: "07".repeat(16), parameters: self.params.to_string() });
            let chunks = bytes.chunks(CHUNK as usize).map(Digest::of).collect();
            Volume { kind, len: bytes.len() as u64, verity, chunks }
        };
        let mut manifest = Manifest::new(PRODUCT, &self.board, &self.version);
        manifest.build_id = self.build_id();
        manifest.build_time = TIME;
        manifest.notes = format!("Version {}", self.version);
        manifest.volumes = VolumeKind::ALL.into_iter().map(volume).collect();
        manifest
    }

    fn custom(&self, kind: &Value) -> Value {
        let mut ours = json!({
            "product": PRODUCT, "board": self.board, "compatible": [COMPATIBLE],
            "architecture": fruit_update::facts::architecture(), "version": self.version, "epoch": self.epoch,
            "min_bootloader": self.min_bootloader,
        });
        for (key, value) in kind.as_object().unwrap() {
            ours[key] = value.clone();
        }
        json!({"fruit": ours})
    }
}

/// A volume for the delta's maker, each chunk a file.
fn as_files(data: &Vec<u8>) -> DeltaVolume<'_> {
    let len = data.len() as u64;
    let starts = (0..len).step_by(CHUNK as usize);
    let file =
        |at: u64| DeltaFile { path: format!("{at}"), extents: std::iter::once(at..len.min(at + CHUNK)).collect() };
    DeltaVolume { data, len, files: starts.map(file).collect() }
}

/// A repository, and a source of its own pieces.
#[derive(Clone, Default)]
pub struct Repository {
    pub pieces: BTreeMap<Name, Vec<u8>>,
    targets: BTreeMap<String, Value>,
    /// Names of blobs in the order of their use, by release or delta.
    order: BTreeMap<String, Vec<Name>>,
    version: u64,
    pub expires: Option<&'static str>,
    /// What was asked for.
    pub asked: Vec<Name>,
}

fn key(role: &str) -> SigningKey {
    SigningKey::from_bytes(&Sha256::digest(role.as_bytes()).into())
}

fn hex(bytes: &[u8]) -> String {
    bytes.iter().map(|byte| format!("{byte:02x}")).collect()
}

fn key_json(role: &str) -> (String, Value) {
    let public = hex(key(role).verifying_key().as_bytes());
    let entry = json!({"keytype": "ed25519", "keyval": {"public": public}, "scheme": "ed25519"});
    (Digest::of(entry.to_string().as_bytes()).to_string(), entry)
}

/// serde_json writes keys in order and without spaces: the canonical form, as long as texts are plain.
fn sign(role: &str, signed: &Value) -> Vec<u8> {
    let signature = hex(&key(role).sign(signed.to_string().as_bytes()).to_bytes());
    json!({"signatures": [{"keyid": key_json(role).0, "sig": signature}], "signed": signed}).to_string().into_bytes()
}

/// The root that images come with.
pub fn anchor() -> Vec<u8> {
    let roles = ["root", "targets", "snapshot", "timestamp"];
    let keys: BTreeMap<String, Value> = roles.iter().map(|role| key_json(role)).collect();
    let of = |role: &str| json!({"keyids": [key_json(role).0], "threshold": 1});
    let roles: BTreeMap<&str, Value> = roles.iter().map(|role| (*role, of(role))).collect();
    let signed = json!({
        "_type": "root", "consistent_snapshot": true, "expires": LATER, "keys": keys, "roles": roles,
        "spec_version": "1.0.31", "version": 1,
    });
    sign("root", &signed)
}

impl Repository {
    /// With these releases, signed.
    pub fn of(images: &[&Image]) -> Repository {
        let mut repository = Repository::default();
        images.iter().for_each(|image| repository.add(image));
        repository.sign();
        repository
    }

    fn add_target(&mut self, path: String, file: Vec<u8>, custom: Value) {
        let digest = Digest::of(&file);
        let entry = json!({"length": file.len(), "hashes": {"sha256": digest.to_string()}, "custom": custom});
        self.targets.insert(path.clone(), entry);
        self.pieces.insert(Name::Target(digest, path), file);
    }

    pub fn add(&mut self, image: &Image) {
        let manifest = image.manifest();
        let mut order = Vec::new();
        for kind in VolumeKind::ALL {
            for chunk in image.volume(kind).chunks(CHUNK as usize) {
                let name = Name::Chunk(Digest::of(chunk));
                self.pieces.insert(name.clone(), frame::encode(chunk, 3).unwrap());
                order.push(name);
            }
        }
        let path = manifest.target_path();
        self.order.insert(path.clone(), order);
        self.add_target(path, manifest.write().unwrap(), image.custom(&json!({"kind": "release"})));
    }

    /// Adds a delta; returns its path.
    pub fn add_delta(&mut self, old: &Image, new: &Image) -> String {
        let data = |image: &Image| VolumeKind::ALL.map(|kind| image.volume(kind).to_vec());
        let (old_data, new_data) = (data(old), data(new));
        let (old_volumes, new_volumes) = (old_data.each_ref().map(as_files), new_data.each_ref().map(as_files));
        let options = DeltaOptions { threads: 1, memory: 64 << 20, full_level: 3 };
        let sources = encode(&old_volumes, &new_volumes, &options, &|_, _| {}).unwrap();
        let mut order = Vec::new();
        let mut chunk_sources = Vec::new();
        for (kind, sources) in VolumeKind::ALL.into_iter().zip(sources) {
            let mut of_volume = Vec::new();
            for (source, chunk) in sources.into_iter().zip(new.volume(kind).chunks(CHUNK as usize)) {
                of_volume.push(match source {
                    DeltaSource::Copy { volume, offset } => ChunkSource::Copy { volume, offset },
                    DeltaSource::Patch(patch) => {
                        let (digest, size) = (Digest::of(&patch), patch.len() as u32);
                        order.push(Name::Patch(digest));
                        self.pieces.insert(Name::Patch(digest), patch);
                        ChunkSource::Patch { patch: digest, size }
                    }
                    DeltaSource::Full => {
                        order.push(Name::Chunk(Digest::of(chunk)));
                        ChunkSource::Full {}
                    }
                });
            }
            chunk_sources.push(of_volume);
        }
        let state = State {
            version: old.version.clone(),
            build_id: old.build_id(),
            root_hash: Digest(old.params.root_hash),
            lens: VolumeKind::ALL.map(|kind| old.volume(kind).len() as u64).to_vec(),
        };
        let manifest = new.manifest();
        let to = Digest::of(&manifest.write().unwrap());
        let file = Delta::new(state, to, chunk_sources).write().unwrap();
        let base = Digest::of(&old.manifest().write().unwrap()).to_string();
        let custom = new.custom(&json!({"kind": "delta", "from": {"version": old.version, "sha256": base}}));
        let path = manifest.delta_path(&old.build_id());
        self.order.insert(path.clone(), order);
        self.add_target(path.clone(), file, custom);
        path
    }

    /// Adds a file that says it is a delta to `new`.
    pub fn add_file(&mut self, path: &str, file: Vec<u8>, new: &Image) {
        let from = json!({"version": "1.0", "sha256": "00".repeat(32)});
        self.add_target(path.to_owned(), file, new.custom(&json!({"kind": "delta", "from": from})));
    }

    /// Makes metadata of the next version.
    pub fn sign(&mut self) {
        self.version += 1;
        let version = self.version;
        let expires = self.expires.unwrap_or(LATER);
        let signed_at = "2026-09-21T13:46:40Z";
        let mut put = |role: &str, name: Name, rest: Value| {
            let mut signed = json!({
                "_type": role, "expires": expires, "signed_at": signed_at, "spec_version": "1.0.31", "version": version,
            });
            for (key, value) in rest.as_object().unwrap() {
                signed[key] = value.clone();
            }
            self.pieces.insert(name, sign(role, &signed));
        };
        let n = u32::try_from(version).unwrap();
        put("targets", Name::Targets(n), json!({"targets": self.targets}));
        put("snapshot", Name::Snapshot(n), json!({"meta": {"targets.json": {"version": version}}}));
        put("timestamp", Name::Timestamp, json!({"meta": {"snapshot.json": {"version": version}}}));
    }

    /// The name of the file of a target.
    pub fn target(&self, path: &str) -> Name {
        self.pieces.keys().find(|name| matches!(name, Name::Target(_, p) if p == path)).unwrap().clone()
    }

    /// A bundle of a release, or of a delta to it, as `fruitbuild` makes them: metadata, manifest, delta, blobs in the
    /// order of use.
    pub fn bundle(&self, release: &str, delta: Option<&str>) -> Vec<u8> {
        let n = u32::try_from(self.version).unwrap();
        let mut names = vec![Name::Timestamp, Name::Snapshot(n), Name::Targets(n), self.target(release)];
        names.extend(delta.map(|delta| self.target(delta)));
        let mut blobs = self.order[delta.unwrap_or(release)].clone();
        let mut seen = std::collections::BTreeSet::new();
        blobs.retain(|name| seen.insert(name.clone()));
        names.extend(blobs);
        let mut writer = Writer::new(Vec::new(), TIME);
        for name in names {
            writer.put(&name, &self.pieces[&name]).unwrap();
        }
        writer.finish().unwrap()
    }
}

impl Source for Repository {
    fn get(&mut self, name: &Name, limit: u64) -> Result<Option<Vec<u8>>, SourceError> {
        self.asked.push(name.clone());
        let bytes = self.pieces.get(name).cloned();
        match bytes {
            Some(bytes) if bytes.len() as u64 > limit.min(name.limit()) => {
                Err(SourceError::Broken { place: self.place(), why: format!("{name} is too large") })
            }
            bytes => Ok(bytes),
        }
    }

    fn place(&self) -> String {
        "the repository".into()
    }
}

/// Room for a root of `len` bytes with its tree.
pub fn root_partition(len: usize) -> usize {
    len + (len / 100 + 16 * BLOCK as usize).next_multiple_of(BLOCK as usize)
}
