//! `extends`: one recipe on top of another.
//!
//! The rule, whole: mappings merge key by key; lists are joined, the inherited entries first; anything else replaces what was
//! inherited. A list that is written as a mapping of `add`, `remove` and `only` changes the inherited one instead. `null`
//! takes away an inherited entry of a mapping by name (a user, a repository).

use crate::diagnostic::{Diagnostic, Diagnostics, similar};
use crate::node::{Kind, Node};
use crate::source::At;

/// The keys of a list that is written as a change.
const EDITS: &[&str] = &["add", "remove", "only"];

/// `child` laid over `base`.
pub(crate) fn merge(base: Node, child: Node, found: &mut Diagnostics) -> Node {
    let place = child.place.clone();
    match (base.kind, child.kind) {
        (Kind::Map(base), Kind::Map(child)) => Node { kind: Kind::Map(merge_maps(base, child, found)), place },
        (Kind::List(mut base), Kind::List(child)) => {
            join(&mut base, child);
            Node { kind: Kind::List(base), place }
        }
        (Kind::List(base), kind @ Kind::Map(_)) => {
            let edit = Node { kind, place };
            match edit_list(&base, &edit, found) {
                Some(items) => Node { kind: Kind::List(items), place: edit.place },
                None => Node { kind: Kind::List(base), place: edit.place },
            }
        }
        (_, kind) => Node { kind, place },
    }
}

fn merge_maps(
    base: Vec<(At<String>, Node)>,
    child: Vec<(At<String>, Node)>,
    found: &mut Diagnostics,
) -> Vec<(At<String>, Node)> {
    let mut merged = base;
    for (key, value) in child {
        let inherited = merged.iter().position(|(k, _)| k.value == key.value);
        match (inherited, &value.kind) {
            // Only a mapping by name can lose an entry: a bare `packages:` must stay a mistake.
            (Some(at), Kind::Null { written: true }) if matches!(merged[at].1.kind, Kind::Map(_)) => {
                merged.remove(at);
            }
            (Some(at), _) => {
                let (_, old) = merged.remove(at);
                merged.insert(at, (key, merge(old, value, found)));
            }
            (None, _) => merged.push((key, value)),
        }
    }
    merged
}

/// Appends entries; one that is there already stays where it is.
fn join(base: &mut Vec<Node>, more: Vec<Node>) {
    for item in more {
        if !base.iter().any(|old| same_scalar(old, &item)) {
            base.push(item);
        }
    }
}

fn same_scalar(a: &Node, b: &Node) -> bool {
    matches!((&a.kind, &b.kind), (Kind::Scalar { text: a, .. }, Kind::Scalar { text: b, .. }) if a == b)
}

/// The text by which `remove` finds an entry.
fn name_of(item: &Node) -> Option<&str> {
    match &item.kind {
        Kind::Scalar { text, .. } => Some(text),
        Kind::Map(_) => ["name", "path"].iter().find_map(|key| match &item.get(key)?.kind {
            Kind::Scalar { text, .. } => Some(text.as_str()),
            _ => None,
        }),
        _ => None,
    }
}

/// The inherited list after the change that `edit` asks for; `None` when the change itself is mistaken.
pub(crate) fn edit_list(base: &[Node], edit: &Node, found: &mut Diagnostics) -> Option<Vec<Node>> {
    let Kind::Map(entries) = &edit.kind else { return None };
    let mut sound = true;
    for (key, _) in entries.iter().filter(|(k, _)| !EDITS.contains(&k.value.as_str())) {
        let made = Diagnostic::error(format!("expected a list, found a mapping with the key `{}`", key.value))
            .maybe_place(key.place.clone())
            .label("not a list entry")
            .note("a list may be written as a mapping of `add`, `remove` and `only` to change the inherited one");
        found.push(match similar(&key.value, EDITS) {
            Some(best) => made.did_you_mean(best),
            None => made.help("begin each entry with `- `"),
        });
        sound = false;
    }
    let mut part = |name: &str| match edit.get(name) {
        None => Some(Vec::new()),
        Some(Node { kind: Kind::List(items), .. }) => Some(items.clone()),
        Some(other) => {
            found.push(
                Diagnostic::error(format!("expected a list under `{name}`, found {}", other.describe()))
                    .place(other.place.clone())
                    .label("not a list"),
            );
            None
        }
    };
    let (add, remove, only) = (part("add"), part("remove"), part("only"));
    let (add, remove, only) = (add?, remove?, only?);
    if !sound {
        return None;
    }
    let mut items = if edit.get("only").is_some() { only } else { base.to_vec() };
    for unwanted in &remove {
        let Some(name) = name_of(unwanted) else {
            found.push(
                Diagnostic::error(format!("expected the name of an inherited entry, found {}", unwanted.describe()))
                    .place(unwanted.place.clone()),
            );
            continue;
        };
        let before = items.len();
        items.retain(|item| name_of(item) != Some(name));
        if items.len() == before {
            let made = Diagnostic::error(format!("`{name}` is not in the inherited list"))
                .place(unwanted.place.clone())
                .label("nothing to remove");
            found.push(match similar(name, items.iter().filter_map(name_of)) {
                Some(best) => made.did_you_mean(best),
                None => made,
            });
        }
    }
    join(&mut items, add);
    Some(items)
}
