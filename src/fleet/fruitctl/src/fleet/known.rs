//! What this machine knows of the network: where nodes were, and when they were last heard of. Nothing here is signed or needed: it
//! is a help to find nodes again, and tells how old things are.

use super::{at, opened::file};
use crate::failure::Failure;
use fruit_base::{Replace, replace_with};
use fruit_record::KeyId;
use serde::{Deserialize, Serialize};
use std::collections::BTreeMap;
use std::path::Path;

/// In the fleet's folder.
const FILE: &str = "network.json";
/// Bytes of it.
const LIMIT: u64 = 1 << 20;
/// Nodes that are remembered, and addresses of each.
const MOST: usize = 1024;
const ADDRESSES: usize = 4;

#[derive(Clone, Default, PartialEq, Serialize, Deserialize)]
#[serde(default)]
pub struct Known {
    /// Seconds since 1970 when this machine last talked with a node of the fleet; 0: never.
    pub contact: u64,
    nodes: BTreeMap<String, Seen>,
}

#[derive(Clone, Default, PartialEq, Serialize, Deserialize)]
#[serde(default)]
struct Seen {
    /// The latest one first.
    addresses: Vec<String>,
    seen: u64,
}

impl Known {
    /// One that is damaged is as good as none.
    pub fn read(folder: &Path) -> Known {
        let bytes = file(&folder.join(FILE), LIMIT).unwrap_or_default();
        serde_json::from_slice(&bytes).unwrap_or_default()
    }

    pub fn write(&mut self, folder: &Path) -> Result<(), Failure> {
        while self.nodes.len() > MOST {
            let Some(oldest) = self.nodes.iter().min_by_key(|(_, seen)| seen.seen).map(|(id, _)| id.clone()) else {
                break;
            };
            self.nodes.remove(&oldest);
        }
        let path = folder.join(FILE);
        let text = serde_json::to_vec(self).unwrap_or_default();
        replace_with(&path, &text, Replace { mode: 0o600, durable: false }).map_err(at(&path))
    }

    /// A node is connected now.
    pub fn note(&mut self, id: &str, address: Option<&str>, now: u64) {
        self.contact = self.contact.max(now);
        let seen = self.nodes.entry(id.to_owned()).or_default();
        seen.seen = seen.seen.max(now);
        if let Some(address) = address {
            seen.addresses.retain(|known| known != address);
            seen.addresses.insert(0, address.to_owned());
            seen.addresses.truncate(ADDRESSES);
        }
    }

    /// When a node was last heard of; 0: never.
    pub fn seen(&self, id: &KeyId) -> u64 {
        self.nodes.get(&id.to_string()).map_or(0, |seen| seen.seen)
    }

    /// Where nodes were, the latest address of each last.
    pub fn addresses(&self) -> Vec<(KeyId, String)> {
        let each = self.nodes.iter().filter_map(|(id, seen)| Some((KeyId::parse(id)?, &seen.addresses)));
        each.flat_map(|(id, all)| all.iter().rev().map(move |address| (id, address.clone()))).collect()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_was_seen_is_found_again_and_there_is_an_end_to_it() {
        let folder = tempfile::tempdir().unwrap();
        let id = |n: u32| KeyId(fruit_base::Sha256::of(&n.to_be_bytes()).0);
        let mut known = Known::read(folder.path());
        for n in 0..2000 {
            known.note(&id(n).to_string(), Some(&format!("192.0.2.1:{n}")), u64::from(n) + 1);
        }
        (0..9).for_each(|port| known.note(&id(1999).to_string(), Some(&format!("192.0.2.2:{port}")), 5));
        known.write(folder.path()).unwrap();
        let again = Known::read(folder.path());
        assert_eq!((again.contact, again.seen(&id(1999)), again.seen(&id(1))), (2000, 2000, 0));
        let of = |n| again.addresses().into_iter().filter(|(of, _)| *of == id(n)).map(|(_, at)| at).collect::<Vec<_>>();
        assert_eq!((of(1999).len(), of(1999).pop().unwrap()), (4, "192.0.2.2:8".to_owned()));
        std::fs::write(folder.path().join(FILE), "garbage").unwrap();
        assert!(Known::read(folder.path()) == Known::default());
    }
}
