//! How many of how many keys must sign: `2/3`.

use std::str::FromStr;

/// A threshold of signatures, and the number of keys that may give them.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Threshold {
    /// Signatures that are needed, at least 1.
    pub needed: u32,
    /// Keys, at most [`Threshold::MOST_KEYS`].
    pub keys: u32,
}

impl Threshold {
    /// More keys than anybody keeps apart.
    pub const MOST_KEYS: u32 = 16;
}

/// A text that is no threshold.
#[derive(Clone, PartialEq, Eq, Debug, thiserror::Error)]
#[error("expected how many sign of how many, such as 2/3 (at most {})", Threshold::MOST_KEYS)]
pub struct NotThreshold;

impl FromStr for Threshold {
    type Err = NotThreshold;

    fn from_str(text: &str) -> Result<Threshold, NotThreshold> {
        let number = |text: &str| text.parse().map_err(|_| NotThreshold);
        let (needed, keys) = text.split_once('/').ok_or(NotThreshold)?;
        let threshold = Threshold { needed: number(needed)?, keys: number(keys)? };
        let holds = (1..=threshold.keys).contains(&threshold.needed) && threshold.keys <= Threshold::MOST_KEYS;
        holds.then_some(threshold).ok_or(NotThreshold)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn no_more_keys_are_needed_than_there_are() {
        assert_eq!("2/3".parse(), Ok(Threshold { needed: 2, keys: 3 }));
        assert_eq!("16/16".parse(), Ok(Threshold { needed: 16, keys: 16 }));
        for text in ["3/2", "0/1", "0/0", "1/17", "2", "", "/", "-1/2", "1/2/3", "1 / 2", "4294967297/4294967298"] {
            assert_eq!(text.parse::<Threshold>(), Err(NotThreshold), "{text}");
        }
    }
}
