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

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn run(script: &str) -> Vec<String> {
        commands("pkg", "postinst", script).unwrap().iter().map(|c| c.words.join(" ")).collect()
    }

    #[test]
    fn only_what_a_first_installation_reaches_is_left() {
        let script = r#"#!/bin/sh
set -e
NAME=thing
make() { mkdir -p "$DPKG_ROOT/var/$1/$NAME"; }
case "$1" in
configure)
	if [ -n "$2" ] && dpkg --compare-versions "$2" lt-nl "3~"; then rm -rf /old; fi
	for d in lib "log"; do make $d; done
	[ -d /run/systemd/system ] && systemctl restart x || true
	cat <<-END
	rm -rf /not-a-command
	END
	;;
triggered) reload ;;
*) echo "unknown $1" >&2; exit 1 ;;
esac
[ "$1" = configure ] || fail
exit 0
never
"#;
        let found = run(script);
        assert!(found.contains(&"mkdir -p /var/lib/thing".to_owned()), "{found:?}");
        assert!(found.contains(&"mkdir -p /var/log/thing".to_owned()), "{found:?}");
        for gone in ["rm ", "systemctl", "reload", "fail", "never", "echo"] {
            assert!(!found.iter().any(|c| c.starts_with(gone)), "{gone}: {found:?}");
        }
    }

    #[test]
    fn what_is_not_known_stays_visible_and_is_uncertain() {
        let commands = commands("p", "postinst", "if probe; then rm -f \"$X/y\"; fi; chown root $(id -u)").unwrap();
        let rm = commands.iter().find(|c| c.name() == "rm").unwrap();
        assert_eq!((rm.words[2].as_str(), rm.certain), ("$X/y", false));
        assert!(!known(&commands.last().unwrap().words[2]));
    }

    #[test]
    fn an_unknown_effect_is_named_with_its_line() {
        let package = PackageScripts {
            name: "odd".into(),
            version: "1".into(),
            scripts: [("postinst".to_owned(), "#!/bin/sh\nset -e\nfrobnicate --hard /etc/x\n".to_owned())].into(),
            ..PackageScripts::default()
        };
        let found = unhandled(&[package]);
        assert_eq!((found[0].line, found[0].command.as_str()), (3, "frobnicate --hard /etc/x"));
        let perl = [("config".to_owned(), "#!/usr/bin/perl\nprint 1;\n".to_owned())].into();
        assert_eq!(unhandled(&[PackageScripts { scripts: perl, ..PackageScripts::default() }]).len(), 1);
    }

    proptest! {
        #[test]
        fn no_text_makes_the_reader_panic_or_hang(
            words in proptest::collection::vec(
                prop_oneof![
                    Just("if"), Just("then"), Just("fi"), Just("case"), Just("in"), Just("esac"), Just("for"), Just("do"),
                    Just("done"), Just("{"), Just("}"), Just("("), Just(")"), Just("f()"), Just("f"), Just("$("), Just("`"),
                    Just("\""), Just("'"), Just("${a:-$b"), Just("<<E"), Just("\n"), Just(";"), Just(";;"), Just("&&"),
                    Just("!"), Just("a=$a$a"), Just(">"), Just("é"), Just("\\"), Just("$@"), Just("["), Just("]"), Just("while"),
                ],
                0..80,
            ),
        ) {
            let _ = commands("p", "postinst", &words.join(" "));
        }
    }
}
