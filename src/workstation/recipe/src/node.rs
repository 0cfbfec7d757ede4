//! YAML as a tree in which every value knows where it was written.
//!
//! Built straight from the events of the parser that serde-saphyr uses: a recipe is merged from several files before it
//! is given types, and a tree keeps the text of numbers (`version: 1.10`), the quoting and the exact bytes of each value.

use std::collections::HashMap;
use std::sync::Arc;

use granit_parser::{Event, Parser, ScalarStyle};
use serde_json::{Map, Number, Value};

use crate::diagnostic::{Diagnostic, Diagnostics};
use crate::source::{At, Place, Source};

/// Largest file that is read, in bytes.
pub const MAX_BYTES: usize = 1 << 20;
/// Deepest nesting of lists and mappings.
pub const MAX_DEPTH: usize = 32;
/// Most invisible characters that are told of.
const MAX_INVISIBLE: usize = 10;
/// Most values in one file, aliases counted as often as they are used.
pub const MAX_NODES: usize = 20_000;

/// A value and its place.
#[derive(Debug, Clone)]
pub(crate) struct Node {
    pub kind: Kind,
    /// The bytes to underline: a scalar whole, a list or mapping up to the end of its first line.
    pub place: Place,
}

#[derive(Debug, Clone)]
pub(crate) enum Kind {
    /// No value. `written` tells `key: null` from `key:`.
    Null {
        written: bool,
    },
    /// Text; `plain` is true when it stood without quotes and may therefore be a number or boolean.
    Scalar {
        text: String,
        plain: bool,
    },
    List(Vec<Node>),
    /// Entries in the order of the file, each key once.
    Map(Vec<(At<String>, Node)>),
}

impl Node {
    /// What the value is, for messages.
    pub fn describe(&self) -> String {
        match &self.kind {
            Kind::Null { .. } => "nothing".into(),
            Kind::Scalar { text, plain } => match scalar_value(text, *plain) {
                Value::Bool(_) => format!("the boolean `{text}`"),
                Value::Number(_) => format!("the number `{text}`"),
                _ => format!("the text `{}`", shorten(text)),
            },
            Kind::List(_) => "a list".into(),
            Kind::Map(_) => "a mapping".into(),
        }
    }

    /// The value of `key` in a mapping.
    pub fn get(&self, key: &str) -> Option<&Node> {
        match &self.kind {
            Kind::Map(entries) => entries.iter().find(|(k, _)| k.value == key).map(|(_, v)| v),
            _ => None,
        }
    }

    /// The value of `key` in a mapping, to be changed.
    pub fn get_mut(&mut self, key: &str) -> Option<&mut Node> {
        match &mut self.kind {
            Kind::Map(entries) => entries.iter_mut().find(|(k, _)| k.value == key).map(|(_, v)| v),
            _ => None,
        }
    }

    /// Takes `key` out of a mapping.
    pub fn remove(&mut self, key: &str) -> Option<Node> {
        match &mut self.kind {
            Kind::Map(entries) => {
                let at = entries.iter().position(|(k, _)| k.value == key)?;
                Some(entries.remove(at).1)
            }
            _ => None,
        }
    }

    /// The value as JSON, plain scalars read by YAML's core schema.
    pub fn to_json(&self) -> Value {
        match &self.kind {
            Kind::Null { .. } => Value::Null,
            Kind::Scalar { text, plain } => scalar_value(text, *plain),
            Kind::List(items) => Value::Array(items.iter().map(Node::to_json).collect()),
            Kind::Map(entries) => {
                Value::Object(entries.iter().map(|(k, v)| (k.value.clone(), v.to_json())).collect::<Map<_, _>>())
            }
        }
    }
}

/// At most 40 characters of a value, for messages.
pub(crate) fn shorten(text: &str) -> String {
    let line = text.lines().next().unwrap_or_default();
    match line.char_indices().nth(40) {
        Some((at, _)) => format!("{}…", &line[..at]),
        None if line.len() < text.len() => format!("{line}…"),
        None => line.to_owned(),
    }
}

/// A scalar by YAML 1.2's core schema (specification section 10.3.2), integers and floats only in decimal.
pub(crate) fn scalar_value(text: &str, plain: bool) -> Value {
    if plain {
        match text {
            "true" | "True" | "TRUE" => return Value::Bool(true),
            "false" | "False" | "FALSE" => return Value::Bool(false),
            _ => {}
        }
        let digits = text.strip_prefix(['-', '+']).unwrap_or(text);
        if digits.starts_with(|c: char| c.is_ascii_digit()) {
            if let Ok(n) = text.parse::<i64>() {
                return n.into();
            }
            if let Ok(n) = text.parse::<u64>() {
                return n.into();
            }
            if let Some(n) = text.parse::<f64>().ok().filter(|n| n.is_finite()).and_then(Number::from_f64) {
                return Value::Number(n);
            }
        }
    }
    Value::String(text.to_owned())
}

