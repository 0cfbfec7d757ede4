//! The user and group databases while a root is being finished.

use std::collections::BTreeMap;
use std::collections::btree_map::Entry;

use crate::Error;
use crate::edit::TreeEditor;
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
    ("fruit-peer", 959),
];
/// Hashed ids lie in this range, clear of the fixed ones.
const HASHED_IDS: (u32, u32) = (200, 899);

/// [`User::ageing`] of accounts whose passwords do not age.
pub const NO_AGEING: &str = ":::::";
/// [`User::ageing`] as Debian's login.defs has it for people.
pub const AGEING_OF_PEOPLE: &str = "0:99999:7:::";

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
    /// Field 3 of shadow(5), the day of the last change. Empty unless a file of the root says otherwise: it would turn
    /// ageing on, with a day that a node without a clock takes for the future, and differ from release to release.
    pub changed: String,
    /// Fields 4 to 9 of shadow(5): always six, `:`-separated, each of which may be empty.
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
    pub(crate) fn load(root: &TreeEditor) -> Result<Accounts, Error> {
        Accounts::parse(root, "etc/passwd", "etc/group", "etc/shadow")
    }

    pub(crate) fn parse(root: &TreeEditor, passwd: &str, group: &str, shadow: &str) -> Result<Accounts, Error> {
        let mut accounts = Accounts::default();
        let text = root.text(shadow)?.unwrap_or_default();
        let hidden: BTreeMap<&str, &str> = text.lines().filter_map(|line| line.split_once(':')).collect();
        for (number, line) in root.text(passwd)?.unwrap_or_default().lines().enumerate() {
            let fields: Vec<&str> = line.split(':').collect();
            let [name, _, uid, gid, gecos, home, shell] = fields.as_slice() else {
                return Err(malformed(passwd, number, line, "seven fields separated by `:` (passwd(5))"));
            };
            let bad = || malformed(passwd, number, line, "numbers as user and group id");
            let (password, changed, ageing) = match hidden.get(name) {
                Some(rest) => shadow_fields(rest),
                None => ("*".to_owned(), String::new(), AGEING_OF_PEOPLE.to_owned()),
            };
            accounts.users.push(User {
                name: (*name).to_owned(),
                uid: uid.parse().map_err(|_| bad())?,
                gid: gid.parse().map_err(|_| bad())?,
                gecos: (*gecos).to_owned(),
                home: (*home).to_owned(),
                shell: (*shell).to_owned(),
                password,
                changed,
                ageing,
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
    pub(crate) fn store(&self, root: &mut TreeEditor) -> Result<(), Error> {
        let (mut passwd, mut group, mut shadow, mut gshadow) =
            (String::new(), String::new(), String::new(), String::new());
        for u in &self.users {
            passwd += &format!("{}:x:{}:{}:{}:{}:{}\n", u.name, u.uid, u.gid, u.gecos, u.home, u.shell);
            shadow += &format!("{}:{}:{}:{}\n", u.name, u.password, u.changed, u.ageing);
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

/// Account files in which every name has the id that it has in all images, and what the old ids became.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Renumbered {
    pub passwd: String,
    pub group: String,
    pub shadow: String,
    pub gshadow: String,
    pub users: BTreeMap<u32, u32>,
    pub groups: BTreeMap<u32, u32>,
}

/// Gives accounts that took the next free id (100 to 999) the one that their name has; the texts are those of `/etc/passwd`,
/// `/etc/group` and `/etc/shadow`. Days of password changes are left out.
///
/// # Errors
/// A line that is not as passwd(5) or group(5) say; no id left.
pub fn renumber(passwd: &str, group: &str, shadow: &str) -> Result<Renumbered, Error> {
    let mut tree = fruit_image::tree::Tree::new(0);
    let root = &mut TreeEditor::new(&mut tree, 0);
    for (path, text) in [("etc/passwd", passwd), ("etc/group", group), ("etc/shadow", shadow)] {
        root.write(path, text, 0o600)?;
    }
    let mut accounts = Accounts::load(root)?;
    let dynamic = |id: u32| (SYSTEM_IDS.0..=SYSTEM_IDS.1).contains(&id);
    let mut settled = Accounts {
        users: accounts.users.iter().filter(|u| !dynamic(u.uid)).cloned().collect(),
        groups: accounts.groups.iter().filter(|g| !dynamic(g.gid)).cloned().collect(),
    };
    let mut made = Renumbered::default();
    // By name, so that the order in which scripts ran decides nothing.
    let mut users: Vec<User> = accounts.users.iter().filter(|u| dynamic(u.uid)).cloned().collect();
    users.sort_by(|a, b| a.name.cmp(&b.name));
    for user in users {
        let id = settled.free_system_id(&user.name)?;
        made.users.insert(user.uid, id);
        if let Some(own) = accounts.groups.iter().find(|g| g.name == user.name && dynamic(g.gid)) {
            made.groups.insert(own.gid, id);
            settled.groups.push(Group { gid: id, ..own.clone() });
        }
        settled.users.push(User { uid: id, ..user });
    }
    let mut groups: Vec<Group> = accounts.groups.iter().filter(|g| dynamic(g.gid)).cloned().collect();
    groups.sort_by(|a, b| a.name.cmp(&b.name));
    for group in groups {
        if let Entry::Vacant(place) = made.groups.entry(group.gid) {
            let id = *place.insert(settled.free_system_id(&group.name)?);
            settled.groups.push(Group { gid: id, ..group });
        }
    }
    let (new_user, new_group) =
        (|id: u32| made.users.get(&id).copied().unwrap_or(id), |id: u32| made.groups.get(&id).copied().unwrap_or(id));
    for user in &mut accounts.users {
        (user.uid, user.gid) = (new_user(user.uid), new_group(user.gid));
        user.changed = String::new();
    }
    for group in &mut accounts.groups {
        group.gid = new_group(group.gid);
    }
    accounts.store(root)?;
    let text = |path: &str| Ok::<_, Error>(root.text(path)?.unwrap_or_default());
    made.passwd = text("etc/passwd")?;
    made.group = text("etc/group")?;
    made.shadow = text("etc/shadow")?;
    made.gshadow = text("etc/gshadow")?;
    Ok(made)
}

/// Password, day of the last change and the six fields after it, of a line of shadow(5) without its name. Fields that a
/// short line lacks are empty, those that a long one has too many are dropped: shadow(5) knows nine.
fn shadow_fields(rest: &str) -> (String, String, String) {
    let mut fields = rest.split(':').map(str::to_owned);
    let mut next = || fields.next().unwrap_or_default();
    let (password, changed) = (next(), next());
    let ageing: [String; 6] = std::array::from_fn(|_| next());
    (password, changed, ageing.join(":"))
}

pub(crate) fn malformed(path: &str, index: usize, found: &str, expected: &str) -> Error {
    Error::Malformed { path: path.to_owned(), line: index + 1, found: found.to_owned(), expected: expected.to_owned() }
}

#[cfg(test)]
mod tests {
    use super::*;
    use fruit_image::tree::Tree;

    #[test]
    fn lines_of_shadow_have_nine_fields_however_often_they_are_read_again() {
        let mut tree = Tree::new(0);
        let mut root = TreeEditor::new(&mut tree, 0);
        let passwd = "root:x:0:0:root:/root:/bin/sh\nredis:x:110:110::/nonexistent:/usr/sbin/nologin\nnew:x:111:111::/:/bin/sh\nold:x:112:112::/:/bin/sh\n";
        root.write("etc/passwd", passwd, 0o644).unwrap();
        root.write("etc/group", "redis:x:110:\n", 0o644).unwrap();
        // A service account, one whose password must be changed, one without a line, a short line.
        root.write("etc/shadow", "root:$y$x:0:0:99999:7:::\nredis:!:::::::\nold:!:19000:0\n", 0o640).unwrap();
        for _ in 0..3 {
            Accounts::load(&root).unwrap().store(&mut root).unwrap();
            let shadow = root.text("etc/shadow").unwrap().unwrap();
            let expected = "root:$y$x:0:0:99999:7:::\nredis:!:::::::\nnew:*::0:99999:7:::\nold:!:19000:0:::::\n";
            assert_eq!(shadow, expected);
            assert!(shadow.lines().all(|line| line.split(':').count() == 9), "{shadow}");
        }
    }
}
