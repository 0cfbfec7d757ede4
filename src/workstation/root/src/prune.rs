//! Takes out what no device needs, by named rules, and says what each saved.

mod evidence;

use fruit_image::tree::{Kind, Tree};

use crate::Error;
use crate::edit::exists;
use crate::glob::{Glob, Globs};
use evidence::Before;

/// A named set of patterns.
pub struct Rule {
    pub name: &'static str,
    pub what: &'static str,
    remove: &'static [&'static str],
    /// Exceptions within the rule.
    keep: &'static [&'static str],
    /// What makes it, or a part of it, stay.
    unless: &'static [Unless],
}

/// What a root has when somebody wants what a rule would take.
pub(crate) struct Unless {
    /// Packages that the recipe names.
    named: &'static [&'static str],
    /// Patterns of files that are in the root, whoever brought them.
    files: &'static [&'static str],
    /// What stays of the rule; empty: all.
    stays: &'static [&'static str],
}

/// The rules, in the order in which they apply.
pub const RULES: [Rule; 16] = [
    Rule {
        name: "doc",
        what: "documentation of packages; licences (copyright files) stay",
        remove: &["usr/share/doc/**", "usr/share/doc-base", "usr/share/gtk-doc", "usr/share/common-licenses/*.html"],
        keep: &["usr/share/doc/*/copyright"],
        unless: &[],
    },
    Rule {
        name: "man",
        what: "manual pages",
        remove: &["usr/share/man", "usr/share/*/man/man*", "usr/local/man", "usr/local/share/man"],
        keep: &[],
        unless: &[Unless { named: &[], files: &["usr/bin/man"], stays: &[] }],
    },
    Rule {
        name: "info",
        what: "info pages",
        remove: &["usr/share/info"],
        keep: &[],
        unless: &[Unless { named: &[], files: &["usr/bin/info"], stays: &[] }],
    },
    Rule {
        name: "lint",
        what: "notes for package tools: lintian, bug reports, debconf templates, menus",
        remove: &[
            "usr/share/lintian",
            "usr/share/bug",
            "usr/share/debconf",
            "usr/share/menu",
            "usr/share/pixmaps",
            "usr/share/gcc",
            "usr/share/gdb",
            "usr/share/apport",
            "usr/share/adduser",
            "usr/share/applications",
            "usr/share/initramfs-tools",
            "usr/share/icons",
            "usr/share/metainfo",
        ],
        keep: &[],
        unless: &[
            Unless {
                named: &[],
                // Programs with windows look for their pictures and each other there.
                files: &[
                    "usr/lib/*/libgtk-?.so.*",
                    "usr/lib/*/libQt?Gui.so.*",
                    "usr/lib/*/libwayland-server.so.*",
                    "usr/bin/Xorg",
                ],
                stays: &["usr/share/icons", "usr/share/pixmaps", "usr/share/applications", "usr/share/menu"],
            },
            Unless { named: &["adduser"], files: &[], stays: &["usr/share/adduser"] },
            Unless { named: &[], files: &["usr/bin/gdb"], stays: &["usr/share/gdb", "usr/share/gcc"] },
            Unless { named: &["debconf"], files: &["usr/bin/apt-get"], stays: &["usr/share/debconf"] },
            Unless { named: &[], files: &["usr/sbin/mkinitramfs"], stays: &["usr/share/initramfs-tools"] },
        ],
    },
    Rule {
        name: "completion",
        what: "completion scripts of shells",
        remove: &["usr/share/bash-completion", "usr/share/zsh", "usr/share/fish", "etc/bash_completion.d"],
        keep: &[],
        unless: &[
            Unless {
                named: &[],
                files: &["usr/share/bash-completion/bash_completion"],
                stays: &["usr/share/bash-completion", "etc/bash_completion.d"],
            },
            Unless { named: &[], files: &["usr/bin/zsh"], stays: &["usr/share/zsh"] },
            Unless { named: &[], files: &["usr/bin/fish"], stays: &["usr/share/fish"] },
        ],
    },
    Rule {
        name: "locale",
        what: "translations and locale sources, except the locales kept",
        remove: &["usr/share/locale/**", "usr/share/i18n", "usr/lib/locale/*"],
        keep: &["usr/share/locale/locale.alias", "usr/lib/locale/C.utf8/**"],
        unless: &[
            Unless { named: &[], files: &["usr/sbin/locale-gen"], stays: &["usr/share/i18n"] },
            // Nobody else asks for all of them.
            Unless { named: &["locales-all"], files: &[], stays: &["usr/lib/locale"] },
        ],
    },
    Rule {
        name: "gconv",
        what: "character set converters of glibc, except UTF-16, UTF-32 and Latin-1 (UTF-8 needs none)",
        remove: &["usr/lib/*/gconv/*"],
        keep: &["usr/lib/*/gconv/gconv-modules*", "usr/lib/*/gconv/{UTF-16,UTF-32,ISO8859-1}.so"],
        unless: &[],
    },
    Rule {
        name: "hwdb",
        what: "udev's database of hardware names and its source",
        remove: &["usr/lib/udev/hwdb.d", "usr/lib/udev/hwdb.bin", "etc/udev/hwdb.bin"],
        keep: &[],
        unless: &[],
    },
    Rule {
        name: "catalog",
        what: "systemd's message catalogue",
        remove: &["usr/lib/systemd/catalog", "var/lib/systemd/catalog"],
        keep: &[],
        unless: &[],
    },
    Rule {
        name: "dpkg",
        what: "package manager: its programs, databases and settings; records for scanners are written anew",
        remove: &[
            "var/lib/dpkg",
            "var/lib/apt",
            "var/lib/ucf",
            "var/lib/pam",
            "var/cache/debconf",
            "var/cache/apt",
            "etc/apt",
            "etc/dpkg",
            "usr/lib/dpkg",
            "usr/share/dpkg",
            "usr/share/keyrings/debian-*",
            "usr/bin/dpkg*",
            "usr/sbin/dpkg-*",
            "usr/sbin/update-ca-certificates",
            "usr/bin/update-alternatives",
            "usr/lib/systemd/system/dpkg-*",
            "usr/libexec/dpkg",
            "etc/kernel",
            "etc/alternatives/README",
            "usr/bin/debconf*",
            "usr/sbin/dpkg-*",
            "usr/bin/ucf*",
            "usr/share/ucf",
            "var/backups/*",
        ],
        keep: &[],
        unless: &[
            Unless { named: &["apt", "dpkg", "aptitude"], files: &["usr/bin/apt-get"], stays: &[] },
            Unless { named: &["debconf"], files: &[], stays: &["usr/bin/debconf*", "var/cache/debconf"] },
            Unless { named: &["ucf"], files: &[], stays: &["usr/bin/ucf*", "usr/share/ucf", "var/lib/ucf"] },
        ],
    },
    Rule {
        name: "sysv",
        what: "init scripts, run levels and settings of init systems not used",
        remove: &[
            "etc/init.d",
            "etc/rc?.d",
            "etc/runit",
            "etc/sv",
            "usr/share/runit",
            "usr/lib/runit-helper",
            "etc/cron*",
        ],
        keep: &[],
        unless: &[
            Unless {
                named: &[],
                files: &[
                    "usr/sbin/cron",
                    "usr/sbin/crond",
                    "usr/sbin/anacron",
                    "usr/lib/systemd/system-generators/*cron*",
                ],
                stays: &["etc/cron*"],
            },
            Unless {
                named: &[],
                files: &["usr/bin/runsvdir", "usr/sbin/runsvdir"],
                stays: &["etc/runit", "etc/sv", "usr/share/runit", "usr/lib/runit-helper"],
            },
            Unless { named: &["sysvinit-core", "sysv-rc", "openrc"], files: &[], stays: &["etc/init.d", "etc/rc?.d"] },
        ],
    },
    Rule {
        name: "certificates",
        what: "single certificates; the bundle stays",
        remove: &[
            "usr/share/ca-certificates/**",
            "etc/ssl/certs/*",
            "etc/ca-certificates.conf",
            "usr/local/share/ca-certificates",
        ],
        // Java reads its own list.
        keep: &["etc/ssl/certs/ca-certificates.crt", "etc/ssl/certs/java/cacerts"],
        unless: &[],
    },
    Rule {
        name: "templates",
        what: "templates that finishing has used",
        remove: &[
            "usr/share/base-files",
            "usr/share/base-passwd",
            "usr/share/debianutils",
            "usr/share/libc-bin",
            "usr/share/pam",
            "usr/share/pam-configs",
            "usr/share/openssh",
        ],
        keep: &[],
        unless: &[],
    },
    Rule {
        name: "development",
        what: "headers, static libraries, byte code caches",
        remove: &[
            "usr/include",
            "usr/lib/**/*.a",
            "usr/lib/**/*.la",
            "usr/lib/*/pkgconfig",
            "usr/share/pkgconfig",
            "usr/lib/**/*.o",
            "usr/share/aclocal",
            "**/__pycache__",
            "usr/share/valgrind",
        ],
        keep: &["usr/lib/modules/**"],
        unless: &[Unless {
            named: &[],
            // A compiler or linker, or what is for nothing but compiling.
            files: &[
                "usr/bin/{cc,gcc,clang,tcc,ld,rustc,go,fpc}",
                "usr/bin/{gcc,clang}-[0-9]*",
                "usr/bin/*-linux-gnu*-{gcc,ld}",
                "usr/include/stdio.h",
            ],
            stays: &["usr/include", "usr/lib/**", "usr/share/pkgconfig", "usr/share/aclocal", "usr/share/valgrind"],
        }],
    },
    Rule {
        name: "kernel",
        what: "packages' copies of kernel, device trees, loaders and board firmware; the image's are in its boot partitions",
        remove: &[
            "boot/*",
            "vmlinuz*",
            "initrd.img*",
            "usr/lib/linux-image-*",
            "usr/lib/raspi-firmware",
            "usr/lib/u-boot",
        ],
        keep: &[],
        unless: &[],
    },
    Rule {
        name: "perl",
        what: "perl, and the tools of packages' scripts that are written in it, as long as nothing else needs perl",
        remove: &[
            "usr/bin/perl*",
            "usr/share/perl5",
            "usr/share/perl",
            "usr/lib/*/perl*",
            "etc/perl",
            "usr/bin/deb-systemd-{helper,invoke}",
            "usr/sbin/update-rc.d",
            "usr/sbin/{adduser,addgroup,deluser,delgroup}",
            "usr/sbin/pam-auth-update",
            "usr/sbin/pam_getenv",
            "usr/bin/c_rehash",
            "usr/lib/ssl/misc",
        ],
        keep: &[],
        unless: &[
            Unless { named: &["perl", "perl-base"], files: &["usr/bin/apt-get"], stays: &[] },
            Unless { named: &["adduser"], files: &[], stays: &["usr/sbin/{adduser,addgroup,deluser,delgroup}"] },
        ],
    },
];

