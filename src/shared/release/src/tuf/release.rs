//! What a target of ours is: a release for some board, or the difference between two releases.

use std::cmp::Ordering;
use std::fmt;

use super::fields::Fields;
use super::json::{Json, Object};
use super::limits;
use fruit_base::hex;

/// The member of `custom` that is ours; other members are other programs'.
pub(super) const MEMBER: &str = "fruit";

/// The description of a release in its target's `custom`. Members that are not known here are ignored, so that later
/// programs may say more.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Release {
    pub kind: Kind,
    /// Name of the recipe: what the node is.
    pub product: String,
    /// Name of the board that it was built for.
    pub board: String,
    /// Device trees' `compatible` strings of the hardware that it runs on; empty for machines without a device tree.
    pub compatible: Vec<String>,
    /// Debian's name of the processor architecture.
    pub architecture: String,
    /// What people call it, such as `1.4.2`.
    pub version: String,
    /// Goes up when going back would reopen a hole: a node never installs a release of an older epoch.
    pub epoch: u64,
    /// The oldest boot loader interface that starts it.
    pub min_bootloader: u64,
}

/// Whole, or a difference.
#[derive(Clone, PartialEq, Eq, Debug)]
pub enum Kind {
    Release,
    Delta { from: Base },
}

/// The release that a delta starts from.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Base {
    pub version: String,
    /// SHA-256 of that release's own target.
    pub sha256: [u8; 32],
}

/// Why a target is no release that this program knows.
#[derive(Clone, PartialEq, Eq, Debug, thiserror::Error)]
pub enum NotARelease {
    #[error("it has no description of a release")]
    Other,
    #[error("its description is of kind {0:?}, which this program does not know")]
    Kind(String),
    #[error("its description is wrong: {0}")]
    Wrong(String),
}

impl Release {
    /// From `custom`.
    pub(super) fn from_fields(fields: Fields) -> Result<Release, NotARelease> {
        let wrong = |error: super::Error| NotARelease::Wrong(error.to_string());
        let short = |fields: Fields, name: &str| {
            let text = fields.text(name).map_err(wrong)?;
            if text.is_empty() || text.len() > limits::TEXT || text.chars().any(char::is_control) {
                return Err(wrong(fields.error(name, "is empty, too long, or has control characters")));
            }
            Ok(text.to_owned())
        };
        let kind = match fields.text("kind").map_err(wrong)? {
            "release" => Kind::Release,
            "delta" => {
                let from = Fields { place: "from", object: fields.object("from").map_err(wrong)?, ..fields };
                let digest = hex::decode_array(from.text("sha256").map_err(wrong)?);
                let sha256 = digest.ok_or_else(|| wrong(from.error("sha256", "is no SHA-256 in hex")))?;
                Kind::Delta { from: Base { version: short(from, "version")?, sha256 } }
            }
            other => return Err(NotARelease::Kind(other.chars().take(40).collect())),
        };
        let compatible = fields.list("compatible").map_err(wrong)?;
        let compatible: Option<Vec<String>> = compatible
            .iter()
            .map(|text| text.text().filter(|t| !t.is_empty() && t.len() <= limits::TEXT).map(str::to_owned))
            .collect();
        let compatible = compatible
            .filter(|list| list.len() <= limits::COMPATIBLE)
            .ok_or_else(|| wrong(fields.error("compatible", "is no list of a few short texts")))?;
        Ok(Release {
            kind,
            product: short(fields, "product")?,
            board: short(fields, "board")?,
            compatible,
            architecture: short(fields, "architecture")?,
            version: short(fields, "version")?,
            epoch: fields.count("epoch").map_err(wrong)?,
            min_bootloader: fields.count("min_bootloader").map_err(wrong)?,
        })
    }

    /// The value of `custom`.
    #[must_use]
    pub fn to_custom(&self) -> Json {
        let compatible = self.compatible.iter().map(|text| text.as_str().into()).collect();
        let mut members: Object = [
            ("product", self.product.as_str().into()),
            ("board", self.board.as_str().into()),
            ("compatible", Json::List(compatible)),
            ("architecture", self.architecture.as_str().into()),
            ("version", self.version.as_str().into()),
            ("epoch", super::json::number(self.epoch)),
            ("min_bootloader", super::json::number(self.min_bootloader)),
        ]
        .into_iter()
        .map(|(name, value)| (name.to_owned(), value))
        .collect();
        let kind = match &self.kind {
            Kind::Release => "release",
            Kind::Delta { from } => {
                let from = [("version", from.version.as_str().into()), ("sha256", hex::encode(&from.sha256).into())];
                members.insert("from".into(), Json::from(from));
                "delta"
            }
        };
        members.insert("kind".into(), kind.into());
        Json::from([(MEMBER, Json::Object(members))])
    }
}

/// What a node knows of itself when it is offered a release.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Node {
    /// Product of the running release.
    pub product: String,
    pub board: String,
    /// `/proc/device-tree/compatible`, most specific first; empty without a device tree.
    pub compatible: Vec<String>,
    pub architecture: String,
    /// Security epoch of the running release, or the highest one that was ever committed.
    pub epoch: u64,
    /// Interface version of the boot loader on the card.
    pub bootloader: u64,
}

