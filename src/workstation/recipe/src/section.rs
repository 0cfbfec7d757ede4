//! A part of a recipe that another crate gives its meaning to: `first_boot`, `update`, `fleet`, `agent`.

use schemars::{JsonSchema, Schema, SchemaGenerator, json_schema};
use serde::de::{self, DeserializeOwned, DeserializeSeed, IntoDeserializer, Visitor};
use serde::{Serialize, Serializer};
use serde_json::Value;

use crate::decode::{Decode, unknown_key, wrong_type};
use crate::diagnostic::{Diagnostic, Diagnostics, similar};
use crate::node::{Kind, Node, shorten};
use crate::source::{At, Place, Source};

/// A mapping whose keys this crate does not know, with the place of every value.
#[derive(Debug, Clone)]
pub struct Section {
    node: Option<Node>,
}

impl Section {
    /// Reads the section as `T`. Mistakes that serde finds (unknown or missing field, wrong type, a refused value) come back with
    /// the line they are on. A section that is not written reads as an empty mapping.
    ///
    /// `T` should be `deny_unknown_fields`, else a misspelled key is lost.
    ///
    /// # Errors
    /// What is wrong in the section, with its place.
    pub fn read<T: DeserializeOwned>(&self) -> Result<T, Diagnostics> {
        let empty;
        let node = match &self.node {
            Some(node) => node,
            None => {
                empty = Node { kind: Kind::Map(Vec::new()), place: Place::file(&Source::new("", "")) };
                &empty
            }
        };
        T::deserialize(Reader(node)).map_err(|error| {
            let mut made = error.0;
            // Nothing to underline in a section that no file holds.
            if self.node.is_none() {
                made.place = None;
            }
            Diagnostics::from(*made)
        })
    }

    /// Whether a file wrote this section.
    pub fn is_written(&self) -> bool {
        self.node.is_some()
    }

    /// Whether no file wrote it.
    pub fn is_absent(&self) -> bool {
        !self.is_written()
    }

    /// The section as JSON; an empty object when it is not written.
    pub fn value(&self) -> Value {
        self.node.as_ref().map_or_else(|| Value::Object(serde_json::Map::new()), Node::to_json)
    }

    /// The place of the value at `path`, keys and list positions from the top of the section.
    pub fn place(&self, path: &[&str]) -> Option<Place> {
        let mut node = self.node.as_ref()?;
        for step in path {
            node = match &node.kind {
                Kind::List(items) => items.get(step.parse::<usize>().ok()?)?,
                _ => node.get(step)?,
            };
        }
        Some(node.place.clone())
    }
}

impl PartialEq for Section {
    fn eq(&self, other: &Self) -> bool {
        self.value() == other.value()
    }
}

impl Serialize for Section {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        self.value().serialize(serializer)
    }
}

impl Decode for Section {
    fn what() -> String {
        "a mapping".into()
    }
    fn decode(node: &Node, found: &mut Diagnostics) -> Option<Self> {
        if let Kind::Map(_) = node.kind {
            return Some(Self { node: Some(node.clone()) });
        }
        wrong_type::<Self>(node, found);
        None
    }
    fn absent() -> Option<Self> {
        Some(Self { node: None })
    }
}

impl JsonSchema for Section {
    fn inline_schema() -> bool {
        true
    }
    fn schema_name() -> std::borrow::Cow<'static, str> {
        "Section".into()
    }
    fn json_schema(_: &mut SchemaGenerator) -> Schema {
        json_schema!({"type": "object"})
    }
}

/// Reads `text` as YAML into `T`, with the same checks, limits and diagnostics as a section; `path` is shown in them.
///
/// # Errors
/// What is wrong in the text, with its place.
pub fn read_str<T: DeserializeOwned>(path: &std::path::Path, text: &str) -> Result<T, Diagnostics> {
    let node = crate::node::parse(&Source::new(path, text))?;
    T::deserialize(Reader(&node)).map_err(|error| Diagnostics::from(*error.0))
}

/// A serde error that becomes a diagnostic.
#[derive(Debug)]
struct ReadError(Box<Diagnostic>);