/// Rules that apply only when asked for by name.
pub const OPTIONAL: [Rule; 1] = [Rule {
    name: "zoneinfo",
    what: "time zones except UTC and the one set",
    remove: &["usr/share/zoneinfo/**"],
    keep: &[
        "usr/share/zoneinfo/UTC",
        "usr/share/zoneinfo/Etc/UTC",
        "usr/share/zoneinfo/tzdata.zi",
        "usr/share/zoneinfo/zone1970.tab",
    ],
    unless: &[],
}];

/// What a recipe says about pruning.
#[derive(Clone, Debug, Default)]
pub struct Settings {
    /// Rules of [`RULES`] not to apply.
    pub skip: Vec<String>,
    /// Rules of [`OPTIONAL`] to apply.
    pub also: Vec<String>,
    /// Locales whose translations stay: `de`, `de_DE`, `pt_BR`.
    pub locales: Vec<String>,
    /// Remove firmware, except files that match these patterns relative to /lib/firmware (what modules ask for:
    /// [`crate::kernel::Selection::firmware`]) and what these are links to. `None`: firmware stays.
    pub firmware: Option<Vec<String>>,
    /// Paths to remove besides; a directory means all that is in it.
    pub remove: Vec<String>,
    /// Paths that stay whatever rule names them.
    pub keep: Vec<String>,
    /// Packages that the recipe names itself.
    pub named: Vec<String>,
    /// What the root is made of.
    pub packages: Vec<Installed>,
}

