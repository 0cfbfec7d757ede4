//! Path patterns of recipes and overlays: `*` and `?` stay within one path component, `**` spans components,
//! `[a-z]` and `[!a-z]` are sets, `{a,b}` alternatives. A leading `/` is allowed and ignored.

/// A compiled pattern.
#[derive(Clone, Debug)]
pub struct Glob {
    /// The pattern with its alternatives spelled out, each with the text before its first special character: what
    /// does not start so cannot match, which is told in no time.
    alternatives: Vec<(String, Vec<char>)>,
}

/// More alternatives than this in one pattern are refused: `{a,b}{a,b}…` grows without bound.
const MAX_ALTERNATIVES: usize = 256;

impl Glob {
    /// # Errors
    /// A message when brackets do not close or the alternatives are too many.
    pub fn new(pattern: &str) -> Result<Glob, String> {
        let mut done = Vec::new();
        let mut todo = vec![pattern.trim_start_matches('/').trim_end_matches('/').chars().collect::<Vec<char>>()];
        while let Some(pattern) = todo.pop() {
            match braces(&pattern)? {
                None => {
                    check_sets(&pattern)?;
                    let literal = pattern.iter().take_while(|c| !matches!(c, '*' | '?' | '[')).collect();
                    done.push((literal, pattern));
                }
                Some((open, close)) => {
                    for choice in split_choices(&pattern[open + 1..close]) {
                        todo.push([&pattern[..open], &choice, &pattern[close + 1..]].concat());
                    }
                }
            }
            if done.len() + todo.len() > MAX_ALTERNATIVES {
                return Err(format!("more than {MAX_ALTERNATIVES} alternatives in one pattern"));
            }
        }
        Ok(Glob { alternatives: done })
    }

    /// Whether the whole of `path` (without leading `/`) matches.
    pub fn matches(&self, path: &str) -> bool {
        self.any(path, |pattern| matches(pattern, path, false), |literal| path == literal)
    }

    /// Whether `path` or a directory above it matches: naming a directory means all that is in it.
    pub fn covers(&self, path: &str) -> bool {
        self.any(
            path,
            |pattern| matches(pattern, path, true),
            |literal| path.strip_prefix(literal).is_some_and(|rest| rest.is_empty() || rest.starts_with('/')),
        )
    }

    /// Whether an alternative matches, told by `special`, or by `plain` where it has no special character.
    fn any(&self, path: &str, special: impl Fn(&[char]) -> bool, plain: impl Fn(&str) -> bool) -> bool {
        self.alternatives.iter().any(|(literal, pattern)| {
            let is_plain = literal.chars().count() == pattern.len();
            path.starts_with(literal) && if is_plain { plain(literal) } else { special(pattern) }
        })
    }
}

fn braces(pattern: &[char]) -> Result<Option<(usize, usize)>, String> {
    let Some(open) = pattern.iter().position(|c| *c == '{') else { return Ok(None) };
    let mut depth = 0usize;
    for (i, c) in pattern.iter().enumerate().skip(open) {
        match c {
            '{' => depth += 1,
            '}' => depth -= 1,
            _ => {}
        }
        if depth == 0 {
            return Ok(Some((open, i)));
        }
    }
    Err("a `{` without its `}`".to_owned())
}

fn split_choices(inside: &[char]) -> Vec<Vec<char>> {
    let mut choices = vec![Vec::new()];
    let mut depth = 0usize;
    for c in inside {
        match c {
            '{' => depth += 1,
            '}' => depth = depth.saturating_sub(1),
            ',' if depth == 0 => {
                choices.push(Vec::new());
                continue;
            }
            _ => {}
        }
        if let Some(last) = choices.last_mut() {
            last.push(*c);
        }
    }
    choices
}

fn check_sets(pattern: &[char]) -> Result<(), String> {
    let mut i = 0;
    while i < pattern.len() {
        if pattern[i] == '[' {
            i += set_len(&pattern[i..]).ok_or("a `[` without its `]`")?;
        } else {
            i += 1;
        }
    }
    Ok(())
}

/// Length of the set that starts `pattern`, brackets included. A `]` right after the opening is a member.
fn set_len(pattern: &[char]) -> Option<usize> {
    let first = if matches!(pattern.get(1), Some('!' | '^')) { 3 } else { 2 };
    pattern.iter().skip(first).position(|c| *c == ']').map(|i| i + first + 1)
}

