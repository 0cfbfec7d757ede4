//! depmod: the files that libkmod looks modules up in, as kmod's tools/depmod.c writes them.

use std::collections::{BTreeMap, BTreeSet, HashMap};

use super::Module;
use super::index::Index;

/// One module with its place in the order and its dependencies (indices, deepest last).
struct Entry<'a> {
    module: &'a Module,
    /// Indices of all modules it needs, directly or not, in the order of modules.dep: what is listed later must be
    /// loaded earlier.
    needs: Vec<usize>,
}

/// The index files for `modules`, by name. `order` is the kernel's `modules.order`, `builtin` its `modules.builtin`,
/// `builtin_modinfo` its `modules.builtin.modinfo`; empty when the kernel has none.
pub fn files(
    modules: &[Module],
    order: &str,
    builtin: &str,
    builtin_modinfo: &[u8],
) -> BTreeMap<&'static str, Vec<u8>> {
    let entries = entries(modules, order);
    let mut files: BTreeMap<&'static str, Vec<u8>> = BTreeMap::new();
    let (dep, dep_bin) = dependencies(&entries);
    files.insert("modules.dep", dep.into_bytes());
    files.insert("modules.dep.bin", dep_bin);
    let (alias, alias_bin) = aliases(&entries);
    files.insert("modules.alias", alias.into_bytes());
    files.insert("modules.alias.bin", alias_bin);
    let (symbols, symbols_bin) = symbols(&entries);
    files.insert("modules.symbols", symbols.into_bytes());
    files.insert("modules.symbols.bin", symbols_bin);
    let mut softdep = String::from("# Soft dependencies extracted from modules themselves.\n");
    let mut weakdep = String::from("# Weak dependencies extracted from modules themselves.\n");
    for entry in &entries {
        for value in &entry.module.info.softdeps {
            softdep += &format!("softdep {} {value}\n", entry.module.name);
        }
        for value in &entry.module.info.weakdeps {
            weakdep += &format!("weakdep {} {value}\n", entry.module.name);
        }
    }
    files.insert("modules.softdep", softdep.into_bytes());
    files.insert("modules.weakdep", weakdep.into_bytes());
    files.insert("modules.devname", device_names(&entries).into_bytes());
    files.insert("modules.builtin.bin", builtin_index(builtin));
    files.insert("modules.builtin.alias.bin", builtin_aliases(builtin_modinfo));
    files
}

/// Modules in the order of modules.order, those that it lacks after them by name.
fn entries<'a>(modules: &'a [Module], order: &str) -> Vec<Entry<'a>> {
    let place: HashMap<&str, usize> = order.lines().enumerate().map(|(i, line)| (line, i)).collect();
    let mut sorted: Vec<&Module> = modules.iter().collect();
    sorted.sort_by_key(|m| (place.get(m.path.as_str()).copied().unwrap_or(usize::MAX), m.name.as_str()));
    let direct = direct_needs(&sorted);
    let rank = ranks(&direct);
    let mut entries = Vec::with_capacity(sorted.len());
    for (i, module) in sorted.iter().enumerate() {
        let mut seen = BTreeSet::new();
        let mut todo = direct[i].clone();
        while let Some(need) = todo.pop() {
            if need != i && seen.insert(need) {
                todo.extend(&direct[need]);
            }
        }
        let mut needs: Vec<usize> = seen.into_iter().collect();
        needs.sort_by_key(|need| rank[*need]);
        entries.push(Entry { module, needs });
    }
    entries
}

/// Which modules each one needs for its undefined symbols, in the order of the symbols.
fn direct_needs(sorted: &[&Module]) -> Vec<Vec<usize>> {
    let mut owner: HashMap<&str, usize> = HashMap::new();
    for (i, module) in sorted.iter().enumerate() {
        for symbol in &module.info.exports {
            owner.insert(symbol, i); // depmod's table keeps the last that exports a name
        }
    }
    let mut all = Vec::with_capacity(sorted.len());
    for (i, module) in sorted.iter().enumerate() {
        let mut needs: Vec<usize> = Vec::new();
        for symbol in &module.info.needs {
            let name = symbol.strip_prefix('.').unwrap_or(symbol); // PPC64: .foo is foo
            if let Some(owner) = owner.get(name).filter(|owner| **owner != i && !needs.contains(owner)) {
                needs.push(*owner);
            }
        }
        all.push(needs);
    }
    all
}

