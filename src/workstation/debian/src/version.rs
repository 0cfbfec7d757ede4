//! Debian version numbers and their order (Debian Policy 5.6.12; deb-version(7)).

use std::cmp::Ordering;
use std::fmt;
use std::hash::{Hash, Hasher};
use std::str::FromStr;

use serde::{Deserialize, Deserializer, Serialize, Serializer};

/// Longest version text accepted; the longest in the archive has some 60 characters.
const MAX_LEN: usize = 512;

/// `[epoch:]upstream[-revision]`. Two versions are equal when dpkg holds them so (`1.0` = `0:1.0-0`), though their
/// texts may differ; the text is kept as it was given.
#[derive(Clone)]
pub struct Version {
    text: Box<str>,
    epoch: u32,
    /// Byte ranges of `text`.
    upstream: (u16, u16),
    revision: (u16, u16),
}

#[derive(thiserror::Error, Debug, PartialEq, Eq)]
#[error("{text:?} is not a version: {why}")]
pub struct BadVersion {
    text: String,
    why: &'static str,
}

impl Version {
    pub fn as_str(&self) -> &str {
        &self.text
    }

    /// The part before the first `:`, 0 when there is none.
    pub fn epoch(&self) -> u32 {
        self.epoch
    }

    pub fn upstream(&self) -> &str {
        &self.text[usize::from(self.upstream.0)..usize::from(self.upstream.1)]
    }

    /// The part after the last `-`, empty when there is none.
    pub fn revision(&self) -> &str {
        &self.text[usize::from(self.revision.0)..usize::from(self.revision.1)]
    }
}

impl FromStr for Version {
    type Err = BadVersion;

    fn from_str(text: &str) -> Result<Version, BadVersion> {
        let bad = |why| BadVersion { text: text.chars().take(80).collect(), why };
        if text.is_empty() {
            return Err(bad("it is empty"));
        }
        if text.len() > MAX_LEN {
            return Err(bad("it is longer than 512 characters"));
        }
        let (epoch, from) = match text.find(':') {
            None => (0, 0),
            Some(colon) => {
                let digits = &text[..colon];
                if digits.is_empty() || !digits.bytes().all(|b| b.is_ascii_digit()) {
                    return Err(bad("the epoch is not a number"));
                }
                // dpkg keeps the epoch in an int.
                let epoch = digits.parse::<u32>().ok().filter(|n| *n <= i32::MAX as u32);
                (epoch.ok_or_else(|| bad("the epoch is too big"))?, colon + 1)
            }
        };
        let (upstream_end, revision_start) = match text[from..].rfind('-') {
            None => (text.len(), text.len()),
            Some(dash) => (from + dash, from + dash + 1),
        };
        if upstream_end == from {
            return Err(bad("the upstream part is empty"));
        }
        if revision_start == text.len() && upstream_end < text.len() {
            return Err(bad("the revision after the last '-' is empty"));
        }
        let allowed = |extra: &'static [u8]| move |b: u8| b.is_ascii_alphanumeric() || extra.contains(&b);
        if !text[from..upstream_end].bytes().all(allowed(b".+~-:")) {
            return Err(bad("a character is not one of A-Z a-z 0-9 . + ~ - :"));
        }
        if !text[revision_start..].bytes().all(allowed(b".+~")) {
            return Err(bad("a character of the revision is not one of A-Z a-z 0-9 . + ~"));
        }
        // MAX_LEN fits in 16 bits.
        let range = |a: usize, b: usize| (a as u16, b as u16);
        Ok(Version {
            text: text.into(),
            epoch,
            upstream: range(from, upstream_end),
            revision: range(revision_start, text.len()),
        })
    }
}

impl Ord for Version {
    fn cmp(&self, other: &Version) -> Ordering {
        self.epoch
            .cmp(&other.epoch)
            .then_with(|| compare_part(self.upstream(), other.upstream()))
            .then_with(|| compare_part(self.revision(), other.revision()))
    }
}

impl PartialOrd for Version {
    fn partial_cmp(&self, other: &Version) -> Option<Ordering> {
        Some(self.cmp(other))
    }
}

impl PartialEq for Version {
    fn eq(&self, other: &Version) -> bool {
        self.cmp(other) == Ordering::Equal
    }
}

impl Eq for Version {}

impl Hash for Version {
    /// Of the epoch only: equal versions may have unequal texts.
    fn hash<H: Hasher>(&self, state: &mut H) {
        self.epoch.hash(state);
    }
}

impl fmt::Display for Version {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(&self.text)
    }
}

