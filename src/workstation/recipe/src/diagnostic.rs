//! Mistakes in what a person wrote, shown the way rustc shows them.

use std::borrow::Cow;
use std::fmt;

use annotate_snippets::renderer::DecorStyle;
use annotate_snippets::{AnnotationKind, Group, Level, Origin, Renderer, Snippet};
use serde_json::{Value, json};

use crate::source::{At, Place, Source};

/// How much a diagnostic weighs.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Severity {
    /// The build cannot go on.
    Error,
    /// Worth a look; the build goes on unless `--strict` is given.
    Warning,
}

/// One mistake: what is wrong, where, and what to do about it.
#[derive(Debug, Clone, PartialEq)]
pub struct Diagnostic {
    /// Error or warning.
    pub severity: Severity,
    /// One sentence without a full stop.
    pub message: String,
    /// The bytes to underline; `None` when no file holds the value.
    pub place: Option<Place>,
    /// What stands under the underline; may be empty.
    pub label: String,
    /// Other places that explain this one ("first written here"), each with its label.
    pub related: Vec<(Place, String)>,
    /// Facts that help to understand.
    pub notes: Vec<String>,
    /// What to write instead.
    pub help: Vec<String>,
    /// The one likely replacement for the underlined text, for editors.
    pub suggestion: Option<String>,
    /// The underlined text may be a secret: it is shown as `*`, for build logs are read by others.
    pub secret: bool,
}

impl Diagnostic {
    /// An error with nothing but a message.
    pub fn error(message: impl Into<String>) -> Self {
        Self {
            severity: Severity::Error,
            message: message.into(),
            place: None,
            label: String::new(),
            related: Vec::new(),
            notes: Vec::new(),
            help: Vec::new(),
            suggestion: None,
            secret: false,
        }
    }

    /// An error about `value`, underlined where it was written, with "did you mean" taken from `candidates`.
    ///
    /// This is the way for later steps of a build (unknown packages, units, device trees) to point at the YAML line.
    pub fn at<T: AsRef<str>>(
        value: &At<T>,
        message: impl Into<String>,
        candidates: impl IntoIterator<Item = impl AsRef<str>>,
    ) -> Self {
        let mut made = Self::error(message).maybe_place(value.place.clone());
        if let Some(best) = similar(value.value.as_ref(), candidates) {
            made = made.did_you_mean(best);
        }
        made
    }

    /// Underlines `place`.
    pub fn place(self, place: Place) -> Self {
        self.maybe_place(Some(place))
    }

    /// Underlines `place` if there is one.
    pub fn maybe_place(mut self, place: Option<Place>) -> Self {
        self.place = place;
        self
    }

    /// Makes it a warning.
    pub fn warning(mut self) -> Self {
        self.severity = Severity::Warning;
        self
    }

    /// Writes `label` under the underline.
    pub fn label(mut self, label: impl Into<String>) -> Self {
        self.label = label.into();
        self
    }

    /// Hides the underlined text.
    pub fn secret(mut self) -> Self {
        self.secret = true;
        self
    }

    /// Shows a second place.
    pub fn related(mut self, place: Place, label: impl Into<String>) -> Self {
        self.related.push((place, label.into()));
        self
    }

    /// Adds a fact.
    pub fn note(mut self, note: impl Into<String>) -> Self {
        self.notes.push(note.into());
        self
    }

    /// Adds an advice.
    pub fn help(mut self, help: impl Into<String>) -> Self {
        self.help.push(help.into());
        self
    }

    /// Proposes `replacement` for the underlined text.
    pub fn did_you_mean(mut self, replacement: impl Into<String>) -> Self {
        let replacement = replacement.into();
        self.help.push(format!("did you mean `{replacement}`?"));
        self.suggestion = Some(replacement);
        self
    }

    /// The diagnostic as text, ending without a line break.
    pub fn render(&self, color: bool) -> String {
        self.render_hiding(color, &Vec::from_iter(self.secret_place()))
    }

    fn secret_place(&self) -> Option<&Place> {
        self.place.as_ref().filter(|_| self.secret)
    }

    /// As text in which none of the `secrets` can be read.
    fn render_hiding(&self, color: bool, secrets: &[&Place]) -> String {
        let renderer = if color { Renderer::styled() } else { Renderer::plain() };
        let renderer = renderer.decor_style(DecorStyle::Ascii).term_width(120);
        let level = match self.severity {
            Severity::Error => Level::ERROR,
            Severity::Warning => Level::WARNING,
        };
        let title = level.primary_title(self.message.as_str());
        let mut group = Group::with_title(title);
        if let Some(place) = &self.place {
            let source = place.source();
            let mut snippet = Snippet::source(masked(source, secrets))
                .path(source.path.display().to_string())
                .line_start(1)
                .annotation(
                    AnnotationKind::Primary
                        .span(visible(place))
                        .label(Some(self.label.as_str()).filter(|l| !l.is_empty())),
                );
            let (same, other): (Vec<_>, Vec<_>) = self.related.iter().partition(|(p, _)| p.source() == source);
            for (place, label) in same {
                snippet = snippet.annotation(AnnotationKind::Context.span(visible(place)).label(label.as_str()));
            }
            // A file that is empty has no line to show.
            group = if source.text.is_empty() {
                group.element(Origin::path(source.path.display().to_string()))
            } else {
                group.element(snippet)
            };
            for (place, label) in other {
                let source = place.source();
                group = group.element(
                    Snippet::source(masked(source, secrets))
                        .path(source.path.display().to_string())
                        .line_start(1)
                        .annotation(AnnotationKind::Context.span(visible(place)).label(label.as_str())),
                );
            }
        }
        for note in &self.notes {
            group = group.element(Level::NOTE.message(note.as_str()));
        }
        for help in &self.help {
            group = group.element(Level::HELP.message(help.as_str()));
        }
        renderer.render(&[group])
    }

