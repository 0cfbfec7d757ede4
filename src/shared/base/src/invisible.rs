//! Characters that look like a space, or like nothing, and are neither to a parser: they come with text that was copied from a
//! web page or a word processor.

/// What is told of such a character.
pub const REMEDY: &str =
    "it looks like a space or like nothing; delete it and type an ordinary space where one is wanted";

/// `U+00A0 (no-break space)` of a character that nobody can see; `None` for all others, spaces and line breaks included.
pub fn name(c: char) -> Option<String> {
    let name = match c {
        '\u{00a0}' => "no-break space",
        '\u{00ad}' => "soft hyphen",
        '\u{034f}' => "combining grapheme joiner",
        '\u{061c}' | '\u{200e}' | '\u{200f}' => "direction mark",
        '\u{1680}' | '\u{2000}'..='\u{200a}' | '\u{205f}' => "a space of special width",
        '\u{3000}' => "ideographic space",
        '\u{200b}' => "zero width space",
        '\u{200c}' | '\u{200d}' => "zero width joiner",
        '\u{2028}' | '\u{2029}' | '\u{0085}' => "a line break that is none in YAML",
        '\u{202a}'..='\u{202e}' | '\u{2066}'..='\u{2069}' => "direction control",
        '\u{202f}' => "narrow no-break space",
        '\u{2060}'..='\u{2064}' => "word joiner",
        '\u{feff}' => "byte order mark",
        _ => return None,
    };
    Some(format!("U+{:04X} ({name})", u32::from(c)))
}

/// A text of somebody else's without what would do something to the terminal that shows it, or hide something on it.
#[must_use]
pub fn for_a_terminal(text: &str) -> String {
    let shows = |c: char| matches!(c, '\n' | '\t') || !c.is_control() && name(c).is_none();
    text.chars().map(|c| if shows(c) { c } else { char::REPLACEMENT_CHARACTER }).collect()
}

/// Places of such characters in a YAML text, in bytes from its start, outside of comments and quotes, where they may be
/// meant. Quotes are taken to end with their line, so what begins behind an apostrophe may be missed, and nothing more.
pub fn find(text: &str) -> Vec<(usize, char)> {
    let mut found = Vec::new();
    let mut start = 0;
    for line in text.split_inclusive('\n') {
        let mut quote = None;
        let mut before = ' ';
        for (at, c) in line.char_indices() {
            // A quote or a comment begins where a word does.
            let begins = before.is_whitespace() || "[{,:-".contains(before);
            match quote {
                Some(mark) => quote = (c != mark).then_some(mark),
                None if c == '#' && before.is_whitespace() => break,
                None if begins && matches!(c, '\'' | '"') => quote = Some(c),
                // One at the very beginning says how the file is coded.
                None if name(c).is_some() && (start + at > 0 || c != '\u{feff}') => found.push((start + at, c)),
                None => {}
            }
            before = c;
        }
        start += line.len();
    }
    found
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_others_said_does_nothing_to_the_terminal() {
        let said = for_a_terminal("one\ttwo\n\u{1b}]0;title\u{7}\r\u{9b}2J\u{202e}ok ä\n");
        assert_eq!(said, "one\ttwo\n\u{fffd}]0;title\u{fffd}\u{fffd}\u{fffd}2J\u{fffd}ok ä\n");
    }

    #[test]
    fn what_nobody_can_see_is_found_outside_of_comments_and_quotes() {
        let text = "\u{feff}name: x\u{a0}# y\nssid: 'my\u{a0}net' # \u{a0}\n\u{a0}\u{a0}it's: \"a\" \u{200b}\nwort: größe — “x”\n";
        let found: Vec<(usize, char)> = find(text);
        let chars: Vec<char> =
            found.iter().map(|(at, c)| text[*at..].chars().next().filter(|d| d == c).unwrap()).collect();
        assert_eq!(chars, ['\u{a0}', '\u{a0}', '\u{a0}', '\u{200b}']);
        assert_eq!(name('\u{a0}').unwrap(), "U+00A0 (no-break space)");
        assert!([' ', '\t', '\n', 'ä', '-'].into_iter().all(|c| name(c).is_none()));
    }

    proptest::proptest! {
        #[test]
        fn every_place_is_that_of_its_character(text in "([a:'\"# \u{a0}\u{200b}\n-]|\\PC){0,40}") {
            for (at, c) in find(&text) {
                assert!(text[at..].starts_with(c));
            }
        }
    }
}
