//! The keys of roles, as a root and as delegations list them.

use std::collections::BTreeMap;

use super::error::{Error, Role};
use super::fields::Fields;
use super::key::{KeyId, PublicKey};
use super::limits;

/// The keys that may sign for a role, and how many must.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct RoleKeys {
    pub ids: Vec<KeyId>,
    /// At least 1.
    pub threshold: u32,
}

impl RoleKeys {
    pub(super) fn from_fields(fields: Fields) -> Result<RoleKeys, Error> {
        let list = fields.list("keyids")?;
        limited(fields.role, "key ids", list.len(), limits::KEYS)?;
        let ids = list.iter().map(|id| key_id(id.text())).collect::<Option<Vec<_>>>();
        Ok(RoleKeys {
            ids: ids.ok_or_else(|| fields.error("keyids", "names a key by something else than a short text"))?,
            threshold: u32::try_from(fields.positive("threshold")?)
                .map_err(|_| fields.error("threshold", "is too big"))?,
        })
    }
}

fn key_id(text: Option<&str>) -> Option<KeyId> {
    text.filter(|id| !id.is_empty() && id.len() <= limits::KEY_ID).map(|id| KeyId(id.to_owned()))
}

pub(super) fn limited(role: &Role, what: &'static str, found: usize, limit: usize) -> Result<(), Error> {
    if found > limit { Err(Error::TooMany { role: role.clone(), what, found, limit }) } else { Ok(()) }
}

/// The keys of a root or of delegations by their id, those left out that this program cannot use.
pub type Keys = BTreeMap<KeyId, PublicKey>;

pub(super) fn keys_from_fields(fields: Fields) -> Result<Keys, Error> {
    let entries = fields.object("keys")?;
    limited(fields.role, "keys", entries.len(), limits::KEYS)?;
    let mut keys = Keys::new();
    for (id, entry) in entries {
        let id = key_id(Some(id)).ok_or_else(|| fields.error("keys", "has an id that is empty or too long"))?;
        let entry = entry.object().ok_or_else(|| fields.error("keys", "has an entry that is not an object"))?;
        if let Some(key) = PublicKey::from_json(entry) {
            keys.insert(id, key);
        }
    }
    Ok(keys)
}
