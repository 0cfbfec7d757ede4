//! Paragraphs of `Field: value` lines (deb822(5)): control files, package indices, Release files, apt sources.

use crate::error::{Error, Result};

/// Longest field value accepted, in bytes; the SHA256 list of a Release file is the longest real one (about 1 MB).
const MAX_VALUE: usize = 16 << 20;

/// One paragraph: fields in the order of the file. Names are matched without regard to case.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Paragraph {
    fields: Vec<(String, String)>,
}

/// What to do with a field that a paragraph has twice: dpkg refuses it, apt does not mind.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Repeated {
    Refused,
    LastCounts,
}

impl Paragraph {
    /// The only paragraph of `text`.
    ///
    /// # Errors
    /// A broken line, no paragraph, or more than one; `file` is named.
    pub fn parse_one(text: &[u8], file: &str) -> Result<Paragraph> {
        let mut all = Paragraph::parse_all(text, file)?;
        match (all.pop(), all.is_empty()) {
            (Some(only), true) => Ok(only),
            (None, _) => Err(Error::format(file, "is empty; expected one paragraph of `Field: value` lines")),
            (Some(_), false) => Err(Error::format(file, "has several paragraphs; expected one")),
        }
    }

    /// Every paragraph of `text`; `#` lines are comments. Lines that are not UTF-8 are read as Latin-1. A line of blanks
    /// within a value belongs to it, elsewhere it ends the paragraph.
    ///
    /// # Errors
    /// A line without a colon, a continuation without a field, a field given twice; with the line's number.
    pub fn parse_all(text: &[u8], file: &str) -> Result<Vec<Paragraph>> {
        Paragraph::parse(text, file, Repeated::Refused)
    }

    /// The first paragraph of `text`, read as apt reads a Release file: of a field given twice the last one counts.
    ///
    /// # Errors
    /// A line without a colon, a continuation without a field, no paragraph; with the line's number.
    pub fn parse_first(text: &[u8], file: &str) -> Result<Paragraph> {
        let all = Paragraph::parse(text, file, Repeated::LastCounts)?;
        all.into_iter().next().ok_or_else(|| Error::format(file, "is empty; expected `Field: value` lines"))
    }

    fn parse(text: &[u8], file: &str, repeated: Repeated) -> Result<Vec<Paragraph>> {
        let mut all = Vec::new();
        let mut now = Paragraph::default();
        let mut lines = (1..).zip(text.split(|b| *b == b'\n')).peekable();
        while let Some((number, line)) = lines.next() {
            let line = decode(line.strip_suffix(b"\r").unwrap_or(line));
            if line.starts_with('#') {
                continue;
            }
            if line.trim_matches([' ', '\t', '\r']).is_empty() {
                let goes_on = |next: &[u8]| next.starts_with(b" ") || next.starts_with(b"\t");
                if !line.is_empty()
                    && lines.peek().is_some_and(|(_, next)| goes_on(next) && !next.trim_ascii().is_empty())
                {
                    // As deb822 writes an empty line within a value.
                    if let Some((_, value)) = now.fields.last_mut() {
                        value.push_str("\n .");
                    }
                } else if !now.fields.is_empty() {
                    all.push(std::mem::take(&mut now));
                }
                continue;
            }
            now.add_line(&line, repeated).map_err(|why| Error::format(file, format!("line {number}: {why}")))?;
        }
        if !now.fields.is_empty() {
            all.push(now);
        }
        Ok(all)
    }

    fn add_line(&mut self, line: &str, repeated: Repeated) -> Result<(), String> {
        if line.starts_with([' ', '\t']) {
            let (_, value) = self.fields.last_mut().ok_or("a continuation line without a field before it")?;
            if value.len() + line.len() > MAX_VALUE {
                return Err(format!("the value is longer than {MAX_VALUE} bytes"));
            }
            value.push('\n');
            value.push_str(line.trim_end());
            return Ok(());
        }
        let (name, value) = line.split_once(':').ok_or_else(|| format!("no ':' in {:?}", shorten(line)))?;
        // Policy 5.1: printable ASCII but space and colon, and not starting with # or -.
        if name.is_empty() || name.starts_with('-') || !name.bytes().all(|b| b.is_ascii_graphic()) {
            return Err(format!("{:?} is not a field name", shorten(name)));
        }
        if let Some(before) = self.fields.iter().position(|(n, _)| n.eq_ignore_ascii_case(name)) {
            match repeated {
                Repeated::Refused => return Err(format!("the field {name} is given twice")),
                Repeated::LastCounts => self.fields.remove(before),
            };
        }
        self.fields.push((name.to_owned(), value.trim().to_owned()));
        Ok(())
    }

    pub fn get(&self, name: &str) -> Option<&str> {
        self.fields.iter().find(|(n, _)| n.eq_ignore_ascii_case(name)).map(|(_, value)| value.as_str())
    }

