//! `files`: small files of a recipe that need no overlay.

use schemars::{JsonSchema, Schema, SchemaGenerator, json_schema};

use crate::declare::{mapping, text};
use crate::decode::{Decode, Flaw, wrong_type};
use crate::diagnostic::Diagnostics;
use crate::node::{Kind, Node, shorten};
use crate::source::At;
use crate::words::{VOLATILE, absolute};

/// Written from `users`, `groups` and what packages ask for.
const ACCOUNTS: &[&str] = &["/etc/passwd", "/etc/group", "/etc/shadow", "/etc/gshadow"];

text! {
    /// The path of a file in the image: absolute, and not in a folder that is made anew at each boot.
    "an absolute path"
    pub struct FilePath = file_path, pattern r"^/.+";
}

/// The rule of the path of a file in the image.
pub(crate) fn file_path(text: &str) -> Result<(), Flaw> {
    absolute(text)?;
    let top = text[1..].split('/').next().unwrap_or_default();
    if VOLATILE.iter().any(|v| &v[1..] == top) {
        let why = format!("`{}` is made anew at each boot: no file of the image is seen there", shorten(text));
        return Err(Flaw::new(why));
    }
    if ACCOUNTS.contains(&text) {
        let flaw = Flaw::new(format!("`{text}` is written by fruitbuild"));
        return Err(flaw.help("name accounts under `users` and `groups`"));
    }
    Ok(())
}

text! {
    /// The owner of a file: `user:group`, or `user` with the group root. Names of the image's accounts, or numbers.
    "an owner such as `root:adm`"
    pub struct FileOwner = |text| {
        let (user, group) = text.split_once(':').unwrap_or((text, "root"));
        let good = |name: &str| {
            let number = name.parse::<u32>().is_ok_and(|id| id != u32::MAX);
            let allowed = |c: char| c.is_ascii_alphanumeric() || matches!(c, '_' | '-' | '.');
            number || (name.len() <= 32 && name.starts_with(|c: char| c.is_ascii_alphabetic() || c == '_') && name.chars().all(allowed))
        };
        if good(user) && good(group) { Ok(()) } else { Err(Flaw::new(format!("`{}` is not an owner", shorten(text)))) }
    }, pattern r"^[A-Za-z0-9_][A-Za-z0-9_.-]{0,31}(:[A-Za-z0-9_][A-Za-z0-9_.-]{0,31})?$";
}

impl FileOwner {
    pub(crate) fn root() -> Self {
        Self("root:root".into())
    }

    /// User and group, each a name or a number.
    pub fn parts(&self) -> (&str, &str) {
        self.0.split_once(':').unwrap_or((&self.0, "root"))
    }
}

text! {
    /// The mode of a file in three or four octal digits: `"0644"`.
    "a mode such as `\"0644\"`"
    pub struct FileMode = |text| {
        if matches!(text.len(), 3 | 4) && text.chars().all(|c| c.is_digit(8)) {
            return Ok(());
        }
        Err(Flaw::new(format!("`{}` is not a mode", shorten(text))).help("write octal digits in quotes: `\"0644\"`, or `\"0755\"` for a program"))
    }, pattern r"^[0-7]{3,4}$";
}

impl FileMode {
    pub(crate) fn plain() -> Self {
        Self("0644".into())
    }

    /// The bits, `0o7777` at most.
    pub fn bits(&self) -> u16 {
        u16::from_str_radix(&self.0, 8).unwrap_or(0o644)
    }
}

mapping! {
    /// A file with its owner and mode.
    "a file's content, owner and mode"
    pub struct FileSettings {
        /// Its text, as it is: end it with a line break.
        content: String,
        /// Its owner.
        owner: At<FileOwner> = At::default_value(FileOwner::root()),
        /// Its mode.
        mode: At<FileMode> = At::default_value(FileMode::plain()),
        /// Whether it takes the place of a file that a package, an overlay or fruitbuild itself puts there.
        replace: bool = false,
    }
}

/// One of `files`: its text alone, or with owner and mode.
#[derive(Debug, Clone, PartialEq, serde::Serialize)]
#[serde(transparent)]
pub struct File(pub FileSettings);

impl Decode for File {
    fn what() -> String {
        "a file: its text, or a mapping of `content`, `owner` and `mode`".into()
    }
    fn decode(node: &Node, found: &mut Diagnostics) -> Option<Self> {
        match &node.kind {
            Kind::Scalar { text, .. } => Some(Self(FileSettings {
                content: text.clone(),
                owner: At::default_value(FileOwner::root()),
                mode: At::default_value(FileMode::plain()),
                replace: false,
            })),
            Kind::Map(_) => FileSettings::decode(node, found).map(Self),
            _ => {
                wrong_type::<Self>(node, found);
                None
            }
        }
    }
}

impl JsonSchema for File {
    fn inline_schema() -> bool {
        true
    }
    fn schema_name() -> std::borrow::Cow<'static, str> {
        "File".into()
    }
    fn json_schema(generator: &mut SchemaGenerator) -> Schema {
        let settings = generator.subschema_for::<FileSettings>();
        json_schema!({"anyOf": [{"type": ["string", "number", "boolean"], "description": "Its text."}, settings]})
    }
}
