//! The search for a target through delegated roles: before a role's delegations the role itself, in order of trust.
//! TUF 1.0, section 5.6.7.

use std::fmt::Write;

use super::clock::Clock;
use super::error::{Error, Role};
use super::limits;
use super::metadata::Targets;
use super::refresh::{Want, listed};
use super::roles::{Keys, RoleKeys};
use super::signed::Held;
use super::target::Target;
use super::trust::Trust;
use super::verified::Verified;

/// A search under way; goes as a [`super::Refresh`] goes. Roles that were fetched before may be given from a cache: they
/// are checked like all others, by the keys of the role that delegates now.
#[derive(Debug)]
pub struct Search<'t> {
    trust: &'t Trust,
    clock: Clock,
    path: String,
    /// The next one last.
    to_visit: Vec<Visit>,
    visited: Vec<String>,
    found: Option<Target>,
}

#[derive(Debug)]
struct Visit {
    name: String,
    by: RoleKeys,
    keys: Keys,
}

impl Trust {
    /// Looks for a target in delegated roles too, fetching them as needed.
    ///
    /// # Errors
    /// Those of [`Trust::targets`].
    pub fn search(&self, path: &str, clock: Clock) -> Result<Search<'_>, Error> {
        let top = self.usable_targets(&clock)?;
        let (to_visit, visited) = (Vec::new(), Vec::new());
        let mut search = Search { trust: self, clock, path: path.to_owned(), to_visit, visited, found: None };
        search.look_into(top);
        Ok(search)
    }
}

impl Search<'_> {
    /// The metadata of the role that is looked at next; `None` at the end.
    #[must_use]
    pub fn want(&self) -> Option<Want> {
        let name = quoted(&self.to_visit.last()?.name);
        let file = self.trust.wanted_targets(&self.file());
        let versioned = self.trust.consistent_snapshot();
        Some(match file {
            Some(file) => listed(&name, file, versioned, limits::TARGETS),
            None => Want { name: format!("metadata/{name}.json"), limit: 0 },
        })
    }

    /// As the snapshot lists the next role.
    fn file(&self) -> String {
        self.to_visit.last().map_or_else(String::new, |visit| format!("{}.json", visit.name))
    }

    /// Takes the wanted metadata.
    ///
    /// # Errors
    /// Why it is refused. A role that cannot be looked at ends the search: a role behind it in trust must not speak for
    /// it.
    pub fn give(&mut self, bytes: Option<&[u8]>) -> Result<(), Error> {
        let Some(visit) = self.to_visit.last() else { return Ok(()) };
        let role = Role::Delegated(visit.name.clone());
        let wanted = self.trust.wanted_targets(&self.file()).ok_or_else(|| Error::NotListed { role: role.clone() })?;
        let bytes = bytes.ok_or_else(|| Error::Absent(self.want().map_or_else(String::new, |want| want.name)))?;
        let held: Held<Targets> = self.trust.verify_listed(&role, bytes, wanted, &visit.keys, &visit.by)?;
        self.trust.check_expiry(&role, held.value.head.expires, &self.clock)?;
        if let Some(visit) = self.to_visit.pop() {
            self.visited.push(visit.name);
        }
        self.look_into(&held.value);
        Ok(())
    }

    fn look_into(&mut self, targets: &Targets) {
        if let Some(target) = targets.targets.get(&self.path) {
            self.found = Some(target.clone());
            self.to_visit.clear();
            return;
        }
        let Some(delegations) = &targets.delegations else { return };
        let mut next = Vec::new();
        for role in delegations.roles.iter().filter(|role| role.covers(&self.path)) {
            next.push(Visit { name: role.name.clone(), by: role.keys.clone(), keys: delegations.keys.clone() });
            if role.terminating {
                self.to_visit.clear();
                break;
            }
        }
        self.to_visit.extend(next.into_iter().rev());
        // Circles, and roles that several others delegate to, are visited once.
        while self.to_visit.last().is_some_and(|visit| self.visited.contains(&visit.name)) {
            self.to_visit.pop();
        }
        if self.visited.len() >= limits::SEARCHED_ROLES {
            self.to_visit.clear();
        }
    }

    /// The target, once nothing is wanted any more.
    ///
    /// # Errors
    /// [`Error::NoTarget`]; [`Error::Order`] while something is still wanted.
    pub fn finish(self) -> Result<Verified<Target>, Error> {
        match self.found {
            Some(target) => Ok(Verified::vouch(target)),
            None if self.to_visit.is_empty() => Err(Error::NoTarget { path: self.path }),
            None => Err(Error::Order { role: Role::Targets }),
        }
    }
}

/// Percent-encoded but for the unreserved characters of RFC 3986: roles may have any name, files may not.
fn quoted(name: &str) -> String {
    let mut out = String::with_capacity(name.len());
    for byte in name.bytes() {
        if byte.is_ascii_alphanumeric() || matches!(byte, b'-' | b'.' | b'_' | b'~') {
            out.push(char::from(byte));
        } else {
            // Writing to a String does not fail.
            let _ = write!(out, "%{byte:02X}");
        }
    }
    out
}