/// depmod's topological order (depmod_calculate_dependencies): modules that nothing needs first, taken from the end of
/// the list of those that are ready. Modules in a circle keep the last ranks; depmod refuses them, the kernel has none.
fn ranks(direct: &[Vec<usize>]) -> Vec<usize> {
    let mut users = vec![0usize; direct.len()];
    for need in direct.iter().flatten() {
        users[*need] += 1;
    }
    let mut ready: Vec<usize> = (0..direct.len()).filter(|i| users[*i] == 0).collect();
    let mut rank = vec![usize::MAX; direct.len()];
    let mut next = 0;
    while let Some(module) = ready.pop() {
        rank[module] = next;
        next += 1;
        for need in &direct[module] {
            users[*need] -= 1;
            if users[*need] == 0 {
                ready.push(*need);
            }
        }
    }
    rank
}

fn dependencies(entries: &[Entry]) -> (String, Vec<u8>) {
    let mut text = String::new();
    let mut index = Index::default();
    for (i, entry) in entries.iter().enumerate() {
        let mut line = format!("{}:", entry.module.path);
        for need in &entry.needs {
            line += &format!(" {}", entries[*need].module.path);
        }
        index.insert(&entry.module.name, &line, i as u32);
        text += &line;
        text.push('\n');
    }
    (text, index.to_bytes())
}

fn aliases(entries: &[Entry]) -> (String, Vec<u8>) {
    let mut text = String::from("# Aliases extracted from modules themselves.\n");
    let mut index = Index::default();
    for (i, entry) in entries.iter().enumerate() {
        for alias in &entry.module.info.aliases {
            text += &format!("alias {alias} {}\n", entry.module.name);
            if let Some(key) = normalized(alias) {
                index.insert(&key, &entry.module.name, i as u32);
            }
        }
    }
    (text, index.to_bytes())
}

/// `-` is `_` in the index, except inside brackets (kmod's alias_normalize). `None` for unmatched brackets.
fn normalized(alias: &str) -> Option<String> {
    let mut out = String::with_capacity(alias.len());
    let mut inside = false;
    for c in alias.chars() {
        match (c, inside) {
            ('[', false) => inside = true,
            (']', true) => inside = false,
            (']', false) => return None,
            _ => {}
        }
        out.push(if c == '-' && !inside { '_' } else { c });
    }
    (!inside).then_some(out)
}

fn symbols(entries: &[Entry]) -> (String, Vec<u8>) {
    let mut owner: BTreeMap<&str, usize> = BTreeMap::new();
    for (i, entry) in entries.iter().enumerate() {
        for symbol in &entry.module.info.exports {
            owner.insert(symbol, i);
        }
    }
    let mut text = String::from("# Aliases for symbols, used by symbol_request().\n");
    let mut index = Index::default();
    for (symbol, i) in owner {
        let name = &entries[i].module.name;
        text += &format!("alias symbol:{symbol} {name}\n");
        index.insert(&format!("symbol:{symbol}"), name, i as u32);
    }
    (text, index.to_bytes())
}

/// Device nodes whose first opening loads a module; systemd-tmpfiles makes them from this file.
fn device_names(entries: &[Entry]) -> String {
    let mut text = String::new();
    for entry in entries {
        let aliases = &entry.module.info.aliases;
        let name = aliases.iter().find_map(|a| a.strip_prefix("devname:"));
        let number = aliases.iter().find_map(|alias| {
            let (kind, numbers) = alias
                .strip_prefix("char-major-")
                .map(|n| ('c', n))
                .or(alias.strip_prefix("block-major-").map(|n| ('b', n)))?;
            let (major, minor) = numbers.split_once('-')?;
            Some((kind, major.parse::<u32>().ok()?, minor.parse::<u32>().ok()?))
        });
        if let (Some(name), Some((kind, major, minor))) = (name, number) {
            if text.is_empty() {
                text += "# Device nodes to trigger on-demand module loading.\n";
            }
            text += &format!("{} {name} {kind}{major}:{minor}\n", entry.module.name);
        }
    }
    text
}

fn builtin_index(builtin: &str) -> Vec<u8> {
    let mut index = Index::default();
    for line in builtin.lines().filter(|line| line.starts_with(|c: char| c.is_ascii_alphabetic())) {
        index.insert(&super::elf::module_name(line), "", 0);
    }
    index.to_bytes()
}

/// From `module.alias=value` records.
fn builtin_aliases(modinfo: &[u8]) -> Vec<u8> {
    let mut index = Index::default();
    for record in modinfo.split(|b| *b == 0) {
        let Ok(text) = std::str::from_utf8(record) else { continue };
        let Some((module, field)) = text.split_once('.') else { continue };
        if let Some(key) = field.strip_prefix("alias=").and_then(normalized).filter(|key| !key.is_empty()) {
            index.insert(&key, module, 0);
        }
    }
    index.to_bytes()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn aliases_are_normalized_outside_of_brackets_only() {
        assert_eq!(normalized("snd-card-[0-9]-x").unwrap(), "snd_card_[0-9]_x");
        assert_eq!(normalized("usb:v[0"), None);
    }
}
