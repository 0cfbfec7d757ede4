//! Relations between packages: `Depends: libc6 (>= 2.38), debconf (>= 0.5) | debconf-2.0` (Debian Policy 7.1).

use std::fmt;

use crate::control::shorten;
use crate::version::Version;

/// A field's value: every clause must hold.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Relations(pub Vec<Clause>);

/// Alternatives, the preferred one first; one of them must hold.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Clause(pub Vec<Relation>);

#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Relation {
    pub name: String,
    pub arch: Option<ArchQualifier>,
    pub version: Option<(Operator, Version)>,
    /// The bracketed list (`[linux-any !s390x]`), which source packages use; empty means everywhere.
    pub only_on: Vec<String>,
}

#[derive(Clone, Debug, PartialEq, Eq)]
pub enum ArchQualifier {
    /// Any architecture, if the package is `Multi-Arch: allowed`.
    Any,
    /// The architecture that is built for.
    Native,
    Named(String),
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Operator {
    Earlier,
    EarlierOrEqual,
    Equal,
    LaterOrEqual,
    Later,
}

#[derive(thiserror::Error, Debug, PartialEq, Eq)]
#[error("{text:?} is not a relation: {why}")]
pub struct BadRelation {
    text: String,
    why: String,
}

impl Relations {
    /// # Errors
    /// The first relation that does not follow the syntax.
    pub fn parse(text: &str) -> Result<Relations, BadRelation> {
        let clauses = text.split(',').filter(|clause| !clause.trim().is_empty());
        clauses.map(Clause::parse).collect::<Result<_, _>>().map(Relations)
    }
}

impl Clause {
    /// Reads alternatives: `a (>= 1) | b`.
    ///
    /// # Errors
    /// What is wrong with the text.
    pub fn parse(text: &str) -> Result<Clause, BadRelation> {
        text.split('|').map(Relation::parse).collect::<Result<_, _>>().map(Clause)
    }
}

impl Relation {
    /// Reads one package, with what is asked of its version and architecture.
    ///
    /// # Errors
    /// What is wrong with the text.
    pub fn parse(text: &str) -> Result<Relation, BadRelation> {
        let text = text.trim();
        let bad = |why: &str| BadRelation { text: shorten(text), why: why.to_owned() };
        let end = text.find(|c: char| c.is_whitespace() || "([<".contains(c)).unwrap_or(text.len());
        let (name, mut rest) = (&text[..end], text[end..].trim_start());
        let (name, arch) = match name.split_once(':') {
            None => (name, None),
            Some((name, "any")) => (name, Some(ArchQualifier::Any)),
            Some((name, "native")) => (name, Some(ArchQualifier::Native)),
            Some((_, "")) => return Err(bad("nothing after the ':'")),
            Some((name, arch)) => (name, Some(ArchQualifier::Named(arch.to_owned()))),
        };
        if !is_package_name(name) {
            return Err(bad("it does not start with a package name (a-z 0-9 + - .)"));
        }
        let mut relation = Relation { name: name.to_owned(), arch, version: None, only_on: Vec::new() };
        if let Some(inner) = rest.strip_prefix('(') {
            let (inner, after) = inner.split_once(')').ok_or_else(|| bad("a '(' without its ')'"))?;
            let (operator, version) = Operator::split(inner.trim()).ok_or_else(|| bad("no << <= = >= >> after '('"))?;
            let version = version.trim().parse::<Version>().map_err(|e| bad(&e.to_string()))?;
            relation.version = Some((operator, version));
            rest = after.trim_start();
        }
        if let Some(inner) = rest.strip_prefix('[') {
            let (inner, after) = inner.split_once(']').ok_or_else(|| bad("a '[' without its ']'"))?;
            relation.only_on = inner.split_whitespace().map(str::to_owned).collect();
            rest = after.trim_start();
        }
        // Build profiles (`<!nocheck>`) have no meaning for installed packages.
        while let Some(inner) = rest.strip_prefix('<') {
            rest = inner.split_once('>').ok_or_else(|| bad("a '<' without its '>'"))?.1.trim_start();
        }
        if !rest.is_empty() {
            return Err(bad("there is something after it"));
        }
        Ok(relation)
    }

    /// Whether the bracketed architecture list lets it count for `arch`; `any`, `linux-any` and `any-ARCH` are known.
    pub fn applies_to(&self, arch: &str) -> bool {
        let matches = |pattern: &str| match pattern {
            "any" | "linux-any" => true,
            _ => pattern.strip_prefix("any-").or(pattern.strip_prefix("linux-")).unwrap_or(pattern) == arch,
        };
        match self.only_on.first() {
            None => true,
            Some(first) if first.starts_with('!') => {
                !self.only_on.iter().any(|pattern| matches(pattern.trim_start_matches('!')))
            }
            Some(_) => self.only_on.iter().any(|pattern| matches(pattern)),
        }
    }

    /// Whether a real package of this version is what is asked for.
    pub fn accepts(&self, version: &Version) -> bool {
        self.version.as_ref().is_none_or(|(operator, wanted)| operator.holds(version, wanted))
    }

