//! `adduser`, `addgroup`, `useradd`, `groupadd` and `usermod -aG` calls of maintainer scripts (packages that do not
//! use sysusers.d).

use super::accounts::{Accounts, NO_AGEING, User};
use crate::Error;
use crate::edit::TreeEditor;
use crate::scripts::{Command, Script, known};

/// Makes the system accounts that scripts make by literal calls, with their homes, then puts users into groups: a group may
/// be made by a package that comes later in `scripts`. Calls whose names are not known are left to the account of scripts.
pub(crate) fn apply(root: &mut TreeEditor, scripts: &[Script<'_>], accounts: &mut Accounts) -> Result<(), Error> {
    let requests: Vec<Request> = scripts.iter().flat_map(Script::known_commands).filter_map(Request::of).collect();
    for request in &requests {
        request.make(root, accounts)?;
    }
    for request in &requests {
        request.join(accounts);
    }
    Ok(())
}

/// Whether [`apply`] reproduces this command.
pub(crate) fn reproduces(command: &Command) -> bool {
    Request::of(command).is_some()
}

#[derive(Default)]
struct Request {
    user: Option<String>,
    /// Group to make, or to be in.
    group: Option<String>,
    /// Make a group of the user's name.
    own_group: bool,
    id: Option<u32>,
    home: Option<String>,
    /// The home is made.
    create_home: bool,
    shell: Option<String>,
    gecos: String,
    groups: Vec<String>,
    /// The user is there already: only put into groups.
    only_joins: bool,
}

impl Request {
    fn of(command: &Command) -> Option<Request> {
        let name = command.name();
        let mut request = Request::default();
        let mut names = Vec::new();
        let (mut system, mut no_home) = (false, false);
        let mut arguments = command.words.iter().skip(1);
        while let Some(argument) = arguments.next() {
            let (option, mut inline) = match argument.split_once('=') {
                Some((option, value)) if option.starts_with("--") => (option, Some(value.to_owned())),
                _ => (argument.as_str(), None),
            };
            let mut value = || inline.take().or_else(|| arguments.next().cloned());
            match (name, option) {
                (_, "--system" | "-r") => system = true,
                ("adduser", "--no-create-home") => no_home = true,
                ("useradd", "-m" | "--create-home") => request.create_home = true,
                ("adduser", "--group") => request.own_group = true,
                ("addgroup", "--group") => {}
                ("adduser", "--ingroup" | "--gid") | ("useradd", "-g" | "--gid") => request.group = value(),
                ("adduser" | "useradd", "--home" | "--home-dir" | "-d") => request.home = value(),
                ("adduser" | "useradd", "--shell" | "-s") => request.shell = value(),
                ("adduser" | "useradd", "--gecos" | "--comment" | "-c") => request.gecos = value()?,
                ("adduser" | "useradd", "--uid" | "-u") => request.id = value()?.parse().ok(),
                ("addgroup" | "groupadd", "--gid" | "-g") => request.id = value()?.parse().ok(),
                ("useradd" | "usermod", "-G" | "--groups") => {
                    request.groups.extend(value()?.split(',').map(str::to_owned));
                }
                ("usermod", "-a" | "--append") => {}
                ("usermod", "-aG") => request.groups.extend(value()?.split(',').map(str::to_owned)),
                ("useradd", "-K" | "-k" | "-e" | "-f") | ("adduser", "--conf" | "--firstuid" | "--lastuid") => {
                    value()?;
                }
                ("usermod", option) if option.starts_with('-') => return None,
                (_, option) if option.starts_with('-') => {}
                _ => names.push(argument.clone()),
            }
        }
        if !names.iter().chain(&request.groups).all(|n| known(n) && !n.is_empty()) {
            return None;
        }
        match (name, names.as_slice()) {
            ("adduser", [user, group]) => {
                request.groups.push(group.clone());
                request.user = Some(user.clone());
                request.only_joins = true;
            }
            ("addgroup", [user, group]) => {
                request.groups.push(group.clone());
                request.user = Some(user.clone());
                request.only_joins = true;
            }
            ("adduser" | "useradd", [user]) if system || name == "useradd" => request.user = Some(user.clone()),
            ("addgroup" | "groupadd", [group]) => request.group = Some(group.clone()),
            ("usermod", [user]) if !request.groups.is_empty() => {
                request.user = Some(user.clone());
                request.only_joins = true;
            }
            _ => return None,
        }
        // adduser makes the home that it is told, useradd only when asked (adduser(8), useradd(8)).
        request.create_home |= name == "adduser" && request.home.is_some() && !no_home;
        let literal = |v: &Option<String>| v.as_deref().is_none_or(known);
        (literal(&request.home) && literal(&request.shell) && literal(&request.group)).then_some(request)
    }

    /// Makes the user with its home, or the group.
    fn make(&self, root: &mut TreeEditor, accounts: &mut Accounts) -> Result<(), Error> {
        let Some(name) = &self.user else {
            if let Some(group) = &self.group {
                accounts.add_group(group, self.id)?;
            }
            return Ok(());
        };
        if accounts.user(name).is_some() || self.only_joins {
            return Ok(());
        }
        let uid = match self.id {
            Some(id) if accounts.users.iter().all(|u| u.uid != id) => id,
            _ => accounts.free_system_id(name)?,
        };
        // adduser --system without --group or --ingroup puts the user into nogroup (adduser(8)).
        let gid = match &self.group {
            Some(group) => accounts.add_group(group, None)?,
            None if self.own_group => accounts.add_group(name, Some(uid))?,
            None => accounts.add_group("nogroup", Some(65534))?,
        };
        let home = self.home.clone().unwrap_or_else(|| "/nonexistent".to_owned());
        let place = home.trim_matches('/');
        // A home that a package ships, or another user has, keeps its owner, as with adduser.
        if self.create_home && home.starts_with('/') && !matches!(place, "" | "nonexistent" | "dev/null") {
            root.dir(place, 0o755, uid, gid)?;
        }
        accounts.users.push(User {
            name: name.clone(),
            uid,
            gid,
            gecos: self.gecos.clone(),
            home,
            shell: self.shell.clone().unwrap_or_else(|| "/usr/sbin/nologin".to_owned()),
            password: "!".to_owned(),
            changed: String::new(),
            ageing: NO_AGEING.to_owned(),
        });
        Ok(())
    }

    fn join(&self, accounts: &mut Accounts) {
        for (group, name) in self.groups.iter().flat_map(|group| self.user.iter().map(move |name| (group, name))) {
            if accounts.gid(group).is_some() && accounts.user(name).is_some() {
                accounts.add_member(group, name);
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{PackageScripts, scripts};
    use fruit_image::tree::Tree;

    #[test]
    fn homes_are_made_and_owned_and_a_group_may_come_after_its_member() {
        let package = |name: &str, script: &str| PackageScripts {
            name: name.to_owned(),
            scripts: [("postinst".to_owned(), format!("#!/bin/sh\n{script}\n"))].into(),
            ..PackageScripts::default()
        };
        let packages = [
            package(
                "postgresql-common",
                "adduser --system --quiet --home /var/lib/postgresql --shell /bin/bash --group --gecos PostgreSQL postgres\n\
                 adduser --quiet postgres ssl-cert\n\
                 adduser --system --no-create-home --home /run/agent agent\n\
                 adduser --system nohome\n\
                 useradd -r -d /srv/data -m data\n\
                 useradd -r -d /srv/none none",
            ),
            package("ssl-cert", "addgroup --quiet --system --force-badname ssl-cert"),
        ];
        let mut tree = Tree::new(0);
        let mut root = TreeEditor::new(&mut tree, 0);
        let mut accounts = Accounts::default();
        apply(&mut root, &scripts::read(&packages), &mut accounts).unwrap();
        let uid = |name: &str| accounts.uid(name).unwrap();
        let home = root.tree.get("var/lib/postgresql").unwrap();
        assert_eq!((home.meta.uid, Some(home.meta.gid)), (uid("postgres"), accounts.gid("postgres")));
        assert_eq!(home.meta.mode, 0o755);
        assert_eq!(root.tree.get("srv/data").unwrap().meta.uid, uid("data"));
        for none in ["run/agent", "nonexistent", "srv/none"] {
            assert!(!root.tree.contains(none), "{none}");
        }
        let group = accounts.groups.iter().find(|g| g.name == "ssl-cert").unwrap();
        assert_eq!(group.members, ["postgres"]);
    }
}
