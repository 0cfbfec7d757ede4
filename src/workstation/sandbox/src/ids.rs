//! Ids of the workstation that stand for those of a root.
//!
//! A root's uid 0 is none of the workstation's users, neither root nor who builds: what breaks out of everything else owns nothing.

use std::fmt;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::{fs, io};

use crate::protocol::IDS;

/// Where root, who may choose, maps to: above the ids that systemd gives containers, and used by nobody (systemd's "Users, Groups,
/// UIDs and GIDs on systemd systems").
const ABOVE_CONTAINERS: u32 = 0x7000_0000;

/// How ids are mapped.
#[derive(Clone, Debug)]
pub enum Ids {
    /// By root, who writes the map.
    Written { uids: u32, gids: u32 },
    /// By the programs of the package uidmap, which allow what `/etc/subuid` and `/etc/subgid` do.
    Delegated { uids: u32, gids: u32, newuidmap: PathBuf, newgidmap: PathBuf },
}

impl Ids {
    /// For root.
    ///
    /// # Errors
    /// The ids of this namespace are too few.
    pub fn of_root() -> Result<Ids, String> {
        let of = |name: &str| {
            let map = fs::read_to_string(format!("/proc/self/{name}")).unwrap_or_default();
            within(&map).ok_or_else(|| format!("the container has fewer than {} ids (/proc/self/{name})", IDS + 1))
        };
        Ok(Ids::Written { uids: of("uid_map")?, gids: of("gid_map")? })
    }

    /// For the ordinary user `uid`.
    ///
    /// # Errors
    /// What is missing, with what to do: all of it.
    pub fn of_user(uid: u32) -> Result<Ids, Vec<(String, String)>> {
        let mut missing = Vec::new();
        let mut program = |name: &str| {
            let found = find(name);
            if found.is_none() {
                missing.push((
                    format!("the program {name} is missing"),
                    "install the package uidmap (Debian, Ubuntu) or shadow-utils (Fedora)".to_owned(),
                ));
            }
            found
        };
        let (newuidmap, newgidmap) = (program("newuidmap"), program("newgidmap"));
        let user = user_name(uid);
        let mut range = |path: &str, option: &str| {
            let first = delegated(&fs::read_to_string(path).unwrap_or_default(), &user, uid);
            if first.is_none() {
                missing.push((
                    format!("{path} gives `{user}` no range of {} ids", IDS + 1),
                    format!(
                        "as root: usermod {option} 100000-165535 {user} (a range that no other line of {path} has)"
                    ),
                ));
            }
            first
        };
        let (uids, gids) = (range("/etc/subuid", "--add-subuids"), range("/etc/subgid", "--add-subgids"));
        match (uids, gids, newuidmap, newgidmap) {
            (Some(uids), Some(gids), Some(newuidmap), Some(newgidmap)) => {
                Ok(Ids::Delegated { uids, gids, newuidmap, newgidmap })
            }
            _ => Err(missing),
        }
    }

    /// Maps the ids of the process `pid`, which has just made its user namespace.
    ///
    /// # Errors
    /// What the kernel or the programs say.
    pub fn map(&self, pid: u32) -> Result<(), String> {
        match self {
            Ids::Written { uids, gids } => {
                for (name, first) in [("uid_map", uids), ("gid_map", gids)] {
                    let path = format!("/proc/{pid}/{name}");
                    fs::write(&path, format!("0 {first} {IDS}\n")).map_err(|error| format!("{path}: {error}"))?;
                }
                Ok(())
            }
            Ids::Delegated { uids, gids, newuidmap, newgidmap } => {
                for (program, first) in [(newuidmap, uids), (newgidmap, gids)] {
                    let mut command = Command::new(program);
                    command.args([pid.to_string(), "0".into(), first.to_string(), IDS.to_string()]);
                    let output = command.output().map_err(|error| format!("{}: {error}", program.display()))?;
                    if !output.status.success() {
                        let said = String::from_utf8_lossy(&output.stderr).trim().to_owned();
                        return Err(format!("{}: {}: {said}", program.display(), output.status));
                    }
                }
                Ok(())
            }
        }
    }
}

