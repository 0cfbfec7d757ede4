//! `variables` and `--set`: values that are put into the texts of a recipe before these are read.

use std::collections::{BTreeMap, BTreeSet};

use schemars::{JsonSchema, Schema, SchemaGenerator, json_schema};
use serde_json::Value as Json;

use crate::board::Architecture;
use crate::declare::{keyword, mapping, text};
use crate::decode::{Decode, Flaw, Named, scalar, wrong_type};
use crate::diagnostic::{Diagnostic, Diagnostics, similar};
use crate::node::{Kind, MAX_BYTES, Node, scalar_value, shorten};
use crate::source::{At, Place, Source};

/// Variables that every recipe has.
const PREDEFINED: &[&str] = &["arch", "board", "machine"];

/// Longest value, in bytes.
const MAX_VALUE: usize = 4096;

/// Where values of the command line stand, as messages call it.
const OPTION: &str = "--set";

text! {
    /// The name of a variable: at most 40 lower-case letters, digits and `_`, beginning with a letter.
    "the name of a variable"
    pub struct VariableName = |text| {
        if !is_name(text) {
            let flaw = Flaw::new(format!("`{}` cannot be the name of a variable", shorten(text)))
                .help("1 to 40 lower-case letters, digits and `_`, beginning with a letter");
            let meant = text.to_ascii_lowercase().replace('-', "_");
            return Err(if is_name(&meant) { flaw.did_you_mean(meant) } else { flaw });
        }
        if PREDEFINED.contains(&text) {
            return Err(Flaw::new(format!("`{text}` is set by the board")).help("choose another name"));
        }
        Ok(())
    }, pattern r"^[a-z][a-z0-9_]{0,39}$";
}

fn is_name(text: &str) -> bool {
    text.len() <= 40
        && text.starts_with(|c: char| c.is_ascii_lowercase())
        && text.chars().all(|c| c.is_ascii_lowercase() || c.is_ascii_digit() || c == '_')
}

keyword! {
    /// What a variable holds.
    "a kind of value"
    pub enum VariableKind {
        /// Any text of one line.
        Text = "text",
        /// A number.
        Number = "number",
        /// `true` or `false`.
        Boolean = "boolean",
    }
}

/// A value with what YAML makes of it.
#[derive(Debug, Clone, PartialEq)]
pub struct VariableValue {
    text: String,
    /// Without quotes, so that it may be a number or boolean.
    plain: bool,
}

impl VariableValue {
    fn kind(&self) -> VariableKind {
        match scalar_value(&self.text, self.plain) {
            Json::Bool(_) => VariableKind::Boolean,
            Json::Number(_) => VariableKind::Number,
            _ => VariableKind::Text,
        }
    }
}

impl serde::Serialize for VariableValue {
    fn serialize<S: serde::Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        scalar_value(&self.text, self.plain).serialize(serializer)
    }
}

impl Decode for VariableValue {
    fn what() -> String {
        "a text, a number, `true` or `false`".into()
    }
    fn decode(node: &Node, found: &mut Diagnostics) -> Option<Self> {
        let plain = matches!(node.kind, Kind::Scalar { plain: true, .. });
        scalar(node, found, |text| checked(text).map(|()| Self { text: text.to_owned(), plain }))
    }
}

fn checked(text: &str) -> Result<(), Flaw> {
    if text.len() > MAX_VALUE || text.chars().any(char::is_control) {
        return Err(Flaw::new(format!("the value of a variable has at most {MAX_VALUE} bytes, on one line")));
    }
    if text.contains("${") {
        return Err(Flaw::new("the value of a variable holds no other variable"));
    }
    Ok(())
}

impl JsonSchema for VariableValue {
    fn inline_schema() -> bool {
        true
    }
    fn schema_name() -> std::borrow::Cow<'static, str> {
        "VariableValue".into()
    }
    fn json_schema(_: &mut SchemaGenerator) -> Schema {
        json_schema!({"type": ["string", "number", "boolean"]})
    }
}

