//! A repository in memory with keys that tests know, and the nodes that follow it.
#![allow(dead_code, reason = "each test file uses its part")]

use std::collections::{BTreeMap, BTreeSet};

use fruit_release::keys::{KeyError, Lifetimes, Plan, Repository, SecretKey, Signer};
use fruit_release::tuf::json::{self, Json, Object};
use fruit_release::tuf::{Clock, Error, Freshness, Kind, PublicKey, Release, Role, Target, Time, Trust};
use sha2::{Digest, Sha256};

pub const LIVES: Lifetimes = Lifetimes { root: 1000, targets: 300, snapshot: 100, timestamp: 30 };

pub fn day(days: u32) -> Time {
    "2026-01-01T00:00:00Z".parse::<Time>().unwrap().plus_days(days)
}

pub fn at(days: u32) -> Clock {
    Clock::Trusted(day(days))
}

/// The clock of a node that has none, whose image was built then.
pub fn built(days: u32) -> Clock {
    Clock::Unset { built: day(days), saved: None }
}

pub fn key(seed: u8) -> SecretKey {
    SecretKey::from_seed(&[seed; 32])
}

/// Signs with the keys of these seeds.
pub struct Seeds(pub Vec<u8>);

impl Signer for Seeds {
    fn sign(&mut self, public: &PublicKey, message: &[u8]) -> Result<Option<[u8; 64]>, KeyError> {
        let found = self.0.iter().map(|&seed| key(seed)).find(|key| &key.public() == public);
        Ok(found.map(|key| key.sign(message)))
    }
}

pub const ROOT: [u8; 3] = [1, 2, 3];
pub const TARGETS: u8 = 4;
pub const SNAPSHOT: u8 = 5;
pub const TIMESTAMP: u8 = 6;

pub fn plan() -> Plan {
    let keys = |seeds: &[u8]| seeds.iter().map(|&seed| key(seed).public()).collect::<Vec<_>>();
    BTreeMap::from([
        (Role::Root, (keys(&ROOT), 2)),
        (Role::Targets, (keys(&[TARGETS]), 1)),
        (Role::Snapshot, (keys(&[SNAPSHOT]), 1)),
        (Role::Timestamp, (keys(&[TIMESTAMP]), 1)),
    ])
}

pub type Files = BTreeMap<String, Vec<u8>>;

/// The owners' side.
pub struct Shop {
    pub repository: Repository,
    pub files: Files,
    pub seeds: Vec<u8>,
    pub today: u32,
}

impl Shop {
    /// A repository with release 1.0, on day 0. Root keys 1 to 3, of which two sign; 4 targets, 5 snapshot, 6 timestamp.
    pub fn open() -> Shop {
        let repository = Repository::new(&plan(), day(0), &LIVES).unwrap();
        let mut shop = Shop { repository, files: Files::new(), seeds: vec![1, 2, 3, 4, 5, 6], today: 0 };
        shop.release("1.0");
        shop
    }

    pub fn add(&mut self, version: &str) {
        self.repository.add_targets(vec![target(version)], day(self.today), &LIVES).unwrap();
    }

    pub fn release(&mut self, version: &str) {
        self.add(version);
        self.publish(&[]);
    }

    /// Signs with all keys at hand; everything has to be complete.
    pub fn publish(&mut self, renew: &[Role]) {
        let renew = BTreeSet::from_iter(renew.iter().cloned());
        let mut signer = Seeds(self.seeds.clone());
        let signed = self.repository.sign(&mut signer, &renew, day(self.today), &LIVES).unwrap();
        assert_eq!(signed.waiting, []);
        self.files.extend(signed.files);
    }

    /// Makes the key of `new` the only one of `role` in the place of `old`.
    pub fn rotate(&mut self, role: &Role, old: u8, new: u8) {
        let (old, now) = (key(old).public().id().unwrap(), day(self.today));
        self.seeds.push(new);
        self.repository.rotate(role, &old, &key(new).public(), now, &LIVES).unwrap();
    }

    pub fn file(&self, name: &str) -> Vec<u8> {
        self.files[&format!("metadata/{name}.json")].clone()
    }

    pub fn node(&self) -> Trust {
        Trust::from_root(&self.file("1.root")).unwrap()
    }

    /// A node that is up to date today.
    pub fn current_node(&self) -> Trust {
        let mut node = self.node();
        follow(&mut node, &self.files, at(self.today)).unwrap();
        node
    }
}

pub fn content(version: &str) -> Vec<u8> {
    format!("image {version}").into_bytes()
}

pub fn release(version: &str) -> Release {
    Release {
        kind: Kind::Release,
        product: "pistack".into(),
        board: "raspberrypi3".into(),
        compatible: vec!["raspberrypi,3-model-b".into(), "raspberrypi,3-model-b-plus".into()],
        architecture: "arm64".into(),
        version: version.into(),
        epoch: 1,
        min_bootloader: 1,
    }
}

pub fn path(version: &str) -> String {
    format!("pistack-{version}.json")
}

pub fn target(version: &str) -> Target {
    let bytes = content(version);
    Target::new(&path(version), bytes.len() as u64, Sha256::digest(&bytes).into(), &release(version)).unwrap()
}

/// A refresh from these files, as far as it goes.
pub fn follow(node: &mut Trust, files: &Files, clock: Clock) -> Result<Freshness, Error> {
    let mut refresh = node.refresh(clock);
    while let Some(want) = refresh.want() {
        refresh.give(files.get(&want.name).map(Vec::as_slice))?;
    }
    Ok(refresh.freshness())
}

/// Versions of root, targets, snapshot and timestamp that a node trusts; 0 for none.
pub fn versions(node: &Trust) -> [u64; 4] {
    Role::TOP.map(|role| node.version(&role).unwrap_or(0))
}

/// Metadata with `signed` changed by `edit`, signed with the keys of `seeds` and no others: what a thief of these keys
/// can make.
pub fn forge(bytes: &[u8], seeds: &[u8], edit: impl FnOnce(&mut Object)) -> Vec<u8> {
    let Json::Object(mut document) = json::parse(bytes, usize::MAX).unwrap() else { panic!("no object") };
    let Some(Json::Object(signed)) = document.get_mut("signed") else { panic!("nothing signed") };
    edit(signed);
    let message = document["signed"].canonical();
    let signatures = seeds.iter().map(|&seed| {
        let key = key(seed);
        let signature: String = key.sign(&message).iter().map(|byte| format!("{byte:02x}")).collect();
        Json::from([("keyid", key.public().id().unwrap().as_str().into()), ("sig", signature.into())])
    });
    document.insert("signatures".into(), Json::List(signatures.collect()));
    serde_json::to_vec(&Json::Object(document)).unwrap()
}

/// The object at `path` of names.
pub fn member<'o>(mut object: &'o mut Object, path: &[&str]) -> &'o mut Object {
    for name in path {
        object = match object.get_mut(*name) {
            Some(Json::Object(inner)) => inner,
            other => panic!("{name} is {other:?}"),
        };
    }
    object
}

pub fn set_version(version: i64) -> impl FnOnce(&mut Object) {
    move |signed| drop(signed.insert("version".into(), Json::Number(version)))
}
