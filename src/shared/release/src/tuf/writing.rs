//! Metadata types as JSON, for who signs them.

use super::delegation::{Delegation, Delegations, Paths};
use super::json::{Json, Object, number};
use super::metadata::{MetaFile, Metadata, Root, SPEC_VERSION, Snapshot, Targets, Timestamp};
use super::roles::{Keys, RoleKeys};
use super::target::Target;

/// Metadata that can be written.
pub(crate) trait Writable: Metadata {
    /// The members of `signed` beyond the head.
    fn members(&self) -> Vec<(&'static str, Json)>;

    /// The value of `signed`.
    fn to_json(&self) -> Json {
        let head = self.head();
        let mut members = object(self.members());
        members.insert("_type".into(), Self::TYPE.into());
        members.insert("spec_version".into(), SPEC_VERSION.into());
        members.insert("version".into(), number(head.version));
        members.insert("expires".into(), head.expires.to_string().into());
        if let Some(time) = head.signed_at {
            members.insert("signed_at".into(), time.to_string().into());
        }
        Json::Object(members)
    }
}

fn object<'a>(members: impl IntoIterator<Item = (&'a str, Json)>) -> Object {
    members.into_iter().map(|(name, value)| (name.to_owned(), value)).collect()
}

impl Writable for Root {
    fn members(&self) -> Vec<(&'static str, Json)> {
        let roles = self.roles.iter().map(|(role, keys)| (role.name(), Json::Object(role_keys(keys))));
        vec![
            ("keys", keys(&self.keys)),
            ("roles", Json::Object(object(roles))),
            ("consistent_snapshot", Json::Bool(self.consistent_snapshot)),
        ]
    }
}

impl Writable for Timestamp {
    fn members(&self) -> Vec<(&'static str, Json)> {
        vec![("meta", Json::from([("snapshot.json", meta_file(&self.snapshot))]))]
    }
}

impl Writable for Snapshot {
    fn members(&self) -> Vec<(&'static str, Json)> {
        let meta = self.meta.iter().map(|(name, file)| (name.as_str(), meta_file(file)));
        vec![("meta", Json::Object(object(meta)))]
    }
}

impl Writable for Targets {
    fn members(&self) -> Vec<(&'static str, Json)> {
        let targets = self.targets.iter().map(|(path, entry)| (path.as_str(), target(entry)));
        let mut members = vec![("targets", Json::Object(object(targets)))];
        members.extend(self.delegations.as_ref().map(|all| ("delegations", delegations(all))));
        members
    }
}

fn keys(keys: &Keys) -> Json {
    Json::Object(keys.iter().filter_map(|(id, key)| Some((id.as_str().to_owned(), key.to_json()?))).collect())
}

fn role_keys(keys: &RoleKeys) -> Object {
    let ids = keys.ids.iter().map(|id| id.as_str().into()).collect();
    object([("keyids", Json::List(ids)), ("threshold", Json::Number(i64::from(keys.threshold)))])
}

fn meta_file(file: &MetaFile) -> Json {
    let mut members = object([("version", number(file.version))]);
    if let Some(length) = file.length {
        members.insert("length".into(), number(length));
    }
    if let Some(hashes) = &file.hashes {
        members.insert("hashes".into(), hashes.to_json());
    }
    Json::Object(members)
}

fn target(target: &Target) -> Json {
    let mut members = object([("length", number(target.length())), ("hashes", target.hashes.to_json())]);
    members.extend(target.custom().cloned().map(|custom| ("custom".to_owned(), custom)));
    Json::Object(members)
}

fn delegations(all: &Delegations) -> Json {
    Json::from([("keys", keys(&all.keys)), ("roles", Json::List(all.roles.iter().map(delegation).collect()))])
}

fn delegation(role: &Delegation) -> Json {
    let list = |texts: &[String]| Json::List(texts.iter().map(|text| text.as_str().into()).collect());
    let mut members = role_keys(&role.keys);
    let (name, paths) = match &role.paths {
        Paths::Patterns(patterns) => ("paths", list(patterns)),
        Paths::HashPrefixes(prefixes) => ("path_hash_prefixes", list(prefixes)),
    };
    members.insert(name.into(), paths);
    members.insert("name".into(), role.name.as_str().into());
    members.insert("terminating".into(), Json::Bool(role.terminating));
    Json::Object(members)
}