mapping! {
    /// A variable whose values are restricted.
    "the settings of a variable"
    pub struct VariableSettings {
        /// What it is for, for people.
        description: Option<String>,
        /// What it holds. Default: what `default` is.
        kind: Option<VariableKind>,
        /// Its value where `--set` gives none. Without a default, `--set` must give one.
        default: Option<At<VariableValue>>,
        /// The values that it may have; empty: all of its kind.
        values: Vec<At<VariableValue>>,
    }
}

/// One of `variables`: its value alone, or a mapping that also says which values are allowed.
#[derive(Debug, Clone, PartialEq, serde::Serialize)]
#[serde(transparent)]
pub struct RecipeVariable(pub VariableSettings);

impl Decode for RecipeVariable {
    fn what() -> String {
        "a variable: its value, or a mapping of `default`, `kind` and `values`".into()
    }
    fn decode(node: &Node, found: &mut Diagnostics) -> Option<Self> {
        match &node.kind {
            Kind::Scalar { .. } => {
                let default = Some(At::<VariableValue>::decode(node, found)?);
                Some(Self(VariableSettings { description: None, kind: None, default, values: Vec::new() }))
            }
            Kind::Map(_) => {
                let settings = VariableSettings::decode(node, found)?;
                let (kind, before) = (settings.kind(), found.iter().count());
                for value in settings.default.iter().chain(&settings.values) {
                    if let Err(flaw) = settings.admits(kind, &value.text, value.plain) {
                        found.push(flaw.told(value.place.clone()));
                    }
                }
                (found.iter().count() == before).then_some(Self(settings))
            }
            _ => {
                wrong_type::<Self>(node, found);
                None
            }
        }
    }
}

impl Flaw {
    fn told(self, place: Option<Place>) -> Diagnostic {
        let mut made = Diagnostic::error(self.message).maybe_place(place);
        if let Some(help) = self.help {
            made = made.help(help);
        }
        match self.suggestion {
            Some(best) => made.did_you_mean(best),
            None => made,
        }
    }
}

impl VariableSettings {
    fn kind(&self) -> VariableKind {
        let of_default =
            || self.default.as_ref().or(self.values.first()).map_or(VariableKind::Text, |value| value.kind());
        self.kind.unwrap_or_else(of_default)
    }

    /// Whether the variable may have this value.
    fn admits(&self, kind: VariableKind, text: &str, plain: bool) -> Result<(), Flaw> {
        let value = VariableValue { text: text.to_owned(), plain };
        if kind != VariableKind::Text && value.kind() != kind {
            let flaw = Flaw::new(format!("`{}` is not a {kind}", shorten(text)));
            return Err(match (&self.kind, kind) {
                (_, VariableKind::Boolean) => flaw.help("write `true` or `false`"),
                (None, _) => flaw.help(
                    "the variable is a number because its default is; put the default in quotes to allow any text",
                ),
                _ => flaw,
            });
        }
        if !self.values.is_empty() && !self.values.iter().any(|allowed| allowed.text == text) {
            let all: Vec<&str> = self.values.iter().map(|value| value.text.as_str()).collect();
            let listed = all.iter().map(|value| format!("`{value}`")).collect::<Vec<_>>().join(", ");
            let flaw = Flaw::new(format!("`{}` is none of the values that the variable may have", shorten(text)))
                .help(format!("write one of {listed}"));
            return Err(match similar(text, &all) {
                Some(best) => flaw.did_you_mean(best),
                None => flaw,
            });
        }
        Ok(())
    }
}

impl JsonSchema for RecipeVariable {
    fn inline_schema() -> bool {
        true
    }
    fn schema_name() -> std::borrow::Cow<'static, str> {
        "RecipeVariable".into()
    }
    fn json_schema(generator: &mut SchemaGenerator) -> Schema {
        let settings = generator.subschema_for::<VariableSettings>();
        json_schema!({"anyOf": [{"type": ["string", "number", "boolean"], "description": "Its value."}, settings]})
    }
}

