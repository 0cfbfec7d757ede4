//! kmod's binary index (`modules.dep.bin` and its kin): a radix tree on the disk, read by libkmod in systemd-udevd and
//! modprobe. Format: shared by kmod's tools/depmod.c (writer) and libkmod/libkmod-index.c (reader). All numbers are
//! 32 bits, big-endian.

use std::collections::BTreeMap;

const MAGIC: u32 = 0xB007_F457;
/// Version 2.1.
const VERSION: u32 = 0x0002_0001;
/// The top bits of a node's offset say which of its fields are there.
const HAS_PREFIX: u32 = 0x8000_0000;
const HAS_VALUES: u32 = 0x4000_0000;
const HAS_CHILDREN: u32 = 0x2000_0000;
const OFFSET_MASK: u32 = 0x0FFF_FFFF;
/// Keys are ASCII (`INDEX_CHILDMAX`).
const MAX_CHARACTER: u8 = 128;

#[derive(Default, Debug)]
struct Node {
    prefix: Vec<u8>,
    children: BTreeMap<u8, Node>,
    /// (priority, value), lowest priority first; of equal ones the later inserted comes first, as depmod does it.
    values: Vec<(u32, String)>,
}

/// An index being built.
#[derive(Default, Debug)]
pub struct Index {
    root: Node,
}

impl Index {
    /// Adds `value` under `key`; a lower `priority` is found first. Keys that are not ASCII, or hold NUL, cannot be in
    /// the format and are left out (depmod aborts on them).
    pub fn insert(&mut self, key: &str, value: &str, priority: u32) {
        let text = |s: &str| s.bytes().all(|b| b != 0 && b < MAX_CHARACTER);
        if text(key) && text(value) {
            insert(&mut self.root, key.as_bytes(), value, priority);
        }
    }

    /// The file's bytes.
    pub fn to_bytes(&self) -> Vec<u8> {
        let mut out = Vec::new();
        out.extend(MAGIC.to_be_bytes());
        out.extend(VERSION.to_be_bytes());
        out.extend([0; 4]);
        let root = write(&self.root, &mut out);
        out[8..12].copy_from_slice(&root.to_be_bytes());
        out
    }
}

fn insert(mut node: &mut Node, mut key: &[u8], value: &str, priority: u32) {
    loop {
        let same = node.prefix.iter().zip(key).take_while(|(a, b)| a == b).count();
        if same < node.prefix.len() {
            // The keys part within the prefix: this node becomes the child behind the common part.
            let rest = node.prefix.split_off(same);
            let old = std::mem::take(node);
            node.prefix = old.prefix.clone();
            let child = Node { prefix: rest[1..].to_vec(), ..old };
            node.children.insert(rest[0], child);
        }
        key = &key[same..];
        let Some((first, rest)) = key.split_first() else {
            let at = node.values.partition_point(|(p, _)| *p < priority);
            node.values.insert(at, (priority, value.to_owned()));
            return;
        };
        let new = !node.children.contains_key(first);
        node = node.children.entry(*first).or_default();
        key = rest;
        if new {
            node.prefix = rest.to_vec();
        }
    }
}

/// Appends the node's children and then the node; returns its offset with the flags.
fn write(node: &Node, out: &mut Vec<u8>) -> u32 {
    let range = node.children.keys().next().zip(node.children.keys().next_back()).map(|(a, b)| (*a, *b));
    let offsets: Vec<u32> = range.map_or_else(Vec::new, |(first, last)| {
        (first..=last).map(|c| node.children.get(&c).map_or(0, |child| write(child, out))).collect()
    });
    // An index of more than 256 MiB cannot be addressed; selections are a thousandth of that.
    let mut offset = u32::try_from(out.len()).unwrap_or(OFFSET_MASK) & OFFSET_MASK;
    if !node.prefix.is_empty() {
        out.extend(&node.prefix);
        out.push(0);
        offset |= HAS_PREFIX;
    }
    if let Some((first, last)) = range {
        out.extend([first, last]);
        for child in offsets {
            out.extend(child.to_be_bytes());
        }
        offset |= HAS_CHILDREN;
    }
    if !node.values.is_empty() {
        out.extend((node.values.len() as u32).to_be_bytes());
        for (priority, value) in &node.values {
            out.extend(priority.to_be_bytes());
            out.extend(value.as_bytes());
            out.push(0);
        }
        offset |= HAS_VALUES;
    }
    offset
}