impl ReadError {
    /// Gives the error the place of the innermost value that it passed on its way up.
    fn within(mut self, node: &Node) -> Self {
        self.0.place.get_or_insert_with(|| node.place.clone());
        self
    }
}

impl std::fmt::Display for ReadError {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(&self.0.message)
    }
}

impl std::error::Error for ReadError {}

impl de::Error for ReadError {
    fn custom<T: std::fmt::Display>(message: T) -> Self {
        Self(Box::new(Diagnostic::error(message.to_string())))
    }
    fn invalid_type(found: de::Unexpected<'_>, expected: &dyn de::Expected) -> Self {
        let found = match found {
            de::Unexpected::Unit => "nothing".into(),
            de::Unexpected::Str(text) => format!("the text `{}`", shorten(text)),
            de::Unexpected::Map => "a mapping".into(),
            de::Unexpected::Seq => "a list".into(),
            other => format!("the {other}"),
        };
        Self(Box::new(
            Diagnostic::error(format!("expected {expected}, found {found}")).label(format!("expected {expected}")),
        ))
    }
    fn unknown_variant(variant: &str, expected: &'static [&'static str]) -> Self {
        let listed = expected.iter().map(|w| format!("`{w}`")).collect::<Vec<_>>().join(", ");
        let made = Diagnostic::error(format!("`{}` is not one of the known words", shorten(variant)));
        let made = made.note(format!("known: {listed}"));
        Self(Box::new(match similar(variant, expected) {
            Some(best) => made.did_you_mean(best),
            None => made,
        }))
    }
    fn unknown_field(field: &str, expected: &'static [&'static str]) -> Self {
        // The key's own place is filled in by the mapping that holds it.
        Self(Box::new(unknown_key(&At::default_value(field.to_owned()), expected)))
    }
    fn missing_field(field: &'static str) -> Self {
        Self(Box::new(Diagnostic::error(format!("the key `{field}` is missing")).label(format!("no `{field}` here"))))
    }
}

/// Hands a node to serde.
struct Reader<'n>(&'n Node);

impl<'n> Reader<'n> {
    fn text(&self) -> Option<&'n str> {
        match &self.0.kind {
            Kind::Scalar { text, .. } => Some(text),
            _ => None,
        }
    }
}

/// Texts: a plain `1.10` stays `1.10` when text is asked for.
macro_rules! as_text {
    ($($method:ident)*) => { $(
        fn $method<V: Visitor<'de>>(self, visitor: V) -> Result<V::Value, ReadError> {
            match self.text() {
                Some(text) => visitor.visit_str(text).map_err(|e: ReadError| e.within(self.0)),
                None => self.deserialize_any(visitor),
            }
        }
    )* };
}

/// Numbers and booleans: in quotes they are text, and refused as such.
macro_rules! as_any {
    ($($method:ident)*) => { $(
        fn $method<V: Visitor<'de>>(self, visitor: V) -> Result<V::Value, ReadError> {
            self.deserialize_any(visitor)
        }
    )* };
}

