//! Ids of accounts: scripts take the next free one, which differs from set to set; on a node each name keeps the same.

use std::collections::BTreeMap;

use fruit_image::tree::{Inode, Kind, Meta};
use fruit_root::finish::accounts::{Renumbered, renumber};

use crate::error::Error;

/// What old ids become.
pub(crate) struct Ids {
    renumbered: Renumbered,
}

impl Ids {
    /// Gives the accounts among `puts` the ids that their names have in every image, and rewrites their files.
    ///
    /// # Errors
    /// Account files that are not as passwd(5) and group(5) say.
    pub fn settle(puts: &mut BTreeMap<String, Inode>) -> Result<Ids, Error> {
        let renumbered = renumber(&text(puts, "etc/passwd")?, &text(puts, "etc/group")?, &text(puts, "etc/shadow")?)?;
        let files = [
            ("etc/passwd", &renumbered.passwd),
            ("etc/group", &renumbered.group),
            ("etc/shadow", &renumbered.shadow),
            ("etc/gshadow", &renumbered.gshadow),
        ];
        for (path, text) in files {
            if let Some(inode) = puts.get_mut(path) {
                inode.kind = Kind::File(text.as_str().into());
            }
        }
        Ok(Ids { renumbered })
    }

    /// Owner, group and access lists of a file.
    pub fn translate(&self, meta: &mut Meta) {
        let user = |id: u32| self.renumbered.users.get(&id).copied().unwrap_or(id);
        let group = |id: u32| self.renumbered.groups.get(&id).copied().unwrap_or(id);
        meta.uid = user(meta.uid);
        meta.gid = group(meta.gid);
        for (_, value) in meta.xattrs.iter_mut().filter(|(name, _)| name.starts_with("system.posix_acl_")) {
            // A version of four bytes, then entries of tag, permissions and id (linux/posix_acl_xattr.h).
            for entry in value.iter_mut().skip(4).collect::<Vec<_>>().chunks_exact_mut(8) {
                let [tag_low, tag_high, _, _, id @ ..] = entry else { continue };
                let tag = u16::from_le_bytes([**tag_low, **tag_high]);
                let old = u32::from_le_bytes(std::array::from_fn(|at| id.get(at).map_or(0, |byte| **byte)));
                let new = match tag {
                    0x02 => user(old),
                    0x08 => group(old),
                    _ => continue,
                };
                id.iter_mut().zip(new.to_le_bytes()).for_each(|(byte, value)| **byte = value);
            }
        }
    }
}

fn text(puts: &BTreeMap<String, Inode>, path: &str) -> Result<String, Error> {
    match puts.get(path).map(|inode| &inode.kind) {
        Some(Kind::File(content)) => {
            let bytes = content.to_vec().map_err(|e| Error::Other(format!("/{path}: {e}")))?;
            Ok(String::from_utf8_lossy(&bytes).into_owned())
        }
        _ => Ok(String::new()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_name_has_the_same_id_whatever_the_script_took_and_its_files_follow() {
        let mut puts = BTreeMap::new();
        let mut put = |path: &str, text: &str| drop(puts.insert(path.to_owned(), Inode::file(text, 0o640, 0)));
        put(
            "etc/passwd",
            "root:x:0:0::/root:/bin/sh\nprometheus:x:101:103::/:/bin/false\n_chrony:x:102:104::/:/bin/sh\n",
        );
        put("etc/group", "root:x:0:\nprometheus:x:103:\n_chrony:x:104:prometheus\n");
        put("etc/shadow", "root:*:20000:0:99999:7:::\nprometheus:!:20421::::::\n_chrony:!:20421::::::\n");
        put("etc/gshadow", "root:*::\n");
        let ids = Ids::settle(&mut puts).unwrap();
        let text = |path: &str| super::text(&puts, path).unwrap();
        assert_eq!(text("etc/passwd").lines().nth(1).unwrap(), "prometheus:x:964:964::/:/bin/false");
        assert_eq!(text("etc/group"), "root:x:0:\nprometheus:x:964:\n_chrony:x:984:prometheus\n");
        // The day of the run is in no file.
        assert_eq!(text("etc/shadow").lines().nth(1).unwrap(), "prometheus:!:::::::");
        assert_eq!(text("etc/gshadow").lines().count(), 3);
        let mut acl = vec![2, 0, 0, 0];
        acl.extend([8, 0, 4, 0, 104, 0, 0, 0]);
        acl.extend([2, 0, 4, 0, 101, 0, 0, 0]);
        let xattrs = [("system.posix_acl_access".to_owned(), acl)].into();
        let mut meta = Meta { uid: 101, gid: 104, xattrs, ..Meta::root(0o644, 0) };
        ids.translate(&mut meta);
        assert_eq!((meta.uid, meta.gid), (964, 984));
        let acl = &meta.xattrs["system.posix_acl_access"];
        assert_eq!((&acl[8..12], &acl[16..20]), (&984u32.to_le_bytes()[..], &964u32.to_le_bytes()[..]));
    }
}
