//! What the packages' maintainer scripts would have done. The scripts are read, not run: commands that a first
//! installation reaches are either reproduced by a step of [`crate::finish`], known to be without effect on an image, or
//! named as unhandled by [`crate::account`].

mod interpret;
mod lexer;
mod reviewed;
mod syntax;

pub use interpret::{Command, commands, known};
pub(crate) use reviewed::{reviewed, reviewed_apply};

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
    /// Its commands; none when it could not be read (which [`crate::account::unhandled`] tells).
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

/// A file name that a package takes from others: what they ship at `from` lands at `to`. Absolute paths.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Diversion {
    pub by: String,
    pub from: String,
    pub to: String,
}

/// The diversions that the packages' `preinst` scripts add before anything is unpacked (dpkg-divert(1)).
pub fn diversions(packages: &[PackageScripts]) -> Vec<Diversion> {
    let with_divert: Vec<PackageScripts> = packages
        .iter()
        .filter(|p| p.scripts.get("preinst").is_some_and(|s| s.contains("dpkg-divert")))
        .cloned()
        .collect();
    let mut found = Vec::new();
    for script in read(&with_divert).iter().filter(|script| script.name == "preinst") {
        let calls = script.known_commands().iter().filter(|c| c.certain && c.name() == "dpkg-divert");
        found.extend(calls.filter_map(|call| diversion(&script.package.name, &call.words)));
    }
    found
}

/// One call of dpkg-divert; `None` when it adds nothing, or when what it says is not known.
pub(crate) fn diversion(package: &str, words: &[String]) -> Option<Diversion> {
    let (mut by, mut to, mut from) = (package.to_owned(), None, None);
    let mut rest = words.iter().skip(1);
    while let Some(word) = rest.next() {
        // Both `--divert /x` and `--divert=/x`.
        let (option, inline) = match word.split_once('=') {
            Some((option, value)) if option.starts_with("--") => (option, Some(value.to_owned())),
            _ => (word.as_str(), None),
        };
        let mut value = || inline.clone().or_else(|| rest.next().cloned());
        match option {
            "--package" => by = value()?,
            "--divert" => to = Some(value()?),
            "--admindir" | "--instdir" | "--root" => return None,
            "--local" => by = String::new(),
            "--remove" | "--list" | "--listpackage" | "--truename" => return None,
            option if option.starts_with("--") => {}
            path => from = Some(path.to_owned()),
        }
    }
    let from = from?;
    let to = to.unwrap_or_else(|| format!("{from}.distrib"));
    (known(&from) && known(&to) && from.starts_with('/') && to.starts_with('/')).then_some(Diversion { by, from, to })
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::account::unhandled;

    #[test]
    fn diversions_are_those_that_a_first_installation_adds() {
        let preinst = "#!/bin/sh\nset -e\nif [ \"$1\" = upgrade ]; then dpkg-divert --remove /bin/old; fi\n\
            dpkg-divert --package mine --add --rename --divert /usr/bin/tool.real /usr/bin/tool\n";
        let scripts = [("preinst".to_owned(), preinst.to_owned())].into();
        let package = PackageScripts { name: "mine".into(), scripts, ..PackageScripts::default() };
        let expected = Diversion { by: "mine".into(), from: "/usr/bin/tool".into(), to: "/usr/bin/tool.real".into() };
        assert_eq!(diversions(std::slice::from_ref(&package)), [expected]);
        assert!(unhandled(&[package]).is_empty(), "what is done is not warned about");
    }

    #[test]
    fn a_diversion_that_is_done_is_accounted_for_and_one_that_is_not_is_named() {
        let run = |name: &str, script: &str| {
            let scripts = [(name.to_owned(), format!("#!/bin/sh\nset -e\n{script}\n"))].into();
            let package = PackageScripts { name: "odd".into(), scripts, ..PackageScripts::default() };
            let package = std::slice::from_ref(&package);
            (diversions(package).len(), unhandled(package).len())
        };
        let add = "dpkg-divert --package odd --add --rename --divert /etc/issue.distrib /etc/issue";
        let case = format!("case \"$1\" in install|upgrade) {add};; esac");
        assert_eq!(run("preinst", &case), (1, 0));
        assert_eq!(run("preinst", "dpkg-divert --add --package=odd --divert=/etc/issue.d --rename /etc/issue"), (1, 0));
        assert_eq!(run("preinst", "dpkg-divert --quiet --local --rename --add /usr/bin/tool"), (1, 0));
        // Only where the file goes to is known for certain, and before anything is unpacked.
        assert_eq!(run("preinst", &format!("if probe; then {add}; fi")), (0, 2));
        assert_eq!(run("preinst", "dpkg-divert --add --divert \"$(where)\" /etc/issue"), (0, 1 + 1));
        assert_eq!(run("postinst", add), (0, 1));
    }

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
