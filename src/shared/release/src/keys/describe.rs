//! What metadata says, in lines that a person checks before signing.

use fruit_base::hex;

use crate::tuf::{KeyId, Root, Snapshot, Target, Targets, Timestamp};

pub(super) fn root(root: &Root, name: &dyn Fn(&KeyId) -> String) -> Vec<String> {
    let mut lines = Vec::new();
    for (role, keys) in &root.roles {
        lines.push(format!("{role}: {} of {} keys must sign", keys.threshold, keys.ids.len()));
        lines.extend(keys.ids.iter().map(|id| format!("{role}: key {} ({id})", name(id))));
    }
    lines
}

pub(super) fn targets(targets: &Targets) -> Vec<String> {
    targets.targets.values().map(target).collect()
}

fn target(target: &Target) -> String {
    let what = match target.release() {
        Ok(release) => release.to_string(),
        Err(why) => why.to_string(),
    };
    let hash = target.sha256().map_or_else(String::new, |digest| format!(", sha256 {}", hex::encode(digest)));
    format!("{}: {what}; {} bytes{hash}", target.path(), target.length())
}

pub(super) fn snapshot(snapshot: &Snapshot) -> Vec<String> {
    snapshot.meta.iter().map(|(file, meta)| format!("{file}: version {}", meta.version)).collect()
}

pub(super) fn timestamp(timestamp: &Timestamp) -> Vec<String> {
    vec![format!("snapshot.json: version {}", timestamp.snapshot.version)]
}
