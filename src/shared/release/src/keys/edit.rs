//! Changes of who may sign.

use super::KeyError;
use crate::tuf::{KeyId, PublicKey, Role, Root};

/// Gives `role` another key.
///
/// # Errors
/// [`KeyError::OfRoleAlready`].
pub(super) fn add_key(root: &mut Root, role: &Role, key: &PublicKey) -> Result<KeyId, KeyError> {
    let id = key.id().ok_or(KeyError::Stray)?;
    let keys = &mut roles(root, role)?.ids;
    if keys.contains(&id) {
        return Err(KeyError::OfRoleAlready { key: id, role: role.clone() });
    }
    keys.push(id.clone());
    keys.sort();
    root.keys.insert(id.clone(), *key);
    Ok(id)
}

/// Takes a key away from `role`.
///
/// # Errors
/// [`KeyError::NotOfRole`]; [`KeyError::Threshold`] if too few keys would be left.
pub(super) fn revoke(root: &mut Root, role: &Role, key: &KeyId) -> Result<(), KeyError> {
    let keys = roles(root, role)?;
    if !keys.ids.contains(key) {
        return Err(KeyError::NotOfRole { key: key.clone(), role: role.clone() });
    }
    keys.ids.retain(|id| id != key);
    check_threshold(root, role)?;
    let used = |id: &KeyId| root.roles.values().any(|role| role.ids.contains(id));
    let unused: Vec<KeyId> = root.keys.keys().filter(|id| !used(id)).cloned().collect();
    for id in unused {
        root.keys.remove(&id);
    }
    Ok(())
}

/// # Errors
/// [`KeyError::Threshold`]: none, or more than there are keys.
pub(super) fn set_threshold(root: &mut Root, role: &Role, threshold: u32) -> Result<(), KeyError> {
    roles(root, role)?.threshold = threshold;
    check_threshold(root, role)
}

fn check_threshold(root: &Root, role: &Role) -> Result<(), KeyError> {
    let keys = &root.roles[role];
    if keys.threshold == 0 || keys.threshold as usize > keys.ids.len() {
        return Err(KeyError::Threshold { role: role.clone(), keys: keys.ids.len(), threshold: keys.threshold });
    }
    Ok(())
}

fn roles<'r>(root: &'r mut Root, role: &Role) -> Result<&'r mut crate::tuf::RoleKeys, KeyError> {
    root.roles.get_mut(role).ok_or_else(|| KeyError::UnknownKey(role.name().to_owned()))
}
