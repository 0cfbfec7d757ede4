//! `scripts` and `debconf`: whether packages' maintainer scripts run, and the answers to what they ask.

use crate::declare::{keyword, text};
use crate::decode::{Flaw, scalar, wrong_type};
use crate::diagnostic::Diagnostics;
use crate::node::{Kind, Node, shorten};

/// Longest answer, in bytes.
const MAX_ANSWER: usize = 4096;

keyword! {
    /// Whether packages' maintainer scripts are run. They run on this machine, in a sandbox without root, over the same packages of
    /// its own architecture; what they change is carried over into the image.
    "a word for when scripts run"
    pub enum ScriptsMode {
        /// When a package's scripts do something that fruitbuild does not do itself and that `acknowledge` does not name.
        Auto = "auto",
        /// Not at all: the build warns of what they would have done.
        Never = "never",
        /// Always.
        Always = "always",
    }
}

impl ScriptsMode {
    /// Whether it is what a recipe means that says nothing.
    pub(crate) fn is_auto(mode: &crate::source::At<ScriptsMode>) -> bool {
        mode.value == ScriptsMode::Auto
    }
}

text! {
    /// The name of a question that a package asks by debconf: `postfix/main_mailer_type`.
    "a question of debconf such as `postfix/main_mailer_type`"
    pub struct DebconfQuestion = |text| {
        let plain = |c: char| c.is_ascii_alphanumeric() || "/+-._".contains(c);
        if text.len() <= 256 && text.contains('/') && !text.starts_with('/') && text.chars().all(plain) {
            return Ok(());
        }
        Err(Flaw::new(format!("`{}` is not the name of a question of debconf", shorten(text)))
            .help("questions are PACKAGE/NAME; `debconf-show PACKAGE` on any Debian lists them"))
    }, pattern r"^[A-Za-z0-9+._-]+/[A-Za-z0-9/+._-]+$";
}

/// The answer to a question: a text of one line, a number, `true` or `false`.
#[derive(Debug, Clone, PartialEq, Eq, serde::Serialize)]
#[serde(transparent)]
pub struct DebconfAnswer(String);

impl DebconfAnswer {
    /// As debconf keeps it.
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

impl AsRef<str> for DebconfAnswer {
    fn as_ref(&self) -> &str {
        &self.0
    }
}

impl crate::decode::Decode for DebconfAnswer {
    fn what() -> String {
        "a text of one line, a number, `true` or `false`".into()
    }
    fn decode(node: &Node, found: &mut Diagnostics) -> Option<Self> {
        let Kind::Scalar { .. } = &node.kind else {
            wrong_type::<Self>(node, found);
            return None;
        };
        scalar(node, found, |text| {
            if text.len() > MAX_ANSWER || text.chars().any(char::is_control) {
                return Err(Flaw::new(format!("an answer has at most {MAX_ANSWER} bytes on one line")));
            }
            Ok(Self(text.to_owned()))
        })
    }
}

impl schemars::JsonSchema for DebconfAnswer {
    fn inline_schema() -> bool {
        true
    }
    fn schema_name() -> std::borrow::Cow<'static, str> {
        "DebconfAnswer".into()
    }
    fn json_schema(_: &mut schemars::SchemaGenerator) -> schemars::Schema {
        schemars::json_schema!({"type": ["string", "number", "boolean"]})
    }
}