/// An unpacked package, as far as pruning looks at it.
#[derive(Clone, Debug, Default)]
pub struct Installed {
    pub name: String,
    /// Names in its Pre-Depends and Depends.
    pub depends: Vec<String>,
    /// Its files, relative to the root.
    pub paths: Vec<String>,
}

/// What pruning did.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Pruned {
    pub saved: Vec<Saved>,
    pub kept: Vec<Kept>,
    pub losses: Vec<Loss>,
}

/// Something that a rule would have taken, and why it stayed.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Kept {
    pub rule: String,
    /// What stayed of the rule; empty: all.
    pub what: String,
    pub because: String,
}

/// Something that was taken although it is needed, or asked for.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Loss {
    /// The package that lost it; empty when no package has the file.
    pub package: String,
    pub what: String,
}

/// What one rule saved.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Saved {
    pub rule: String,
    /// Paths removed that are no directories.
    pub files: u64,
    /// Bytes of content that no other name kept alive.
    pub bytes: u64,
}

/// Applies the rules, then the recipe's own patterns (as rule `recipe`). Directories left empty go with their content. What
/// a rule takes is nobody's: where the root shows that somebody wants it, it stays, and that is told.
///
/// # Errors
/// A pattern that cannot be read, or a rule that does not exist.
pub fn prune(tree: &mut Tree, settings: &Settings) -> Result<Pruned, Error> {
    check_names(settings)?;
    let mut keep = globs("prune: keep", &settings.keep)?;
    for locale in &settings.locales {
        let language = locale.split(['_', '.', '@']).next().unwrap_or(locale);
        let country = locale.split(['.', '@']).next().unwrap_or(locale);
        let patterns = [
            format!("usr/share/locale/{language}/**"),
            format!("usr/share/locale/{country}/**"),
            format!("usr/lib/locale/{country}*/**"),
            "usr/lib/locale/locale-archive".to_owned(),
        ];
        keep.extend(globs("prune: locales", &patterns)?);
    }
    if let Some(Kind::Symlink(zone)) = tree.get("etc/localtime").map(|inode| &inode.kind) {
        keep.extend(globs("etc/localtime", &[zone.trim_start_matches('/').to_owned()])?);
    }
    let links = working_links(tree);
    let before = Before::of(tree, settings);
    let mut pruned = Pruned::default();
    let own = any("prune: remove", &globs("prune: remove", &settings.remove)?)?;
    let kept_anyway = any("prune: keep", &keep)?;
    let chosen = RULES.iter().filter(|r| !settings.skip.iter().any(|s| s == r.name));
    let also = OPTIONAL.iter().filter(|r| settings.also.iter().any(|s| s == r.name));
    // Of the root as it was: what one rule takes is no argument for or against another.
    let chosen: Vec<(&Rule, Vec<Kept>)> =
        chosen.chain(also).map(|rule| Ok((rule, wanted(tree, rule, settings)?))).collect::<Result<_, Error>>()?;
    for (rule, mut wanted) in chosen {
        let remove = any(rule.name, &globs(rule.name, rule.remove)?)?;
        let mut exceptions = globs(rule.name, rule.keep)?;
        exceptions.extend(keep.iter().cloned());
        let parts: Vec<&str> = wanted.iter().flat_map(|kept| kept.what.split(", ")).collect();
        exceptions.extend(globs(rule.name, &parts)?);
        let exceptions = any(rule.name, &exceptions)?;
        if rule.name == PERL && wanted.iter().all(|kept| !kept.what.is_empty()) {
            let taken = |path: &str| (remove.covers(path) || own.covers(path)) && !exceptions.covers(path);
            wanted.extend(evidence::of_perl(tree, settings, &taken));
        }
        let whole = wanted.iter().any(|kept| kept.what.is_empty());
        pruned.kept.extend(wanted);
        if !whole {
            pruned.saved.push(apply(tree, rule.name, &remove, &exceptions));
        }
    }
    if let Some(wanted) = &settings.firmware {
        let mut exceptions = firmware(tree, wanted)?;
        exceptions.extend(keep.iter().cloned());
        let (remove, exceptions) = (globs("firmware", &["usr/lib/firmware/**"])?, any("firmware", &exceptions)?);
        pruned.saved.push(apply(tree, "firmware", &any("firmware", &remove)?, &exceptions));
    }
    pruned.saved.push(apply(tree, "recipe", &own, &kept_anyway));
    pruned.saved.push(drop_links(tree, links, &kept_anyway));
    pruned.saved.retain(|s| s.files > 0);
    pruned.losses = before.losses(tree, settings);
    Ok(pruned)
}

