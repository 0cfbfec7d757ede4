//! What a maintainer script would run on a fresh installation, found by reading it: branches that only upgrades,
//! removals or running systems take are left out, variables and functions are followed as far as their values are
//! known. Nothing is executed.

use std::collections::BTreeMap;
use std::rc::Rc;

use super::lexer::{Part, Word, tokens};
use super::syntax::{Node, parse};
use crate::glob::Glob;

/// A simple command that the script may run.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Command {
    /// Fields after expansion; what could not be known stands as `$NAME`.
    pub words: Vec<String>,
    /// Files that its output is redirected to.
    pub writes: Vec<String>,
    /// Line of the script, from 1.
    pub line: usize,
    /// False below a condition that could not be decided.
    pub certain: bool,
}

impl Command {
    pub fn name(&self) -> &str {
        self.words.first().map_or("", |word| word.rsplit('/').next().unwrap_or(word))
    }
}

/// Whether everything in a word is known.
pub fn known(word: &str) -> bool {
    !word.contains('$')
}

/// Limits that no real script comes near: commands run, and calls and substitutions within each other.
const MAX_STEPS: usize = 20_000;
const MAX_DEPTH: usize = 8;
/// A loop over more words than this is read once, with its variable unknown.
const MAX_ROUNDS: usize = 64;
/// A longer value counts as unknown: `a=$a$a` doubles.
const MAX_VALUE: usize = 4096;

#[derive(Clone, Copy, PartialEq, Eq)]
enum Truth {
    True,
    False,
    Unknown,
}

impl Truth {
    fn of(value: bool) -> Truth {
        if value { Truth::True } else { Truth::False }
    }

    fn not(self) -> Truth {
        match self {
            Truth::True => Truth::False,
            Truth::False => Truth::True,
            Truth::Unknown => Truth::Unknown,
        }
    }
}

#[derive(Clone, Copy, PartialEq, Eq)]
enum Flow {
    On,
    Return,
    Exit,
}

struct Interpreter {
    /// `None`: assigned, but to something not known.
    variables: BTreeMap<String, Option<String>>,
    arguments: Vec<String>,
    functions: BTreeMap<String, Rc<Node>>,
    out: Vec<Command>,
    flow: Flow,
    steps: usize,
    depth: usize,
    uncertain: usize,
}

/// The commands that `script` runs when called as dpkg does for a first installation: `preinst install`,
/// `postinst configure ""`, `config configure ""`.
///
/// # Errors
/// The line at which it could not be read.
pub fn commands(package: &str, name: &str, script: &str) -> Result<Vec<Command>, usize> {
    let node = parse(tokens(script)?)?;
    let known = [
        ("DPKG_ROOT", ""),
        ("DPKG_MAINTSCRIPT_PACKAGE", package),
        ("DPKG_MAINTSCRIPT_NAME", name),
        ("DPKG_MAINTSCRIPT_PACKAGE_REFCOUNT", "1"),
        ("DEBIAN_FRONTEND", "noninteractive"),
        ("DEBCONF_RECONFIGURE", ""),
        ("DPKG_RUNNING_VERSION", "1.22"),
    ];
    let arguments: &[&str] = if name == "preinst" { &["install"] } else { &["configure", ""] };
    let mut interpreter = Interpreter {
        variables: known.iter().map(|(k, v)| ((*k).to_owned(), Some((*v).to_owned()))).collect(),
        arguments: arguments.iter().map(|a| (*a).to_owned()).collect(),
        functions: BTreeMap::new(),
        out: Vec::new(),
        flow: Flow::On,
        steps: 0,
        depth: 0,
        uncertain: 0,
    };
    interpreter.run(&node);
    match interpreter.steps >= MAX_STEPS {
        true => Err(interpreter.out.last().map_or(1, |c| c.line)),
        false => Ok(interpreter.out),
    }
}

impl Interpreter {
    fn run(&mut self, node: &Node) -> Truth {
        self.steps += 1;
        if self.flow != Flow::On || self.steps >= MAX_STEPS {
            return Truth::Unknown;
        }
        match node {
            Node::Simple { words, writes, line } => self.simple(words, writes, *line),
            Node::Not(inner) => self.run(inner).not(),
            Node::Chain { first, rest } => self.chain(first, rest),
            Node::Pipe(stages) => {
                stages.iter().fold(Truth::Unknown, |_, stage| self.run(stage));
                Truth::Unknown
            }
            Node::List(items) => items.iter().fold(Truth::True, |_, item| self.run(item)),
            Node::If { arms, otherwise } => self.branches(arms, otherwise.as_deref()),
            Node::Case { word, arms } => self.case(word, arms),
            Node::For { variable, words, body } => self.rounds(variable, words, body),
            Node::While { condition, body } => {
                self.maybe(|me| {
                    me.run(condition);
                    me.run(body);
                });
                Truth::Unknown
            }
            Node::Function { name, body } => {
                self.functions.insert(name.clone(), Rc::new((**body).clone()));
                Truth::True
            }
            Node::Subshell { body, writes, line } => {
                let variables = self.variables.clone();
                let truth = self.run(body);
                self.variables = variables;
                if self.flow == Flow::Exit {
                    self.flow = Flow::On;
                }
                if !writes.is_empty() {
                    self.simple(&[Word::of("cat")], writes, *line);
                }
                truth
            }
        }
    }

