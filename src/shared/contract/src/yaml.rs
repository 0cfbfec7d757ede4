//! YAML (and so JSON) as a tree of text with positions. Scalars stay text: `psk: 00012345` keeps its zeros, and what a
//! key wants decides what its text means.

use granit_parser::{Event, Parser, ScalarStyle, Span};

/// Largest file that is read, in bytes.
pub const MAX_FILE: usize = 64 << 10;
/// Deepest nesting; fruit.yaml needs five levels.
const MAX_DEPTH: usize = 16;

/// A place in a file, both counted from 1.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Position {
    pub line: u32,
    pub column: u32,
}

#[derive(Debug)]
pub struct Node {
    pub position: Position,
    pub value: Value,
}

#[derive(Debug)]
pub enum Value {
    /// `plain`: without quotes, so that it may also mean null, true or false.
    Scalar {
        text: String,
        plain: bool,
    },
    List(Vec<Node>),
    /// In the order of the file; keys can repeat.
    Map(Vec<(Key, Node)>),
}

#[derive(Debug)]
pub struct Key {
    pub text: String,
    pub position: Position,
}

impl Node {
    /// An absent value: nothing, `~` or `null`.
    pub fn is_null(&self) -> bool {
        matches!(&self.value, Value::Scalar { text, plain: true } if matches!(text.as_str(), "" | "~" | "null" | "Null" | "NULL"))
    }

    /// What the value is, for messages.
    pub fn kind(&self) -> &'static str {
        match self.value {
            _ if self.is_null() => "nothing",
            Value::Scalar { .. } => "a single value",
            Value::List(_) => "a list",
            Value::Map(_) => "a group of keys",
        }
    }
}

/// Why a file has no tree.
#[derive(Debug, PartialEq, Eq)]
pub struct SyntaxError {
    pub position: Option<Position>,
    pub message: String,
}

/// Reads one document; `None` when the file holds only comments.
///
/// # Errors
/// [`SyntaxError`] for what is no YAML, and for what YAML has and this file does not need: aliases, tags, several
/// documents.
pub fn parse(bytes: &[u8]) -> Result<Option<Node>, SyntaxError> {
    let whole = |message: String| SyntaxError { position: None, message };
    if bytes.len() > MAX_FILE {
        return Err(whole(format!("the file has {} bytes, at most {MAX_FILE} are read", bytes.len())));
    }
    if bytes.starts_with(&[0xff, 0xfe]) || bytes.starts_with(&[0xfe, 0xff]) {
        return Err(whole("the file is UTF-16: save it as UTF-8".into()));
    }
    let text = match str::from_utf8(bytes) {
        Ok(text) => text.strip_prefix('\u{feff}').unwrap_or(text),
        Err(e) => {
            let line = 1 + bytes[..e.valid_up_to()].iter().filter(|&&b| b == b'\n').count();
            let position = Some(Position { line: line as u32, column: 1 });
            return Err(SyntaxError {
                position,
                message: "this line is not UTF-8 text: save the file as UTF-8".into(),
            });
        }
    };
    Builder::default().build(Parser::new_from_str(text))
}

/// A list or map that is still open.
enum Open {
    List(Position, Vec<Node>),
    Map(Position, Vec<(Key, Node)>, Option<Key>),
}

#[derive(Default)]
struct Builder {
    open: Vec<Open>,
    done: Option<Node>,
}

impl Builder {
    fn build<'a>(
        mut self,
        events: impl Iterator<Item = Result<(Event<'a>, Span), granit_parser::ScanError>>,
    ) -> Result<Option<Node>, SyntaxError> {
        for event in events {
            let (event, span) =
                event.map_err(|e| SyntaxError { position: Some(position(e.marker())), message: e.info() })?;
            let at = position(&span.start);
            let refuse = |what: &str| Err(SyntaxError { position: Some(at), message: what.into() });
            match event {
                Event::Alias(_) | Event::UnresolvedAlias(_) => return refuse("aliases (*name) are not supported here"),
                Event::Scalar(_, _, _, Some(_))
                | Event::SequenceStart(_, _, Some(_))
                | Event::MappingStart(_, _, Some(_)) => {
                    return refuse("tags (!name) are not supported here: put the text in quotes");
                }
                Event::Scalar(text, style, ..) => {
                    let plain = style == ScalarStyle::Plain;
                    self.add(Node { position: at, value: Value::Scalar { text: text.into_owned(), plain } });
                }
                Event::SequenceStart(..) => self.push(Open::List(at, Vec::new()), at)?,
                Event::MappingStart(..) => self.push(Open::Map(at, Vec::new(), None), at)?,
                Event::SequenceEnd | Event::MappingEnd => match self.open.pop() {
                    Some(Open::List(position, items)) => self.add(Node { position, value: Value::List(items) }),
                    Some(Open::Map(position, items, _)) => self.add(Node { position, value: Value::Map(items) }),
                    None => return refuse("an end without a beginning"),
                },
                Event::DocumentStart(..) if self.done.is_some() => {
                    return refuse("a second document (---) in the file");
                }
                _ => {}
            }
        }
        // An empty document is a null scalar.
        Ok(self.done.filter(|node| !node.is_null()))
    }

    fn push(&mut self, open: Open, at: Position) -> Result<(), SyntaxError> {
        if self.open.len() >= MAX_DEPTH {
            let message = format!("nested more than {MAX_DEPTH} levels deep");
            return Err(SyntaxError { position: Some(at), message });
        }
        if let Some(Open::Map(_, _, None)) = self.open.last() {
            return Err(SyntaxError { position: Some(at), message: "a key must be a single word".into() });
        }
        self.open.push(open);
        Ok(())
    }

    fn add(&mut self, node: Node) {
        match self.open.last_mut() {
            None => self.done = Some(node),
            Some(Open::List(_, items)) => items.push(node),
            Some(Open::Map(_, items, key)) => match (key.take(), node.value) {
                (Some(key), value) => items.push((key, Node { value, ..node })),
                (None, Value::Scalar { text, .. }) => *key = Some(Key { text, position: node.position }),
                // push() let no collection in where a key belongs.
                (None, _) => {}
            },
        }
    }
}

fn position(marker: &granit_parser::Marker) -> Position {
    let bounded = |n: usize| u32::try_from(n).unwrap_or(u32::MAX);
    Position { line: bounded(marker.line()).max(1), column: bounded(marker.col()).saturating_add(1) }
}
