//! From the YAML tree to typed values, reporting every mistake instead of the first.

use schemars::{JsonSchema, Schema, SchemaGenerator, json_schema};
use serde::{Serialize, Serializer};

use crate::diagnostic::{Diagnostic, Diagnostics, similar};
use crate::merge;
use crate::node::{Kind, Node, shorten};
use crate::source::At;

/// A type that can be read from a node.
pub(crate) trait Decode: Sized {
    /// What a person would call it: "a list of package names".
    fn what() -> String;

    /// Reads `node`; every mistake goes to `found`, and `None` means that there was at least one.
    fn decode(node: &Node, found: &mut Diagnostics) -> Option<Self>;

    /// The value when the key is not written; `None` when it must be.
    fn absent() -> Option<Self> {
        None
    }
}

/// Reports that `node` is not what was expected.
pub(crate) fn wrong_type<T: Decode>(node: &Node, found: &mut Diagnostics) {
    let what = T::what();
    let made = match &node.kind {
        Kind::Null { .. } => Diagnostic::error(format!("expected {what}, found no value"))
            .label("nothing is written here")
            .help("write a value, or remove the key"),
        _ => Diagnostic::error(format!("expected {what}, found {}", node.describe())).label(format!("expected {what}")),
    };
    found.push(made.place(node.place.clone()));
}

/// Reads the entries of a mapping with known keys.
pub(crate) struct Fields<'n> {
    node: &'n Node,
    name: &'static str,
}

impl<'n> Fields<'n> {
    /// Checks that `node` is a mapping with no other keys than `known`.
    pub fn open<T: Decode>(node: &'n Node, known: &[&'static str], found: &mut Diagnostics) -> Option<Self> {
        let Kind::Map(entries) = &node.kind else {
            wrong_type::<T>(node, found);
            return None;
        };
        for (key, _) in entries.iter().filter(|(k, _)| !known.contains(&k.value.as_str())) {
            found.push(unknown_key(key, known));
        }
        Some(Self { node, name: "" })
    }

    /// The value of `key`; `default` is what an absent key means where the type itself does not say.
    pub fn field<T: Decode>(&mut self, key: &'static str, default: Option<T>, found: &mut Diagnostics) -> Option<T> {
        self.name = key;
        match self.node.get(key) {
            Some(value) => {
                if let Kind::Null { .. } = value.kind {
                    found.push(empty_key::<T>(key, self.node, value));
                    return None;
                }
                T::decode(value, found)
            }
            None => default.or_else(T::absent).or_else(|| {
                found.push(
                    Diagnostic::error(format!("the key `{key}` is missing"))
                        .place(self.node.place.clone())
                        .label(format!("no `{key}` here"))
                        .help(format!("add `{key}:` with {}", T::what())),
                );
                None
            }),
        }
    }
}

/// The complaint about `key:` without a value, underlining the key.
fn empty_key<T: Decode>(key: &str, map: &Node, value: &Node) -> Diagnostic {
    let place = match &map.kind {
        Kind::Map(entries) => entries.iter().find(|(k, _)| k.value == key).and_then(|(k, _)| k.place.clone()),
        _ => None,
    };
    let what = T::what();
    let made = Diagnostic::error(format!("the key `{key}` has no value"))
        .place(place.unwrap_or_else(|| value.place.clone()))
        .label(format!("expected {what}"));
    if what.starts_with("a list") {
        made.help(format!("write `{key}: []` for none, or remove the line"))
    } else {
        made.help("write a value, or remove the line")
    }
}

/// The complaint about a key that means nothing here.
pub(crate) fn unknown_key(key: &At<String>, known: &[&str]) -> Diagnostic {
    let made = Diagnostic::error(format!("unknown key `{}`", shorten(key))).maybe_place(key.place.clone());
    let made = made.label("not a key of this section");
    if key.value == "<<" {
        return made.help("YAML merge keys are not read; share settings with `extends`");
    }
    let best = similar(&key.value, known);
    // A long list would drown the one that was meant.
    let made = if best.is_none() || known.len() <= 8 {
        made.note(format!("known keys: {}", known.iter().map(|k| format!("`{k}`")).collect::<Vec<_>>().join(", ")))
    } else {
        made
    };
    match best {
        Some(best) => made.did_you_mean(best),
        None => made,
    }
}

/// A text that was refused: what is wrong with it, and what would be right.
#[derive(Debug, Clone, PartialEq)]
pub(crate) struct Flaw {
    pub message: String,
    pub help: Option<String>,
    pub suggestion: Option<String>,
    /// Instead of "expected …".
    pub label: Option<String>,
    pub secret: bool,
}