    /// The diagnostic as JSON: `severity`, `message`, `label`, `file`, `line`, `column`, `start`, `end` (bytes), `notes`, `help`,
    /// `suggestion`, `related`.
    pub fn to_json(&self) -> Value {
        let position = |place: &Place| {
            let (line, column) = place.line_column();
            json!({
                "file": place.path().display().to_string(), "line": line, "column": column,
                "start": place.range().start, "end": place.range().end,
            })
        };
        json!({
            "severity": match self.severity { Severity::Error => "error", Severity::Warning => "warning" },
            "message": self.message,
            "label": self.label,
            "at": self.place.as_ref().map(position),
            "notes": self.notes,
            "help": self.help,
            "suggestion": self.suggestion,
            "related": self.related.iter().map(|(p, label)| json!({"at": position(p), "label": label})).collect::<Vec<_>>(),
        })
    }
}

/// The text with `*` for every byte of the `secrets` in it, at least up to the end of their lines.
fn masked<'s>(source: &'s Source, secrets: &[&Place]) -> Cow<'s, str> {
    let mut text = Cow::Borrowed(source.text.as_str());
    for place in secrets.iter().filter(|place| **place.source() == *source) {
        let range = place.range();
        let line_end = text[range.start..].find(['\n', '\r']).map_or(text.len(), |at| range.start + at);
        let end = range.end.max(line_end);
        // As many bytes as before, so that places after it stay right.
        let stars: String = text[range.start..end].bytes().map(|b| if b == b'\n' { '\n' } else { '*' }).collect();
        text = Cow::Owned(format!("{}{stars}{}", &text[..range.start], &text[end..]));
    }
    text
}

/// A range that an underline can be drawn under: at least one character, on one line.
fn visible(place: &Place) -> std::ops::Range<usize> {
    let range = place.range();
    let text = &place.source().text;
    let line_end = text[range.start..].find('\n').map_or(text.len(), |at| range.start + at);
    range.start..range.end.min(line_end).max(range.start)
}

pub use fruit_base::suggest::nearest as similar;

/// All mistakes found in one go, in the order of the files.
#[derive(Debug, Clone, Default, PartialEq)]
pub struct Diagnostics(Vec<Diagnostic>);

impl Diagnostics {
    /// None yet.
    pub fn new() -> Self {
        Self::default()
    }

    /// Adds one.
    pub fn push(&mut self, diagnostic: Diagnostic) {
        // The same file reached by two ways of `extends` reports a mistake once.
        if !self.0.contains(&diagnostic) {
            self.0.push(diagnostic);
        }
    }

    /// Adds all of `other`.
    pub fn extend(&mut self, other: Diagnostics) {
        for diagnostic in other.0 {
            self.push(diagnostic);
        }
    }

    /// Whether nothing was found.
    pub fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    /// Whether at least one of them stops the build.
    pub fn has_errors(&self) -> bool {
        self.0.iter().any(|d| d.severity == Severity::Error)
    }

    /// All of them.
    pub fn iter(&self) -> impl Iterator<Item = &Diagnostic> {
        self.0.iter()
    }

    /// Puts those of one file in the order of its lines; files stay in the order they were first mentioned.
    pub fn sort(&mut self) {
        let mut files: Vec<std::path::PathBuf> = Vec::new();
        for diagnostic in &self.0 {
            if let Some(place) = &diagnostic.place
                && !files.iter().any(|f| f == place.path())
            {
                files.push(place.path().to_owned());
            }
        }
        self.0.sort_by_key(|d| {
            d.place.as_ref().map(|p| (files.iter().position(|f| f == p.path()), p.range().start, p.range().end))
        });
    }

    /// All of them as text, with an empty line between.
    pub fn render(&self, color: bool) -> String {
        // What one of them must hide may stand on a line that another one shows.
        let secrets: Vec<&Place> = self.0.iter().filter_map(Diagnostic::secret_place).collect();
        self.0.iter().map(|d| d.render_hiding(color, &secrets)).collect::<Vec<_>>().join("\n\n")
    }

    /// All of them as a JSON array.
    pub fn to_json(&self) -> Value {
        Value::Array(self.0.iter().map(Diagnostic::to_json).collect())
    }
}

impl From<Diagnostic> for Diagnostics {
    fn from(diagnostic: Diagnostic) -> Self {
        Self(vec![diagnostic])
    }
}

impl IntoIterator for Diagnostics {
    type Item = Diagnostic;
    type IntoIter = std::vec::IntoIter<Diagnostic>;
    fn into_iter(self) -> Self::IntoIter {
        self.0.into_iter()
    }
}

impl fmt::Display for Diagnostics {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.render(false))
    }
}

impl std::error::Error for Diagnostics {}
