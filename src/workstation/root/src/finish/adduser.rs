//! `adduser`, `addgroup`, `useradd`, `groupadd` and `usermod -aG` calls of maintainer scripts (packages that do not
//! use sysusers.d).

use super::accounts::{Accounts, User};
use crate::Error;
use crate::scripts::{Command, Script, known};

/// Makes the system accounts that scripts make by literal calls. Calls whose names are not known are left to the
/// account of scripts.
pub(crate) fn apply(scripts: &[Script<'_>], accounts: &mut Accounts) -> Result<(), Error> {
    for command in scripts.iter().flat_map(Script::known_commands) {
        let Some(request) = Request::of(command) else { continue };
        request.apply(accounts)?;
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
    shell: Option<String>,
    gecos: String,
    groups: Vec<String>,
}

impl Request {
    fn of(command: &Command) -> Option<Request> {
        let name = command.name();
        let mut request = Request::default();
        let mut names = Vec::new();
        let mut system = false;
        let mut arguments = command.words.iter().skip(1);
        while let Some(argument) = arguments.next() {
            let (option, mut inline) = match argument.split_once('=') {
                Some((option, value)) if option.starts_with("--") => (option, Some(value.to_owned())),
                _ => (argument.as_str(), None),
            };
            let mut value = || inline.take().or_else(|| arguments.next().cloned());
            match (name, option) {
                (_, "--system" | "-r") => system = true,
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
                request.own_group = false;
            }
            ("addgroup", [user, group]) => {
                request.groups.push(group.clone());
                request.user = Some(user.clone());
            }
            ("adduser" | "useradd", [user]) if system || name == "useradd" => request.user = Some(user.clone()),
            ("addgroup" | "groupadd", [group]) => request.group = Some(group.clone()),
            ("usermod", [user]) if !request.groups.is_empty() => request.user = Some(user.clone()),
            _ => return None,
        }
        let literal = |v: &Option<String>| v.as_deref().is_none_or(known);
        (literal(&request.home) && literal(&request.shell) && literal(&request.group)).then_some(request)
    }

    fn apply(&self, accounts: &mut Accounts) -> Result<(), Error> {
        let Some(name) = &self.user else {
            if let Some(group) = &self.group {
                accounts.add_group(group, self.id)?;
            }
            return Ok(());
        };
        if accounts.user(name).is_none() && self.groups.is_empty() {
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
            accounts.users.push(User {
                name: name.clone(),
                uid,
                gid,
                gecos: self.gecos.clone(),
                home: self.home.clone().unwrap_or_else(|| "/nonexistent".to_owned()),
                shell: self.shell.clone().unwrap_or_else(|| "/usr/sbin/nologin".to_owned()),
                password: "!".to_owned(),
                ageing: ":::::".to_owned(),
            });
        }
        for group in &self.groups {
            if accounts.gid(group).is_some() && accounts.user(name).is_some() {
                accounts.add_member(group, name);
            }
        }
        Ok(())
    }
}