impl fmt::Debug for Version {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Debug::fmt(&self.text, f)
    }
}

impl Serialize for Version {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.serialize_str(&self.text)
    }
}

impl<'de> Deserialize<'de> for Version {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Version, D::Error> {
        String::deserialize(deserializer)?.parse().map_err(serde::de::Error::custom)
    }
}

/// Runs of non-digits and of digits in turn, as dpkg's `verrevcmp` (lib/dpkg/version.c): non-digits by [`weight`],
/// digits as numbers of any length.
fn compare_part(a: &str, b: &str) -> Ordering {
    let (mut a, mut b) = (a.as_bytes(), b.as_bytes());
    while !a.is_empty() || !b.is_empty() {
        loop {
            let (left, right) = (weight(a.first()), weight(b.first()));
            if left != right {
                return left.cmp(&right);
            }
            if left == 0 {
                break; // both at a digit or at the end
            }
            (a, b) = (&a[1..], &b[1..]);
        }
        let (left, right) = (take_number(&mut a), take_number(&mut b));
        let order = left.len().cmp(&right.len()).then_with(|| left.cmp(right));
        if order != Ordering::Equal {
            return order;
        }
    }
    Ordering::Equal
}

/// `~` sorts before the end of the part, letters before everything else that is not a digit.
fn weight(byte: Option<&u8>) -> i32 {
    match byte {
        None => 0,
        Some(b'~') => -1,
        Some(b) if b.is_ascii_digit() => 0,
        Some(b) if b.is_ascii_alphabetic() => i32::from(*b),
        Some(b) => i32::from(*b) + 256,
    }
}

fn take_number<'a>(text: &mut &'a [u8]) -> &'a [u8] {
    let end = text.iter().position(|b| !b.is_ascii_digit()).unwrap_or(text.len());
    let (number, rest) = text.split_at(end);
    *text = rest;
    let zeros = number.iter().position(|b| *b != b'0').unwrap_or(number.len());
    &number[zeros..]
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;
    use std::process::Command;

    fn v(text: &str) -> Version {
        text.parse().unwrap()
    }

    #[test]
    fn order_is_that_of_the_policy_manual() {
        let rising =
            ["~~", "~~a", "~", "0", "a", "a1", "a+", "1:0", "1:0+", "1:1~rc1", "1:1", "1:1-1", "1:1-1+b1", "2:0"];
        for (i, a) in rising.iter().enumerate() {
            for (j, b) in rising.iter().enumerate() {
                assert_eq!(v(a).cmp(&v(b)), i.cmp(&j), "{a} {b}");
            }
        }
        assert_eq!(v("1.0"), v("0:1.0-0"));
        assert_eq!(v("1.00100"), v("1.100"));
    }

    #[test]
    fn parts_are_found() {
        let version = v("2:1.2-rc:3-4.1");
        assert_eq!((version.epoch(), version.upstream(), version.revision()), (2, "1.2-rc:3", "4.1"));
    }

    #[test]
    fn texts_that_are_no_version_are_refused() {
        for bad in ["", ":1", "x:1", "1:", "1-", "-1", "1 2", "1_2", "99999999999:1", "1:-1", "é"] {
            assert!(bad.parse::<Version>().is_err(), "{bad:?}");
        }
    }

    fn dpkg_holds(a: &str, relation: &str, b: &str) -> bool {
        Command::new("dpkg")
            .args(["--compare-versions", a, relation, b])
            .stderr(std::process::Stdio::null())
            .status()
            .expect("this test needs dpkg: install the Debian package dpkg")
            .success()
    }

    proptest! {
        #![proptest_config(ProptestConfig::with_cases(200))]
        #[test]
        fn order_is_that_of_dpkg(a in "([0-2]:)?[0-9][0-9a-c.+~]{0,6}(-[0-9a-b.+~]{1,3})?", b in "([0-2]:)?[0-9][0-9a-c.+~]{0,6}(-[0-9a-b.+~]{1,3})?") {
            let relation = match v(&a).cmp(&v(&b)) {
                Ordering::Less => "lt",
                Ordering::Equal => "eq",
                Ordering::Greater => "gt",
            };
            prop_assert!(dpkg_holds(&a, relation, &b), "{} {} {}", a, relation, b);
        }
    }

    proptest! {
        #[test]
        fn any_text_parses_or_fails_cleanly(text in ".{0,40}") {
            if let Ok(version) = text.parse::<Version>() {
                prop_assert_eq!(version.as_str(), text.as_str());
                prop_assert_eq!(version.cmp(&version), Ordering::Equal);
            }
        }
    }
}
