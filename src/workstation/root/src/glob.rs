//! Path patterns of recipes and overlays: `*` and `?` stay within one path component, `**` spans components,
//! `[a-z]` and `[!a-z]` are sets, `{a,b}` alternatives. A leading `/` is allowed and ignored.

use globset::{GlobBuilder, GlobSet};

/// A compiled pattern.
#[derive(Clone, Debug)]
pub struct Glob {
    /// As `globset` reads it.
    pattern: globset::Glob,
    /// Of this one: it tells the commonest kinds of patterns without a regular expression.
    set: GlobSet,
}

impl Glob {
    /// # Errors
    /// A message when brackets do not close or the pattern is too large.
    pub fn new(pattern: &str) -> Result<Glob, String> {
        Glob::build(&crossing(pattern.trim_start_matches('/').trim_end_matches('/')), true)
    }

    /// A pattern of a shell's `case`, where `*` and `?` match any character, `/` too.
    ///
    /// # Errors
    /// As [`Glob::new`].
    pub fn of_text(pattern: &str) -> Result<Glob, String> {
        Glob::build(pattern, false)
    }

    fn build(pattern: &str, components: bool) -> Result<Glob, String> {
        let mut builder = GlobBuilder::new(pattern);
        builder.literal_separator(components).backslash_escape(false).empty_alternates(true);
        let pattern = builder.build().map_err(|error| error.kind().to_string())?;
        let set = GlobSet::new([&pattern]).map_err(|error| error.kind().to_string())?;
        Ok(Glob { pattern, set })
    }

    /// Whether the whole of `path` (without leading `/`) matches.
    pub fn matches(&self, path: &str) -> bool {
        self.set.is_match(path)
    }

    /// Whether `path` or a directory above it matches: naming a directory means all that is in it.
    pub fn covers(&self, path: &str) -> bool {
        covers(&self.set, path)
    }
}

/// Any of several patterns, all looked for at once.
#[derive(Clone, Debug, Default)]
pub struct Globs(GlobSet);

impl Globs {
    /// # Errors
    /// A message when they are too large together.
    pub fn new<'g>(globs: impl IntoIterator<Item = &'g Glob>) -> Result<Globs, String> {
        let patterns = globs.into_iter().map(|glob| &glob.pattern);
        GlobSet::new(patterns).map(Globs).map_err(|error| error.kind().to_string())
    }

    /// As [`Glob::matches`], of any.
    pub fn matches(&self, path: &str) -> bool {
        self.0.is_match(path)
    }

    /// As [`Glob::covers`], of any.
    pub fn covers(&self, path: &str) -> bool {
        covers(&self.0, path)
    }
}

fn covers(set: &GlobSet, path: &str) -> bool {
    set.is_match(path) || path.match_indices('/').any(|(at, _)| set.is_match(&path[..at]))
}

/// `globset` takes a `**` that is not a whole component for a `*`. Ours spans components there, too: it is a `*`, or two with
/// components between them.
fn crossing(pattern: &str) -> String {
    let mut spelled = String::with_capacity(pattern.len());
    let mut rest = pattern;
    while let Some(at) = rest.find("**") {
        let (before, from) = rest.split_at(at);
        let after = from.trim_start_matches('*');
        spelled.push_str(before);
        let begins = spelled.is_empty() || spelled.ends_with('/');
        let whole = begins && (after.is_empty() || after.starts_with('/'));
        spelled.push_str(if whole { "**" } else { "{*,*/**/*}" });
        rest = after;
    }
    spelled + rest
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
        assert!(hit("usr/lib/**", "usr/lib/x/y") && !hit("usr/lib/**", "usr/lib"));
    }

    #[test]
    fn two_stars_within_a_component_cross_too() {
        for path in ["usr/libc.so", "usr/x/y/libc.so", "usr/.so"] {
            assert!(hit("usr/**.so", path), "{path}");
        }
        assert!(hit("usr/lib**/x", "usr/lib64/a/b/x") && hit("usr/lib**/x", "usr/lib/x"));
        assert!(!hit("usr/**.so", "usr/x/libc.a"));
    }

    #[test]
    fn sets_questions_and_alternatives() {
        assert!(hit("/etc/rc?.d", "etc/rc5.d") && !hit("a?b", "a/b"));
        assert!(hit("etc/rc[0-6S].d", "etc/rcS.d"));
        assert!(!hit("etc/rc[!0-6].d", "etc/rc3.d") && !hit("a[!x]b", "a/b"));
        assert!(hit("usr/{bin,sbin}/{a,b{1,2}}", "usr/sbin/b2"));
        assert!(hit("lib{,64}/x", "lib/x") && hit("lib{,64}/x", "lib64/x"));
        assert!(hit(r"a\b*", r"a\bc"), "a backslash is a character like any other");
        assert!(Glob::new("usr/{bin").unwrap_err().contains('}'));
        assert!(Glob::new("usr/[bin").unwrap_err().contains(']'));
    }

    #[test]
    fn a_directory_covers_what_is_in_it() {
        let man = Glob::new("usr/share/man/").unwrap();
        let parts = Glob::new("opt/*/doc").unwrap();
        for covers in [&|path: &str| man.covers(path) || parts.covers(path), &|path: &str| {
            Globs::new([&man, &parts]).unwrap().covers(path)
        }] as [&dyn Fn(&str) -> bool; 2]
        {
            assert!(covers("usr/share/man/man1/ls.1.gz") && covers("usr/share/man") && covers("opt/x/doc/a/b"));
            assert!(!covers("usr/share/manual") && !covers("usr/share") && !covers("opt/x/y/doc"));
        }
        assert!(!Globs::default().covers("usr"));
    }

    #[test]
    fn in_text_stars_match_slashes() {
        let glob = Glob::of_text("/etc/*.conf").unwrap();
        assert!(glob.matches("/etc/x/y.conf") && !glob.matches("etc/y.conf"));
    }

    #[test]
    fn patterns_made_to_explode_take_no_exponential_time() {
        assert!(!hit(&"*a".repeat(60), &"a".repeat(2000).replace('a', "b")));
        assert!(hit(&"{a,b}".repeat(40), &"ab".repeat(20)));
    }
}