/// The rule whose subject is an interpreter that packages use without saying so.
const PERL: &str = "perl";

/// What of `rule` the root or the recipe asks for.
fn wanted(tree: &Tree, rule: &Rule, settings: &Settings) -> Result<Vec<Kept>, Error> {
    let mut kept = Vec::new();
    for unless in rule.unless {
        let named = unless.named.iter().find(|name| settings.named.iter().any(|n| n == *name));
        let because = match named {
            Some(name) => Some(format!("the recipe names the package {name}")),
            None => first_match(tree, unless.files)?.map(|path| format!("/{path} is in this image")),
        };
        let stays = any(rule.name, &globs(rule.name, unless.stays)?)?;
        let remove = any(rule.name, &globs(rule.name, rule.remove)?)?;
        let concerns = |path: &str| remove.covers(path) && (unless.stays.is_empty() || stays.covers(path));
        if let Some(because) = because
            && tree.iter().any(|(path, _, inode)| !inode.is_dir() && concerns(path))
        {
            kept.push(Kept { rule: rule.name.to_owned(), what: unless.stays.join(", "), because });
        }
    }
    Ok(kept)
}

fn first_match(tree: &Tree, patterns: &[&str]) -> Result<Option<String>, Error> {
    if patterns.is_empty() {
        return Ok(None);
    }
    let globs = any("rules", &globs("rules", patterns)?)?;
    Ok(tree.iter().find(|(path, ..)| globs.matches(path)).map(|(path, ..)| path.to_owned()))
}

