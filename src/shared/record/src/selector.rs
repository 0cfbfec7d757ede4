//! Labels of nodes, and the nodes that are meant by them.

use std::collections::BTreeMap;
use std::fmt;
use std::str::FromStr;

use crate::id::KeyId;
use crate::limits;
use crate::wire::{Malformed, Reader, Writer, ascending, sorted};

/// The label that every node has by itself: its id.
pub const NODE: &str = "node";

/// Labels: a value for each key, such as `site=berlin`.
#[derive(Clone, PartialEq, Eq, PartialOrd, Ord, Hash, Debug, Default)]
pub struct Labels(BTreeMap<String, String>);

/// Nodes: those that have all labels of one of the alternatives.
///
/// As text, alternatives are separated by `;` and labels by `,`: `site=berlin,rack=1;site=bonn`; `all` means every node.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Selector(Vec<Labels>);

/// A text that is no label or selector.
#[derive(Clone, PartialEq, Eq, Debug, thiserror::Error)]
pub enum NotASelector {
    #[error("{0:?}: expected KEY=VALUE, such as site=berlin")]
    NoValue(String),
    #[error("{0:?} is no key or value of a label: 1 to {max} letters, digits, `-`, `_`, `.` and `/`", max = limits::NAME)]
    Word(String),
    #[error("{0:?} has two values")]
    Twice(String),
    #[error("a selector has at most {max} alternatives of {labels} labels", max = limits::ALTERNATIVES, labels = limits::LABELS)]
    TooMany,
}

/// Whether this can be the key or the value of a label.
fn is_word(text: &str) -> bool {
    let plain = |c: char| c.is_ascii_alphanumeric() || matches!(c, '-' | '_' | '.' | '/');
    (1..=limits::NAME).contains(&text.len()) && text.chars().all(plain)
}

impl Labels {
    /// # Errors
    /// A key or value that is none, or too many.
    pub fn new(labels: impl IntoIterator<Item = (String, String)>) -> Result<Labels, NotASelector> {
        let mut map = BTreeMap::new();
        for (key, value) in labels {
            if let Some(bad) = [&key, &value].into_iter().find(|word| !is_word(word)) {
                return Err(NotASelector::Word(short(bad)));
            }
            if map.insert(key.clone(), value).is_some() {
                return Err(NotASelector::Twice(key));
            }
        }
        if map.len() > limits::LABELS { Err(NotASelector::TooMany) } else { Ok(Labels(map)) }
    }

    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    pub fn iter(&self) -> impl ExactSizeIterator<Item = (&str, &str)> {
        self.0.iter().map(|(key, value)| (key.as_str(), value.as_str()))
    }

    #[must_use]
    pub fn get(&self, key: &str) -> Option<&str> {
        self.0.get(key).map(String::as_str)
    }

    /// Whether every label of `other` is one of these.
    #[must_use]
    pub fn contain(&self, other: &Labels) -> bool {
        other.iter().all(|(key, value)| self.get(key) == Some(value))
    }

    /// With the label that the node has by itself.
    #[must_use]
    pub fn of_node(&self, node: &KeyId) -> Labels {
        let mut labels = self.clone();
        labels.0.insert(NODE.into(), node.to_string());
        labels
    }

    pub(crate) fn write(&self, writer: &mut Writer) {
        writer.number(self.0.len() as u64);
        for (key, value) in &self.0 {
            writer.bytes(key.as_bytes());
            writer.bytes(value.as_bytes());
        }
    }

    pub(crate) fn read(reader: &mut Reader<'_>) -> Result<Labels, Malformed> {
        let what = "a label";
        let pairs = reader
            .list(limits::LABELS, "labels", |r| Ok((r.text(limits::NAME, what)?, r.text(limits::NAME, what)?)))?;
        ascending(&pairs.iter().map(|(key, _)| key).collect::<Vec<_>>(), "labels")?;
        Labels::new(pairs).map_err(|_| Malformed::Value { what, why: "its key or value is none" })
    }
}

impl FromStr for Labels {
    type Err = NotASelector;

    fn from_str(text: &str) -> Result<Labels, NotASelector> {
        let pair = |term: &str| {
            let (key, value) = term.split_once('=').ok_or_else(|| NotASelector::NoValue(short(term)))?;
            Ok((key.trim().to_owned(), value.trim().to_owned()))
        };
        let terms = text.split(',').map(str::trim).filter(|term| !term.is_empty());
        Labels::new(terms.map(pair).collect::<Result<Vec<_>, _>>()?)
    }
}

impl fmt::Display for Labels {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.iter().enumerate().try_for_each(|(at, (key, value))| {
            let comma = if at == 0 { "" } else { "," };
            write!(f, "{comma}{key}={value}")
        })
    }
}

impl Selector {
    /// Every node.
    #[must_use]
    pub fn all() -> Selector {
        Selector(vec![Labels::default()])
    }

    /// Nodes that have all of these labels.
    #[must_use]
    pub fn labels(labels: Labels) -> Selector {
        Selector(vec![labels])
    }

