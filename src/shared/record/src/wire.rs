//! The one form of bytes that a content has.
//!
//! Numbers are LEB128 without needless bytes. A body is a row of fields: tag, length, content, with tags ascending. A field
//! with nothing in it, or with the value that its absence means, is left out. Tags from [`SKIPPABLE`] on may be passed over by
//! programs that do not know them; a lower one that is not known makes the record one of a newer program.

use std::collections::BTreeSet;

use fruit_base::invisible;

use crate::limits;

/// The first tag that a program may pass over.
pub const SKIPPABLE: u8 = 128;

/// Why bytes are no record.
#[derive(Clone, PartialEq, Eq, Debug, thiserror::Error)]
pub enum Malformed {
    #[error("{what} is cut off")]
    CutOff { what: &'static str },
    #[error("{what} is followed by {bytes} bytes that do not belong to it")]
    Trailing { what: &'static str, bytes: usize },
    #[error("{what} has {found}, at most {limit} are allowed")]
    TooMany { what: &'static str, found: u64, limit: usize },
    #[error("{what} is missing")]
    Missing { what: &'static str },
    #[error("{what}: {why}")]
    Value { what: &'static str, why: &'static str },
    #[error("{what} is not in the one form that its content has")]
    NotCanonical { what: &'static str },
    #[error("it was made by a newer program: {what} {number} is not known here")]
    Newer { what: &'static str, number: u64 },
}

/// A content with fields.
pub trait Content: Sized {
    /// What messages call it.
    const WHAT: &'static str;

    fn write(&self, fields: &mut FieldWriter);

    /// # Errors
    /// A field that is missing or none.
    fn read(fields: &mut Fields<'_>) -> Result<Self, Malformed>;
}

/// The bytes of `content`.
#[must_use]
pub fn encode(content: &impl Content) -> Vec<u8> {
    let mut fields = FieldWriter::default();
    content.write(&mut fields);
    fields.0.0
}

/// The content of bytes that are no longer than `limit`, in the form that [`encode`] gives it.
///
/// # Errors
/// [`Malformed`].
pub fn decode<T: Content>(bytes: &[u8], limit: usize) -> Result<T, Malformed> {
    if bytes.len() > limit {
        return Err(Malformed::TooMany { what: T::WHAT, found: bytes.len() as u64, limit });
    }
    let mut fields = Fields { rest: Reader::new(bytes), last: None, next: None, known: 0, what: T::WHAT };
    let content = T::read(&mut fields)?;
    let known = fields.finish()?;
    // What may be passed over has the highest tags, so it is at the end.
    if bytes.get(..known) != Some(&encode(&content)) {
        return Err(Malformed::NotCanonical { what: T::WHAT });
    }
    Ok(content)
}

/// Bytes that grow.
#[derive(Default)]
pub struct Writer(pub Vec<u8>);

impl Writer {
    pub fn number(&mut self, mut number: u64) {
        while number >= 0x80 {
            self.0.push((number & 0x7f) as u8 | 0x80);
            number >>= 7;
        }
        self.0.push(number as u8);
    }

    pub fn raw(&mut self, bytes: &[u8]) {
        self.0.extend_from_slice(bytes);
    }

    /// Their number, and the bytes.
    pub fn bytes(&mut self, bytes: &[u8]) {
        self.number(bytes.len() as u64);
        self.raw(bytes);
    }

    /// Their number, and each.
    pub fn list<'i, T: 'i>(&mut self, items: impl ExactSizeIterator<Item = &'i T>, each: impl Fn(&mut Writer, &T)) {
        self.number(items.len() as u64);
        items.for_each(|item| each(self, item));
    }
}

/// A row of fields that grows.
#[derive(Default)]
pub struct FieldWriter(Writer);

impl FieldWriter {
    /// Adds a field, if `write` writes anything.
    pub fn field(&mut self, tag: u8, write: impl FnOnce(&mut Writer)) {
        let mut content = Writer::default();
        write(&mut content);
        if !content.0.is_empty() {
            self.0.0.push(tag);
            self.0.bytes(&content.0);
        }
    }

    /// A number that is 0 when it is left out.
    pub fn number(&mut self, tag: u8, number: u64) {
        self.field(tag, |w| {
            if number != 0 {
                w.number(number)
            }
        });
    }

    /// A text, or raw bytes.
    pub fn raw(&mut self, tag: u8, bytes: &[u8]) {
        self.field(tag, |w| w.raw(bytes));
    }

    /// A list, left out when it is empty.
    pub fn list<T>(&mut self, tag: u8, items: &[T], each: impl Fn(&mut Writer, &T)) {
        self.field(tag, |w| {
            if !items.is_empty() {
                w.list(items.iter(), each);
            }
        });
    }
}

/// Bytes that are read from the front.
#[derive(Clone, Copy)]
pub struct Reader<'a>(&'a [u8]);

impl<'a> Reader<'a> {
    #[must_use]
    pub fn new(bytes: &'a [u8]) -> Reader<'a> {
        Reader(bytes)
    }

    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    #[must_use]
    pub fn rest(&self) -> &'a [u8] {
        self.0
    }

    /// # Errors
    /// Cut off, needlessly long, or beyond 64 bits.
    pub fn number(&mut self, what: &'static str) -> Result<u64, Malformed> {
        let mut number = 0u64;
        for shift in (0..64).step_by(7) {
            let [byte] = self.array(what)?;
            let bits = u64::from(byte & 0x7f);
            if shift == 63 && byte > 1 {
                break;
            }
            number |= bits << shift;
            if byte & 0x80 == 0 {
                // The last byte of more than one must count.
                return if bits == 0 && shift != 0 { Err(Malformed::NotCanonical { what }) } else { Ok(number) };
            }
        }
        Err(Malformed::Value { what, why: "the number has more than 64 bits" })
    }

    /// # Errors
    /// Cut off.
    pub fn take(&mut self, count: usize, what: &'static str) -> Result<&'a [u8], Malformed> {
        let (taken, rest) = self.0.split_at_checked(count).ok_or(Malformed::CutOff { what })?;
        self.0 = rest;
        Ok(taken)
    }

    /// # Errors
    /// Cut off.
    pub fn array<const N: usize>(&mut self, what: &'static str) -> Result<[u8; N], Malformed> {
        let (taken, rest) = self.0.split_first_chunk().ok_or(Malformed::CutOff { what })?;
        self.0 = rest;
        Ok(*taken)
    }

    /// A count of at most `limit`.
    ///
    /// # Errors
    /// Cut off or beyond the limit.
    pub fn count(&mut self, limit: usize, what: &'static str) -> Result<usize, Malformed> {
        let found = self.number(what)?;
        usize::try_from(found).ok().filter(|count| *count <= limit).ok_or(Malformed::TooMany { what, found, limit })
    }

    /// # Errors
    /// Cut off or beyond the limit.
    pub fn bytes(&mut self, limit: usize, what: &'static str) -> Result<&'a [u8], Malformed> {
        let count = self.count(limit, what)?;
        self.take(count, what)
    }

    /// A text that a terminal can show.
    ///
    /// # Errors
    /// As [`Reader::bytes`]; what is no UTF-8, or has characters that nobody can see.
    pub fn text(&mut self, limit: usize, what: &'static str) -> Result<String, Malformed> {
        text(self.bytes(limit, what)?, what)
    }

    /// A list of at most `limit` items.
    ///
    /// # Errors
    /// Those of the items.
    pub fn list<T>(
        &mut self,
        limit: usize,
        what: &'static str,
        mut each: impl FnMut(&mut Reader<'a>) -> Result<T, Malformed>,
    ) -> Result<Vec<T>, Malformed> {
        // Each item has at least one byte: no more is set aside than was sent.
        let count = self.count(limit, what)?;
        let mut items = Vec::with_capacity(count.min(self.0.len()));
        for _ in 0..count {
            items.push(each(self)?);
        }
        Ok(items)
    }

    /// # Errors
    /// Something is left.
    pub fn end(self, what: &'static str) -> Result<(), Malformed> {
        if self.0.is_empty() { Ok(()) } else { Err(Malformed::Trailing { what, bytes: self.0.len() }) }
    }
}

/// Text that a person can read as it is.
///
/// # Errors
/// What is no UTF-8, or has characters that nobody can see.
pub fn text(bytes: &[u8], what: &'static str) -> Result<String, Malformed> {
    let text = std::str::from_utf8(bytes).map_err(|_| Malformed::Value { what, why: "the text is not UTF-8" })?;
    if text.chars().any(|c| c.is_control() || invisible::name(c).is_some()) {
        return Err(Malformed::Value { what, why: "the text has characters that nobody can see" });
    }
    Ok(text.to_owned())
}

/// Whether this can be the name of a fleet, an operator, a node or a record: letters, digits, `-`, `_` and `.`, beginning with a
/// letter or digit, so that it is also good as the name of a file and as a word of a command line.
#[must_use]
pub fn is_name(text: &str) -> bool {
    let plain = |c: char| c.is_ascii_alphanumeric() || matches!(c, '-' | '_' | '.');
    (1..=limits::NAME).contains(&text.len())
        && text.chars().all(plain)
        && text.starts_with(|c: char| c.is_ascii_alphanumeric())
}

/// Checks that items stand in ascending order, each once.
///
/// # Errors
/// [`Malformed::NotCanonical`].
pub fn ascending<T: Ord>(items: &[T], what: &'static str) -> Result<(), Malformed> {
    if items.is_sorted_by(|a, b| a < b) { Ok(()) } else { Err(Malformed::NotCanonical { what }) }
}

/// Sorted, each once.
#[must_use]
pub fn sorted<T: Ord>(items: impl IntoIterator<Item = T>) -> Vec<T> {
    items.into_iter().collect::<BTreeSet<T>>().into_iter().collect()
}

/// A row of fields that is read in the order of their tags.
pub struct Fields<'a> {
    rest: Reader<'a>,
    last: Option<u8>,
    /// The next field, if it was looked at already.
    next: Option<(u8, Reader<'a>)>,
    /// Bytes of the fields that were taken.
    known: usize,
    what: &'static str,
}

impl<'a> Fields<'a> {
    fn peek(&mut self) -> Result<Option<(u8, Reader<'a>)>, Malformed> {
        if self.next.is_none() && !self.rest.is_empty() {
            let [tag] = self.rest.array(self.what)?;
            if self.last.is_some_and(|last| last >= tag) {
                return Err(Malformed::NotCanonical { what: self.what });
            }
            let content = self.rest.bytes(limits::RECORD, self.what)?;
            self.last = Some(tag);
            self.next = Some((tag, Reader::new(content)));
        }
        Ok(self.next)
    }

    /// The field `tag`, read whole by `read`.
    ///
    /// # Errors
    /// Those of `read`; a field before it that is not known; something that is left in it.
    pub fn optional<T>(
        &mut self,
        tag: u8,
        what: &'static str,
        read: impl FnOnce(&mut Reader<'a>) -> Result<T, Malformed>,
    ) -> Result<Option<T>, Malformed> {
        match self.peek()? {
            Some((found, mut content)) if found == tag => {
                self.next = None;
                self.known += 1 + length_of(content.0.len()) + content.0.len();
                let value = read(&mut content)?;
                content.end(what)?;
                Ok(Some(value))
            }
            Some((found, _)) if found < tag => Err(Malformed::Newer { what: "field", number: u64::from(found) }),
            _ => Ok(None),
        }
    }

    /// As [`Fields::optional`], for what must be there.
    ///
    /// # Errors
    /// It is not.
    pub fn required<T>(
        &mut self,
        tag: u8,
        what: &'static str,
        read: impl FnOnce(&mut Reader<'a>) -> Result<T, Malformed>,
    ) -> Result<T, Malformed> {
        self.optional(tag, what, read)?.ok_or(Malformed::Missing { what })
    }

    /// A number, 0 when it is left out.
    ///
    /// # Errors
    /// No number.
    pub fn number(&mut self, tag: u8, what: &'static str) -> Result<u64, Malformed> {
        Ok(self.optional(tag, what, |r| r.number(what))?.unwrap_or(0))
    }

    /// A text, empty when it is left out.
    ///
    /// # Errors
    /// No text, or a longer one.
    pub fn text(&mut self, tag: u8, limit: usize, what: &'static str) -> Result<String, Malformed> {
        let read = |r: &mut Reader<'a>| {
            let bytes = r.take(r.rest().len(), what)?;
            if bytes.len() > limit {
                return Err(Malformed::TooMany { what, found: bytes.len() as u64, limit });
            }
            text(bytes, what)
        };
        Ok(self.optional(tag, what, read)?.unwrap_or_default())
    }

    /// A list, empty when it is left out.
    ///
    /// # Errors
    /// Those of the items.
    pub fn list<T>(
        &mut self,
        tag: u8,
        limit: usize,
        what: &'static str,
        each: impl FnMut(&mut Reader<'a>) -> Result<T, Malformed>,
    ) -> Result<Vec<T>, Malformed> {
        Ok(self.optional(tag, what, |r| r.list(limit, what, each))?.unwrap_or_default())
    }

    /// Passes over what may be passed over; bytes of what was read.
    fn finish(mut self) -> Result<usize, Malformed> {
        while let Some((tag, _)) = self.peek()? {
            if tag < SKIPPABLE {
                return Err(Malformed::Newer { what: "field", number: u64::from(tag) });
            }
            self.next = None;
        }
        Ok(self.known)
    }
}

/// Bytes of a number.
fn length_of(number: usize) -> usize {
    let mut writer = Writer::default();
    writer.number(number as u64);
    writer.0.len()
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[derive(PartialEq, Debug)]
    struct Two {
        number: u64,
        name: String,
        list: Vec<u64>,
    }

    impl Content for Two {
        const WHAT: &'static str = "two";

        fn write(&self, fields: &mut FieldWriter) {
            fields.number(1, self.number);
            fields.raw(3, self.name.as_bytes());
            fields.list(4, &self.list, |w, n| w.number(*n));
        }

        fn read(fields: &mut Fields<'_>) -> Result<Two, Malformed> {
            Ok(Two {
                number: fields.number(1, "number")?,
                name: fields.text(3, 8, "name")?,
                list: fields.list(4, 4, "list", |r| r.number("item"))?,
            })
        }
    }

    fn read(bytes: &[u8]) -> Result<Two, Malformed> {
        decode(bytes, 64)
    }

    #[test]
    fn a_content_has_one_form() {
        let two = Two { number: 300, name: "ab".into(), list: vec![1, 0] };
        let bytes = [1, 2, 0xac, 2, 3, 2, b'a', b'b', 4, 3, 2, 1, 0];
        assert_eq!(encode(&two), bytes);
        assert_eq!(read(&bytes), Ok(two));
        assert_eq!(read(&[]), Ok(Two { number: 0, name: String::new(), list: Vec::new() }));
        for (bytes, why) in [
            (&[1, 1, 0][..], "a number that its absence means"),
            (&[4, 1, 0], "an empty list"),
            (&[3, 0], "an empty text"),
            (&[1, 2, 0x81, 0], "a number with a needless byte"),
            (&[3, 1, b'a', 1, 1, 5], "fields in another order"),
            (&[1, 1, 5, 1, 1, 5], "a field twice"),
            (&[1, 0x81, 0, 5], "a length with a needless byte"),
        ] {
            assert!(matches!(read(bytes), Err(Malformed::NotCanonical { .. } | Malformed::CutOff { .. })), "{why}");
        }
    }

    #[test]
    fn what_is_too_long_cut_off_or_invisible_is_refused() {
        let long = [3, 9, b'a', b'a', b'a', b'a', b'a', b'a', b'a', b'a', b'a'];
        assert!(matches!(read(&long), Err(Malformed::TooMany { what: "name", found: 9, limit: 8 })));
        assert!(matches!(read(&[4, 2, 5, 1]), Err(Malformed::TooMany { what: "list", .. })));
        // 2^63 items in three bytes.
        assert!(matches!(
            read(&[4, 10, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0x7f, 1]),
            Err(Malformed::TooMany { .. })
        ));
        assert!(matches!(read(&[3, 2, b'a']), Err(Malformed::CutOff { .. })));
        assert!(matches!(read(&[1, 2, 5, 5]), Err(Malformed::Trailing { .. })));
        assert!(matches!(read(&[0; 65]), Err(Malformed::TooMany { .. })));
        for text in ["a\x1b[2J", "a\nb", "\u{200b}", "\u{202e}x"] {
            let bytes = [&[3, text.len() as u8], text.as_bytes()].concat();
            assert!(matches!(read(&bytes), Err(Malformed::Value { what: "name", .. })), "{text:?}");
        }
        assert!(matches!(read(&[3, 1, 0xff]), Err(Malformed::Value { .. })));
        let eleven = [1, 11, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 1];
        assert!(matches!(read(&eleven), Err(Malformed::Value { .. })));
    }

    #[test]
    fn newer_fields_are_passed_over_or_refused_by_their_tag() {
        assert_eq!(read(&[1, 1, 5, 128, 1, 7, 200, 0]).map(|two| two.number), Ok(5));
        assert_eq!(read(&[1, 1, 5, 127, 1, 7]), Err(Malformed::Newer { what: "field", number: 127 }));
        assert_eq!(read(&[2, 1, 5, 3, 1, b'a']), Err(Malformed::Newer { what: "field", number: 2 }));
        assert!(matches!(read(&[200, 0, 128, 1, 7]), Err(Malformed::NotCanonical { .. })));
    }

    proptest! {
        #[test]
        fn numbers_come_back(number: u64) {
            let mut writer = Writer::default();
            writer.number(number);
            let mut reader = Reader::new(&writer.0);
            prop_assert_eq!(reader.number("n"), Ok(number));
            prop_assert!(reader.is_empty());
        }

        #[test]
        fn what_is_read_is_written_alike(bytes in proptest::collection::vec(0u8..6, 0..24)) {
            if let Ok(two) = read(&bytes) {
                prop_assert_eq!(encode(&two), bytes);
            }
        }
    }
}
