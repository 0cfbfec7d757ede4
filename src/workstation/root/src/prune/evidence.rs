//! What shows that a file is needed: the first lines of programs, what packages depend on, what a recipe names.

use std::collections::{BTreeMap, BTreeSet};

use fruit_image::tree::{Content, Inode, Kind, Tree};

use super::{Kept, Loss, PERL, Settings};
use crate::edit::exists;

/// The kernel reads this much of a first line (BINPRM_BUF_SIZE).
const FIRST_LINE: u64 = 256;
/// Folders in which programs are.
const PROGRAMS: [&str; 2] = ["usr/bin/", "usr/sbin/"];
/// Programs whose work is done when the image is made, although a recipe may name their package for what they made.
const DONE: [&str; 1] = ["usr/sbin/update-ca-certificates"];

/// Programs that are text, and what runs them: path and path of the interpreter, both relative to the root.
pub(super) fn interpreted(tree: &Tree) -> Vec<(String, String)> {
    let programs = tree.iter().filter_map(|(path, _, inode)| Some((path.to_owned(), interpreter(inode)?)));
    programs.collect()
}

/// What the first line of an executable file names; through env(1), the program that it is told.
fn interpreter(inode: &Inode) -> Option<String> {
    let Kind::File(content) = &inode.kind else { return None };
    if inode.meta.mode & 0o111 == 0 {
        return None;
    }
    let line = first_line(content)?;
    let mut words = line.strip_prefix("#!")?.split_whitespace();
    let program = words.next()?;
    if program.rsplit('/').next() == Some("env") {
        let name = words.find(|word| !word.starts_with('-') && !word.contains('='))?;
        return Some(format!("usr/bin/{}", name.trim_start_matches('/')));
    }
    program.strip_prefix('/').map(str::to_owned)
}

fn first_line(content: &Content) -> Option<String> {
    let mut start = vec![0; usize::try_from(content.len().min(FIRST_LINE)).ok()?];
    content.read_at(&mut start, 0).ok()?;
    let line = start.split(|byte| *byte == b'\n').next()?;
    line.starts_with(b"#!").then(|| String::from_utf8_lossy(line).into_owned())
}

fn is_perl(interpreter: &str) -> bool {
    interpreter.rsplit('/').next().is_some_and(|name| name == "perl" || name.starts_with("perl5"))
}

/// Why perl stays: a package that depends on it, or a program that stays and asks for it. perl-base is Essential: what
/// needs no more than that need not say so.
pub(super) fn of_perl(tree: &Tree, settings: &Settings, taken: &dyn Fn(&str) -> bool) -> Option<Kept> {
    if !exists(tree, "usr/bin/perl") {
        return None;
    }
    let whole = |because: String| Kept { rule: PERL.to_owned(), what: String::new(), because };
    let of_perl = |name: &str| name == "perl" || name.starts_with("perlapi-") || name.starts_with("libperl5");
    // A library for programs in perl is no such program: whoever uses it has a first line, or depends on perl itself.
    let is_library = |name: &str| name.starts_with("lib") && name.ends_with("-perl");
    let is_part = |name: &str| name.starts_with("perl") || name.starts_with("libperl5") || is_library(name);
    let dependent = settings.packages.iter().filter(|p| !is_part(&p.name));
    if let Some(package) = dependent.into_iter().find(|p| p.depends.iter().any(|name| of_perl(name))) {
        return Some(whole(format!("{} depends on it", package.name)));
    }
    let program = interpreted(tree).into_iter().find(|(path, by)| is_perl(by) && !taken(path))?;
    Some(whole(format!("/{} asks for it on its first line", program.0)))
}

/// The root before it was pruned, as far as losses are told by it.
pub(super) struct Before {
    interpreters: BTreeSet<String>,
    /// Programs of each package that the recipe names.
    programs: BTreeMap<String, Vec<String>>,
}

impl Before {
    pub fn of(tree: &Tree, settings: &Settings) -> Before {
        let interpreters = interpreted(tree).into_iter().map(|(_, by)| by).filter(|by| exists(tree, by)).collect();
        let is_program = |path: &&String| {
            PROGRAMS.iter().any(|dir| path.starts_with(dir)) && !DONE.contains(&path.as_str()) && tree.contains(path)
        };
        let named = settings.packages.iter().filter(|p| settings.named.contains(&p.name));
        let programs = named
            .map(|p| (p.name.clone(), p.paths.iter().filter(is_program).cloned().collect::<Vec<_>>()))
            .filter(|(_, programs)| !programs.is_empty())
            .collect();
        Before { interpreters, programs }
    }

    /// Programs that stayed without what runs them, and packages asked for of which no program stayed.
    pub fn losses(&self, tree: &Tree, settings: &Settings) -> Vec<Loss> {
        let mut losses = Vec::new();
        let gone: BTreeSet<&String> = self.interpreters.iter().filter(|path| !exists(tree, path)).collect();
        if !gone.is_empty() {
            for (path, by) in interpreted(tree).into_iter().filter(|(_, by)| gone.contains(by)) {
                let owner = settings.packages.iter().find(|p| p.paths.binary_search(&path).is_ok());
                let package = owner.map(|p| p.name.clone()).unwrap_or_default();
                let what = format!("/{path} needs /{by}, which pruning removed; list it under `prune: keep:`");
                losses.push(Loss { package, what });
            }
        }
        for (package, programs) in &self.programs {
            if programs.iter().all(|path| !tree.contains(path)) {
                let first = programs.first().map_or("", String::as_str);
                let what = format!(
                    "the recipe names this package, and pruning removed all its programs (/{first}); list them under `prune: keep:`, or drop the package"
                );
                losses.push(Loss { package: package.clone(), what });
            }
        }
        losses
    }
}

