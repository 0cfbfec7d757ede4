//! Extended attributes on disk: a number for the prefix of the name, the rest of the name, the value.

use std::collections::BTreeMap;

use super::format::{XATTR_ENTRY_LEN, XATTR_HEADER_LEN};
use crate::tree::Meta;

/// `EROFS_XATTR_INDEX_*`. Those of ACLs are whole names.
const PREFIXES: [(u8, &str); 6] = [
    (1, "user."),
    (2, "system.posix_acl_access"),
    (3, "system.posix_acl_default"),
    (4, "trusted."),
    (5, "lustre."),
    (6, "security."),
];

/// Entries that one inode can take from the shared area: the count is one byte.
const SHARED_MAX: usize = 255;

/// Number of the prefix and the rest of the name; nothing for a name that EROFS cannot hold.
pub(super) fn split_name(name: &str) -> Option<(u8, &str)> {
    let (index, prefix) = PREFIXES.iter().find(|(_, prefix)| name.starts_with(prefix))?;
    let rest = &name[prefix.len()..];
    // A prefix that ends in a dot needs a rest, a whole name must not have one.
    (rest.len() <= 255 && rest.is_empty() != prefix.ends_with('.')).then_some((*index, rest))
}

pub(super) fn prefix(index: u8) -> Option<&'static str> {
    PREFIXES.iter().find(|(i, _)| *i == index).map(|(_, prefix)| *prefix)
}

/// One attribute whose name and value are known to fit.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(super) struct Entry<'t> {
    index: u8,
    name: &'t str,
    value: &'t [u8],
    value_len: u16,
}

impl<'t> Entry<'t> {
    /// # Errors
    /// Why EROFS cannot hold it.
    pub fn new(name: &'t str, value: &'t [u8]) -> Result<Entry<'t>, String> {
        let Some((index, rest)) = split_name(name) else {
            return Err(format!(
                "the name {name:?} is not user.*, trusted.*, security.* or system.posix_acl_{{access,default}}"
            ));
        };
        let Ok(value_len) = u16::try_from(value.len()) else {
            return Err(format!("the value of {name} has {} bytes, at most 65535 fit", value.len()));
        };
        Ok(Entry { index, name: rest, value, value_len })
    }

    /// Bytes, padding included.
    pub fn len(&self) -> usize {
        (XATTR_ENTRY_LEN + self.name.len() + self.value.len()).next_multiple_of(4)
    }

    pub fn append_to(&self, out: &mut Vec<u8>) {
        let end = out.len() + self.len();
        // `split_name` bounds the name to 255 bytes.
        out.extend([self.name.len() as u8, self.index]);
        out.extend(self.value_len.to_le_bytes());
        out.extend(self.name.as_bytes());
        out.extend(self.value);
        out.resize(end, 0);
    }
}

/// The attributes that are stored once and referred to.
#[derive(Default)]
pub(super) struct Shared<'t> {
    /// To the place in the area, in units of 4 bytes.
    ids: BTreeMap<Entry<'t>, u32>,
    len: usize,
}

impl<'t> Shared<'t> {
    /// Those entries that cost less when shared.
    pub fn choose(all: impl Iterator<Item = Entry<'t>>) -> Shared<'t> {
        let mut uses: BTreeMap<Entry, usize> = BTreeMap::new();
        for entry in all {
            *uses.entry(entry).or_default() += 1;
        }
        let mut shared = Shared::default();
        for (entry, uses) in uses {
            if uses * entry.len() > entry.len() + uses * 4
                && let Ok(id) = u32::try_from(shared.len / 4)
            {
                shared.ids.insert(entry, id);
                shared.len += entry.len();
            }
        }
        shared
    }

    pub fn is_empty(&self) -> bool {
        self.len == 0
    }

    /// Bytes of the area.
    pub fn len(&self) -> u64 {
        self.len as u64
    }

    /// The area, one entry after the other.
    pub fn entries(&self) -> impl Iterator<Item = &Entry<'t>> {
        self.ids.keys()
    }

    /// What stands behind the inode of a file with these attributes; empty if there are none.
    pub fn body(&self, entries: &[Entry<'t>]) -> Vec<u8> {
        if entries.is_empty() {
            return Vec::new();
        }
        let refs: Vec<(usize, u32)> = entries
            .iter()
            .enumerate()
            .filter_map(|(i, entry)| self.ids.get(entry).map(|id| (i, *id)))
            .take(SHARED_MAX)
            .collect();
        let mut body = vec![0; XATTR_HEADER_LEN];
        body[4] = refs.len() as u8; // at most SHARED_MAX
        for (_, id) in &refs {
            body.extend(id.to_le_bytes());
        }
        for (i, entry) in entries.iter().enumerate() {
            if refs.binary_search_by_key(&i, |(i, _)| *i).is_err() {
                entry.append_to(&mut body);
            }
        }
        body
    }
}

/// The attributes of a file.
///
/// # Errors
/// Why EROFS cannot hold one of them.
pub(super) fn entries(meta: &Meta) -> Result<Vec<Entry<'_>>, String> {
    meta.xattrs.iter().map(|(name, value)| Entry::new(name, value)).collect()
}
