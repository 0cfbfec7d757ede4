//! The Prometheus text exposition format, version 0.0.4.

use std::fmt::Write;

/// The content type of a [`Text`].
pub const CONTENT_TYPE: &str = "text/plain; version=0.0.4; charset=utf-8";

/// Metrics as text: for each a [`Text::family`], then its samples.
#[derive(Default, Debug)]
pub struct Text(String);

impl Text {
    /// Begins a metric. `kind`: `gauge`, `counter`, `histogram`.
    pub fn family(&mut self, name: &str, kind: &str, help: &str) {
        // Writing to a string does not fail.
        let _ = writeln!(self.0, "# HELP {name} {help}\n# TYPE {name} {kind}");
    }

    /// A value of the metric that was begun last.
    pub fn sample(&mut self, name: &str, labels: &[(&str, &str)], value: f64) {
        self.0.push_str(name);
        for (index, (label, text)) in labels.iter().enumerate() {
            let text = text.replace('\\', "\\\\").replace('"', "\\\"").replace('\n', "\\n");
            let _ = write!(self.0, "{}{label}=\"{text}\"", if index == 0 { '{' } else { ',' });
        }
        let _ = writeln!(self.0, "{} {value}", if labels.is_empty() { "" } else { "}" });
    }

    /// A metric of one sample.
    pub fn single(&mut self, name: &str, kind: &str, help: &str, value: f64) {
        self.family(name, kind, help);
        self.sample(name, &[], value);
    }

    #[must_use]
    pub fn into_string(self) -> String {
        self.0
    }
}

/// A yes or no as a value.
#[must_use]
pub fn flag(value: bool) -> f64 {
    f64::from(u8::from(value))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn labels_are_escaped() {
        let mut text = Text::default();
        text.single("up", "gauge", "Whether it is up.", flag(true));
        text.sample("named", &[("a", "q\"\\\n"), ("b", "2")], 0.5);
        let expected = "# HELP up Whether it is up.\n# TYPE up gauge\nup 1\nnamed{a=\"q\\\"\\\\\\n\",b=\"2\"} 0.5\n";
        assert_eq!(text.into_string(), expected);
    }
}
