//! How an operator names boards and Pis: `rack1/3.1` is Pi 1 of board 3 of the stack rack1.
//!
//! ```text
//! targets = target { "," target }
//! target  = [ stack "/" ] ( "all" | board [ "-" board ] ) [ "." ( "0" | "1" | "all" ) ]
//! board   = 0–255, decimal or 0x…
//! ```
//! A stack name counts for the targets after it too: `rack1/0,2` is boards 0 and 2 of rack1. Without one, `all` is
//! every board of every stack, and a number needs a configuration with a single stack.

use crate::command::Pi;
use std::str::FromStr;

/// One part of an address list.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Target {
    /// `None`: the only stack, or with [`Boards::All`] every stack.
    pub stack: Option<String>,
    pub boards: Boards,
    /// `None`: both.
    pub pi: Option<Pi>,
}

/// Which boards of a stack.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Boards {
    All,
    /// Both ends included.
    Range(u8, u8),
}

/// A list of targets, at least one.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Targets(pub Vec<Target>);

/// What cannot be understood.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("`{text}` is no address: {reason}; examples are rack1/3.1, rack1/0-3, 0,2.1, rack1/all, all")]
pub struct AddressError {
    text: String,
    reason: String,
}

impl Targets {
    /// Every board of one stack.
    pub fn whole(stack: &str) -> Self {
        Self(vec![Target { stack: Some(stack.to_owned()), boards: Boards::All, pi: None }])
    }
}

impl FromStr for Targets {
    type Err = AddressError;

    fn from_str(text: &str) -> Result<Self, AddressError> {
        let mut stack = None;
        let mut targets = Vec::new();
        for part in text.split(',') {
            let fail = |reason: &str| AddressError { text: text.to_owned(), reason: reason.to_owned() };
            let rest = match part.trim().split_once('/') {
                Some(("", _)) => return Err(fail("the name of the stack before `/` is empty")),
                Some((name, rest)) => {
                    stack = Some(name.to_owned());
                    rest
                }
                None => part.trim(),
            };
            let (boards, pi) = match rest.split_once('.') {
                Some((boards, "0")) => (boards, Some(Pi::Zero)),
                Some((boards, "1")) => (boards, Some(Pi::One)),
                Some((boards, "all")) => (boards, None),
                Some(_) => return Err(fail("after the dot comes the Pi: 0, 1 or all")),
                None => (rest, None),
            };
            let number = |text: &str| board_id(text).map_err(|reason| fail(&reason));
            let boards = match boards.split_once('-') {
                _ if boards == "all" => Boards::All,
                Some((first, last)) => Boards::Range(number(first)?, number(last)?),
                None => number(boards).map(|board| Boards::Range(board, board))?,
            };
            if matches!(boards, Boards::Range(first, last) if first > last) {
                return Err(fail("the range ends before it begins"));
            }
            targets.push(Target { stack: stack.clone(), boards, pi });
        }
        Ok(Self(targets))
    }
}

/// Reads the id of a board: 0 to 254, decimal or with 0x. 255 is the master itself.
///
/// # Errors
/// Why it is none, as the end of a sentence.
pub fn board_id(text: &str) -> Result<u8, String> {
    let number = match text.strip_prefix("0x") {
        Some(hex) => u8::from_str_radix(hex, 16),
        None => text.parse(),
    };
    match number {
        Ok(crate::frame::MASTER) => Err("255 is the master's own address".to_owned()),
        // `parse` takes a leading plus sign.
        Ok(id) if !text.contains('+') => Ok(id),
        _ => Err(format!("`{text}` is no board number (0 to 254, or 0x00 to 0xfe)")),
    }
}

/// Reads a list of boards without Pis: `0-3,7`.
///
/// # Errors
/// The list names something else than boards.
pub fn board_list(text: &str) -> Result<Vec<u8>, String> {
    let mut ids = Vec::new();
    for target in text.parse::<Targets>().map_err(|error| error.to_string())?.0 {
        match target {
            Target { stack: None, boards: Boards::Range(first, last), pi: None } => ids.extend(first..=last),
            _ => return Err(format!("`{text}` must name boards only, like 0-3,7")),
        }
    }
    ids.sort_unstable();
    ids.dedup();
    Ok(ids)
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn one(stack: Option<&str>, boards: Boards, pi: Option<Pi>) -> Target {
        Target { stack: stack.map(str::to_owned), boards, pi }
    }

    fn parse(text: &str) -> Vec<Target> {
        text.parse::<Targets>().unwrap().0
    }

    #[test]
    fn addresses_mean_what_the_manual_says() {
        assert_eq!(parse("rack1/3.1"), [one(Some("rack1"), Boards::Range(3, 3), Some(Pi::One))]);
        assert_eq!(parse("all"), [one(None, Boards::All, None)]);
        assert_eq!(parse("0-3"), [one(None, Boards::Range(0, 3), None)]);
        assert_eq!(parse("rack1/all.0"), [one(Some("rack1"), Boards::All, Some(Pi::Zero))]);
        assert_eq!(
            parse("rack1/0,0x12.1, rack2/5-7.all"),
            [
                one(Some("rack1"), Boards::Range(0, 0), None),
                one(Some("rack1"), Boards::Range(0x12, 0x12), Some(Pi::One)),
                one(Some("rack2"), Boards::Range(5, 7), None),
            ]
        );
        assert_eq!(board_list("0-3,7,2"), Ok(vec![0, 1, 2, 3, 7]));
    }

    #[test]
    fn what_is_no_address_is_refused_with_the_reason() {
        for (text, reason) in [
            ("", "no board number"),
            ("rack1", "no board number"),
            ("/3", "is empty"),
            ("3.2", "0, 1 or all"),
            ("3-1", "ends before it begins"),
            ("255", "the master's own"),
            ("0xff", "the master's own"),
            ("256", "no board number"),
            ("+3", "no board number"),
            ("1,,2", "no board number"),
        ] {
            let error = text.parse::<Targets>().unwrap_err().to_string();
            assert!(error.contains(reason), "{text}: {error}");
        }
        assert!(board_list("rack1/3").is_err() && board_list("3.1").is_err() && board_list("all").is_err());
    }

    proptest! {
        #[test]
        fn no_text_makes_it_panic(text: String) {
            let _ = text.parse::<Targets>();
        }
    }
}