/// The variables of a recipe with the values that they have in this run.
#[derive(Debug, Default)]
pub(crate) struct Values {
    values: BTreeMap<String, String>,
    /// Names that some text of the recipe uses.
    used: BTreeSet<String>,
    /// What `--set` named, and where.
    set: Vec<At<String>>,
    /// Bytes that were put in.
    added: usize,
    /// Something is wrong with a variable or its use: the texts are not what they should be.
    pub failed: bool,
}

impl Values {
    /// Reads the declarations of a merged recipe, and `NAME=VALUE` of the command line.
    pub fn new(recipe: &Node, settings: &[String], found: &mut Diagnostics) -> Self {
        let mut all = Self::default();
        let declared = match recipe.get("variables") {
            None | Some(Node { kind: Kind::Null { .. }, .. }) => Named::absent(),
            // What is wrong with a declaration is told when the recipe is read.
            Some(node) => Named::<VariableName, RecipeVariable>::decode(node, &mut Diagnostics::new()),
        };
        let Some(declared) = declared else {
            all.failed = true;
            return all;
        };
        all.set(&declared, settings, found);
        for (name, variable) in declared.iter() {
            if all.values.contains_key(name.as_str()) {
                continue;
            }
            match &variable.0.default {
                Some(default) => drop(all.values.insert(name.to_string(), default.text.clone())),
                None => {
                    all.failed = true;
                    found.push(
                        Diagnostic::error(format!("the variable `{name}` has no value"))
                            .maybe_place(name.place.clone())
                            .help(format!("give it one with `--set {name}=VALUE`, or write a `default`")),
                    );
                    // So that its uses are not told as unknown, too.
                    all.values.insert(name.to_string(), String::new());
                }
            }
        }
        all
    }

    fn set(&mut self, declared: &Named<VariableName, RecipeVariable>, settings: &[String], found: &mut Diagnostics) {
        for setting in settings {
            let source = Source::new(OPTION, setting);
            let place = |range| Place::new(&source, range);
            let Some((name, value)) = setting.split_once('=') else {
                let made =
                    Diagnostic::error(format!("`{}` sets nothing", shorten(setting))).place(place(0..setting.len()));
                found.push(made.help("write `--set NAME=VALUE`"));
                continue;
            };
            let at = At::new(name.to_owned(), place(0..name.len()));
            let Some(variable) = declared.get(name) else {
                let made = if PREDEFINED.contains(&name) {
                    Diagnostic::at(&at, format!("`{name}` is set by the board"), [""; 0])
                } else {
                    let names: Vec<&str> = declared.iter().map(|(name, _)| name.as_str()).collect();
                    let made = Diagnostic::at(&at, format!("the recipe has no variable `{}`", shorten(name)), &names);
                    match names.is_empty() {
                        true => made.help(format!("declare it in the recipe: `variables: {{{name}: DEFAULT}}`")),
                        false => made.note(format!("its variables: {}", names.join(", "))),
                    }
                };
                found.push(made);
                continue;
            };
            let admitted = checked(value).and_then(|()| variable.0.admits(variable.0.kind(), value, true));
            if let Err(flaw) = admitted {
                found.push(flaw.told(Some(place(name.len() + 1..setting.len()))));
            } else if self.set.iter().any(|other| other.value == name) {
                found.push(Diagnostic::at(&at, format!("`{name}` is set twice"), [""; 0]).help("keep one of them"));
            }
            // A value that is refused counts as well, so that nothing else is told of it.
            self.values.insert(name.to_owned(), value.to_owned());
            self.set.push(at);
        }
    }

    /// Adds what the board says.
    pub fn of_board(&mut self, board: &str, architecture: Architecture) {
        let machine = match architecture.as_str() {
            "arm64" => "aarch64",
            "armhf" => "armv7l",
            "amd64" => "x86_64",
            other => other,
        };
        for (name, value) in [("arch", architecture.as_str()), ("board", board), ("machine", machine)] {
            self.values.insert(name.to_owned(), value.to_owned());
        }
    }