    /// Runs what may or may not happen; afterwards only that is known which is so either way.
    fn maybe(&mut self, body: impl FnOnce(&mut Interpreter)) {
        let before = self.variables.clone();
        self.uncertain += 1;
        body(self);
        self.uncertain -= 1;
        self.flow = Flow::On;
        for (name, value) in &mut self.variables {
            if before.get(name) != Some(value) {
                *value = None;
            }
        }
    }

    fn chain(&mut self, first: &Node, rest: &[(bool, Node)]) -> Truth {
        let mut truth = self.run(first);
        for (and, node) in rest {
            truth = match (truth, and) {
                (Truth::True, true) | (Truth::False, false) => self.run(node),
                (Truth::False, true) => Truth::False,
                (Truth::True, false) => Truth::True,
                (Truth::Unknown, _) => {
                    let mut right = Truth::Unknown;
                    self.maybe(|me| right = me.run(node));
                    match (right, and) {
                        (Truth::False, true) => Truth::False,
                        (Truth::True, false) => Truth::True,
                        _ => Truth::Unknown,
                    }
                }
            };
        }
        truth
    }

    fn branches(&mut self, arms: &[(Node, Node)], otherwise: Option<&Node>) -> Truth {
        let Some(((condition, body), more)) = arms.split_first() else {
            return otherwise.map_or(Truth::True, |body| self.run(body));
        };
        match self.run(condition) {
            Truth::True => self.run(body),
            Truth::False => self.branches(more, otherwise),
            Truth::Unknown => {
                self.maybe(|me| {
                    me.run(body);
                });
                self.maybe(|me| {
                    me.branches(more, otherwise);
                });
                Truth::Unknown
            }
        }
    }

    fn case(&mut self, word: &Word, arms: &[(Vec<Word>, Node)]) -> Truth {
        let value = self.expand(word).join(" ");
        for (patterns, body) in arms {
            let matched = patterns.iter().map(|pattern| match pattern.literal() {
                Some(text) if known(&value) => match Glob::of_text(text) {
                    Ok(glob) => Truth::of(text == value || glob.matches(&value)),
                    Err(_) => Truth::Unknown,
                },
                _ => Truth::Unknown,
            });
            let matched = matched.fold(Truth::False, |all, one| match (all, one) {
                (Truth::True, _) | (_, Truth::True) => Truth::True,
                (Truth::Unknown, _) | (_, Truth::Unknown) => Truth::Unknown,
                _ => Truth::False,
            });
            match matched {
                Truth::True => return self.run(body),
                Truth::False => {}
                Truth::Unknown => self.maybe(|me| {
                    me.run(body);
                }),
            }
        }
        Truth::Unknown
    }

    fn rounds(&mut self, variable: &str, words: &[Word], body: &Node) -> Truth {
        let values: Vec<String> = words.iter().flat_map(|word| self.expand(word)).collect();
        let plain = values.iter().all(|v| known(v) && !v.contains(['*', '?', '[']));
        if plain && !values.is_empty() && values.len() <= MAX_ROUNDS {
            for value in values {
                self.variables.insert(variable.to_owned(), Some(value));
                self.run(body);
            }
        } else {
            self.maybe(|me| {
                me.variables.insert(variable.to_owned(), None);
                me.run(body);
            });
        }
        Truth::Unknown
    }

