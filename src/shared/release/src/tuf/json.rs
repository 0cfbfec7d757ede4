//! JSON as signed metadata uses it: no fractions, no name twice in an object, bounded before it is parsed; and its
//! canonical form (OLPC canonical JSON), which is what signatures are over.

use std::collections::BTreeMap;
use std::fmt;

use serde::de::{self, Deserialize, Deserializer, MapAccess, SeqAccess, Visitor};
use serde::ser::{Serialize, Serializer};

use super::limits;

/// A JSON value. Objects are sorted by the bytes of their names, as the canonical form wants them.
#[derive(Clone, PartialEq, Eq, Debug)]
pub enum Json {
    Null,
    Bool(bool),
    Number(i64),
    Text(String),
    List(Vec<Json>),
    Object(Object),
}

/// The members of an object by name.
pub type Object = BTreeMap<String, Json>;

/// Why bytes are no JSON that this crate reads.
#[derive(Clone, PartialEq, Eq, Debug, thiserror::Error)]
pub enum Malformed {
    #[error("{size} bytes, at most {limit} are read")]
    Size { size: usize, limit: usize },
    #[error("more than {} levels within each other", limits::NESTING)]
    Nesting,
    #[error("more than {} values", limits::VALUES)]
    Values,
    #[error("{0}")]
    Syntax(String),
}

/// Parses `bytes`, of which there may be `limit`.
///
/// # Errors
/// [`Malformed`]: too big, too deep, too many values, or not JSON of this kind.
pub fn parse(bytes: &[u8], limit: usize) -> Result<Json, Malformed> {
    if bytes.len() > limit {
        return Err(Malformed::Size { size: bytes.len(), limit });
    }
    survey(bytes)?;
    serde_json::from_slice(bytes).map_err(|error| Malformed::Syntax(error.to_string()))
}

/// Counts levels and values without building anything. Each value but the first follows one of `[ { , :`.
fn survey(bytes: &[u8]) -> Result<(), Malformed> {
    let (mut depth, mut values) = (0usize, 1usize);
    let (mut in_text, mut escaped) = (false, false);
    for &byte in bytes {
        if in_text {
            match byte {
                _ if escaped => escaped = false,
                b'\\' => escaped = true,
                b'"' => in_text = false,
                _ => {}
            }
            continue;
        }
        match byte {
            b'"' => in_text = true,
            b'[' | b'{' => {
                depth += 1;
                values += 1;
            }
            b']' | b'}' => depth = depth.saturating_sub(1),
            b',' | b':' => values += 1,
            _ => {}
        }
        if depth > limits::NESTING {
            return Err(Malformed::Nesting);
        }
        if values > limits::VALUES {
            return Err(Malformed::Values);
        }
    }
    Ok(())
}

impl Json {
    /// OLPC canonical JSON: names sorted, no white space, only `"` and `\` escaped, integers only.
    #[must_use]
    pub fn canonical(&self) -> Vec<u8> {
        let mut out = Vec::new();
        self.write_canonical(&mut out);
        out
    }

    fn write_canonical(&self, out: &mut Vec<u8>) {
        match self {
            Json::Null => out.extend_from_slice(b"null"),
            Json::Bool(true) => out.extend_from_slice(b"true"),
            Json::Bool(false) => out.extend_from_slice(b"false"),
            Json::Number(number) => out.extend_from_slice(number.to_string().as_bytes()),
            Json::Text(text) => canonical_text(text, out),
            Json::List(items) => {
                out.push(b'[');
                for (i, item) in items.iter().enumerate() {
                    if i > 0 {
                        out.push(b',');
                    }
                    item.write_canonical(out);
                }
                out.push(b']');
            }
            Json::Object(members) => {
                out.push(b'{');
                for (i, (name, value)) in members.iter().enumerate() {
                    if i > 0 {
                        out.push(b',');
                    }
                    canonical_text(name, out);
                    out.push(b':');
                    value.write_canonical(out);
                }
                out.push(b'}');
            }
        }
    }

    pub fn text(&self) -> Option<&str> {
        match self {
            Json::Text(text) => Some(text),
            _ => None,
        }
    }

    pub fn number(&self) -> Option<i64> {
        match self {
            Json::Number(number) => Some(*number),
            _ => None,
        }
    }

    pub fn list(&self) -> Option<&[Json]> {
        match self {
            Json::List(items) => Some(items),
            _ => None,
        }
    }

    pub fn object(&self) -> Option<&Object> {
        match self {
            Json::Object(members) => Some(members),
            _ => None,
        }
    }
}

/// Numbers beyond 2^63 do not come from our reader, and no file is so long.
pub(super) fn number(n: u64) -> Json {
    Json::Number(i64::try_from(n).unwrap_or(i64::MAX))
}

fn canonical_text(text: &str, out: &mut Vec<u8>) {
    out.push(b'"');
    for byte in text.bytes() {
        if matches!(byte, b'"' | b'\\') {
            out.push(b'\\');
        }
        out.push(byte);
    }
    out.push(b'"');
}

impl From<&str> for Json {
    fn from(text: &str) -> Json {
        Json::Text(text.to_owned())
    }
}

impl From<String> for Json {
    fn from(text: String) -> Json {
        Json::Text(text)
    }
}

impl<const N: usize> From<[(&str, Json); N]> for Json {
    fn from(members: [(&str, Json); N]) -> Json {
        Json::Object(members.into_iter().map(|(name, value)| (name.to_owned(), value)).collect())
    }
}

