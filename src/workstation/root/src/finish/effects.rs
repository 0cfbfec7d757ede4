//! Plain file commands of maintainer scripts whose every word is known: `mkdir`, `install -d`, `touch`, `ln -s`, `cp`,
//! `chmod`, `chown`, `chgrp`, `dpkg-statoverride`, `setcap`, `ucf`.
//!
//! Commands that make something run even below a condition that could not be decided, if their target is absent (such
//! conditions are nearly always "if it is not there yet"). Commands that change something run only when certain, or
//! when the reviewed table says so.

use std::collections::BTreeSet;

use fruit_image::tree::Kind;

use super::accounts::Accounts;
use super::capability;
use crate::Error;
use crate::edit::TreeEditor;
use crate::scripts::{Command, Script, known, reviewed_apply};

/// Applies the effects of all scripts in order.
pub(crate) fn apply(root: &mut TreeEditor, scripts: &[Script<'_>], accounts: &Accounts) -> Result<(), Error> {
    let mut made = BTreeSet::new();
    for script in scripts {
        for command in script.known_commands() {
            let reviewed = reviewed_apply(&script.package.name, script.name, command.name());
            let allowed = reviewed.unwrap_or(command.certain);
            if let Some(effect) = Effect::of(command)
                && (allowed || (reviewed.is_none() && effect.only_adds()))
            {
                effect.apply(root, accounts, command.certain || allowed)?;
                made.extend(effect.files().iter().cloned());
            }
            // Notes that a preinst leaves for its postinst, which removes them.
            if command.name() == "rm" {
                for path in command.words.iter().map(|w| w.trim_start_matches('/')).filter(|w| made.contains(*w)) {
                    root.tree.remove(path);
                }
            }
        }
    }
    Ok(())
}

/// Whether [`apply`] reproduces this command.
pub(crate) fn reproduces(command: &Command, allowed: bool) -> bool {
    Effect::of(command).is_some_and(|effect| allowed || command.certain || effect.only_adds())
}

enum Effect {
    Dirs { mode: Option<u16>, owner: Option<String>, group: Option<String>, paths: Vec<String> },
    Touch(Vec<String>),
    Symlink { target: String, path: String, replace: bool },
    Copy { from: String, to: String },
    Mode { mode: String, paths: Vec<String> },
    Owner { user: Option<String>, group: Option<String>, paths: Vec<String> },
    Override { user: String, group: String, mode: u16, path: String },
    Capabilities { text: String, path: String },
}

/// Places that exist only while a system runs, or that belong to the tools of the running system.
const VOLATILE: [&str; 6] = ["run/", "tmp/", "dev/", "proc/", "sys/", "var/run/"];

impl Effect {
    fn of(command: &Command) -> Option<Effect> {
        if !command.words.iter().all(|w| known(w)) || command.writes.iter().any(|w| !w.starts_with("/dev/")) {
            return (command.name() == ":" || command.words.is_empty()).then(|| Effect::truncation(command)).flatten();
        }
        let words: Vec<&str> = command.words.iter().skip(1).map(String::as_str).collect();
        let (options, plain): (Vec<&str>, Vec<&str>) = words.iter().partition(|w| w.starts_with('-') && w.len() > 1);
        let path =
            |p: &str| (p.starts_with('/') && !p.contains(['*', '?', '['])).then(|| p.trim_matches('/').to_owned());
        let paths =
            |list: &[&str]| list.iter().map(|p| path(p)).collect::<Option<Vec<String>>>().filter(|l| !l.is_empty());
        match command.name() {
            "mkdir" => {
                let mode = words.iter().position(|w| *w == "-m").and_then(|i| words.get(i + 1));
                let plain: Vec<&str> = plain.into_iter().filter(|w| Some(w) != mode).collect();
                Some(Effect::Dirs {
                    mode: mode.and_then(|m| octal(m)),
                    owner: None,
                    group: None,
                    paths: paths(&plain)?,
                })
            }
            "install" => Effect::install(&words, &paths),
            "touch" => options.is_empty().then(|| paths(&plain)).flatten().map(Effect::Touch),
            "ln" => match plain.as_slice() {
                [target, link] if options.iter().any(|o| o.contains('s') && !o.contains('r')) => {
                    Some(Effect::Symlink {
                        target: (*target).to_owned(),
                        path: path(link)?,
                        replace: options.iter().any(|o| o.contains('f')),
                    })
                }
                _ => None,
            },
            "cp" => match plain.as_slice() {
                [from, to] if !options.iter().any(|o| o.contains(['r', 'R'])) => {
                    Some(Effect::Copy { from: path(from)?, to: path(to)? })
                }
                _ => None,
            },
            // ucf installs a configuration file from the package's copy, asking only when a person changed it.
            "ucf" => match plain.as_slice() {
                [.., from, to] => Some(Effect::Copy { from: path(from)?, to: path(to)? }),
                _ => None,
            },
            "chmod" => {
                let (mode, list) = plain.split_first()?;
                (options.iter().all(|o| *o == "-f"))
                    .then_some(Effect::Mode { mode: (*mode).to_owned(), paths: paths(list)? })
            }
            "chown" => {
                let (owner, list) = plain.split_first()?;
                let (user, group) = owner.split_once([':', '.']).unwrap_or((owner, ""));
                let some = |s: &str| (!s.is_empty()).then(|| s.to_owned());
                let simple = options.iter().all(|o| matches!(*o, "-f" | "-h"));
                simple.then_some(Effect::Owner { user: some(user), group: some(group), paths: paths(list)? })
            }
            "chgrp" => {
                let (group, list) = plain.split_first()?;
                let simple = options.iter().all(|o| matches!(*o, "-f" | "-h"));
                simple.then_some(Effect::Owner { user: None, group: Some((*group).to_owned()), paths: paths(list)? })
            }
            "dpkg-statoverride" if words.contains(&"--add") => match plain.as_slice() {
                [user, group, mode, target] => Some(Effect::Override {
                    user: (*user).to_owned(),
                    group: (*group).to_owned(),
                    mode: octal(mode)?,
                    path: path(target)?,
                }),
                _ => None,
            },
            "setcap" => match plain.as_slice() {
                [text, target] => {
                    capability::encode(text)?;
                    Some(Effect::Capabilities { text: (*text).to_owned(), path: path(target)? })
                }
                _ => None,
            },
            _ => None,
        }
    }

    /// `: > file` and `> file`.
    fn truncation(command: &Command) -> Option<Effect> {
        let paths: Option<Vec<String>> = command
            .writes
            .iter()
            .map(|p| (known(p) && p.starts_with('/')).then(|| p.trim_matches('/').to_owned()))
            .collect();
        paths.filter(|p| !p.is_empty()).map(Effect::Touch)
    }

    fn install(words: &[&str], paths: &dyn Fn(&[&str]) -> Option<Vec<String>>) -> Option<Effect> {
        let (mut mode, mut owner, mut group, mut plain, mut dir) = (None, None, None, Vec::new(), false);
        let mut rest = words.iter();
        while let Some(word) = rest.next() {
            match *word {
                "-d" => dir = true,
                "-m" => mode = Some(octal(rest.next()?)?),
                "-o" => owner = Some((*rest.next()?).to_owned()),
                "-g" => group = Some((*rest.next()?).to_owned()),
                w => match w.strip_prefix("-m").or(w.strip_prefix("--mode=")) {
                    Some(value) => mode = Some(octal(value)?),
                    None if w.starts_with('-') => return None,
                    None => plain.push(w),
                },
            }
        }
        dir.then_some(())?;
        Some(Effect::Dirs { mode, owner, group, paths: paths(&plain)? })
    }

    fn only_adds(&self) -> bool {
        matches!(self, Effect::Dirs { .. } | Effect::Touch(_) | Effect::Symlink { .. } | Effect::Copy { .. })
    }

    /// Files that it makes.
    fn files(&self) -> &[String] {
        match self {
            Effect::Touch(paths) => paths,
            _ => &[],
        }
    }

    fn apply(&self, root: &mut TreeEditor, accounts: &Accounts, certain: bool) -> Result<(), Error> {
        match self {
            Effect::Dirs { mode, owner, group, paths } => {
                for path in paths.iter().filter(|p| lasting(p)) {
                    let uid = owner.as_deref().and_then(|o| accounts.uid_of(path, o).ok()).unwrap_or(0);
                    let gid = group.as_deref().and_then(|g| accounts.gid_of(path, g).ok()).unwrap_or(0);
                    root.dir(path, mode.unwrap_or(0o755), uid, gid)?;
                }
            }
            Effect::Touch(paths) => {
                for path in paths.iter().filter(|p| lasting(p)) {
                    root.write_new(path, "", 0o644)?;
                }
            }
            Effect::Symlink { target, path, replace } => {
                let there = root.tree.get(path).map(|inode| matches!(inode.kind, Kind::Symlink(_)));
                // A link below an undecided condition is for a file that is there.
                let dir = path.rsplit_once('/').map_or("", |(dir, _)| dir);
                let aim = if target.starts_with('/') { target.clone() } else { format!("{dir}/{target}") };
                let wanted = certain || root.exists(aim.trim_start_matches('/'));
                if wanted
                    && lasting(path)
                    && !root.exists(path)
                    && (there.is_none() || (*replace && there == Some(true)))
                {
                    root.symlink(target, path)?;
                }
            }
            Effect::Copy { from, to } => {
                let to = match root.tree.get(to) {
                    Some(inode) if inode.is_dir() => format!("{to}/{}", from.rsplit('/').next().unwrap_or(from)),
                    _ => to.clone(),
                };
                let real = root.tree.resolve(from).ok().and_then(|p| root.tree.get(&p)).cloned();
                if let Some(inode) = real
                    && lasting(&to)
                    && matches!(inode.kind, Kind::File(_))
                    && !root.exists(&to)
                {
                    root.put(&to, inode)?;
                }
            }
            Effect::Mode { mode, paths } => {
                for path in paths {
                    if let Some(meta) = meta(root, path)
                        && let Some(new) = new_mode(mode, meta.mode)
                    {
                        meta.mode = new;
                    }
                }
            }
            Effect::Owner { user, group, paths } => {
                for path in paths {
                    let uid = user.as_deref().and_then(|u| accounts.uid_of(path, u).ok());
                    let gid = group.as_deref().and_then(|g| accounts.gid_of(path, g).ok());
                    if let Some(meta) = meta(root, path) {
                        meta.uid = uid.unwrap_or(meta.uid);
                        meta.gid = gid.unwrap_or(meta.gid);
                    }
                }
            }
            Effect::Override { user, group, mode, path } => {
                let owner = accounts.uid_of(path, user).ok().zip(accounts.gid_of(path, group).ok());
                if let Some(meta) = meta(root, path)
                    && let Some((uid, gid)) = owner
                {
                    (meta.uid, meta.gid, meta.mode) = (uid, gid, *mode);
                }
            }
            Effect::Capabilities { text, path } => {
                if let Some(meta) = meta(root, path)
                    && let Some(value) = capability::encode(text)
                {
                    meta.xattrs.insert(capability::XATTR.to_owned(), value);
                }
            }
        }
        Ok(())
    }
}

fn lasting(path: &str) -> bool {
    !VOLATILE.iter().any(|dir| path.starts_with(dir)) && !path.starts_with("var/lib/dpkg/")
}

fn meta<'a>(root: &'a mut TreeEditor, path: &str) -> Option<&'a mut fruit_image::tree::Meta> {
    let real = root.tree.resolve(path).ok()?;
    root.tree.get_mut(&real).map(|inode| &mut inode.meta)
}