    /// # Errors
    /// A field that is missing or empty; `file` is named.
    pub fn require(&self, name: &str, file: &str) -> Result<&str> {
        self.get(name)
            .filter(|value| !value.is_empty())
            .ok_or_else(|| Error::format(file, format!("has no field {name}")))
    }

    /// Fields in the order of the file. Continuation lines keep their leading space.
    pub fn fields(&self) -> impl Iterator<Item = (&str, &str)> {
        self.fields.iter().map(|(name, value)| (name.as_str(), value.as_str()))
    }

    /// Sets a field, in its place if there is one already, else after `after` if that exists, else at the end.
    pub fn set(&mut self, name: &str, value: impl Into<String>, after: &str) {
        let at = |wanted: &str| self.fields.iter().position(|(n, _)| n.eq_ignore_ascii_case(wanted));
        match (at(name), at(after)) {
            (Some(i), _) => self.fields[i].1 = value.into(),
            (None, Some(i)) => self.fields.insert(i + 1, (name.to_owned(), value.into())),
            (None, None) => self.fields.push((name.to_owned(), value.into())),
        }
    }
}

impl std::fmt::Display for Paragraph {
    /// As a control file has it: one line end after each field, none between paragraphs.
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        for (name, value) in &self.fields {
            // A value that starts on a continuation line has no space after the colon.
            let gap = if value.is_empty() || value.starts_with('\n') { "" } else { " " };
            writeln!(f, "{name}:{gap}{value}")?;
        }
        Ok(())
    }
}

/// Text of Debian's: UTF-8, or Latin-1 where it is older than that rule.
pub(crate) fn decode(bytes: &[u8]) -> std::borrow::Cow<'_, str> {
    match std::str::from_utf8(bytes) {
        Ok(text) => text.into(),
        // The control characters between are none of Latin-1's letters.
        Err(_) => bytes
            .iter()
            .map(|b| if (0x80..0xa0).contains(b) { char::REPLACEMENT_CHARACTER } else { char::from(*b) })
            .collect::<String>()
            .into(),
    }
}

pub(crate) fn shorten(text: &str) -> String {
    match text.char_indices().nth(60) {
        Some((end, _)) => format!("{}…", &text[..end]),
        None => text.to_owned(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn paragraphs_comments_and_continuations_are_read() {
        let text =
            b"# comment\nPackage: a\nDescription: short\n long\n .\n# inside\n more\n\n\nPackage: b\r\nX:\n one\n";
        let all = Paragraph::parse_all(text, "t").unwrap();
        assert_eq!(all.len(), 2);
        assert_eq!(all[0].get("description"), Some("short\n long\n .\n more"));
        assert_eq!(all[1].get("Package"), Some("b"));
        assert_eq!(all[1].to_string(), "Package: b\nX:\n one\n");
    }

    #[test]
    fn mistakes_name_file_and_line() {
        let wrong = |text: &[u8]| Paragraph::parse_all(text, "some/control").unwrap_err().to_string();
        assert_eq!(wrong(b"A: 1\nnonsense\n"), "some/control: line 2: no ':' in \"nonsense\"");
        assert_eq!(wrong(b" lost\n"), "some/control: line 1: a continuation line without a field before it");
        assert_eq!(wrong(b"A: 1\na: 2\n"), "some/control: line 2: the field a is given twice");
    }

    #[test]
    fn latin_1_and_lines_of_blanks_are_read() {
        let text = b"Package: a\nMaintainer: Jos\xe9\nDescription: x\n one\n \n two\n \nPackage: \xc3\xa9\n\t\n";
        let all = Paragraph::parse_all(text, "t").unwrap();
        assert_eq!(all.len(), 2);
        assert_eq!(
            (all[0].get("Maintainer"), all[0].get("Description")),
            (Some("Jos\u{e9}"), Some("x\n one\n .\n two"))
        );
        assert_eq!(all[1].get("Package"), Some("\u{e9}"));
        let twice = Paragraph::parse_first(b"A: 1\na: 2\n\nB: 3\n", "t").unwrap();
        assert_eq!((twice.get("A"), twice.get("B")), (Some("2"), None));
    }

    proptest! {
        #[test]
        fn what_is_printed_parses_to_the_same(fields in proptest::collection::btree_map("[A-Z][a-z]{1,8}", "([a-z][a-z ,()|=.]{0,10}[a-z])?(\n [a-z.]{1,9}){0,3}", 1..6)) {
            let mut paragraph = Paragraph::default();
            for (name, value) in &fields {
                paragraph.set(name, value.clone(), "");
            }
            let text = paragraph.to_string();
            prop_assert_eq!(Paragraph::parse_one(text.as_bytes(), "t").unwrap(), paragraph);
        }

        #[test]
        fn any_bytes_parse_or_fail_cleanly(bytes in proptest::collection::vec(any::<u8>(), 0..300)) {
            let _ = Paragraph::parse_all(&bytes, "t");
        }
    }
}