impl Serialize for Json {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        match self {
            Json::Null => serializer.serialize_unit(),
            Json::Bool(value) => serializer.serialize_bool(*value),
            Json::Number(number) => serializer.serialize_i64(*number),
            Json::Text(text) => serializer.serialize_str(text),
            Json::List(items) => serializer.collect_seq(items),
            Json::Object(members) => serializer.collect_map(members),
        }
    }
}

impl<'de> Deserialize<'de> for Json {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Json, D::Error> {
        deserializer.deserialize_any(Reader)
    }
}

struct Reader;

impl<'de> Visitor<'de> for Reader {
    type Value = Json;

    fn expecting(&self, f: &mut fmt::Formatter) -> fmt::Result {
        f.write_str("JSON with whole numbers")
    }

    fn visit_unit<E>(self) -> Result<Json, E> {
        Ok(Json::Null)
    }

    fn visit_bool<E>(self, value: bool) -> Result<Json, E> {
        Ok(Json::Bool(value))
    }

    fn visit_i64<E>(self, number: i64) -> Result<Json, E> {
        Ok(Json::Number(number))
    }

    fn visit_u64<E: de::Error>(self, number: u64) -> Result<Json, E> {
        i64::try_from(number).map(Json::Number).map_err(|_| E::custom(format_args!("the number {number} is too big")))
    }

    fn visit_f64<E: de::Error>(self, number: f64) -> Result<Json, E> {
        Err(E::custom(format_args!("{number} is no whole number below 2^63")))
    }

    fn visit_str<E>(self, text: &str) -> Result<Json, E> {
        Ok(Json::Text(text.to_owned()))
    }

    fn visit_string<E>(self, text: String) -> Result<Json, E> {
        Ok(Json::Text(text))
    }

    fn visit_seq<A: SeqAccess<'de>>(self, mut items: A) -> Result<Json, A::Error> {
        let mut list = Vec::new();
        while let Some(item) = items.next_element()? {
            list.push(item);
        }
        Ok(Json::List(list))
    }

    fn visit_map<A: MapAccess<'de>>(self, mut members: A) -> Result<Json, A::Error> {
        let mut object = Object::new();
        while let Some((name, value)) = members.next_entry::<String, Json>()? {
            // Readers that disagree on which of two members counts would disagree on what was signed.
            if object.contains_key(&name) {
                return Err(de::Error::custom(format_args!("{name:?} is there twice")));
            }
            object.insert(name, value);
        }
        Ok(Json::Object(object))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn read(text: &str) -> Result<Json, Malformed> {
        parse(text.as_bytes(), 1 << 20)
    }

    #[test]
    fn the_canonical_form_is_that_of_the_specification() {
        let json = read(r#" { "b" : [ 1 , -2, true, null ], "a\"\\\n" : "é\u0041" , "": {} } "#).unwrap();
        assert_eq!(json.canonical(), b"{\"\":{},\"a\\\"\\\\\n\":\"\xc3\xa9A\",\"b\":[1,-2,true,null]}");
    }

    #[test]
    fn what_readers_could_disagree_on_is_refused() {
        for text in ["1.5", "1e3", "{\"a\":1,\"a\":2}", "9223372036854775808", "[1] 2", "\"\\ud800\"", "", "{'a':1}"] {
            assert!(matches!(read(text), Err(Malformed::Syntax(_))), "{text}");
        }
        assert_eq!(read("9223372036854775807"), Ok(Json::Number(i64::MAX)));
    }

    #[test]
    fn size_nesting_and_values_are_bounded_before_parsing() {
        assert_eq!(parse(b"[1,2]", 4), Err(Malformed::Size { size: 5, limit: 4 }));
        let nested = |levels: usize| "[".repeat(levels) + &"]".repeat(levels);
        assert!(read(&nested(limits::NESTING)).is_ok());
        assert_eq!(read(&nested(limits::NESTING + 1)), Err(Malformed::Nesting));
        assert_eq!(read(&"[".repeat(1 << 19)), Err(Malformed::Nesting));
        assert!(read(&format!("[0{}]", ",0".repeat(limits::VALUES - 2))).is_ok());
        assert_eq!(read(&format!("[0{}]", ",0".repeat(limits::VALUES))), Err(Malformed::Values));
        // Marks within texts are no structure.
        assert!(read(&format!("\"{}\\\"[[[\"", "[{,:".repeat(100_000))).is_ok());
    }

    fn any_json() -> impl Strategy<Value = Json> {
        let leaf = prop_oneof![
            Just(Json::Null),
            any::<bool>().prop_map(Json::Bool),
            any::<i64>().prop_map(Json::Number),
            ".{0,12}".prop_map(Json::Text),
        ];
        leaf.prop_recursive(4, 40, 6, |inner| {
            prop_oneof![
                prop::collection::vec(inner.clone(), 0..6).prop_map(Json::List),
                prop::collection::btree_map(".{0,6}", inner, 0..6).prop_map(Json::Object),
            ]
        })
    }

    proptest! {
        #[test]
        fn no_bytes_make_the_parser_panic(bytes: Vec<u8>) {
            let _ = parse(&bytes, 4096);
        }

        #[test]
        fn writing_and_reading_keeps_value_and_canonical_form(json in any_json()) {
            for bytes in [serde_json::to_vec(&json).unwrap(), serde_json::to_vec_pretty(&json).unwrap()] {
                let again = parse(&bytes, 1 << 20).unwrap();
                prop_assert_eq!(&again, &json);
                prop_assert_eq!(again.canonical(), json.canonical());
            }
        }

        #[test]
        fn different_values_have_different_canonical_forms(a in any_json(), b in any_json()) {
            prop_assert_eq!(a == b, a.canonical() == b.canonical());
        }
    }
}