    /// Whether a `Provides` with this version is what is asked for; one without a version satisfies no versioned
    /// relation (Policy 7.5).
    pub fn accepts_provided(&self, version: Option<&Version>) -> bool {
        match (&self.version, version) {
            (None, _) => true,
            (Some(_), None) => false,
            (Some((operator, wanted)), Some(version)) => operator.holds(version, wanted),
        }
    }
}

impl Operator {
    fn split(text: &str) -> Option<(Operator, &str)> {
        // `<` and `>` alone are the ancient spellings of <= and >=, which dpkg still reads.
        let known = [
            ("<<", Operator::Earlier),
            ("<=", Operator::EarlierOrEqual),
            (">=", Operator::LaterOrEqual),
            (">>", Operator::Later),
            ("=", Operator::Equal),
            ("<", Operator::EarlierOrEqual),
            (">", Operator::LaterOrEqual),
        ];
        known.into_iter().find_map(|(sign, operator)| text.strip_prefix(sign).map(|rest| (operator, rest)))
    }

    pub fn holds(self, found: &Version, wanted: &Version) -> bool {
        match self {
            Operator::Earlier => found < wanted,
            Operator::EarlierOrEqual => found <= wanted,
            Operator::Equal => found == wanted,
            Operator::LaterOrEqual => found >= wanted,
            Operator::Later => found > wanted,
        }
    }

    pub fn as_str(self) -> &'static str {
        match self {
            Operator::Earlier => "<<",
            Operator::EarlierOrEqual => "<=",
            Operator::Equal => "=",
            Operator::LaterOrEqual => ">=",
            Operator::Later => ">>",
        }
    }
}

/// Policy 5.6.1, and upper case, which some third-party archives use.
pub fn is_package_name(name: &str) -> bool {
    name.len() <= 255
        && name.bytes().all(|b| b.is_ascii_alphanumeric() || b"+-._".contains(&b))
        && name.bytes().next().is_some_and(|b| b.is_ascii_alphanumeric())
}

impl fmt::Display for Relation {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.name)?;
        match &self.arch {
            None => {}
            Some(ArchQualifier::Any) => f.write_str(":any")?,
            Some(ArchQualifier::Native) => f.write_str(":native")?,
            Some(ArchQualifier::Named(arch)) => write!(f, ":{arch}")?,
        }
        if let Some((operator, version)) = &self.version {
            write!(f, " ({} {version})", operator.as_str())?;
        }
        if !self.only_on.is_empty() {
            write!(f, " [{}]", self.only_on.join(" "))?;
        }
        Ok(())
    }
}

impl fmt::Display for Clause {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for (i, relation) in self.0.iter().enumerate() {
            write!(f, "{}{relation}", if i == 0 { "" } else { " | " })?;
        }
        Ok(())
    }
}

impl fmt::Display for Relations {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for (i, clause) in self.0.iter().enumerate() {
            write!(f, "{}{clause}", if i == 0 { "" } else { ", " })?;
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn a_full_field_is_read_and_printed() {
        let text =
            "libc6 (>= 2.38), debconf (>= 0.5) | debconf-2.0, perl:any, gcc:native (<< 5) [!amd64 !i386], x:arm64";
        assert_eq!(Relations::parse(text).unwrap().to_string(), text);
        let odd = Relations::parse(" a(>=1) ,b<!nocheck>, c(<2)\n").unwrap().to_string();
        assert_eq!(odd, "a (>= 1), b, c (<= 2)");
    }

    #[test]
    fn mistakes_are_named() {
        for (bad, why) in [
            ("a (>= 1", "without its ')'"),
            ("a (1)", "no <<"),
            ("a b", "something after"),
            ("", "package name"),
            ("a | ", "package name"),
            ("a: (= 1)", "nothing after"),
            ("a (= )", "it is empty"),
        ] {
            let error = Clause::parse(bad).unwrap_err().to_string();
            assert!(error.contains(why), "{bad}: {error}");
        }
    }

    #[test]
    fn architecture_lists_apply_as_policy_says() {
        let on = |text: &str, arch: &str| Relation::parse(text).unwrap().applies_to(arch);
        assert!(on("a", "arm64"));
        assert!(on("a [arm64 armhf]", "arm64") && !on("a [amd64]", "arm64"));
        assert!(!on("a [!arm64]", "arm64") && on("a [!amd64]", "arm64"));
        assert!(on("a [linux-any]", "arm64") && on("a [any-arm64]", "arm64") && !on("a [any-i386]", "arm64"));
    }

    #[test]
    fn an_unversioned_provides_satisfies_no_versioned_relation() {
        let relation = Relation::parse("mta (>= 2)").unwrap();
        assert!(!relation.accepts_provided(None));
        assert!(relation.accepts_provided(Some(&"2".parse().unwrap())));
        assert!(Relation::parse("mta").unwrap().accepts_provided(None));
    }

    proptest! {
        #[test]
        fn any_text_parses_or_fails_cleanly(text in "[a-z0-9 (),|:<>=\\[\\]!.+~-]{0,60}") {
            if let Ok(relations) = Relations::parse(&text) {
                prop_assert_eq!(Relations::parse(&relations.to_string()).unwrap(), relations);
            }
        }
    }
}
