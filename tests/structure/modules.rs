//! Which module of a crate uses which, read from the sources: `crate::`, `self::` and `super::` paths in `use` lines and
//! in code, followed through re-exports to the module that a name comes from. Code under `#[cfg(test)]` does not count.

use std::collections::{BTreeMap, BTreeSet};
use std::path::{Path, PathBuf};
use std::{fs, iter};

use proc_macro2::{Delimiter, TokenStream, TokenTree};

/// A module: the names from the crate's root down to it. The root is empty.
type Name = Vec<String>;

#[derive(Default)]
pub struct Modules {
    /// Names that a module brings in, with what they stand for.
    imports: BTreeMap<Name, BTreeMap<String, Name>>,
    /// Paths that a module's code names, whole, from the crate's root.
    paths: BTreeMap<Name, BTreeSet<Name>>,
    /// Identifiers of each module's own code.
    words: BTreeMap<Name, BTreeSet<String>>,
}

impl Modules {
    /// Reads the crate whose root is `root`, a `lib.rs` or `main.rs`.
    pub fn read(root: &Path) -> Modules {
        let mut modules = Modules::default();
        modules.file(root, root.parent().unwrap(), &Name::new());
        modules
    }

    /// Modules whose code has the identifier `word`.
    pub fn naming(&self, word: &str) -> Vec<String> {
        let having = self.words.iter().filter(|(_, words)| words.contains(word));
        having.map(|(module, _)| module.join("::")).collect()
    }

    /// Which of two neighbours, modules in the same parent, uses the other. What is below them counts as theirs.
    pub fn edges(&self) -> BTreeSet<(String, String)> {
        let mut edges = BTreeSet::new();
        for (user, paths) in &self.paths {
            for path in paths {
                let used = self.owner(path, 0);
                let shared = iter::zip(user, &used).take_while(|(a, b)| a == b).count();
                if shared < user.len() && shared < used.len() {
                    edges.insert((user[..=shared].join("::"), used[..=shared].join("::")));
                }
            }
        }
        edges
    }

    /// The module that the last name of `path` is written in.
    fn owner(&self, path: &[String], depth: usize) -> Name {
        let mut at = Name::new();
        for (index, name) in path.iter().enumerate() {
            let below: Name = at.iter().chain([name]).cloned().collect();
            if self.paths.contains_key(&below) {
                at = below;
                continue;
            }
            // A `use` of a name in itself (`pub use a::b::b`) would go round for ever.
            if let Some(real) = self.imports[&at].get(name).filter(|_| depth < 8) {
                let whole: Name = real.iter().chain(&path[index + 1..]).cloned().collect();
                return self.owner(&whole, depth + 1);
            }
            break;
        }
        at
    }

    fn file(&mut self, file: &Path, folder: &Path, module: &Name) {
        let text = fs::read_to_string(file).unwrap_or_else(|error| panic!("{}: {error}", file.display()));
        let tokens = text.parse().unwrap_or_else(|error| panic!("{}: {error}", file.display()));
        self.module(tokens, folder, module);
    }

    /// `folder`: where the files of the module's own modules are.
    fn module(&mut self, tokens: TokenStream, folder: &Path, module: &Name) {
        self.imports.entry(module.clone()).or_default();
        self.paths.entry(module.clone()).or_default();
        self.words.entry(module.clone()).or_default();
        self.code(&tokens.into_iter().collect::<Vec<_>>(), folder, module);
    }

    fn code(&mut self, tokens: &[TokenTree], folder: &Path, module: &Name) {
        let mut at = 0;
        while let Some(token) = tokens.get(at) {
            at += 1;
            match token {
                TokenTree::Punct(mark) if mark.as_char() == '#' && is_for_tests(tokens.get(at)) => {
                    at += item_length(&tokens[at..]);
                }
                TokenTree::Punct(mark) if mark.as_char() == '#' && is_attribute(tokens.get(at)) => at += 1,
                TokenTree::Group(group) => {
                    self.code(&group.stream().into_iter().collect::<Vec<_>>(), folder, module);
                }
                TokenTree::Ident(word) if word == "mod" => {
                    let Some(TokenTree::Ident(name)) = tokens.get(at) else { continue };
                    let (name, below) = (name.to_string(), [module.clone(), vec![name.to_string()]].concat());
                    let own = folder.join(&name);
                    match tokens.get(at + 1) {
                        Some(TokenTree::Group(body)) => self.module(body.stream(), &own, &below),
                        _ => self.file(&file_of(folder, &name), &own, &below),
                    }
                    at += 2;
                }
                TokenTree::Ident(word) if word == "use" => {
                    let end = at + tokens[at..].iter().take_while(|t| !is_mark(t, ';')).count();
                    self.import(&tokens[at..end], &Name::new(), module);
                    at = end;
                }
                TokenTree::Ident(word) => {
                    let mut path = vec![word.to_string()];
                    while let Some(TokenTree::Ident(next)) = after_colons(tokens, at) {
                        path.push(next.to_string());
                        at += 3;
                    }
                    self.words.get_mut(module).unwrap().extend(path.iter().cloned());
                    self.uses(&path, module);
                }
                _ => {}
            }
        }
    }