    fn simple(&mut self, words: &[Word], writes: &[Word], line: usize) -> Truth {
        let mut rest = words;
        while let Some((first, more)) = rest.split_first() {
            let Some((name, value)) = assignment(first) else { break };
            let value = self.expand(&value).join(" ");
            let usable = known(&value) && value.len() <= MAX_VALUE;
            self.variables.insert(name, usable.then_some(value));
            rest = more;
        }
        let fields: Vec<String> = rest.iter().flat_map(|word| self.expand(word)).collect();
        let writes: Vec<String> = writes.iter().map(|word| self.expand(word).join(" ")).collect();
        let name = fields.first().map_or("", String::as_str);
        match name {
            "" if writes.is_empty() => return Truth::True,
            "exit" => self.flow = Flow::Exit,
            "return" => self.flow = Flow::Return,
            "shift" => {
                self.arguments = self.arguments.split_off(self.arguments.len().min(1));
            }
            "set" if fields.get(1).is_some_and(|f| f == "--") => self.arguments = fields[2..].to_vec(),
            "local" | "export" | "readonly" => {
                for field in &fields[1..] {
                    if let Some((name, value)) = field.split_once('=') {
                        self.variables.insert(name.to_owned(), known(value).then(|| value.to_owned()));
                    }
                }
            }
            "read" => {
                for field in &fields[1..] {
                    self.variables.insert(field.clone(), None);
                }
            }
            _ => {}
        }
        if let Some(body) = self.functions.get(name).cloned() {
            return self.call(&body, &fields);
        }
        let truth = truth_of(&fields);
        self.out.push(Command { words: fields, writes, line, certain: self.uncertain == 0 });
        truth
    }

    fn call(&mut self, body: &Node, fields: &[String]) -> Truth {
        if self.depth >= MAX_DEPTH {
            return Truth::Unknown;
        }
        let arguments = std::mem::replace(&mut self.arguments, fields[1..].to_vec());
        self.depth += 1;
        let mut truth = self.run(body);
        self.depth -= 1;
        self.arguments = arguments;
        if self.flow == Flow::Return {
            self.flow = Flow::On;
            truth = Truth::Unknown;
        }
        truth
    }

    /// The fields of a word. Unknown parts stay visible as `$NAME`.
    fn expand(&mut self, word: &Word) -> Vec<String> {
        let mut fields = Vec::new();
        let mut current: Option<String> = word.quoted.then(String::new);
        for part in &word.parts {
            match part {
                Part::Text(text) => current.get_or_insert_default().push_str(text),
                Part::Arithmetic => current.get_or_insert_default().push_str("$((…))"),
                Part::Substitution(script) => {
                    self.substitute(script);
                    current.get_or_insert_default().push_str("$(…)");
                }
                Part::Variable { name, quoted, .. } if name == "@" || (name == "*" && !quoted) => {
                    for (i, argument) in self.arguments.clone().into_iter().enumerate() {
                        if i > 0 {
                            fields.extend(current.take());
                        }
                        current.get_or_insert_default().push_str(&argument);
                    }
                }
                Part::Variable { name, rest, quoted } => {
                    let value = self.value(name, rest).unwrap_or_else(|| format!("${name}"));
                    if *quoted {
                        current.get_or_insert_default().push_str(&value);
                        continue;
                    }
                    if value.starts_with(char::is_whitespace) {
                        fields.extend(current.take());
                    }
                    for (i, piece) in value.split_whitespace().enumerate() {
                        if i > 0 {
                            fields.extend(current.take());
                        }
                        current.get_or_insert_default().push_str(piece);
                    }
                    if value.ends_with(char::is_whitespace) {
                        fields.extend(current.take());
                    }
                }
            }
        }
        fields.extend(current);
        fields
    }

    /// The value of `${name}` with the operator in `rest` applied; `None` when it cannot be known.
    fn value(&mut self, name: &str, rest: &str) -> Option<String> {
        let plain = match name.parse::<usize>() {
            Ok(0) => None,
            Ok(n) => Some(self.arguments.get(n - 1).cloned().unwrap_or_default()),
            Err(_) if name == "#" => Some(self.arguments.len().to_string()),
            Err(_) if name == "*" => Some(self.arguments.join(" ")),
            Err(_) => self.variables.get(name).cloned().flatten(),
        };
        let operator = rest.strip_prefix(':').unwrap_or(rest);
        match operator.chars().next() {
            None => plain,
            Some('-' | '=') => match plain {
                Some(value) if !value.is_empty() => Some(value),
                Some(_) => self.word_text(&operator[1..]),
                None => None,
            },
            Some('+') => match plain?.is_empty() {
                true => Some(String::new()),
                false => self.word_text(&operator[1..]),
            },
            Some('?') => plain,
            _ => None,
        }
    }

    fn word_text(&mut self, text: &str) -> Option<String> {
        if !text.contains(['$', '`', '"', '\'', '\\']) {
            return Some(text.to_owned());
        }
        if self.depth >= MAX_DEPTH {
            return None;
        }
        self.depth += 1;
        let fields = match tokens(text).ok()?.as_slice() {
            [(super::lexer::Token::Word(word), _)] => Some(self.expand(word).join(" ")),
            _ => None,
        };
        self.depth -= 1;
        fields.filter(|value| known(value))
    }