/// Reads one YAML document. Duplicate keys and other mistakes that leave the rest readable are all reported.
pub(crate) fn parse(source: &Arc<Source>) -> Result<Node, Diagnostics> {
    let mut tree = TreeBuilder {
        source,
        open: Vec::new(),
        root: None,
        anchors: HashMap::new(),
        nodes: 0,
        documents: 0,
        found: Diagnostics::new(),
    };
    match tree.read() {
        Ok(()) if tree.found.is_empty() => {}
        Ok(()) => return Err(tree.found),
        Err(fatal) => {
            tree.found.push(*fatal);
            return Err(tree.found);
        }
    }
    let empty = Node { kind: Kind::Map(Vec::new()), place: Place::file(source) };
    Ok(match tree.root {
        // A file with nothing but comments says nothing.
        None | Some(Node { kind: Kind::Null { .. }, .. }) => empty,
        Some(node) => node,
    })
}

/// A list or mapping whose end has not been read.
struct Open {
    kind: Kind,
    place: Place,
    anchor: usize,
    /// The key that waits for its value.
    key: Option<At<String>>,
    /// Depth of the deepest child so far.
    depth: usize,
}

struct TreeBuilder<'a> {
    source: &'a Arc<Source>,
    open: Vec<Open>,
    root: Option<Node>,
    /// Finished values by the parser's number of their anchor, with their depth and number of values.
    anchors: HashMap<usize, (Node, usize, usize)>,
    nodes: usize,
    documents: usize,
    found: Diagnostics,
}

type Fatal = Box<Diagnostic>;