    /// # Errors
    /// None, or too many.
    pub fn any(alternatives: impl IntoIterator<Item = Labels>) -> Result<Selector, NotASelector> {
        let alternatives = sorted(alternatives);
        if (1..=limits::ALTERNATIVES).contains(&alternatives.len()) {
            Ok(Selector(alternatives))
        } else {
            Err(NotASelector::TooMany)
        }
    }

    /// Whether a node with these labels is meant; [`Labels::of_node`] makes them whole.
    #[must_use]
    pub fn means(&self, labels: &Labels) -> bool {
        self.0.iter().any(|alternative| labels.contain(alternative))
    }

    /// Whether every node that is meant by this selector is meant by `other`, by its text alone, whatever nodes there are.
    #[must_use]
    pub fn is_within(&self, other: &Selector) -> bool {
        self.0.iter().all(|alternative| other.means(alternative))
    }

    /// The alternatives, ascending.
    #[must_use]
    pub fn alternatives(&self) -> &[Labels] {
        &self.0
    }

    #[must_use]
    pub fn is_all(&self) -> bool {
        self.0.iter().any(Labels::is_empty)
    }

    pub(crate) fn write(&self, writer: &mut Writer) {
        writer.list(self.0.iter(), |w, labels| labels.write(w));
    }

    pub(crate) fn read(reader: &mut Reader<'_>) -> Result<Selector, Malformed> {
        let alternatives = reader.list(limits::ALTERNATIVES, "a selector", Labels::read)?;
        ascending(&alternatives, "a selector")?;
        Selector::any(alternatives).map_err(|_| Malformed::Value { what: "a selector", why: "it means no node" })
    }
}

impl FromStr for Selector {
    type Err = NotASelector;

    fn from_str(text: &str) -> Result<Selector, NotASelector> {
        let alternative = |part: &str| match part.trim() {
            "all" => Ok(Labels::default()),
            "" => Err(NotASelector::NoValue(String::new())),
            labels => labels.parse(),
        };
        Selector::any(text.split(';').map(alternative).collect::<Result<Vec<_>, _>>()?)
    }
}

impl fmt::Display for Selector {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for (at, labels) in self.0.iter().enumerate() {
            let mark = if at == 0 { "" } else { ";" };
            if labels.is_empty() { write!(f, "{mark}all")? } else { write!(f, "{mark}{labels}")? }
        }
        Ok(())
    }
}

fn short(text: &str) -> String {
    text.chars().take(80).collect()
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn selector(text: &str) -> Selector {
        text.parse().unwrap()
    }

    #[test]
    fn a_selector_is_within_another_by_its_text() {
        for (inner, outer, within) in [
            ("site=berlin", "all", true),
            ("all", "site=berlin", false),
            ("site=berlin,rack=1", "site=berlin", true),
            ("site=berlin", "site=berlin,rack=1", false),
            ("site=berlin,rack=1;site=bonn", "site=berlin;site=bonn", true),
            ("site=berlin;site=paris", "site=berlin;site=bonn", false),
        ] {
            assert_eq!(selector(inner).is_within(&selector(outer)), within, "{inner} within {outer}");
        }
    }

    #[test]
    fn texts_are_read_and_written() {
        assert_eq!(selector(" rack=1 , site=berlin ; all").to_string(), "all;rack=1,site=berlin");
        assert_eq!("".parse::<Labels>(), Ok(Labels::default()));
        for text in ["", "site", "site=", "=a", "a=b,a=c", "a=b;;c=d", "a=ü", "a=b c", "a=b\x1b"] {
            assert!(text.parse::<Selector>().is_err(), "{text:?}");
        }
        assert!(["a=b"; 3].join(";").parse::<Selector>().is_ok());
        let many: Vec<_> = (0..17).map(|n| format!("a={n}")).collect();
        assert_eq!(many.join(";").parse::<Selector>(), Err(NotASelector::TooMany));
        assert!("é=".repeat(500).parse::<Labels>().unwrap_err().to_string().len() < 300);
    }

    #[test]
    fn a_node_is_meant_by_its_id() {
        let node = KeyId([7; 32]);
        let labels = "site=berlin".parse::<Labels>().unwrap();
        let one = selector(&format!("node={node},site=berlin"));
        assert!(one.means(&labels.of_node(&node)) && !one.means(&labels.of_node(&KeyId([8; 32]))));
        assert!(one.is_within(&selector("site=berlin")) && !one.is_within(&selector("site=bonn")));
    }

    fn labels() -> impl Strategy<Value = Labels> {
        proptest::collection::btree_map("[ab]", "[xy]", 0..3).prop_map(Labels)
    }

    proptest! {
        #[test]
        fn within_means_that_no_node_is_outside(
            inner in proptest::collection::vec(labels(), 1..4),
            outer in proptest::collection::vec(labels(), 1..4),
            node in labels(),
        ) {
            let (inner, outer) = (Selector::any(inner).unwrap(), Selector::any(outer).unwrap());
            if inner.is_within(&outer) && inner.means(&node) {
                prop_assert!(outer.means(&node));
            }
            prop_assert_eq!(inner.to_string().parse::<Selector>(), Ok(inner));
        }
    }
}
