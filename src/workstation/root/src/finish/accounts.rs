//! The user and group databases while a root is being finished.

use std::collections::BTreeMap;

use crate::Error;
use crate::edit::Root;
use crate::error::candidates;

/// Ids that Debian's `adduser --system` and systemd-sysusers hand out dynamically (Debian policy 9.2.2): 100–999.
pub const SYSTEM_IDS: (u32, u32) = (100, 999);
/// Ids of people (Debian policy 9.2.2).
pub const HUMAN_IDS: (u32, u32) = (1000, 59999);

/// Ids of accounts that Debian packages make dynamically. A fixed id per name keeps files on the data partition owned
/// by the right account when a later release has more or fewer packages. Names that are not here get an id from their
/// name's hash, below these. Never change or reuse a line: append, counting down.
const FIXED: &[(&str, u32)] = &[
    ("systemd-journal", 999),
    ("systemd-network", 998),
    ("systemd-resolve", 997),
    ("systemd-timesync", 996),
    ("systemd-coredump", 995),
    ("messagebus", 994),
    ("sshd", 993),
    ("_ssh", 992),
    ("input", 991),
    ("sgx", 990),
    ("kvm", 989),
    ("render", 988),
    ("clock", 987),
    ("crontab", 986),
    ("netdev", 985),
    ("_chrony", 984),
    ("polkitd", 983),
    ("avahi", 982),
    ("tss", 981),
    ("uuidd", 980),
    ("rdma", 979),
    ("gpio", 978),
    ("i2c", 977),
    ("spi", 976),
    ("fruit-agent", 975),
    ("fruit-update", 974),
    ("systemd-oom", 973),
    ("systemd-journal-remote", 972),
    ("systemd-journal-upload", 971),
    ("dhcpcd", 970),
    ("_rpc", 969),
    ("statd", 968),
    ("tcpdump", 967),
    ("docker", 966),
    ("etcd", 965),
    ("prometheus", 964),
    ("ntpsec", 963),
    ("dnsmasq", 962),
    ("lldpd", 961),
    ("_lldpd", 960),
];
/// Hashed ids lie in this range, clear of the fixed ones.
const HASHED_IDS: (u32, u32) = (200, 899);

#[derive(Clone, Debug, PartialEq, Eq)]
pub struct User {
    pub name: String,
    pub uid: u32,
    pub gid: u32,
    pub gecos: String,
    pub home: String,
    pub shell: String,
    /// The second field of shadow(5).
    pub password: String,
    /// Fields 3 to 8 of shadow(5), `:`-separated. The day of the last change stays empty: it would turn ageing on,
    /// with a day that a node without a clock takes for the future, and differ from release to release.
    pub ageing: String,
}

#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Group {
    pub name: String,
    pub gid: u32,
    pub members: Vec<String>,
}

/// The contents of passwd, group and their shadows, in file order.
#[derive(Clone, Debug, Default)]
pub struct Accounts {
    pub users: Vec<User>,
    pub groups: Vec<Group>,
}

impl Accounts {
    /// Reads `/etc/passwd`, `/etc/group` and `/etc/shadow` of the root; missing files are empty ones.
    ///
    /// # Errors
    /// A line that is not as passwd(5) or group(5) say.
    pub(crate) fn load(root: &Root) -> Result<Accounts, Error> {
        Accounts::parse(root, "etc/passwd", "etc/group", "etc/shadow")
    }

    pub(crate) fn parse(root: &Root, passwd: &str, group: &str, shadow: &str) -> Result<Accounts, Error> {
        let mut accounts = Accounts::default();
        let text = root.text(shadow)?.unwrap_or_default();
        let hidden: BTreeMap<&str, &str> = text.lines().filter_map(|line| line.split_once(':')).collect();
        for (number, line) in root.text(passwd)?.unwrap_or_default().lines().enumerate() {
            let fields: Vec<&str> = line.split(':').collect();
            let [name, _, uid, gid, gecos, home, shell] = fields.as_slice() else {
                return Err(malformed(passwd, number, line, "seven fields separated by `:` (passwd(5))"));
            };
            let bad = || malformed(passwd, number, line, "numbers as user and group id");
            let (password, ageing) =
                hidden.get(name).and_then(|rest| rest.split_once(':')).unwrap_or(("*", "0:99999:7:::"));
            accounts.users.push(User {
                name: (*name).to_owned(),
                uid: uid.parse().map_err(|_| bad())?,
                gid: gid.parse().map_err(|_| bad())?,
                gecos: (*gecos).to_owned(),
                home: (*home).to_owned(),
                shell: (*shell).to_owned(),
                password: password.to_owned(),
                ageing: ageing.trim_start_matches(':').to_owned(),
            });
        }
        for (number, line) in root.text(group)?.unwrap_or_default().lines().enumerate() {
            let fields: Vec<&str> = line.split(':').collect();
            let [name, _, gid, members] = fields.as_slice() else {
                return Err(malformed(group, number, line, "four fields separated by `:` (group(5))"));
            };
            accounts.groups.push(Group {
                name: (*name).to_owned(),
                gid: gid.parse().map_err(|_| malformed(group, number, line, "a number as group id"))?,
                members: members.split(',').filter(|m| !m.is_empty()).map(str::to_owned).collect(),
            });
        }
        Ok(accounts)
    }