/// The firmware files that match, and what they lead to when they are links. The kernel asks for the database of radio
/// regulations without any module naming it (net/wireless/reg.c).
fn firmware(tree: &Tree, wanted: &[String]) -> Result<Vec<Glob>, Error> {
    const DIR: &str = "usr/lib/firmware";
    let patterns: Vec<String> = wanted.iter().map(|w| format!("{DIR}/{w}")).collect();
    let mut keep = globs("firmware", &patterns)?;
    keep.extend(globs("firmware", &[format!("{DIR}/regulatory.db*")])?);
    let kept = any("firmware", &keep)?;
    let matching = tree.below(DIR).filter(|(path, ..)| kept.matches(path));
    let targets: Vec<String> = matching.filter_map(|(path, ..)| tree.resolve(path).ok()).collect();
    // The names are taken as they are: a `[` in a file name is no set.
    let literal = |path: &String| path.replace(['[', ']', '*', '?', '{', '}'], "?");
    keep.extend(globs("firmware", &targets.iter().map(literal).collect::<Vec<_>>())?);
    Ok(keep)
}

/// Symbolic links that lead somewhere.
fn working_links(tree: &Tree) -> Vec<String> {
    let links = tree.iter().filter(|(path, _, inode)| matches!(inode.kind, Kind::Symlink(_)) && exists(tree, path));
    links.map(|(path, ..)| path.to_owned()).collect()
}

