//! An account of what the packages' maintainer scripts would have done. The scripts are read, not run: commands that
//! a first installation reaches are either reproduced by a step of [`crate::finish`], known to be without effect on
//! an image, or named as unhandled.

mod account;
mod interpret;
mod lexer;
mod syntax;

pub(crate) use account::reviewed_apply;
pub use account::{Unhandled, unhandled};
pub use interpret::{Command, commands, known};

use crate::PackageScripts;

/// Scripts that run when a package is installed, in the order in which dpkg runs them.
pub const INSTALLING: [&str; 3] = ["preinst", "config", "postinst"];

/// One script of one package, read.
#[derive(Debug)]
pub struct Script<'a> {
    pub package: &'a PackageScripts,
    /// `preinst`, `config` or `postinst`.
    pub name: &'static str,
    /// Its commands, or the line at which it could not be read.
    pub commands: Result<Vec<Command>, usize>,
}

impl Script<'_> {
    /// Its commands; none when it could not be read (which [`unhandled`] tells).
    pub fn known_commands(&self) -> &[Command] {
        self.commands.as_deref().unwrap_or_default()
    }
}

/// Reads the scripts of all packages, in the order given.
pub fn read(packages: &[PackageScripts]) -> Vec<Script<'_>> {
    let mut scripts = Vec::new();
    for package in packages {
        for name in INSTALLING {
            // A script in another language than shell cannot be read at all.
            let Some(text) = package.scripts.get(name) else { continue };
            let shell = !text.starts_with("#!") || text.lines().next().is_some_and(|first| first.contains("sh"));
            let commands = if shell { commands(&package.name, name, text) } else { Err(1) };
            scripts.push(Script { package, name, commands });
        }
    }
    scripts
}
