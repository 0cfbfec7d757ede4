//! Values that are text with rules: each type can only hold what is safe to write into a configuration file.

/// Defines a checked string: a sentence-giving `check` function, and conversions that use it.
macro_rules! checked_text {
    ($(#[$meta:meta])* $name:ident, $check:path $(, $pattern:literal)?) => {
        $(#[$meta])*
        #[derive(Clone, PartialEq, Eq, PartialOrd, Ord, Hash, Debug, serde::Serialize, serde::Deserialize)]
        #[serde(try_from = "String", into = "String")]
        #[cfg_attr(feature = "schema", derive(schemars::JsonSchema))]
        $(#[cfg_attr(feature = "schema", schemars(extend("pattern" = $pattern)))])?
        pub struct $name(String);

        impl $name {
            $(
                /// What editors check by; the rule itself is stricter.
                pub const PATTERN: &'static str = $pattern;
            )?

            pub fn as_str(&self) -> &str {
                &self.0
            }
        }

        impl std::str::FromStr for $name {
            /// A sentence: what was found, what is expected.
            type Err = String;

            fn from_str(text: &str) -> Result<Self, String> {
                $check(text).map($name)
            }
        }

        impl TryFrom<String> for $name {
            type Error = String;

            fn try_from(text: String) -> Result<Self, String> {
                text.parse()
            }
        }

        impl From<$name> for String {
            fn from(value: $name) -> String {
                value.0
            }
        }

        impl std::fmt::Display for $name {
            fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
                f.write_str(&self.0)
            }
        }
    };
}
pub(crate) use checked_text;

/// A value as it may be shown in a message: one line, short, nothing that a terminal obeys.
pub(crate) fn shown(text: &str) -> String {
    const LONGEST: usize = 60;
    let mut shown: String = text.chars().take(LONGEST).flat_map(char::escape_debug).collect();
    if text.chars().nth(LONGEST).is_some() {
        shown.push('…');
    }
    shown
}

/// Whether every character is a letter, a digit or one of `more`.
pub(crate) fn is_made_of(text: &str, more: &str) -> bool {
    text.chars().all(|c| c.is_ascii_alphanumeric() || more.contains(c))
}
