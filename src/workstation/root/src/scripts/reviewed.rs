//! What people have looked at in maintainer scripts, and decided.

use std::sync::LazyLock;

/// The entries of `reviewed.txt`.
pub(crate) struct Reviewed {
    package: &'static str,
    script: &'static str,
    commands: Vec<&'static str>,
    /// Let changes below undecided conditions happen, in place of passing them over.
    pub(crate) apply: bool,
}

/// What people have looked at: `package script command… : skip|apply reason`. `*` stands for any text in the package's
/// name, and for all commands or scripts.
static REVIEWED: LazyLock<Vec<Reviewed>> = LazyLock::new(|| {
    include_str!("reviewed.txt")
        .lines()
        .filter(|line| !line.starts_with('#'))
        .filter_map(|line| {
            let (left, right) = line.split_once(" : ")?;
            let mut words = left.split_whitespace();
            let (package, script) = (words.next()?, words.next()?);
            Some(Reviewed { package, script, commands: words.collect(), apply: right.starts_with("apply") })
        })
        .collect()
});

/// The entry of a command.
pub(crate) fn reviewed(package: &str, script: &str, command: &str) -> Option<&'static Reviewed> {
    REVIEWED.iter().find(|entry| {
        let named = match entry.package.split_once('*') {
            Some((start, end)) => package.starts_with(start) && package[start.len()..].ends_with(end),
            None => entry.package == package,
        };
        named
            && (entry.script == "*" || entry.script == script)
            && entry.commands.iter().any(|c| *c == "*" || *c == command)
    })
}

/// What the table says of a command: `Some(true)` lets an uncertain change happen, `Some(false)` passes it over.
pub(crate) fn reviewed_apply(package: &str, script: &str, command: &str) -> Option<bool> {
    reviewed(package, script, command).map(|entry| entry.apply)
}
