//! update-alternatives in automatic mode: of the alternatives that packages register, the one of highest priority gets
//! the name. The calls are read from the scripts; those that scripts compute are in a table.

use std::collections::BTreeMap;

use fruit_image::tree::Kind;

use crate::Error;
use crate::edit::TreeEditor;
use crate::scripts::{Command, Script, known};

/// One registered alternative.
#[derive(Clone, Debug, PartialEq, Eq)]
struct Alternative {
    /// The name of the group: `pager`.
    name: String,
    /// The generic path: `/usr/bin/pager`.
    link: String,
    /// What provides it: `/usr/bin/less`.
    path: String,
    priority: i64,
    /// Links that follow the choice: (generic path, name, provider).
    slaves: Vec<(String, String, String)>,
}

/// Makes `/etc/alternatives` and the generic links. Alternatives whose provider is not in the root are left out.
pub(crate) fn apply(root: &mut TreeEditor, scripts: &[Script<'_>]) -> Result<(), Error> {
    let mut groups: BTreeMap<String, Alternative> = BTreeMap::new();
    for command in scripts.iter().flat_map(Script::known_commands) {
        for alternative in parse(command).into_iter().flatten() {
            if !root.exists(alternative.path.trim_start_matches('/')) {
                continue;
            }
            // Of equal priorities, update-alternatives keeps the one registered first.
            match groups.get(&alternative.name) {
                Some(best) if best.priority >= alternative.priority => {}
                _ => {
                    groups.insert(alternative.name.clone(), alternative);
                }
            }
        }
    }
    for alternative in groups.values() {
        link(root, &alternative.link, &alternative.name, &alternative.path)?;
        for (generic, name, provider) in &alternative.slaves {
            if root.exists(provider.trim_start_matches('/')) {
                link(root, generic, name, provider)?;
            }
        }
    }
    Ok(())
}

fn link(root: &mut TreeEditor, generic: &str, name: &str, provider: &str) -> Result<(), Error> {
    let generic = generic.trim_start_matches('/');
    // A real file there is not replaced (update-alternatives warns and leaves it).
    let taken = root.tree.get(generic).is_some_and(|inode| !matches!(inode.kind, Kind::Symlink(_)));
    if taken {
        return Ok(());
    }
    root.symlink(provider, &format!("etc/alternatives/{name}"))?;
    root.symlink(&format!("/etc/alternatives/{name}"), generic)
}

/// Whether [`apply`] reproduces this command (or it changes nothing on a first installation).
pub(crate) fn reproduces(command: &Command) -> bool {
    command.name() == "update-alternatives"
        && (parse(command).is_some()
            || command.words.iter().any(|w| matches!(w.as_str(), "--remove" | "--remove-all" | "--auto")))
}

/// The alternatives a call registers; `None` when it is another call, or not literal.
fn parse(command: &Command) -> Option<Vec<Alternative>> {
    if command.name() != "update-alternatives" || !command.words.iter().all(|w| known(w)) {
        return None;
    }
    let mut found: Vec<Alternative> = Vec::new();
    let mut words = command.words.iter().skip(1);
    while let Some(word) = words.next() {
        match word.as_str() {
            "--install" => found.push(Alternative {
                link: words.next()?.clone(),
                name: words.next()?.clone(),
                path: words.next()?.clone(),
                priority: words.next()?.parse().ok()?,
                slaves: Vec::new(),
            }),
            "--slave" => {
                let slave = (words.next()?.clone(), words.next()?.clone(), words.next()?.clone());
                found.last_mut()?.slaves.push(slave);
            }
            "--quiet" | "--verbose" | "--force" => {}
            _ => return None,
        }
    }
    (!found.is_empty()).then_some(found)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::scripts::commands;

    #[test]
    fn literal_calls_are_understood_with_their_slaves() {
        let script = "ua() {\n update-alternatives --quiet --install /usr/bin/pager pager \\\n  /usr/bin/less 77 --slave /m/pager.1.gz pager.1.gz /m/less.1.gz\n}\ncase \"$1\" in configure) ua ;; esac\n";
        let commands = commands("less", "postinst", script).unwrap();
        let all: Vec<Alternative> = commands.iter().filter_map(parse).flatten().collect();
        assert_eq!(all.len(), 1);
        assert_eq!((all[0].name.as_str(), all[0].priority, all[0].slaves.len()), ("pager", 77, 1));
    }

    #[test]
    fn a_computed_call_is_not_reproduced() {
        let commands = commands("x", "postinst", "update-alternatives --install /usr/bin/x x $(where x) 10").unwrap();
        assert!(commands.iter().all(|c| !reproduces(c)));
    }
}