/// Removes the links whose files went: alternatives of manual pages, run levels, certificates.
fn drop_links(tree: &mut Tree, links: Vec<String>, keep: &Globs) -> Saved {
    let mut saved = Saved { rule: "links".to_owned(), files: 0, bytes: 0 };
    let broken: Vec<String> =
        links.into_iter().filter(|path| tree.contains(path) && !exists(tree, path) && !keep.covers(path)).collect();
    for path in broken {
        tree.remove(&path);
        saved.files += 1;
    }
    saved
}

fn check_names(settings: &Settings) -> Result<(), Error> {
    let lists =
        [("prune: skip", &settings.skip, RULES.as_slice()), ("prune: also", &settings.also, OPTIONAL.as_slice())];
    for (place, names, rules) in lists {
        for name in names {
            if !rules.iter().any(|rule| rule.name == name) {
                let known: Vec<&str> = rules.iter().map(|rule| rule.name).collect();
                let what = format!("there is no rule {name:?}; the rules are {}", known.join(", "));
                return Err(Error::Invalid { path: place.to_owned(), what });
            }
        }
    }
    Ok(())
}

fn globs(place: &str, patterns: &[impl AsRef<str>]) -> Result<Vec<Glob>, Error> {
    let read = |pattern: &str| {
        Glob::new(pattern)
            .map_err(|what| Error::Invalid { path: place.to_owned(), what: format!("{pattern:?}: {what}") })
    };
    patterns.iter().map(|pattern| read(pattern.as_ref())).collect()
}

fn any(place: &str, globs: &[Glob]) -> Result<Globs, Error> {
    Globs::new(globs).map_err(|what| Error::Invalid { path: place.to_owned(), what })
}

