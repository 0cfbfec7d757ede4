//! Accounts that the recipe asks for.

use fruit_image::tree::{Inode, Kind};

use super::accounts::{AGEING_OF_PEOPLE, Accounts, HUMAN_IDS, NO_AGEING, User};
use crate::Error;
use crate::edit::TreeEditor;

/// A group of a recipe. One that exists already stays as it is.
#[derive(Clone, Debug, Default)]
pub struct GroupSpec {
    pub name: String,
    /// Default: one that follows from the name, below 1000.
    pub gid: Option<u32>,
}

/// One user of a recipe. A user that exists already (`root`, a package's) is changed where a field says so.
#[derive(Clone, Debug, Default)]
pub struct UserSpec {
    pub name: String,
    /// Default: the next free id from 1000 on, in the order of the recipe; below 1000 for a `system` user.
    pub uid: Option<u32>,
    /// Primary group; default: a group of the user's name.
    pub group: Option<String>,
    /// Further groups, which must exist.
    pub groups: Vec<String>,
    pub gecos: Option<String>,
    /// Default `/home/NAME`; `/nonexistent` for a `system` user.
    pub home: Option<String>,
    /// Default: bash if it is in the root, else sh; nologin for a `system` user.
    pub shell: Option<String>,
    /// crypt(5) hash; `None`: no password can match, keys still can.
    pub password_hash: Option<String>,
    /// Lines of authorized_keys.
    pub ssh_keys: Vec<String>,
    /// May become root by sudo without a password (there is none to ask for when keys are the only way in).
    pub sudo: bool,
    pub system: bool,
}

/// Adds the groups, the users and their homes.
///
/// # Errors
/// An id that is taken, an unknown group, a name or hash that would break the file's syntax, `sudo` without the
/// package.
pub fn add(
    tree: &mut fruit_image::tree::Tree,
    groups: &[GroupSpec],
    users: &[UserSpec],
    epoch: i64,
) -> Result<(), Error> {
    let mut root = TreeEditor::new(tree, epoch);
    let mut accounts = Accounts::load(&root)?;
    for group in groups {
        add_group(&mut accounts, group)?;
    }
    for user in users {
        add_user(&root, &mut accounts, user)?;
    }
    accounts.store(&mut root)?;
    for user in users {
        home(&mut root, &accounts, user)?;
        sudoers(&mut root, user)?;
    }
    Ok(())
}

fn place(name: &str) -> String {
    format!("users: {name}")
}

fn add_group(accounts: &mut Accounts, spec: &GroupSpec) -> Result<(), Error> {
    let place = format!("groups: {}", spec.name);
    let Some(gid) = spec.gid else { return accounts.add_group(&spec.name, None).map(drop) };
    match accounts.gid(&spec.name) {
        Some(have) if have != gid => {
            let what = format!("the group exists with id {have}, the recipe asks for {gid}");
            return Err(Error::Invalid { path: place, what });
        }
        Some(_) => return Ok(()),
        None => {}
    }
    if let Some(holder) = accounts.groups.iter().find(|group| group.gid == gid) {
        let (holder, name) = (holder.name.clone(), spec.name.clone());
        return Err(Error::IdTaken { place, kind: "group", id: gid, holder, name });
    }
    accounts.add_group(&spec.name, Some(gid)).map(drop)
}

fn add_user(root: &TreeEditor, accounts: &mut Accounts, spec: &UserSpec) -> Result<(), Error> {
    check(spec)?;
    if accounts.user(&spec.name).is_none() {
        let uid = user_id(accounts, spec)?;
        let gid = match &spec.group {
            Some(group) => accounts.gid_of(&place(&spec.name), group)?,
            None => accounts.add_group(&spec.name, Some(uid))?,
        };
        let bash = root.exists("usr/bin/bash");
        let shell = if spec.system {
            "/usr/sbin/nologin"
        } else if bash {
            "/bin/bash"
        } else {
            "/bin/sh"
        };
        let home = if spec.system { "/nonexistent".to_owned() } else { format!("/home/{}", spec.name) };
        accounts.users.push(User {
            name: spec.name.clone(),
            uid,
            gid,
            gecos: String::new(),
            home,
            shell: shell.to_owned(),
            // `*` and not `!`: sshd without PAM takes `!` for a locked account and refuses even its keys.
            password: "*".to_owned(),
            changed: String::new(),
            ageing: if spec.system { NO_AGEING } else { AGEING_OF_PEOPLE }.to_owned(),
        });
    } else if let (Some(wanted), Some(have)) = (spec.uid, accounts.uid(&spec.name))
        && wanted != have
    {
        let what = format!("user {:?} exists with id {have}, the recipe asks for {wanted}", spec.name);
        return Err(Error::Invalid { path: "etc/passwd".to_owned(), what });
    }
    for group in &spec.groups {
        accounts.gid_of(&place(&spec.name), group)?;
        accounts.add_member(group, &spec.name);
    }
    let gid = spec.group.as_ref().map(|g| accounts.gid_of(&place(&spec.name), g)).transpose()?;
    if let Some(user) = accounts.users.iter_mut().find(|u| u.name == spec.name) {
        user.gid = gid.unwrap_or(user.gid);
        let set = |field: &mut String, value: &Option<String>| {
            if let Some(value) = value {
                field.clone_from(value);
            }
        };
        set(&mut user.gecos, &spec.gecos);
        set(&mut user.home, &spec.home);
        set(&mut user.shell, &spec.shell);
        set(&mut user.password, &spec.password_hash);
    }
    Ok(())
}

