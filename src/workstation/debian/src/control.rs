//! Paragraphs of `Field: value` lines (deb822(5)): control files, package indices, Release files, apt sources.

use crate::error::{Error, Result};

/// Longest field value accepted, in bytes; the SHA256 list of a Release file is the longest real one (about 1 MB).
const MAX_VALUE: usize = 16 << 20;

/// One paragraph: fields in the order of the file. Names are matched without regard to case.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Paragraph {
    fields: Vec<(String, String)>,
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

    /// Every paragraph of `text`; `#` lines are comments.
    ///
    /// # Errors
    /// Text that is not UTF-8, a line without a colon, a continuation without a field, a field given twice; with the
    /// line's number.
    pub fn parse_all(text: &[u8], file: &str) -> Result<Vec<Paragraph>> {
        let text = std::str::from_utf8(text).map_err(|e| Error::format(file, format!("is not UTF-8: {e}")))?;
        let mut all = Vec::new();
        let mut now = Paragraph::default();
        for (number, line) in (1..).zip(text.lines()) {
            let line = line.strip_suffix('\r').unwrap_or(line);
            if line.starts_with('#') {
                continue;
            }
            if line.trim_matches([' ', '\t']).is_empty() {
                if !now.fields.is_empty() {
                    all.push(std::mem::take(&mut now));
                }
                continue;
            }
            now.add_line(line).map_err(|why| Error::format(file, format!("line {number}: {why}")))?;
        }
        if !now.fields.is_empty() {
            all.push(now);
        }
        Ok(all)
    }

    fn add_line(&mut self, line: &str) -> Result<(), String> {
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
        if self.get(name).is_some() {
            return Err(format!("the field {name} is given twice"));
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
        assert!(wrong(b"A: \xff\n").contains("not UTF-8"));
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
