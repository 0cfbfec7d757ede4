//! SHA-256 values. As text they are 64 lower-case hexadecimal digits, the form that names of files are made of.

use std::fmt;
use std::str::FromStr;

use serde::{Deserialize, Deserializer, Serialize, Serializer};
use sha2::Digest as _;

use crate::hex::{Hex, decode_array};

/// A SHA-256 value.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Sha256(pub [u8; 32]);

impl Sha256 {
    #[must_use]
    pub fn of(bytes: &[u8]) -> Sha256 {
        Sha256(sha2::Sha256::digest(bytes).into())
    }

    /// Takes digits of either case, as what others write may have; [`FromStr`] takes the one form that we write.
    #[must_use]
    pub fn parse(text: &str) -> Option<Sha256> {
        decode_array(text).map(Sha256)
    }
}

impl fmt::Display for Sha256 {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(&Hex(&self.0), f)
    }
}

impl fmt::Debug for Sha256 {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(self, f)
    }
}

/// A text that is no SHA-256 value; its first characters.
#[derive(Clone, PartialEq, Eq, Debug, thiserror::Error)]
#[error("{0:?} is not a SHA-256 value (64 lower-case hexadecimal digits)")]
pub struct NotSha256(String);

impl FromStr for Sha256 {
    type Err = NotSha256;

    fn from_str(text: &str) -> Result<Sha256, NotSha256> {
        let lower = || !text.bytes().any(|digit| digit.is_ascii_uppercase());
        Sha256::parse(text).filter(|_| lower()).ok_or_else(|| NotSha256(text.chars().take(80).collect()))
    }
}

impl Serialize for Sha256 {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_str(self)
    }
}

impl<'de> Deserialize<'de> for Sha256 {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Sha256, D::Error> {
        String::deserialize(deserializer)?.parse().map_err(serde::de::Error::custom)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn one_value_has_one_text() {
        let empty = Sha256::of(b"");
        let text = "e3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b855";
        assert_eq!((empty.to_string().as_str(), format!("{empty:?}").as_str()), (text, text));
        assert_eq!(text.parse(), Ok(empty));
        assert_eq!(serde_json::to_string(&empty).unwrap(), format!("\"{text}\""));
        assert_eq!(serde_json::from_str::<Sha256>(&format!("\"{text}\"")).unwrap(), empty);
        // Of others, either case is read; where a text is a name, one only.
        let upper = text.to_uppercase();
        assert_eq!(Sha256::parse(&upper), Some(empty));
        assert!(upper.parse::<Sha256>().is_err());
        for bad in ["", &text[1..], &text.replace('e', "g"), &format!("{text}0")] {
            assert_eq!(Sha256::parse(bad), None, "{bad}");
            assert!(bad.parse::<Sha256>().is_err(), "{bad}");
        }
        assert!("é".repeat(500).parse::<Sha256>().unwrap_err().to_string().len() < 300);
    }
}
