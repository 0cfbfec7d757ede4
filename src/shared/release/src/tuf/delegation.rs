//! Delegated targets roles: read, and followed when a target is searched for. Repositories of ours have none.

use sha2::{Digest, Sha256};

use super::error::{Error, Role};
use super::fields::Fields;
use super::json::Json;
use super::limits;
use super::roles::{Keys, RoleKeys, keys_from_fields, limited};
use fruit_base::hex;

/// Roles that may sign for some of a repository's paths.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Delegations {
    pub keys: Keys,
    /// In order of trust.
    pub roles: Vec<Delegation>,
}

/// One such role.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Delegation {
    pub name: String,
    pub keys: RoleKeys,
    /// A search that comes here does not go on behind it.
    pub terminating: bool,
    pub paths: Paths,
}

/// Which target paths a role may sign for.
#[derive(Clone, PartialEq, Eq, Debug)]
pub enum Paths {
    /// Shell patterns; `*` and `?` do not match `/`.
    Patterns(Vec<String>),
    /// Beginnings of the SHA-256 of the path, in hex.
    HashPrefixes(Vec<String>),
}

impl Delegations {
    pub(super) fn from_fields(fields: Fields) -> Result<Delegations, Error> {
        let keys = keys_from_fields(fields)?;
        let entries = match (fields.object.get("roles"), fields.object.get("succinct_roles")) {
            (None, Some(Json::Object(bins))) => {
                let place = Fields { place: "succinct_roles", object: bins, ..fields };
                return Ok(Delegations { keys, roles: succinct(place)? });
            }
            (Some(_), None) => fields.list("roles")?,
            _ => return Err(fields.error("roles", "must be there, or succinct_roles instead")),
        };
        limited(fields.role, "delegated roles", entries.len(), limits::DELEGATIONS)?;
        let mut roles: Vec<Delegation> = Vec::new();
        for entry in entries {
            let role = Delegation::from_fields(Fields::of(fields.role, "a delegated role", entry)?)?;
            if roles.iter().any(|other| other.name == role.name) {
                return Err(fields.error("roles", "has two roles of one name"));
            }
            roles.push(role);
        }
        Ok(Delegations { keys, roles })
    }
}

/// `2^bit_length` roles that share the paths evenly by their hash.
fn succinct(fields: Fields) -> Result<Vec<Delegation>, Error> {
    let bits = fields.positive("bit_length")?;
    let prefix = fields.text("name_prefix")?;
    if bits > 32 {
        return Err(fields.error("bit_length", "is more than 32"));
    }
    let count = 1u64 << bits;
    limited(fields.role, "delegated roles", usize::try_from(count).unwrap_or(usize::MAX), limits::SUCCINCT_ROLES)?;
    role_name(fields, "name_prefix", prefix)?;
    let keys = RoleKeys::from_fields(fields)?;
    // Digits of the bin's number in its name, and of the first 32 bits of a path's hash.
    let digits = usize::try_from(bits.div_ceil(4)).unwrap_or(8);
    let shift = 4 * digits as u64 - bits;
    Ok((0..count)
        .map(|bin| {
            let prefixes = (0..1u64 << shift).map(|low| format!("{:0digits$x}", bin << shift | low));
            Delegation {
                name: format!("{prefix}-{bin:0digits$x}"),
                keys: keys.clone(),
                terminating: false,
                paths: Paths::HashPrefixes(prefixes.collect()),
            }
        })
        .collect())
}

fn role_name(fields: Fields, field: &str, name: &str) -> Result<(), Error> {
    if name.is_empty() || name.len() > limits::NAME || Role::from_name(name).is_some() {
        return Err(fields.error(field, "is empty, too long, or that of a top-level role"));
    }
    Ok(())
}

impl Delegation {
    fn from_fields(fields: Fields) -> Result<Delegation, Error> {
        let name = fields.text("name")?;
        role_name(fields, "name", name)?;
        let texts = |field: &str| {
            let list = fields.list(field)?;
            let texts = list.iter().map(|t| t.text().filter(|t| t.len() <= limits::NAME).map(str::to_owned));
            texts.collect::<Option<Vec<_>>>().ok_or_else(|| fields.error(field, "has an entry that is no short text"))
        };
        let paths = match (fields.object.contains_key("paths"), fields.object.contains_key("path_hash_prefixes")) {
            (true, false) => Paths::Patterns(texts("paths")?),
            (false, true) => Paths::HashPrefixes(texts("path_hash_prefixes")?),
            _ => return Err(fields.error("paths", "must be there, or path_hash_prefixes instead")),
        };
        Ok(Delegation {
            name: name.to_owned(),
            keys: RoleKeys::from_fields(fields)?,
            terminating: fields.bool("terminating")?,
            paths,
        })
    }

    /// Whether the role may sign for `path`.
    #[must_use]
    pub fn covers(&self, path: &str) -> bool {
        match &self.paths {
            Paths::Patterns(patterns) => patterns.iter().any(|pattern| matches(pattern, path)),
            Paths::HashPrefixes(prefixes) => {
                let hash = hex::encode(&Sha256::digest(path));
                prefixes.iter().any(|prefix| hash.starts_with(prefix.as_str()))
            }
        }
    }
}

/// Shell pattern, segment by segment.
fn matches(pattern: &str, path: &str) -> bool {
    let (mut patterns, mut segments) = (pattern.split('/'), path.split('/'));
    loop {
        match (patterns.next(), segments.next()) {
            (None, None) => return true,
            (Some(pattern), Some(segment)) if segment_matches(pattern.as_bytes(), segment.as_bytes()) => {}
            _ => return false,
        }
    }
}

/// `*`, `?` and literal bytes. After a mismatch the last star takes one byte more: quadratic at worst, not exponential.
fn segment_matches(pattern: &[u8], text: &[u8]) -> bool {
    let (mut p, mut t) = (0, 0);
    let mut star: Option<(usize, usize)> = None;
    while t < text.len() {
        match pattern.get(p) {
            Some(b'*') => {
                star = Some((p, t));
                p += 1;
            }
            Some(&c) if c == b'?' || c == text[t] => {
                p += 1;
                t += 1;
            }
            _ => match star {
                Some((at, from)) => {
                    star = Some((at, from + 1));
                    p = at + 1;
                    t = from + 1;
                }
                None => return false,
            },
        }
    }
    pattern[p..].iter().all(|&c| c == b'*')
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn patterns_match_within_one_folder() {
        for (pattern, path, expected) in [
            ("*", "a", true),
            ("*", "a/b", false),
            ("a/*.img", "a/x.img", true),
            ("a/*.img", "a/x.imgs", false),
            ("a/?", "a/b", true),
            ("a/?", "a/bc", false),
            ("*a*b*", "xxaxxbxx", true),
            ("*a*b*", "xxbxxaxx", false),
            ("", "", true),
            ("a", "", false),
        ] {
            assert_eq!(matches(pattern, path), expected, "{pattern} {path}");
        }
        assert!(!segment_matches(&b"*a".repeat(200), &b"a".repeat(150)));
    }
}