/// Why a release is not for a node.
#[derive(Clone, PartialEq, Eq, Debug, thiserror::Error)]
pub enum Unfit {
    #[error("the release is of product {release}, this node is a {node}")]
    Product { release: String, node: String },
    #[error("the release is for board {release}, this node is a {node}")]
    Board { release: String, node: String },
    #[error("the release runs on {}, this node's hardware is {}", or_nothing(.release), or_nothing(.node))]
    Hardware { release: Vec<String>, node: Vec<String> },
    #[error("the release is for {release} processors, this node has an {node} one")]
    Architecture { release: String, node: String },
    #[error("the release is of security epoch {release}, older than {node}, which this node has reached")]
    Epoch { release: u64, node: u64 },
    #[error("the release needs boot loader {release} or later, this node has {node}")]
    Bootloader { release: u64, node: u64 },
}

fn or_nothing(names: &[String]) -> String {
    if names.is_empty() { "without a device tree".to_owned() } else { names.join(", ") }
}

impl Release {
    /// Whether the release may be installed on `node`.
    ///
    /// # Errors
    /// The first reason against it.
    pub fn fits(&self, node: &Node) -> Result<(), Unfit> {
        if self.product != node.product {
            return Err(Unfit::Product { release: self.product.clone(), node: node.product.clone() });
        }
        if self.board != node.board {
            return Err(Unfit::Board { release: self.board.clone(), node: node.board.clone() });
        }
        let no_trees = self.compatible.is_empty() && node.compatible.is_empty();
        if !no_trees && !self.compatible.iter().any(|name| node.compatible.contains(name)) {
            return Err(Unfit::Hardware { release: self.compatible.clone(), node: node.compatible.clone() });
        }
        if self.architecture != node.architecture {
            return Err(Unfit::Architecture { release: self.architecture.clone(), node: node.architecture.clone() });
        }
        if self.epoch < node.epoch {
            return Err(Unfit::Epoch { release: self.epoch, node: node.epoch });
        }
        if self.min_bootloader > node.bootloader {
            return Err(Unfit::Bootloader { release: self.min_bootloader, node: node.bootloader });
        }
        Ok(())
    }

    /// How this release's version stands to `other`, as Debian orders versions without an epoch: runs of digits by
    /// their number, letters before other marks, `~` before everything, even the end.
    #[must_use]
    pub fn compare_version(&self, other: &str) -> Ordering {
        compare_versions(&self.version, other)
    }
}

impl fmt::Display for Release {
    fn fmt(&self, f: &mut fmt::Formatter) -> fmt::Result {
        write!(f, "{} {} for {}", self.product, self.version, self.board)?;
        match &self.kind {
            Kind::Release => Ok(()),
            Kind::Delta { from } => write!(f, " (from {})", from.version),
        }
    }
}

/// Orders two versions; see [`Release::compare_version`].
#[must_use]
pub fn compare_versions(a: &str, b: &str) -> Ordering {
    let (mut a, mut b) = (a.as_bytes(), b.as_bytes());
    while !a.is_empty() || !b.is_empty() {
        let (marks_a, rest_a) = split(a, |byte| !byte.is_ascii_digit());
        let (marks_b, rest_b) = split(b, |byte| !byte.is_ascii_digit());
        for i in 0..marks_a.len().max(marks_b.len()) {
            let order = rank(marks_a.get(i)).cmp(&rank(marks_b.get(i)));
            if order.is_ne() {
                return order;
            }
        }
        let (digits_a, after_a) = split(rest_a, u8::is_ascii_digit);
        let (digits_b, after_b) = split(rest_b, u8::is_ascii_digit);
        // Numbers of any length: without leading zeros the longer one is the greater.
        let (number_a, number_b) = (without_zeros(digits_a), without_zeros(digits_b));
        let order = number_a.len().cmp(&number_b.len()).then_with(|| number_a.cmp(number_b));
        if order.is_ne() {
            return order;
        }
        (a, b) = (after_a, after_b);
    }
    Ordering::Equal
}

fn split(text: &[u8], belongs: impl Fn(&u8) -> bool) -> (&[u8], &[u8]) {
    text.split_at(text.iter().position(|byte| !belongs(byte)).unwrap_or(text.len()))
}

fn without_zeros(digits: &[u8]) -> &[u8] {
    &digits[digits.iter().position(|&digit| digit != b'0').unwrap_or(digits.len())..]
}

fn rank(mark: Option<&u8>) -> u16 {
    match mark {
        Some(b'~') => 0,
        None => 1,
        Some(letter) if letter.is_ascii_alphabetic() => u16::from(*letter) + 2,
        Some(other) => u16::from(*other) + 258,
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn versions_are_ordered_as_people_mean_them() {
        let ordered = [
            "0.9",
            "1.0~rc1",
            "1.0~rc2",
            "1.0",
            "1.0a",
            "1.0+1",
            "1.0.1",
            "1.2",
            "1.10",
            "1.10.0",
            "2026.11",
            "10000000000000000000000",
        ];
        for (i, a) in ordered.iter().enumerate() {
            for (j, b) in ordered.iter().enumerate() {
                assert_eq!(compare_versions(a, b), i.cmp(&j), "{a} {b}");
            }
        }
        assert_eq!(compare_versions("1.00", "1.0"), Ordering::Equal);
    }

    proptest! {
        #[test]
        fn the_order_is_total(a in "[0-9a-z.~+-]{0,8}", b in "[0-9a-z.~+-]{0,8}", c in "[0-9a-z.~+-]{0,8}") {
            prop_assert_eq!(compare_versions(&a, &b), compare_versions(&b, &a).reverse());
            if compare_versions(&a, &b).is_le() && compare_versions(&b, &c).is_le() {
                prop_assert!(compare_versions(&a, &c).is_le());
            }
        }
    }
}