    /// Writes passwd, group, shadow and gshadow.
    pub(crate) fn store(&self, root: &mut Root) -> Result<(), Error> {
        let (mut passwd, mut group, mut shadow, mut gshadow) =
            (String::new(), String::new(), String::new(), String::new());
        for u in &self.users {
            passwd += &format!("{}:x:{}:{}:{}:{}:{}\n", u.name, u.uid, u.gid, u.gecos, u.home, u.shell);
            shadow += &format!("{}:{}::{}\n", u.name, u.password, u.ageing);
        }
        for g in &self.groups {
            let members = g.members.join(",");
            group += &format!("{}:x:{}:{members}\n", g.name, g.gid);
            gshadow += &format!("{}:*::{members}\n", g.name);
        }
        let shadow_gid = self.gid("shadow").unwrap_or(0);
        root.write("etc/passwd", passwd, 0o644)?;
        root.write("etc/group", group, 0o644)?;
        root.write_owned("etc/shadow", shadow, 0o640, 0, shadow_gid)?;
        root.write_owned("etc/gshadow", gshadow, 0o640, 0, shadow_gid)?;
        root.write_new("etc/subuid", "", 0o644)?;
        root.write_new("etc/subgid", "", 0o644)
    }

    pub fn user(&self, name: &str) -> Option<&User> {
        self.users.iter().find(|u| u.name == name)
    }

    pub fn uid(&self, name: &str) -> Option<u32> {
        self.user(name).map(|u| u.uid)
    }

    pub fn gid(&self, name: &str) -> Option<u32> {
        self.groups.iter().find(|g| g.name == name).map(|g| g.gid)
    }

    /// A user by name or number.
    ///
    /// # Errors
    /// An unknown name, with the names that look like it.
    pub fn uid_of(&self, place: &str, name: &str) -> Result<u32, Error> {
        name.parse().ok().or_else(|| self.uid(name)).ok_or_else(|| Error::UnknownAccount {
            place: place.to_owned(),
            kind: "user",
            name: name.to_owned(),
            candidates: candidates(name, self.users.iter().map(|u| u.name.as_str())),
        })
    }

    /// A group by name or number.
    ///
    /// # Errors
    /// As [`Accounts::uid_of`].
    pub fn gid_of(&self, place: &str, name: &str) -> Result<u32, Error> {
        name.parse().ok().or_else(|| self.gid(name)).ok_or_else(|| Error::UnknownAccount {
            place: place.to_owned(),
            kind: "group",
            name: name.to_owned(),
            candidates: candidates(name, self.groups.iter().map(|g| g.name.as_str())),
        })
    }

    /// Adds a system group unless it exists; returns its id. `wanted` is used when free.
    ///
    /// # Errors
    /// No id left.
    pub fn add_group(&mut self, name: &str, wanted: Option<u32>) -> Result<u32, Error> {
        if let Some(gid) = self.gid(name) {
            return Ok(gid);
        }
        let gid = match wanted.filter(|id| self.groups.iter().all(|g| g.gid != *id)) {
            Some(gid) => gid,
            None => self.free_system_id(name)?,
        };
        self.groups.push(Group { name: name.to_owned(), gid, members: Vec::new() });
        Ok(gid)
    }

    pub fn add_member(&mut self, group: &str, user: &str) {
        if let Some(group) = self.groups.iter_mut().find(|g| g.name == group)
            && !group.members.iter().any(|m| m == user)
        {
            group.members.push(user.to_owned());
        }
    }

    /// An id that neither a user nor a group has: the name's fixed one, or one from the hash of the name, so that it
    /// does not depend on which other accounts there are unless two names collide.
    ///
    /// # Errors
    /// All ids of the range taken.
    pub fn free_system_id(&self, name: &str) -> Result<u32, Error> {
        let taken = |id: u32| {
            self.users.iter().any(|u| u.uid == id && u.name != name)
                || self.groups.iter().any(|g| g.gid == id && g.name != name)
        };
        if let Some((_, id)) = FIXED.iter().find(|(fixed, id)| *fixed == name && !taken(*id)) {
            return Ok(*id);
        }
        let (first, last) = HASHED_IDS;
        let count = last - first + 1;
        // FNV-1a, 32 bits (draft-eastlake-fnv): stable across builds and toolchains, unlike std's hasher.
        let hash = name.bytes().fold(0x811c_9dc5_u32, |h, b| (h ^ u32::from(b)).wrapping_mul(0x0100_0193));
        (0..count)
            .map(|step| first + hash.wrapping_add(step) % count)
            .find(|id| !taken(*id))
            .ok_or_else(|| Error::IdsExhausted { kind: "system", first, last, name: name.to_owned() })
    }
}

pub(crate) fn malformed(path: &str, index: usize, found: &str, expected: &str) -> Error {
    Error::Malformed { path: path.to_owned(), line: index + 1, found: found.to_owned(), expected: expected.to_owned() }
}