fn apply(tree: &mut Tree, name: &str, remove: &Globs, keep: &Globs) -> Saved {
    let (mut doomed, mut stays) = (Vec::new(), Vec::new());
    for (path, _, inode) in tree.iter().filter(|(path, ..)| !path.is_empty()) {
        if remove.covers(path) && !keep.covers(path) {
            doomed.push((path, inode.is_dir()));
        } else {
            stays.push(path);
        }
    }
    // A directory is removed whole when nothing in it is to be kept. Paths come in their order.
    let holds_kept = |dir: &str| {
        let within = format!("{dir}/");
        stays.get(stays.partition_point(|path| **path < *within)).is_some_and(|path| path.starts_with(&within))
    };
    let mut saved = Saved { rule: name.to_owned(), files: 0, bytes: 0 };
    let mut gone: Vec<String> = Vec::new();
    let mut removed_dir = None;
    for (path, is_dir) in doomed {
        saved.files += u64::from(!is_dir);
        let inside = |dir: &str| path.strip_prefix(dir).is_some_and(|rest| rest.starts_with('/'));
        if removed_dir.is_some_and(inside) || is_dir && holds_kept(path) {
            continue;
        }
        if is_dir {
            removed_dir = Some(path);
        }
        gone.push(path.to_owned());
    }
    saved.bytes = gone.iter().map(|path| tree.remove(path)).sum();
    saved
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::edit::TreeEditor;

    fn tree(paths: &[&str]) -> Tree {
        let mut tree = Tree::new(0);
        let mut root = TreeEditor::new(&mut tree, 0);
        for path in paths {
            root.write(path, "0123456789", 0o644).unwrap();
        }
        tree
    }

    #[test]
    fn licences_stay_when_documentation_goes() {
        let mut tree = tree(&["usr/share/doc/a/copyright", "usr/share/doc/a/README", "usr/share/doc/b/README"]);
        let saved = prune(&mut tree, &Settings::default()).unwrap().saved;
        assert!(tree.contains("usr/share/doc/a/copyright"));
        assert!(!tree.contains("usr/share/doc/a/README"));
        assert!(!tree.contains("usr/share/doc/b"));
        assert_eq!(saved, [Saved { rule: "doc".into(), files: 2, bytes: 20 }]);
    }

    #[test]
    fn what_the_recipe_keeps_wins_over_every_rule() {
        let mut tree = tree(&[
            "usr/share/man/man1/ls.1.gz",
            "usr/bin/x",
            "usr/bin/y",
            "usr/share/locale/de/LC_MESSAGES/a.mo",
            "usr/share/locale/fr/LC_MESSAGES/a.mo",
        ]);
        let settings = Settings {
            keep: vec!["usr/share/man/man1/ls*".into(), "/usr/bin/y".into()],
            remove: vec!["/usr/bin/*".into()],
            locales: vec!["de_DE.UTF-8".into()],
            ..Settings::default()
        };
        prune(&mut tree, &settings).unwrap();
        assert!(tree.contains("usr/share/man/man1/ls.1.gz"));
        assert!(tree.contains("usr/bin/y") && !tree.contains("usr/bin/x"));
        assert!(tree.contains("usr/share/locale/de/LC_MESSAGES/a.mo") && !tree.contains("usr/share/locale/fr"));
    }

    #[test]
    fn firmware_that_no_module_asks_for_goes_and_links_keep_their_files() {
        let mut tree = tree(&[
            "usr/lib/firmware/cypress/cyfmac.bin",
            "usr/lib/firmware/intel/x.ucode",
            "usr/lib/firmware/brcm/b.1.txt",
        ]);
        let mut root = TreeEditor::new(&mut tree, 0);
        root.symlink("../cypress/cyfmac.bin", "usr/lib/firmware/brcm/brcmfmac.bin").unwrap();
        let firmware = Some(vec!["brcm/brcmfmac.bin".to_owned(), "brcm/b.*.txt".to_owned()]);
        prune(&mut tree, &Settings { firmware, ..Settings::default() }).unwrap();
        assert!(tree.contains("usr/lib/firmware/cypress/cyfmac.bin") && tree.contains("usr/lib/firmware/brcm/b.1.txt"));
        assert!(!tree.contains("usr/lib/firmware/intel"));
    }

    #[test]
    fn links_go_with_the_files_they_lead_to_and_others_stay() {
        let mut tree = tree(&["usr/share/man/man1/less.1.gz", "usr/bin/less"]);
        let mut root = TreeEditor::new(&mut tree, 0);
        root.symlink("/usr/share/man/man1/less.1.gz", "etc/alternatives/pager.1.gz").unwrap();
        root.symlink("/usr/bin/less", "etc/alternatives/pager").unwrap();
        root.symlink("../run/systemd/resolve/stub-resolv.conf", "etc/resolv.conf").unwrap();
        prune(&mut tree, &Settings::default()).unwrap();
        assert!(!tree.contains("etc/alternatives/pager.1.gz"));
        assert!(tree.contains("etc/alternatives/pager") && tree.contains("etc/resolv.conf"));
    }

    #[test]
    fn a_misspelt_rule_is_an_error_that_lists_the_rules() {
        let error = prune(&mut tree(&[]), &Settings { skip: vec!["docs".into()], ..Settings::default() }).unwrap_err();
        assert!(error.to_string().contains("the rules are doc, man"), "{error}");
    }
}