fn check(spec: &UserSpec) -> Result<(), Error> {
    let bad = |what: String| Err(Error::Invalid { path: place(&spec.name), what });
    let first = spec.name.chars().next();
    let legal = |c: char| c.is_ascii_alphanumeric() || matches!(c, '_' | '-' | '.');
    if !first.is_some_and(|c| c.is_ascii_alphabetic() || c == '_')
        || !spec.name.chars().all(legal)
        || spec.name.len() > 32
    {
        return bad(
            "a user name starts with a letter or `_`, goes on with letters, digits, `_`, `-`, `.`, and has at most 32"
                .into(),
        );
    }
    let fields = [&spec.gecos, &spec.home, &spec.shell, &spec.password_hash];
    if fields.iter().filter_map(|f| f.as_ref()).any(|value| value.contains([':', '\n'])) {
        return bad("a field of passwd(5) cannot hold `:` or a line break".into());
    }
    if spec.ssh_keys.iter().any(|key| key.trim().contains('\n')) {
        return bad("an ssh key is one line".into());
    }
    Ok(())
}

fn user_id(accounts: &Accounts, spec: &UserSpec) -> Result<u32, Error> {
    if let Some(id) = spec.uid {
        return match accounts.users.iter().find(|u| u.uid == id) {
            Some(holder) => Err(Error::IdTaken {
                place: place(&spec.name),
                kind: "user",
                id,
                holder: holder.name.clone(),
                name: spec.name.clone(),
            }),
            None => Ok(id),
        };
    }
    if spec.system {
        return accounts.free_system_id(&spec.name);
    }
    let (first, last) = HUMAN_IDS;
    (first..=last)
        .find(|id| accounts.users.iter().all(|u| u.uid != *id) && accounts.groups.iter().all(|g| g.gid != *id))
        .ok_or_else(|| Error::IdsExhausted { kind: "user", first, last, name: spec.name.clone() })
}

/// The home with a copy of /etc/skel, and the keys.
fn home(root: &mut TreeEditor, accounts: &Accounts, spec: &UserSpec) -> Result<(), Error> {
    let Some(user) = accounts.user(&spec.name) else { return Ok(()) };
    let home = user.home.trim_matches('/').to_owned();
    if home.is_empty() || home == "nonexistent" {
        return Ok(());
    }
    if !root.exists(&home) {
        root.dir(&home, 0o700, user.uid, user.gid)?;
        let skeleton: Vec<(String, Inode)> = root
            .tree
            .below("etc/skel")
            .filter_map(|(p, _, i)| Some((p.strip_prefix("etc/skel/")?.to_owned(), i.clone())))
            .collect();
        for (path, mut inode) in skeleton {
            (inode.meta.uid, inode.meta.gid) = (user.uid, user.gid);
            if matches!(inode.kind, Kind::Dir | Kind::File(_) | Kind::Symlink(_)) {
                root.put(&format!("{home}/{path}"), inode)?;
            }
        }
    }
    if !spec.ssh_keys.is_empty() {
        root.dir(&format!("{home}/.ssh"), 0o700, user.uid, user.gid)?;
        let keys: String = spec.ssh_keys.iter().map(|key| format!("{}\n", key.trim())).collect();
        root.write_owned(&format!("{home}/.ssh/authorized_keys"), keys, 0o600, user.uid, user.gid)?;
    }
    Ok(())
}

fn sudoers(root: &mut TreeEditor, spec: &UserSpec) -> Result<(), Error> {
    if !spec.sudo {
        return Ok(());
    }
    if !root.exists("usr/bin/sudo") {
        let what = "`sudo: true` needs the package sudo, which is not in this root: add it to `packages`".to_owned();
        return Err(Error::Invalid { path: place(&spec.name), what });
    }
    // sudo ignores files with a dot in their name (sudoers(5)).
    let path = format!("etc/sudoers.d/fruit-{}", spec.name.replace('.', "_"));
    root.write(&path, format!("{} ALL=(ALL:ALL) NOPASSWD: ALL\n", spec.name), 0o440)
}