#[cfg(test)]
mod tests {
    use super::super::{Installed, prune};
    use super::*;
    use crate::edit::TreeEditor;

    fn tree(files: &[(&str, &str)]) -> Tree {
        let mut tree = Tree::new(0);
        let mut root = TreeEditor::new(&mut tree, 0);
        root.write("usr/bin/perl", "\x7fELF", 0o755).unwrap();
        root.write("usr/sbin/update-rc.d", "#! /usr/bin/perl\n", 0o755).unwrap();
        for (path, text) in files {
            root.write(path, *text, 0o755).unwrap();
        }
        tree
    }

    fn package(name: &str, depends: &[&str], paths: &[&str]) -> Installed {
        let owned = |list: &[&str]| list.iter().map(|one| (*one).to_owned()).collect();
        Installed { name: name.to_owned(), depends: owned(depends), paths: owned(paths) }
    }

    #[test]
    fn perl_goes_with_the_tools_of_packages_scripts_when_nothing_needs_it() {
        let mut tree = tree(&[("usr/bin/sh-script", "#!/bin/sh\n# perl\n")]);
        // debconf brings libraries of perl into most images.
        let packages = vec![package("libtext-charwidth-perl", &["perl-base", "perlapi-5.40.0"], &[])];
        let pruned = prune(&mut tree, &Settings { packages, ..Settings::default() }).unwrap();
        assert!(!tree.contains("usr/bin/perl") && !tree.contains("usr/sbin/update-rc.d"), "{pruned:?}");
        assert!(pruned.losses.is_empty() && pruned.kept.is_empty());
    }

    #[test]
    fn perl_stays_for_a_program_that_stays_and_for_a_package_that_depends_on_it() {
        for line in ["#!/usr/bin/perl -w\n", "#! /usr/bin/env perl\n", "#!/usr/bin/env -S perl -w\n", "#!/bin/perl\n"] {
            let mut tree = tree(&[("usr/share/memcached/scripts/wrapper", line)]);
            let pruned = prune(&mut tree, &Settings::default()).unwrap();
            assert!(tree.contains("usr/bin/perl") && tree.contains("usr/sbin/update-rc.d"), "{line}");
            assert!(pruned.kept[0].because.contains("wrapper"), "{pruned:?}");
        }
        let packages = vec![package("memcached", &["adduser", "perl"], &[])];
        let mut tree = tree(&[]);
        prune(&mut tree, &Settings { packages, ..Settings::default() }).unwrap();
        assert!(tree.contains("usr/bin/perl"));
    }

    #[test]
    fn a_program_that_the_recipe_takes_is_no_reason_and_one_that_loses_its_interpreter_is_told() {
        let mut tree = tree(&[("usr/bin/p", "#!/usr/bin/perl\n"), ("usr/bin/q", "#!/usr/bin/python3\n")]);
        TreeEditor::new(&mut tree, 0).write("usr/bin/python3", "\x7fELF", 0o755).unwrap();
        let settings = Settings {
            remove: vec!["usr/bin/p".into(), "usr/bin/python3".into()],
            packages: vec![package("quick", &[], &["usr/bin/q"])],
            ..Settings::default()
        };
        let pruned = prune(&mut tree, &settings).unwrap();
        assert!(!tree.contains("usr/bin/perl"));
        assert_eq!(pruned.losses.len(), 1);
        assert!(pruned.losses[0].package == "quick" && pruned.losses[0].what.contains("/usr/bin/python3"));
    }

    #[test]
    fn what_a_recipe_asks_for_stays_or_is_told() {
        let files = [
            ("usr/sbin/cron", ""),
            ("etc/crontab", ""),
            ("etc/cron.d/job", ""),
            ("etc/init.d/cron", ""),
            ("usr/bin/apt-get", ""),
            ("etc/apt/apt.conf.d/01", ""),
            ("usr/bin/dpkg", ""),
            ("usr/bin/update-alternatives", ""),
            ("usr/bin/man", ""),
            ("usr/share/man/man1/ls.1.gz", ""),
            ("usr/bin/gcc", ""),
            ("usr/include/stdio.h", ""),
            ("usr/lib/gcc/crt1.o", ""),
        ];
        let mut tree = tree(&files);
        let pruned = prune(&mut tree, &Settings::default()).unwrap();
        for (path, _) in files.iter().filter(|(path, _)| !path.starts_with("etc/init.d")) {
            assert!(tree.contains(path), "{path}: {pruned:?}");
        }
        assert!(!tree.contains("etc/init.d/cron"));
        let rules: BTreeSet<&str> = pruned.kept.iter().map(|kept| kept.rule.as_str()).collect();
        assert_eq!(rules.into_iter().collect::<Vec<_>>(), ["development", "dpkg", "man", "perl", "sysv"]);

        // Nobody asks: all of it goes. A package that is named and lost all its programs is told.
        let mut tree = self::tree(&[("usr/bin/dpkg", ""), ("etc/cron.d/job", ""), ("usr/bin/ucf", "")]);
        let settings = Settings {
            named: vec!["tool".into()],
            packages: vec![package("tool", &[], &["usr/bin/ucf", "usr/share/doc/tool/copyright"])],
            ..Settings::default()
        };
        let pruned = prune(&mut tree, &settings).unwrap();
        assert!(!tree.contains("usr/bin/dpkg") && !tree.contains("etc/cron.d/job"));
        assert!(pruned.losses[0].package == "tool", "{pruned:?}");
    }
}