fn octal(text: &str) -> Option<u16> {
    u16::from_str_radix(text, 8).ok().filter(|mode| *mode <= 0o7777)
}

/// chmod(1): octal, or clauses like `u-s`, `g+rw,o=`.
fn new_mode(text: &str, old: u16) -> Option<u16> {
    if let Some(mode) = octal(text) {
        return Some(mode);
    }
    let mut mode = old;
    for clause in text.split(',') {
        let at = clause.find(['+', '-', '='])?;
        let who = if at == 0 { "ugo" } else { &clause[..at] };
        let (mut bits, mut cleared) = (0u16, 0u16);
        for class in who.chars() {
            let (shift, special) = match class {
                'u' => (6, 0o4000),
                'g' => (3, 0o2000),
                'o' => (0, 0),
                'a' => {
                    for shift in [0, 3, 6] {
                        bits |= permissions(&clause[at + 1..])? << shift;
                    }
                    cleared |= 0o777;
                    continue;
                }
                _ => return None,
            };
            bits |= permissions(&clause[at + 1..])? << shift;
            if clause[at + 1..].contains('s') {
                bits |= special;
            }
            cleared |= 0o7 << shift | special;
        }
        if clause[at + 1..].contains('t') {
            bits |= 0o1000;
        }
        mode = match clause.as_bytes()[at] {
            b'+' => mode | bits,
            b'-' => mode & !bits,
            _ => (mode & !cleared) | bits,
        };
    }
    Some(mode)
}

fn permissions(text: &str) -> Option<u16> {
    text.chars().try_fold(0, |bits, c| {
        Some(
            bits | match c {
                'r' => 4,
                'w' => 2,
                'x' | 'X' => 1,
                's' | 't' => 0,
                _ => return None,
            },
        )
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn symbolic_modes_follow_chmod() {
        assert_eq!(new_mode("u-s", 0o4755), Some(0o755));
        assert_eq!(new_mode("g+rw,o=", 0o604), Some(0o660));
        assert_eq!(new_mode("2750", 0o755), Some(0o2750));
        assert_eq!(new_mode("a+x", 0o644), Some(0o755));
        assert_eq!(new_mode("q+x", 0o644), None);
    }
}
