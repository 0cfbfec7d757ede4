//! The invite by which a node becomes one of a fleet's.

use crate::text::checked_text;

/// Where fruit-init puts the invite of `fruit.yaml` or of the image: one line, for root alone, since it holds a secret key.
pub const INVITE_PATH: &str = "/etc/fruit/invite";

/// What an invite begins with.
pub const PREFIX: &str = fruit_record::invite::PREFIX;

checked_text! {
    /// An invite to a fleet: the line that `fruitctl node invite` prints. It was copied whole; who made it is found out by
    /// whoever uses it.
    InviteText, check_invite, "^fruit1-[A-Za-z0-9_-]+$"
}

fn check_invite(text: &str) -> Result<String, String> {
    let text = text.trim();
    // Nothing of it is shown: what is nearly an invite holds a key all the same.
    fruit_record::invite::check_text(text).map_err(|why| format!("{why}; `fruitctl node invite` prints one"))?;
    Ok(text.to_owned())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_invite_is_taken_as_it_is_and_not_when_a_character_is_lost() {
        let golden = include_str!("../../record/tests/golden/records.txt");
        let digits = golden.lines().find_map(|line| line.strip_prefix("invite-text ")).unwrap();
        let text = String::from_utf8(fruit_base::hex::decode(digits).unwrap()).unwrap();
        assert_eq!(format!(" {text}\n").parse::<InviteText>().unwrap().as_str(), text.trim());
        for bad in [&text[..text.len() - 1], &text[1..], &text.replace('a', "b"), "", "fruit1-", "fruit1-AAAA"] {
            let error = bad.parse::<InviteText>().unwrap_err();
            assert!(
                error.contains("fruitctl node invite") && (bad.len() < 20 || !error.contains(&bad[8..20])),
                "{error}"
            );
        }
    }
}