/// `ids 100000 to 165534 of /etc/subuid`.
impl fmt::Display for Ids {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let (Ids::Written { uids, .. } | Ids::Delegated { uids, .. }) = self;
        write!(f, "ids {uids} to {}", u64::from(*uids) + u64::from(IDS) - 1)?;
        match self {
            Ids::Written { .. } => Ok(()),
            Ids::Delegated { .. } => f.write_str(" of /etc/subuid"),
        }
    }
}

/// First of [`IDS`] ids among those of a map of the kernel's form, never 0.
fn within(map: &str) -> Option<u32> {
    let ranges = map.lines().filter_map(|line| {
        let mut numbers = line.split_whitespace().map(|word| word.parse::<u64>().ok());
        let (first, _, count) = (numbers.next()??, numbers.next()??, numbers.next()??);
        Some((first.max(1), first.checked_add(count)?))
    });
    let ranges: Vec<(u64, u64)> = ranges.collect();
    let fits = |first: u64| ranges.iter().any(|(from, to)| *from <= first && first + u64::from(IDS) <= *to);
    let highest = ranges.iter().filter_map(|(_, to)| to.checked_sub(u64::from(IDS))).filter(|first| fits(*first)).max();
    let chosen = if fits(u64::from(ABOVE_CONTAINERS)) { Some(u64::from(ABOVE_CONTAINERS)) } else { highest };
    chosen.and_then(|first| u32::try_from(first).ok())
}

/// First id of the range that `text`, of the form of `/etc/subuid`, gives a user by name or number.
fn delegated(text: &str, user: &str, uid: u32) -> Option<u32> {
    text.lines().find_map(|line| {
        let mut fields = line.trim().split(':');
        let who = fields.next()?;
        let first: u32 = fields.next()?.parse().ok()?;
        let count: u32 = fields.next()?.parse().ok()?;
        let ours = who == user || who == uid.to_string();
        // A line that would map root or wrap around is none that we use.
        (ours && count >= IDS && first > 0 && first.checked_add(IDS).is_some()).then_some(first)
    })
}

/// The user's name; its number where it has none.
fn user_name(uid: u32) -> String {
    let text = fs::read_to_string("/etc/passwd").unwrap_or_default();
    let named = text.lines().find_map(|line| {
        let mut fields = line.split(':');
        let name = fields.next()?;
        (fields.nth(1)? == uid.to_string()).then(|| name.to_owned())
    });
    // Directories of users are asked by `id`.
    let asked = || -> io::Result<String> {
        let output = Command::new("id").args(["-un"]).output()?;
        Ok(String::from_utf8_lossy(&output.stdout).trim().to_owned())
    };
    named.or_else(|| asked().ok().filter(|name| !name.is_empty())).unwrap_or_else(|| uid.to_string())
}

fn find(program: &str) -> Option<PathBuf> {
    let path = std::env::var_os("PATH").unwrap_or_default();
    let folders: Vec<PathBuf> = std::env::split_paths(&path).chain([PathBuf::from("/usr/bin")]).collect();
    folders
        .iter()
        .filter(|folder| folder.is_absolute())
        .map(|folder| folder.join(program))
        .find(|path: &PathBuf| is_file(path))
}

fn is_file(path: &Path) -> bool {
    path.is_file()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn root_maps_to_ids_that_nobody_uses_and_never_to_itself() {
        assert_eq!(within("         0          0 4294967295\n"), Some(ABOVE_CONTAINERS));
        // A container of Podman for an ordinary user.
        assert_eq!(within("0 1000 1\n1 100000 65536\n"), Some(2));
        assert_eq!(within("0 100000 65536\n"), Some(1));
        assert_eq!(within("0 1000 1\n"), None);
        assert_eq!(within("0 100000 65535\n"), None);
        assert_eq!(within("no map"), None);
    }

    #[test]
    fn a_range_of_an_ordinary_user_is_found_by_name_or_number() {
        let text = "root:1:2\nme:100:10\n1000:200000:65536\nme:100000:65536\n";
        assert_eq!(delegated(text, "me", 1), Some(100_000));
        assert_eq!(delegated(text, "you", 1000), Some(200_000));
        assert_eq!(delegated(text, "you", 1001), None);
        assert_eq!(delegated("me:0:65536\nme:4294967000:65536\n", "me", 1), None);
    }
}