fn in_set(set: &[char], c: char) -> bool {
    let inside = &set[1..set.len() - 1];
    let (negated, members) = match inside.first() {
        Some('!' | '^') => (true, &inside[1..]),
        _ => (false, inside),
    };
    let mut found = false;
    let mut i = 0;
    while i < members.len() {
        if i + 2 < members.len() && members[i + 1] == '-' {
            found |= members[i] <= c && c <= members[i + 2];
            i += 3;
        } else {
            found |= members[i] == c;
            i += 1;
        }
    }
    found != negated
}

/// Matching by the set of pattern positions reachable after each character: linear in path × pattern, so that no
/// pattern, however hostile, takes exponential time. With `or_above`, a directory above `path` will do.
fn matches(pattern: &[char], path: &str, or_above: bool) -> bool {
    let (mut now, mut next) = (vec![false; pattern.len() + 1], vec![false; pattern.len() + 1]);
    now[0] = true;
    skip_stars(pattern, &mut now, true);
    for c in path.chars() {
        if or_above && c == '/' && now[pattern.len()] {
            return true;
        }
        next.fill(false);
        let mut alive = false;
        for i in (0..pattern.len()).filter(|i| now[*i]) {
            let reached = match pattern[i] {
                '*' if pattern.get(i + 1) == Some(&'*') => i,
                '*' if i > 0 && pattern[i - 1] == '*' => continue, // second half of `**`: the first half consumes
                '*' if c != '/' => i,
                '?' if c != '/' => i + 1,
                '*' | '?' => continue,
                '[' => {
                    let len = set_len(&pattern[i..]).unwrap_or(1);
                    if c == '/' || len < 2 || !in_set(&pattern[i..i + len], c) {
                        continue;
                    }
                    i + len
                }
                literal if literal == c => i + 1,
                _ => continue,
            };
            next[reached] = true;
            alive = true;
        }
        if !alive {
            return false;
        }
        skip_stars(pattern, &mut next, c == '/');
        std::mem::swap(&mut now, &mut next);
    }
    now[pattern.len()]
}

/// Stars may stand for nothing; `**/` may too, at the start of a component.
fn skip_stars(pattern: &[char], positions: &mut [bool], boundary: bool) {
    for i in 0..pattern.len() {
        if !positions[i] || pattern[i] != '*' {
            continue;
        }
        if pattern.get(i + 1) == Some(&'*') {
            positions[i + 2] = true;
            if boundary && pattern.get(i + 2) == Some(&'/') {
                positions[i + 3] = true;
            }
        } else {
            positions[i + 1] = true;
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn hit(pattern: &str, path: &str) -> bool {
        Glob::new(pattern).unwrap().matches(path)
    }

    #[test]
    fn one_star_stays_in_its_component_and_two_cross() {
        assert!(hit("usr/share/doc/*/copyright", "usr/share/doc/bash/copyright"));
        assert!(!hit("usr/share/doc/*/copyright", "usr/share/doc/bash/x/copyright"));
        assert!(hit("usr/**/*.a", "usr/lib/x/libc.a"));
        assert!(hit("usr/**/*.a", "usr/libc.a"));
        assert!(hit("**/*.pyc", "a.pyc"));
        assert!(hit("**", "any/thing"));
        assert!(!hit("usr/**/*.a", "lib/x.a"));
        assert!(!hit("usr/**/x", "usr/ax"));
    }

    #[test]
    fn sets_questions_and_alternatives() {
        assert!(hit("/etc/rc?.d", "etc/rc5.d"));
        assert!(hit("etc/rc[0-6S].d", "etc/rcS.d"));
        assert!(!hit("etc/rc[!0-6].d", "etc/rc3.d"));
        assert!(hit("usr/{bin,sbin}/{a,b{1,2}}", "usr/sbin/b2"));
        assert!(Glob::new("usr/{bin").is_err());
        assert!(Glob::new("usr/[bin").is_err());
    }

    #[test]
    fn a_directory_covers_what_is_in_it() {
        let glob = Glob::new("usr/share/man").unwrap();
        assert!(glob.covers("usr/share/man/man1/ls.1.gz"));
        assert!(!glob.covers("usr/share/manual"));
    }

    #[test]
    fn patterns_made_to_explode_take_no_exponential_time() {
        assert!(!hit(&"*a".repeat(60), &"a".repeat(2000).replace('a', "b")));
        assert!(Glob::new(&"{a,b}".repeat(40)).is_err());
    }
}