    /// One tree of a `use`: names with `::` between them, then a name, `name as other`, `*` or a list of trees.
    fn import(&mut self, tokens: &[TokenTree], before: &Name, module: &Name) {
        let mut path = before.clone();
        let mut at = 0;
        while let Some(TokenTree::Ident(name)) = tokens.get(at) {
            path.push(name.to_string());
            at += 1;
            if !is_colons(tokens, at) {
                break;
            }
            at += 2;
        }
        if let Some(TokenTree::Group(list)) = tokens.get(at)
            && list.delimiter() == Delimiter::Brace
        {
            let trees: Vec<TokenTree> = list.stream().into_iter().collect();
            trees.split(|token| is_mark(token, ',')).for_each(|tree| self.import(tree, &path, module));
            return;
        }
        self.words.get_mut(module).unwrap().extend(path.iter().cloned());
        if path.last().is_some_and(|last| last == "self") && path.len() > 1 {
            path.pop();
        }
        let Some(name) = path.last().cloned() else { return };
        let name = match tokens.get(at..) {
            Some([TokenTree::Ident(r#as), TokenTree::Ident(other), ..]) if r#as == "as" => other.to_string(),
            _ => name,
        };
        if let Some(whole) = self.uses(&path, module) {
            self.imports.get_mut(module).unwrap().insert(name, whole);
        }
    }

    /// Notes that code of `module` names `path`, and returns it from the root if it is one of this crate.
    fn uses(&mut self, path: &[String], module: &Name) -> Option<Name> {
        let mut whole = match path[0].as_str() {
            "crate" => Name::new(),
            "self" => module.clone(),
            "super" => module[..module.len().checked_sub(1)?].to_vec(),
            // A name of the module itself, or of another crate; which of them, the end of the reading shows.
            _ => [module.clone(), vec![path[0].clone()]].concat(),
        };
        for name in &path[1..] {
            if name == "super" {
                whole.pop();
            } else {
                whole.push(name.clone());
            }
        }
        self.paths.get_mut(module)?.insert(whole.clone());
        Some(whole)
    }
}

fn file_of(folder: &Path, name: &str) -> PathBuf {
    let alone = folder.join(format!("{name}.rs"));
    if alone.is_file() { alone } else { folder.join(name).join("mod.rs") }
}

fn is_attribute(token: Option<&TokenTree>) -> bool {
    matches!(token, Some(TokenTree::Group(group)) if group.delimiter() == Delimiter::Bracket)
}

/// `[cfg(test)]`, or another condition with `test` in it.
fn is_for_tests(attribute: Option<&TokenTree>) -> bool {
    let Some(TokenTree::Group(group)) = attribute else { return false };
    let text = group.stream().to_string().replace(' ', "");
    text.starts_with("cfg(") && text.contains("test") && !text.contains("not(test")
}

/// Tokens of the item that an attribute stands before, the attribute included.
fn item_length(tokens: &[TokenTree]) -> usize {
    let is_end = |token: &TokenTree| match token {
        TokenTree::Group(group) => group.delimiter() == Delimiter::Brace,
        other => is_mark(other, ';'),
    };
    tokens.iter().position(is_end).map_or(tokens.len(), |end| end + 1)
}

fn is_mark(token: &TokenTree, mark: char) -> bool {
    matches!(token, TokenTree::Punct(punct) if punct.as_char() == mark)
}

fn is_colons(tokens: &[TokenTree], at: usize) -> bool {
    tokens.get(at..at + 2).is_some_and(|two| two.iter().all(|token| is_mark(token, ':')))
}

fn after_colons(tokens: &[TokenTree], at: usize) -> Option<&TokenTree> {
    is_colons(tokens, at).then(|| tokens.get(at + 2)).flatten()
}

/// The edges that lie on a circle: from both ends of each, the other can be reached.
pub fn circles(edges: &BTreeSet<(String, String)>) -> BTreeSet<(String, String)> {
    let reaches = |from: &str, to: &str| {
        let (mut seen, mut next) = (BTreeSet::from([from]), vec![from]);
        while let Some(here) = next.pop() {
            let ahead = edges.iter().filter(|(user, _)| user == here).map(|(_, used)| used.as_str());
            next.extend(ahead.filter(|used| seen.insert(used)));
        }
        seen.contains(to)
    };
    edges.iter().filter(|(user, used)| reaches(used, user)).cloned().collect()
}