impl<'de> de::Deserializer<'de> for Reader<'_> {
    type Error = ReadError;

    fn deserialize_any<V: Visitor<'de>>(self, visitor: V) -> Result<V::Value, ReadError> {
        let node = self.0;
        let read = match &node.kind {
            Kind::Null { .. } => visitor.visit_unit(),
            Kind::Scalar { .. } => match node.to_json() {
                Value::Bool(value) => visitor.visit_bool(value),
                Value::Number(number) => match (number.as_u64(), number.as_i64(), number.as_f64()) {
                    (Some(value), _, _) => visitor.visit_u64(value),
                    (_, Some(value), _) => visitor.visit_i64(value),
                    (_, _, Some(value)) => visitor.visit_f64(value),
                    _ => visitor.visit_str(self.text().unwrap_or_default()),
                },
                _ => visitor.visit_str(self.text().unwrap_or_default()),
            },
            Kind::List(items) => visitor.visit_seq(Items(items.iter())),
            Kind::Map(entries) => visitor.visit_map(Entries { rest: entries.iter(), value: None }),
        };
        read.map_err(|error| error.within(node))
    }

    fn deserialize_option<V: Visitor<'de>>(self, visitor: V) -> Result<V::Value, ReadError> {
        match self.0.kind {
            Kind::Null { .. } => visitor.visit_none(),
            _ => visitor.visit_some(self),
        }
    }

    fn deserialize_newtype_struct<V: Visitor<'de>>(self, _: &'static str, visitor: V) -> Result<V::Value, ReadError> {
        let node = self.0;
        visitor.visit_newtype_struct(self).map_err(|error| error.within(node))
    }

    fn deserialize_enum<V: Visitor<'de>>(
        self,
        _: &'static str,
        _: &'static [&'static str],
        visitor: V,
    ) -> Result<V::Value, ReadError> {
        let node = self.0;
        let read = match &node.kind {
            Kind::Scalar { text, .. } => visitor.visit_enum(text.as_str().into_deserializer()),
            Kind::Map(entries) if entries.len() == 1 => {
                visitor.visit_enum(de::value::MapAccessDeserializer::new(Entries { rest: entries.iter(), value: None }))
            }
            _ => Err(de::Error::custom(format!(
                "expected one word or a mapping with one key, found {}",
                node.describe()
            ))),
        };
        read.map_err(|error: ReadError| error.within(node))
    }

    as_text! { deserialize_str deserialize_string deserialize_identifier deserialize_char }

    as_any! {
        deserialize_bool deserialize_i8 deserialize_i16 deserialize_i32 deserialize_i64 deserialize_i128 deserialize_u8
        deserialize_u16 deserialize_u32 deserialize_u64 deserialize_u128 deserialize_f32 deserialize_f64 deserialize_bytes
        deserialize_byte_buf deserialize_unit deserialize_seq deserialize_map deserialize_ignored_any
    }

    fn deserialize_unit_struct<V: Visitor<'de>>(self, _: &'static str, visitor: V) -> Result<V::Value, ReadError> {
        self.deserialize_any(visitor)
    }
    fn deserialize_tuple<V: Visitor<'de>>(self, _: usize, visitor: V) -> Result<V::Value, ReadError> {
        self.deserialize_any(visitor)
    }
    fn deserialize_tuple_struct<V: Visitor<'de>>(
        self,
        _: &'static str,
        _: usize,
        visitor: V,
    ) -> Result<V::Value, ReadError> {
        self.deserialize_any(visitor)
    }
    fn deserialize_struct<V: Visitor<'de>>(
        self,
        _: &'static str,
        _: &'static [&'static str],
        visitor: V,
    ) -> Result<V::Value, ReadError> {
        self.deserialize_any(visitor)
    }
}

struct Items<'n>(std::slice::Iter<'n, Node>);

impl<'de> de::SeqAccess<'de> for Items<'_> {
    type Error = ReadError;
    fn next_element_seed<T: DeserializeSeed<'de>>(&mut self, seed: T) -> Result<Option<T::Value>, ReadError> {
        let Some(node) = self.0.next() else { return Ok(None) };
        seed.deserialize(Reader(node)).map(Some).map_err(|error| error.within(node))
    }
}

struct Entries<'n> {
    rest: std::slice::Iter<'n, (At<String>, Node)>,
    value: Option<&'n Node>,
}

impl<'de> de::MapAccess<'de> for Entries<'_> {
    type Error = ReadError;
    fn next_key_seed<K: DeserializeSeed<'de>>(&mut self, seed: K) -> Result<Option<K::Value>, ReadError> {
        let Some((key, value)) = self.rest.next() else { return Ok(None) };
        self.value = Some(value);
        let place = key.place.clone().unwrap_or_else(|| value.place.clone());
        let node = Node { kind: Kind::Scalar { text: key.value.clone(), plain: true }, place };
        seed.deserialize(Reader(&node)).map(Some).map_err(|error| error.within(&node))
    }
    fn next_value_seed<V: DeserializeSeed<'de>>(&mut self, seed: V) -> Result<V::Value, ReadError> {
        let Some(node) = self.value.take() else {
            return Err(de::Error::custom("a value was asked for before its key"));
        };
        seed.deserialize(Reader(node)).map_err(|error| error.within(node))
    }
}