    fn substitute(&mut self, script: &str) {
        if self.depth >= MAX_DEPTH {
            return;
        }
        let Ok(node) = tokens(script).and_then(parse) else {
            self.out.push(Command { words: vec![format!("$({script})")], writes: Vec::new(), line: 0, certain: false });
            return;
        };
        let variables = self.variables.clone();
        self.depth += 1;
        self.run(&node);
        self.depth -= 1;
        self.variables = variables;
        self.flow = Flow::On;
    }
}

/// `NAME=value` at the start of a command.
fn assignment(word: &Word) -> Option<(String, Word)> {
    let Some(Part::Text(text)) = word.parts.first() else { return None };
    let (name, value) = text.split_once('=')?;
    let legal = |(i, c): (usize, char)| c == '_' || c.is_ascii_alphabetic() || (i > 0 && c.is_ascii_digit());
    if name.is_empty() || !name.char_indices().all(legal) {
        return None;
    }
    let mut parts = word.parts.clone();
    parts[0] = Part::Text(value.to_owned());
    // An assigned value is not split into fields.
    for part in &mut parts {
        if let Part::Variable { quoted, .. } = part {
            *quoted = true;
        }
    }
    Some((name.to_owned(), Word { parts, quoted: true }))
}

fn truth_of(fields: &[String]) -> Truth {
    let Some((name, arguments)) = fields.split_first() else { return Truth::True };
    match name.as_str() {
        "true" | ":" => Truth::True,
        "false" => Truth::False,
        // State of earlier installations: a new one has none, and new units are enabled (deb-systemd-helper(1p)).
        "deb-systemd-helper" if arguments.iter().any(|a| a == "debian-installed") => Truth::False,
        "deb-systemd-helper" if arguments.iter().any(|a| a == "was-enabled") => Truth::True,
        // No override is registered before the first package that asks for it.
        "dpkg-statoverride" if arguments.iter().any(|a| a == "--list") => Truth::False,
        "[" => test(arguments.strip_suffix(&["]".to_owned()]).unwrap_or(arguments), 0),
        "test" => test(arguments, 0),
        "dpkg" => match arguments {
            [option, old, relation, _] if option == "--compare-versions" && old.is_empty() => {
                // dpkg(1): an empty version is earlier than any, or later than any for the -nl relations.
                Truth::of(matches!(relation.as_str(), "lt" | "le" | "ge-nl" | "gt-nl" | "ne"))
            }
            _ => Truth::Unknown,
        },
        _ => Truth::Unknown,
    }
}

fn test(arguments: &[String], depth: usize) -> Truth {
    if depth > MAX_DEPTH {
        return Truth::Unknown;
    }
    let split = |at: &str| arguments.iter().position(|a| a == at).filter(|i| *i > 0 && i + 1 < arguments.len());
    if let Some(i) = split("-o") {
        return match (test(&arguments[..i], depth + 1), test(&arguments[i + 1..], depth + 1)) {
            (Truth::True, _) | (_, Truth::True) => Truth::True,
            (Truth::False, Truth::False) => Truth::False,
            _ => Truth::Unknown,
        };
    }
    if let Some(i) = split("-a") {
        return match (test(&arguments[..i], depth + 1), test(&arguments[i + 1..], depth + 1)) {
            (Truth::False, _) | (_, Truth::False) => Truth::False,
            (Truth::True, Truth::True) => Truth::True,
            _ => Truth::Unknown,
        };
    }
    let words: Vec<&str> = arguments.iter().map(String::as_str).collect();
    match words.as_slice() {
        [] => Truth::False,
        ["!", ..] if arguments.len() > 1 => test(&arguments[1..], depth + 1).not(),
        ["-n", word] | [word] if known(word) => Truth::of(!word.is_empty()),
        ["-z", word] if known(word) => Truth::of(word.is_empty()),
        // No systemd runs in a root that is being made.
        ["-d" | "-e", "/run/systemd/system"] => Truth::False,
        [a, "=" | "==", b] if known(a) && known(b) => Truth::of(a == b),
        [a, "!=", b] if known(a) && known(b) => Truth::of(a != b),
        [a, op, b] => match (a.parse::<i64>(), b.parse::<i64>()) {
            (Ok(a), Ok(b)) => match *op {
                "-eq" => Truth::of(a == b),
                "-ne" => Truth::of(a != b),
                "-gt" => Truth::of(a > b),
                "-ge" => Truth::of(a >= b),
                "-lt" => Truth::of(a < b),
                "-le" => Truth::of(a <= b),
                _ => Truth::Unknown,
            },
            _ => Truth::Unknown,
        },
        _ => Truth::Unknown,
    }
}