/// All keys with their values, in the order of the file; for tests and for comparing indices.
///
/// # Errors
/// A message when `bytes` is not such an index.
pub fn read(bytes: &[u8]) -> Result<Vec<(String, u32, String)>, String> {
    if word(bytes, 0)? != MAGIC || word(bytes, 4)? >> 16 != VERSION >> 16 {
        return Err(format!("does not start with {MAGIC:08x} and version 2"));
    }
    let mut found = Vec::new();
    let mut todo = vec![(word(bytes, 8)?, Vec::new())];
    while let Some((offset, mut key)) = todo.pop() {
        if found.len() + todo.len() > bytes.len() || key.len() > bytes.len() {
            return Err("nodes refer to each other in a circle".to_owned());
        }
        let mut at = (offset & OFFSET_MASK) as usize;
        if offset & HAS_PREFIX != 0 {
            let prefix = string(bytes, at)?;
            key.extend(prefix.as_bytes());
            at += prefix.len() + 1;
        }
        if offset & HAS_CHILDREN != 0 {
            let (first, last) = bytes.get(at).zip(bytes.get(at + 1)).ok_or("ends within a node")?;
            at += 2;
            for c in *first..=*last {
                let child = word(bytes, at)?;
                at += 4;
                if child != 0 {
                    todo.push((child, [key.as_slice(), &[c]].concat()));
                }
            }
        }
        if offset & HAS_VALUES != 0 {
            let count = word(bytes, at)?;
            at += 4;
            for _ in 0..count {
                let priority = word(bytes, at)?;
                let value = string(bytes, at + 4)?;
                at += 4 + value.len() + 1;
                found.push((String::from_utf8_lossy(&key).into_owned(), priority, value));
            }
        }
    }
    found.sort();
    Ok(found)
}

fn word(bytes: &[u8], at: usize) -> Result<u32, String> {
    let four = bytes.get(at..).and_then(|rest| rest.first_chunk::<4>());
    four.map(|b| u32::from_be_bytes(*b)).ok_or_else(|| format!("ends before the number at {at}"))
}

fn string(bytes: &[u8], at: usize) -> Result<String, String> {
    let rest = bytes.get(at..).ok_or_else(|| format!("ends before the text at {at}"))?;
    let len = rest.iter().position(|b| *b == 0).ok_or_else(|| format!("the text at {at} does not end"))?;
    Ok(String::from_utf8_lossy(&rest[..len]).into_owned())
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    proptest! {
        #[test]
        fn what_goes_in_comes_out(entries in proptest::collection::vec(("[a-d]{0,6}", "[a-z]{0,4}", 0u32..9), 0..60)) {
            let mut index = Index::default();
            for (key, value, priority) in &entries {
                index.insert(key, value, *priority);
            }
            let mut expected: Vec<_> = entries.iter().map(|(k, v, p)| (k.clone(), *p, v.clone())).collect();
            expected.sort();
            prop_assert_eq!(read(&index.to_bytes()).unwrap(), expected);
        }

        #[test]
        fn rubbish_is_an_error_and_no_panic(bytes in proptest::collection::vec(any::<u8>(), 0..200)) {
            let mut bytes = bytes;
            let _ = read(&bytes);
            bytes.splice(0..0, [0xB0, 0x07, 0xF4, 0x57, 0, 2, 0, 1]);
            let _ = read(&bytes);
        }
    }
}
