//! "Did you mean": which of the known words a mistyped one stands for.

/// From here on two words are alike enough (Jaro-Winkler): near enough to be a typing mistake, far enough from being
/// another word.
const ALIKE: f64 = 0.8;
/// Longer words are no mistyped ones; comparing them would only take time.
const LONGEST: usize = 256;

/// The one of `known` that `typed` is most likely a misspelling of.
#[must_use]
pub fn nearest(typed: &str, known: impl IntoIterator<Item = impl AsRef<str>>) -> Option<String> {
    let mut best: Option<(f64, String)> = None;
    for word in known {
        let word = word.as_ref();
        let score = likeness(typed, word);
        if score >= ALIKE && best.as_ref().is_none_or(|(s, w)| score > *s || (score == *s && word < w.as_str())) {
            best = Some((score, word.to_owned()));
        }
    }
    best.map(|(_, word)| word)
}

/// 0 to 1. Case and the choice of `_` or `-` do not count.
fn likeness(typed: &str, word: &str) -> f64 {
    if typed == word || typed.len() > LONGEST {
        return 0.0;
    }
    let folded = |s: &str| s.to_ascii_lowercase().replace('_', "-");
    let (a, b) = (folded(typed), folded(word));
    // Jaro-Winkler finds slips of the keyboard; a whole word inside the other one finds `ssh` for `ssh.service`.
    let score = strsim::jaro_winkler(&a, &b).min(1.0);
    if a.len() >= 3 && (b.starts_with(&a) || b.ends_with(&a)) { score.max(ALIKE) } else { score }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn slips_are_seen_through_and_other_words_are_not() {
        let known = ["hostname", "network", "time-zone", "ssh.service"];
        assert_eq!(nearest("hostnmae", known).as_deref(), Some("hostname"));
        assert_eq!(nearest("Time_Zone", known).as_deref(), Some("time-zone"));
        assert_eq!(nearest("ssh", known).as_deref(), Some("ssh.service"));
        assert_eq!(nearest("locale", known), None);
        assert_eq!(nearest("hostname", ["hostname"]), None);
        assert_eq!(nearest(&"h".repeat(1000), known), None);
    }
}