impl TreeBuilder<'_> {
    fn read(&mut self) -> Result<(), Fatal> {
        if self.source.text.len() > MAX_BYTES {
            return Err(Box::new(
                Diagnostic::error(format!(
                    "the file has {} bytes, more than the {MAX_BYTES} that are read",
                    self.source.text.len()
                ))
                .place(Place::file(self.source)),
            ));
        }
        let options = granit_parser::options! {
            emit_comments: false,
            flow_nesting_limit: MAX_DEPTH * 2,
            block_nesting_limit: MAX_DEPTH * 2,
        };
        let text = self.source.text.clone();
        for (at, c) in fruit_base::invisible::find(&text).into_iter().take(MAX_INVISIBLE) {
            let name = fruit_base::invisible::name(c).unwrap_or_default();
            self.found.push(
                Diagnostic::error(format!("the character {name} stands here"))
                    .place(Place::new(self.source, at..at + c.len_utf8()))
                    .label("this one")
                    .help(fruit_base::invisible::REMEDY),
            );
        }
        if !self.found.is_empty() {
            // Whatever else is found may be an effect of them, and would be a riddle.
            return Ok(());
        }
        for next in Parser::new_from_str_with_options(&text, options) {
            let (event, span) = next.map_err(|error| {
                let at = error.marker().byte_offset().unwrap_or(0);
                // One character; the place widens to all of its bytes.
                let made = Diagnostic::error(format!("not valid YAML: {}", error.info()))
                    .place(Place::new(self.source, at..at.saturating_add(1)));
                Box::new(match advice(error.info().as_str()) {
                    Some(advice) => made.help(advice),
                    None => made,
                })
            })?;
            let range = span.byte_range().unwrap_or(0..0);
            let tag = span.tag_span().and_then(|tag| tag.byte_range());
            self.event(event, range, tag)?;
        }
        Ok(())
    }

    fn event(
        &mut self,
        event: Event<'_>,
        range: std::ops::Range<usize>,
        tag: Option<std::ops::Range<usize>>,
    ) -> Result<(), Fatal> {
        let place = Place::new(self.source, range.clone());
        if event.tag().is_some() {
            let place = tag.map_or_else(|| place.clone(), |range| Place::new(self.source, range));
            self.found.push(
                Diagnostic::error(format!("the YAML tag `{}` is not used here", shorten(place.text().trim_end())))
                    .place(place)
                    .help("remove the tag; put text that looks like a number or boolean in quotes"),
            );
        }
        match event {
            Event::DocumentStart(..) => {
                self.documents += 1;
                if self.documents > 1 {
                    return Err(Box::new(
                        Diagnostic::error("a second YAML document starts here, but a file holds one")
                            .place(place)
                            .help("remove the `---` line"),
                    ));
                }
            }
            Event::Alias(id) => self.alias(id, place)?,
            Event::UnresolvedAlias(name) => {
                return Err(Box::new(Diagnostic::error(format!("no anchor `&{name}` before this alias")).place(place)));
            }
            Event::Scalar(text, style, anchor, _) => {
                let plain = style == ScalarStyle::Plain;
                let kind = if plain && matches!(&*text, "" | "~" | "null" | "Null" | "NULL") {
                    Kind::Null { written: !range.is_empty() }
                } else {
                    Kind::Scalar { text: text.into_owned(), plain }
                };
                self.count(1, &place)?;
                self.finished(Node { kind, place }, anchor, 0, 1)?;
            }
            Event::SequenceStart(_, anchor, _) => self.start(Kind::List(Vec::new()), range, anchor)?,
            Event::MappingStart(_, anchor, _) => self.start(Kind::Map(Vec::new()), range, anchor)?,
            Event::SequenceEnd | Event::MappingEnd => self.end(range)?,
            Event::StreamStart | Event::StreamEnd | Event::DocumentEnd | Event::Anchor(..) => {}
            // Comments are switched off; an event added by a later version of the parser carries no value.
            #[allow(unreachable_patterns)]
            _ => {}
        }
        Ok(())
    }

    fn count(&mut self, more: usize, place: &Place) -> Result<(), Fatal> {
        self.nodes = self.nodes.saturating_add(more);
        if self.nodes > MAX_NODES {
            return Err(Box::new(
                Diagnostic::error(format!("more than {MAX_NODES} values in one file, aliases counted each time"))
                    .place(place.clone()),
            ));
        }
        Ok(())
    }

    fn start(&mut self, kind: Kind, range: std::ops::Range<usize>, anchor: usize) -> Result<(), Fatal> {
        let place = Place::new(self.source, range);
        self.count(1, &place)?;
        if self.open.len() >= MAX_DEPTH {
            return Err(too_deep(place));
        }
        self.open.push(Open { kind, place, anchor, key: None, depth: 0 });
        Ok(())
    }

    fn end(&mut self, range: std::ops::Range<usize>) -> Result<(), Fatal> {
        let Some(open) = self.open.pop() else { return Ok(()) };
        // Underline the first line only: the whole of a block mapping says nothing.
        let start = open.place.range().start;
        let whole = Place::new(self.source, start..range.end.max(start));
        let first = whole.text().lines().next().unwrap_or_default().trim_end().len();
        let node = Node { kind: open.kind, place: Place::new(self.source, start..start + first) };
        let size = count_nodes(&node);
        self.finished(node, open.anchor, open.depth + 1, size)
    }

    fn alias(&mut self, id: usize, place: Place) -> Result<(), Fatal> {
        let Some((node, depth, size)) = self.anchors.get(&id).cloned() else {
            return Err(Box::new(Diagnostic::error("this alias stands inside the value it refers to").place(place)));
        };
        self.count(size, &place)?;
        if self.open.len() + depth > MAX_DEPTH {
            return Err(too_deep(place));
        }
        self.finished(node, 0, depth, size)
    }

    /// Puts a finished value where it belongs: into the open list or mapping, or at the top.
    fn finished(&mut self, node: Node, anchor: usize, depth: usize, size: usize) -> Result<(), Fatal> {
        if anchor != 0 {
            self.anchors.insert(anchor, (node.clone(), depth, size));
        }
        let Some(open) = self.open.last_mut() else {
            self.root = Some(node);
            return Ok(());
        };
        open.depth = open.depth.max(depth);
        match &mut open.kind {
            Kind::List(items) => items.push(node),
            Kind::Map(entries) => match open.key.take() {
                None => {
                    let text = match node.kind {
                        Kind::Scalar { text, .. } => text,
                        Kind::Null { .. } => node.place.text().to_owned(),
                        Kind::List(_) | Kind::Map(_) => {
                            return Err(Box::new(
                                Diagnostic::error("a key must be a word, not a list or mapping")
                                    .place(node.place)
                                    .help("put text with `{` or `[` in quotes"),
                            ));
                        }
                    };
                    open.key = Some(At::new(text, node.place));
                }
                Some(key) => match entries.iter().find(|(k, _)| k.value == key.value) {
                    Some((first, _)) => {
                        let mut twice = Diagnostic::error(format!("the key `{}` is written twice", key.value))
                            .maybe_place(key.place)
                            .label("second time");
                        if let Some(place) = first.place.clone() {
                            twice = twice.related(place, "first time");
                        }
                        self.found.push(twice.help("keep one of them; entries of two lists can be joined in one"));
                    }
                    None => entries.push((key, node)),
                },
            },
            Kind::Null { .. } | Kind::Scalar { .. } => {}
        }
        Ok(())
    }
}

/// What to look for, by the parser's words.
fn advice(message: &str) -> Option<&'static str> {
    if message.contains("tab") {
        Some("YAML is indented with spaces")
    } else if message.contains("expected ',' or") {
        Some("close the bracket, and put text that holds `[`, `]`, `{`, `}` or `,` in quotes")
    } else if message.contains("mapping values are not allowed") || message.contains("placement of ':'") {
        Some("close the bracket or quote before it, or put text that holds `: ` in quotes")
    } else if message.contains("expected key") || message.contains("expected '-'") || message.contains("block") {
        Some("entries of one list or mapping begin in the same column")
    } else {
        None
    }
}

fn too_deep(place: Place) -> Fatal {
    Box::new(Diagnostic::error(format!("nested more than {MAX_DEPTH} levels deep")).place(place))
}

fn count_nodes(node: &Node) -> usize {
    1 + match &node.kind {
        Kind::List(items) => items.iter().map(count_nodes).sum(),
        Kind::Map(entries) => entries.iter().map(|(_, v)| count_nodes(v)).sum(),
        Kind::Null { .. } | Kind::Scalar { .. } => 0,
    }
}