    /// Puts the values into all texts of `node` but the declarations.
    pub fn put_in(&mut self, node: &mut Node, found: &mut Diagnostics) {
        match &mut node.kind {
            Kind::Null { .. } => {}
            Kind::List(items) => items.iter_mut().for_each(|item| self.put_in(item, found)),
            Kind::Map(entries) => {
                for (key, value) in entries.iter_mut() {
                    if key.value != "variables" {
                        self.put_in(value, found);
                    }
                }
            }
            Kind::Scalar { text, .. } => {
                if text.contains("${") {
                    let put = self.put_in_text(text, &node.place, found);
                    *text = put;
                }
            }
        }
    }

    fn put_in_text(&mut self, text: &str, place: &Place, found: &mut Diagnostics) -> String {
        let mut out = String::with_capacity(text.len());
        let mut rest = text;
        while let Some(at) = rest.find("${") {
            let after = &rest[at + 2..];
            let name = after.find('}').map(|end| &after[..end]);
            // What cannot be a name is the text of something else, such as a shell's `${HOME}` or `${x:-y}`.
            let Some(name) = name.filter(|name| is_name(name)) else {
                if let Some(meant) = name.and_then(|name| self.misspelt(name)) {
                    self.unknown(name.unwrap_or_default(), Some(meant), place, found);
                }
                out.push_str(&rest[..at + 2]);
                rest = after;
                continue;
            };
            if let Some(before) = rest[..at].strip_suffix('$') {
                out.push_str(before);
                out.push_str(&rest[at..at + 3 + name.len()]);
            } else {
                out.push_str(&rest[..at]);
                match self.values.get(name) {
                    Some(value) => {
                        out.push_str(value);
                        self.added = self.added.saturating_add(value.len());
                        self.used.insert(name.to_owned());
                    }
                    None => self.unknown(name, None, place, found),
                }
            }
            if self.added > MAX_BYTES {
                self.failed = true;
                found
                    .push(Diagnostic::error("the variables of this recipe grow it beyond bounds").place(place.clone()));
                return out;
            }
            rest = &after[name.len() + 1..];
        }
        out.push_str(rest);
        out
    }

    /// The variable that a name in other letters means.
    fn misspelt(&self, name: &str) -> Option<String> {
        let meant = name.to_ascii_lowercase().replace('-', "_");
        self.values.contains_key(&meant).then_some(meant)
    }

    fn unknown(&mut self, name: &str, meant: Option<String>, place: &Place, found: &mut Diagnostics) {
        self.failed = true;
        let written = format!("${{{name}}}");
        let range = place.range();
        let exact = place.text().find(&written).map(|at| range.start + at..range.start + at + written.len());
        let made = Diagnostic::error(format!("there is no variable `{name}`"))
            .place(Place::new(place.source(), exact.unwrap_or(range)));
        let known: Vec<&str> = self.values.keys().map(String::as_str).collect();
        let best = meant.or_else(|| similar(name, &known).map(|best| best.to_string()));
        found.push(match best {
            Some(best) => made.did_you_mean(format!("${{{best}}}")),
            None => made.help(format!("declare it under `variables`, or write `$${{{name}}}` for the text itself")),
        });
    }

    /// Reports what `--set` named and nothing uses; gives the values of declared variables.
    pub fn finish(self, found: &mut Diagnostics) -> BTreeMap<String, String> {
        for name in self.set.iter().filter(|name| !self.used.contains(&name.value)) {
            found.push(
                Diagnostic::at(name, format!("no text of the recipe uses the variable `{}`", name.value), [""; 0])
                    .help(format!("write `${{{}}}` where its value belongs", name.value)),
            );
        }
        self.values.into_iter().filter(|(name, _)| !PREDEFINED.contains(&name.as_str())).collect()
    }
}