impl Flaw {
    pub fn new(message: impl Into<String>) -> Self {
        Self { message: message.into(), help: None, suggestion: None, label: None, secret: false }
    }
    pub fn help(mut self, help: impl Into<String>) -> Self {
        self.help = Some(help.into());
        self
    }
    pub fn did_you_mean(mut self, suggestion: impl Into<String>) -> Self {
        self.suggestion = Some(suggestion.into());
        self
    }
    pub fn label(mut self, label: impl Into<String>) -> Self {
        self.label = Some(label.into());
        self
    }
    /// The refused text must not be shown.
    pub fn secret(mut self) -> Self {
        self.secret = true;
        self
    }
}

/// Reads a scalar through `parse`, which says what is wrong with it.
pub(crate) fn scalar<T: Decode>(
    node: &Node,
    found: &mut Diagnostics,
    parse: impl FnOnce(&str) -> Result<T, Flaw>,
) -> Option<T> {
    let Kind::Scalar { text, .. } = &node.kind else {
        wrong_type::<T>(node, found);
        return None;
    };
    match parse(text) {
        Ok(value) => Some(value),
        Err(flaw) => {
            let mut made = Diagnostic::error(flaw.message).place(node.place.clone());
            made = made.label(flaw.label.unwrap_or_else(|| format!("expected {}", T::what())));
            made.secret = flaw.secret;
            if let Some(help) = flaw.help {
                made = made.help(help);
            }
            if let Some(suggestion) = flaw.suggestion {
                made = made.did_you_mean(suggestion);
            }
            found.push(made);
            None
        }
    }
}

impl<T: Decode> Decode for At<T> {
    fn what() -> String {
        T::what()
    }
    fn decode(node: &Node, found: &mut Diagnostics) -> Option<Self> {
        T::decode(node, found).map(|value| At::new(value, node.place.clone()))
    }
    fn absent() -> Option<Self> {
        T::absent().map(At::default_value)
    }
}

impl<T: JsonSchema> JsonSchema for At<T> {
    fn inline_schema() -> bool {
        true
    }
    fn schema_name() -> std::borrow::Cow<'static, str> {
        T::schema_name()
    }
    fn json_schema(generator: &mut SchemaGenerator) -> Schema {
        generator.subschema_for::<T>()
    }
}

impl<T: Decode> Decode for Option<T> {
    fn what() -> String {
        T::what()
    }
    fn decode(node: &Node, found: &mut Diagnostics) -> Option<Self> {
        T::decode(node, found).map(Some)
    }
    fn absent() -> Option<Self> {
        Some(None)
    }
}

impl Decode for bool {
    fn what() -> String {
        "`true` or `false`".into()
    }
    fn decode(node: &Node, found: &mut Diagnostics) -> Option<Self> {
        match node.to_json() {
            serde_json::Value::Bool(value) => Some(value),
            serde_json::Value::String(text) => {
                let mut made = Diagnostic::error(format!("expected `true` or `false`, found {}", node.describe()))
                    .place(node.place.clone());
                match text.to_ascii_lowercase().as_str() {
                    "yes" | "on" | "true" => made = made.did_you_mean("true"),
                    "no" | "off" | "false" => made = made.did_you_mean("false"),
                    _ => {}
                }
                found.push(made);
                None
            }
            _ => {
                wrong_type::<Self>(node, found);
                None
            }
        }
    }
}

impl Decode for String {
    fn what() -> String {
        "text".into()
    }
    fn decode(node: &Node, found: &mut Diagnostics) -> Option<Self> {
        scalar(node, found, |text| Ok(text.to_owned()))
    }
}

/// A whole number from `MIN` to `MAX`.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub struct Whole<const MIN: u64, const MAX: u64>(u64);

impl<const MIN: u64, const MAX: u64> Whole<MIN, MAX> {
    /// The number.
    pub fn get(self) -> u64 {
        self.0
    }

    /// `value` brought into the range.
    pub const fn clamped(value: u64) -> Self {
        Self(if value < MIN {
            MIN
        } else if value > MAX {
            MAX
        } else {
            value
        })
    }
}

impl<const MIN: u64, const MAX: u64> Decode for Whole<MIN, MAX> {
    fn what() -> String {
        format!("a whole number from {MIN} to {MAX}")
    }
    fn decode(node: &Node, found: &mut Diagnostics) -> Option<Self> {
        scalar(node, found, |text| match text.parse::<u64>() {
            Ok(value) if (MIN..=MAX).contains(&value) => Ok(Self(value)),
            Ok(value) => Err(Flaw::new(format!("{value} is out of range"))),
            Err(_) => Err(Flaw::new(format!("`{}` is not a whole number", shorten(text)))),
        })
    }
}

impl<const MIN: u64, const MAX: u64> Serialize for Whole<MIN, MAX> {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        self.0.serialize(serializer)
    }
}

