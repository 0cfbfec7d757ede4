//! systemd-sysusers (sysusers.d(5)): system users and groups that packages declare.

use std::collections::BTreeMap;

use super::accounts::{Accounts, NO_AGEING, User, malformed};
use crate::Error;
use crate::edit::{TreeEditor, names};

struct Line {
    kind: String,
    /// `u!`: the account is expired, so that no login of any kind gets in.
    locked: bool,
    name: String,
    id: String,
    gecos: String,
    home: String,
    shell: String,
}

/// Applies every `sysusers.d` file: groups first, then users, then memberships, as systemd-sysusers does.
pub(crate) fn apply(root: &TreeEditor, accounts: &mut Accounts) -> Result<(), Error> {
    let lines = read(root)?;
    for line in lines.iter().filter(|line| line.kind == "g") {
        let wanted = line.id.parse().ok();
        accounts.add_group(&line.name, wanted)?;
    }
    for line in lines.iter().filter(|line| line.kind == "u") {
        add_user(accounts, line)?;
    }
    for line in lines.iter().filter(|line| line.kind == "m") {
        accounts.add_group(&line.id, None)?;
        accounts.add_member(&line.id, &line.name);
    }
    Ok(())
}

fn add_user(accounts: &mut Accounts, line: &Line) -> Result<(), Error> {
    if accounts.user(&line.name).is_some() {
        return Ok(());
    }
    let (uid, group) = line.id.split_once(':').unwrap_or((&line.id, ""));
    let wanted = uid.parse().ok().filter(|id| accounts.users.iter().all(|u| u.uid != *id));
    let uid = match wanted.or_else(|| accounts.gid(&line.name).filter(|id| accounts.users.iter().all(|u| u.uid != *id)))
    {
        Some(uid) => uid,
        None => accounts.free_system_id(&line.name)?,
    };
    let gid = match group {
        "" => accounts.add_group(&line.name, Some(uid))?,
        group => accounts.gid_of("sysusers.d", group)?,
    };
    let or = |value: &str, default: &str| if value.is_empty() { default.to_owned() } else { value.to_owned() };
    accounts.users.push(User {
        name: line.name.clone(),
        uid,
        gid,
        gecos: line.gecos.clone(),
        home: or(&line.home, "/"),
        shell: or(&line.shell, if uid == 0 { "/bin/sh" } else { "/usr/sbin/nologin" }),
        password: "!*".to_owned(),
        changed: String::new(),
        ageing: if line.locked { "::::1:" } else { NO_AGEING }.to_owned(),
    });
    Ok(())
}

/// The lines of all files; a file in /etc replaces the one of the same name in /usr/lib.
fn read(root: &TreeEditor) -> Result<Vec<Line>, Error> {
    let mut files = BTreeMap::new();
    for dir in ["usr/lib/sysusers.d", "etc/sysusers.d"] {
        for name in names(root.tree, dir) {
            if name.ends_with(".conf") {
                files.insert(name.clone(), format!("{dir}/{name}"));
            }
        }
    }
    let mut lines = Vec::new();
    for path in files.values() {
        for (number, text) in root.text(path)?.unwrap_or_default().lines().enumerate() {
            let text = text.trim();
            if text.is_empty() || text.starts_with('#') {
                continue;
            }
            let mut fields = fields(text).into_iter().map(|f| if f == "-" { String::new() } else { f });
            let mut next = || fields.next().unwrap_or_default();
            let kind = next();
            if !matches!(kind.trim_end_matches(['!', '-']), "u" | "g" | "m" | "r") {
                return Err(malformed(path, number, text, "a line of type u, g, m or r (sysusers.d(5))"));
            }
            let locked = kind.contains('!');
            let kind = kind.trim_end_matches(['!', '-']).to_owned();
            lines.push(Line { kind, locked, name: next(), id: next(), gecos: next(), home: next(), shell: next() });
        }
    }
    Ok(lines)
}

/// Blank-separated fields, with double or single quotes around those that have blanks inside.
pub(crate) fn fields(text: &str) -> Vec<String> {
    let (mut fields, mut current, mut quote) = (Vec::new(), None::<String>, None);
    for c in text.chars() {
        match quote {
            Some(q) if c == q => quote = None,
            Some(_) => current.get_or_insert_default().push(c),
            None if c == '"' || c == '\'' => {
                quote = Some(c);
                current.get_or_insert_default();
            }
            None if c.is_whitespace() => fields.extend(current.take()),
            None => current.get_or_insert_default().push(c),
        }
    }
    fields.extend(current);
    fields
}
