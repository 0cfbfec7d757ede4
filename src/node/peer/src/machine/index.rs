//! Which records are here, by what they are called while two nodes compare.

use std::collections::{BTreeMap, HashMap};

use fruit_base::Sha256;
use fruit_record::{Key, Replica};

use crate::wire::{BUCKETS, ITEMS, Item};

/// All records of a replica but charters, which travel in rows.
#[derive(Debug, Default)]
pub struct Index {
    items: BTreeMap<Item, Key>,
    by_key: HashMap<Key, Item>,
    digest: Option<[u8; 32]>,
}

impl Index {
    /// Of all records of `replica`.
    #[must_use]
    pub fn of(replica: &Replica) -> Index {
        let mut index = Index::default();
        for record in replica.records() {
            index.put(record.key().clone(), Item::of(&record.encode()));
        }
        index
    }

    fn put(&mut self, key: Key, item: Item) {
        if let Some(old) = self.by_key.insert(key.clone(), item) {
            self.items.remove(&old);
        }
        self.items.insert(item, key);
        self.digest = None;
    }

    /// The record of this key has changed, and nothing else.
    pub fn changed(&mut self, replica: &Replica, key: &Key) {
        match replica.get(key) {
            Some(record) => self.put(key.clone(), Item::of(&record.encode())),
            None => {
                if let Some(old) = self.by_key.remove(key) {
                    self.items.remove(&old);
                }
                self.digest = None;
            }
        }
    }

    #[must_use]
    pub fn len(&self) -> usize {
        self.items.len()
    }

    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.items.is_empty()
    }

    #[must_use]
    pub fn has(&self, item: &Item) -> bool {
        self.items.contains_key(item)
    }

    #[must_use]
    pub fn key(&self, item: &Item) -> Option<&Key> {
        self.items.get(item)
    }

    /// Of all items.
    pub fn digest(&mut self) -> [u8; 32] {
        let items = &self.items;
        *self.digest.get_or_insert_with(|| hash(items.keys()))
    }

    /// Of each bucket; 0 for one that is empty.
    #[must_use]
    pub fn summary(&self) -> Box<[u64; BUCKETS]> {
        let mut summary = Box::new([0; BUCKETS]);
        let mut items = self.items.keys().peekable();
        while let Some(first) = items.peek() {
            let number = first.0[0];
            let bucket: Vec<&Item> = std::iter::from_fn(|| items.next_if(|item| item.0[0] == number)).collect();
            let [a, b, c, d, e, f, g, h, ..] = hash(bucket.into_iter());
            summary[usize::from(number)] = u64::from_be_bytes([a, b, c, d, e, f, g, h]).max(1);
        }
        summary
    }

    /// Items and keys from the first to the last of two.
    pub fn range(&self, bounds: [Item; 2]) -> impl Iterator<Item = (&Item, &Key)> {
        // A range that ends before it begins has nothing in it.
        let bounds = if bounds[0] <= bounds[1] { Some(bounds) } else { None };
        bounds.into_iter().flat_map(|[first, last]| self.items.range(first..=last))
    }

    /// Ranges that together are a bucket, none with more items here than a frame takes.
    #[must_use]
    pub fn ranges(&self, bucket: u8) -> Vec<[Item; 2]> {
        let [first, last] = Item::bucket(bucket);
        let items: Vec<Item> = self.range([first, last]).map(|(item, _)| *item).collect();
        let mut ranges = Vec::new();
        let mut begins = first;
        for next in items.chunks(ITEMS).skip(1).filter_map(|chunk| chunk.first()) {
            ranges.push([begins, before(*next)]);
            begins = *next;
        }
        ranges.push([begins, last]);
        ranges
    }
}

fn before(item: Item) -> Item {
    Item(u128::from_be_bytes(item.0).saturating_sub(1).to_be_bytes())
}

fn hash<'i>(items: impl Iterator<Item = &'i Item>) -> [u8; 32] {
    let bytes: Vec<u8> = items.flat_map(|item| item.0).collect();
    Sha256::of(&bytes).0
}