impl<const MIN: u64, const MAX: u64> JsonSchema for Whole<MIN, MAX> {
    fn inline_schema() -> bool {
        true
    }
    fn schema_name() -> std::borrow::Cow<'static, str> {
        format!("Whole_{MIN}_{MAX}").into()
    }
    fn json_schema(_: &mut SchemaGenerator) -> Schema {
        json_schema!({"type": "integer", "minimum": MIN, "maximum": MAX})
    }
}

impl<T: Decode> Decode for Vec<T> {
    fn what() -> String {
        let one = T::what();
        match one.strip_prefix("a ").or_else(|| one.strip_prefix("an ")) {
            Some(one) => format!("a list, each entry a {one}").replace("a a", "an a").replace("a O", "an O"),
            None => format!("a list of {one}"),
        }
    }
    fn decode(node: &Node, found: &mut Diagnostics) -> Option<Self> {
        let edited;
        let items = match &node.kind {
            Kind::List(items) => items,
            // `{add, remove, only}` that found nothing to inherit.
            Kind::Map(_) => {
                edited = merge::edit_list(&[], node, found)?;
                &edited
            }
            Kind::Scalar { text, .. } => {
                found.push(
                    Diagnostic::error(format!("expected {}, found {}", Self::what(), node.describe()))
                        .place(node.place.clone())
                        .label("not a list")
                        .did_you_mean(format!("[{}]", shorten(text))),
                );
                return None;
            }
            Kind::Null { .. } => {
                wrong_type::<Self>(node, found);
                return None;
            }
        };
        // Read all before giving up, so that each bad entry is reported.
        let read: Vec<Option<T>> = items.iter().map(|item| T::decode(item, found)).collect();
        read.into_iter().collect()
    }
    fn absent() -> Option<Self> {
        Some(Vec::new())
    }
}

/// Entries by name, in the order they are written: users, repositories.
#[derive(Debug, Clone, PartialEq)]
pub struct Named<K, T>(Vec<(At<K>, T)>);

impl<K: AsRef<str>, T> Named<K, T> {
    /// All entries, in the order they were written.
    pub fn iter(&self) -> impl Iterator<Item = (&At<K>, &T)> {
        self.0.iter().map(|(name, value)| (name, value))
    }

    /// The entry called `name`.
    pub fn get(&self, name: &str) -> Option<&T> {
        self.0.iter().find(|(k, _)| k.value.as_ref() == name).map(|(_, value)| value)
    }

    /// Number of entries.
    pub fn len(&self) -> usize {
        self.0.len()
    }

    /// Whether there are none.
    pub fn is_empty(&self) -> bool {
        self.0.is_empty()
    }
}

impl<K: Decode, T: Decode> Decode for Named<K, T> {
    fn what() -> String {
        format!("a mapping from a name to {}", T::what())
    }
    fn decode(node: &Node, found: &mut Diagnostics) -> Option<Self> {
        let Kind::Map(entries) = &node.kind else {
            wrong_type::<Self>(node, found);
            return None;
        };
        let mut read = Vec::with_capacity(entries.len());
        for (key, value) in entries {
            let place = key.place.clone().unwrap_or_else(|| value.place.clone());
            let name = K::decode(
                &Node { kind: Kind::Scalar { text: key.value.clone(), plain: false }, place: place.clone() },
                found,
            );
            let value = match value.kind {
                // `name: null` takes an inherited entry away; one that is left had nothing to take away.
                Kind::Null { written } => {
                    let made = Diagnostic::error(format!("`{}` has no settings", key.value)).place(place.clone());
                    found.push(if written {
                        made.help("`null` takes away an inherited entry, but none of this name is inherited")
                    } else {
                        made.help("write `{}` for an entry without settings, or `null` to take an inherited one away")
                    });
                    None
                }
                _ => T::decode(value, found),
            };
            read.push(name.zip(value).map(|(name, value)| (At::new(name, place), value)));
        }
        read.into_iter().collect::<Option<Vec<_>>>().map(Self)
    }
    fn absent() -> Option<Self> {
        Some(Self(Vec::new()))
    }
}

impl<K: AsRef<str>, T: Serialize> Serialize for Named<K, T> {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        // As a list of pairs: the order matters (ids are given out in it).
        serializer.collect_seq(self.0.iter().map(|(k, v)| (k.value.as_ref(), v)))
    }
}

impl<K: JsonSchema, T: JsonSchema> JsonSchema for Named<K, T> {
    fn inline_schema() -> bool {
        true
    }
    fn schema_name() -> std::borrow::Cow<'static, str> {
        format!("Named_{}", T::schema_name()).into()
    }
    fn json_schema(generator: &mut SchemaGenerator) -> Schema {
        let (name, entry) = (generator.subschema_for::<K>(), generator.subschema_for::<T>());
        json_schema!({
            "type": "object",
            "propertyNames": name,
            "additionalProperties": {"anyOf": [entry, {"type": "null"}]},
        })
    }
}
