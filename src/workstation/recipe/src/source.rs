//! Where a value was written: the file, and the bytes in it.

use std::fmt;
use std::ops::{Deref, Range};
use std::path::{Path, PathBuf};
use std::sync::Arc;

use serde::{Serialize, Serializer};

/// One file that a person wrote, kept whole so that a mistake found much later can still show its line.
#[derive(PartialEq, Eq)]
pub struct Source {
    /// Path as it was given or found, used for display and to resolve relative paths.
    pub path: PathBuf,
    /// The text, without a byte order mark.
    pub text: String,
}

impl Source {
    /// Keeps `text` as the content of `path`. A byte order mark at the start is dropped.
    pub fn new(path: impl Into<PathBuf>, text: &str) -> Arc<Self> {
        let text = text.strip_prefix('\u{feff}').unwrap_or(text).to_owned();
        Arc::new(Self { path: path.into(), text })
    }

    /// Line and column of a byte offset, both counted from 1; columns count characters.
    pub fn line_column(&self, offset: usize) -> (usize, usize) {
        let before = floor_char(&self.text, offset);
        let head = &self.text[..before];
        let line_start = head.rfind('\n').map_or(0, |at| at + 1);
        (head.matches('\n').count() + 1, head[line_start..].chars().count() + 1)
    }
}

impl fmt::Debug for Source {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Source({})", self.path.display())
    }
}

/// The nearest character boundary at or before `offset`.
fn floor_char(text: &str, offset: usize) -> usize {
    let mut at = offset.min(text.len());
    while !text.is_char_boundary(at) {
        at -= 1;
    }
    at
}

/// A range of bytes in a [`Source`].
#[derive(Clone, PartialEq, Eq)]
pub struct Place {
    source: Arc<Source>,
    start: usize,
    end: usize,
}

impl Place {
    /// The bytes `range` of `source`, clipped to the text and widened to whole characters.
    pub fn new(source: &Arc<Source>, range: Range<usize>) -> Self {
        let start = floor_char(&source.text, range.start);
        let mut end = range.end.clamp(start, source.text.len());
        while !source.text.is_char_boundary(end) {
            end += 1;
        }
        Self { source: Arc::clone(source), start, end }
    }

    /// The first bytes of the file, for what concerns it as a whole.
    pub fn file(source: &Arc<Source>) -> Self {
        Self::new(source, 0..0)
    }

    /// The file.
    pub fn source(&self) -> &Arc<Source> {
        &self.source
    }

    /// The file's path.
    pub fn path(&self) -> &Path {
        &self.source.path
    }

    /// Byte offsets in the file's text.
    pub fn range(&self) -> Range<usize> {
        self.start..self.end
    }

    /// The text of the range.
    pub fn text(&self) -> &str {
        &self.source.text[self.start..self.end]
    }

    /// Line and column of the start, both from 1.
    pub fn line_column(&self) -> (usize, usize) {
        self.source.line_column(self.start)
    }

    /// `relative`, taken as relative to the folder of the file that this place is in.
    pub fn resolve(&self, relative: impl AsRef<Path>) -> PathBuf {
        match self.source.path.parent() {
            Some(folder) => folder.join(relative),
            None => relative.as_ref().to_owned(),
        }
    }
}

impl fmt::Debug for Place {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{self}")
    }
}

/// `path:line:column`
impl fmt::Display for Place {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let (line, column) = self.line_column();
        write!(f, "{}:{line}:{column}", self.source.path.display())
    }
}

/// A value together with the place it was written at; the place is `None` for a default of fruitbuild's own.
///
/// It serializes and compares as the value alone: moving a line does not change a recipe.
#[derive(Clone)]
pub struct At<T> {
    /// The value.
    pub value: T,
    /// Where it was written.
    pub place: Option<Place>,
}

impl<T> At<T> {
    /// A value that no file holds.
    pub fn default_value(value: T) -> Self {
        Self { value, place: None }
    }

    /// A value read from `place`.
    pub fn new(value: T, place: Place) -> Self {
        Self { value, place: Some(place) }
    }

    /// `relative` resolved against the folder of the file that holds this value (or left alone for a default).
    pub fn resolve(&self, relative: impl AsRef<Path>) -> PathBuf {
        match &self.place {
            Some(place) => place.resolve(relative),
            None => relative.as_ref().to_owned(),
        }
    }
}

impl<T> Deref for At<T> {
    type Target = T;
    fn deref(&self) -> &T {
        &self.value
    }
}

impl<T: PartialEq> PartialEq for At<T> {
    fn eq(&self, other: &Self) -> bool {
        self.value == other.value
    }
}

impl<T: Eq> Eq for At<T> {}

impl<T: fmt::Debug> fmt::Debug for At<T> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.value.fmt(f)
    }
}

impl<T: fmt::Display> fmt::Display for At<T> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.value.fmt(f)
    }
}

impl<T: Serialize> Serialize for At<T> {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        self.value.serialize(serializer)
    }
}
