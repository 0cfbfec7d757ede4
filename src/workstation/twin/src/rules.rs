//! What of the changes is no part of an image, and why.

use std::collections::BTreeMap;

use fruit_root::glob::{Glob, Globs};

/// A rule's name with the reason, and its patterns.
struct Rule {
    reason: &'static str,
    /// Of paths. What ends with `/` leaves out what is below that is no folder: folders stay, with their owners.
    patterns: &'static [&'static str],
}

const RULES: [Rule; 14] = [
    Rule {
        reason: "made anew at each boot",
        patterns: &["dev/**", "proc/**", "sys/**", "run/**", "tmp/**", "var/tmp/**"],
    },
    Rule { reason: "logs of the installation", patterns: &["var/log/"] },
    Rule { reason: "caches", patterns: &["var/cache/", "**/__pycache__", "**/__pycache__/**", "usr/share/info/dir*"] },
    Rule {
        reason: "the package manager's own records",
        patterns: &[
            "var/lib/dpkg/**",
            "var/cache/debconf",
            "var/lib/apt/**",
            "var/lib/ucf/**",
            "var/lib/systemd/deb-systemd-helper-*",
            "var/lib/systemd/deb-systemd-helper-*/**",
            "var/lib/systemd/deb-systemd-user-helper-*",
            "var/lib/systemd/deb-systemd-user-helper-*/**",
            "var/lib/pam/**",
            "var/lib/shells.state",
        ],
    },
    Rule {
        reason: "backups and locks",
        patterns: &[
            "etc/{passwd,group,shadow,gshadow,subuid,subgid}-",
            "etc/.pwd.lock",
            "**/*.dpkg-{old,new,tmp,dist}",
            "**/*.ucf-{old,new,dist}",
        ],
    },
    Rule { reason: "the dynamic linker's cache, of the workstation's libraries", patterns: &["etc/ld.so.cache"] },
    Rule {
        reason: "identity of one machine",
        patterns: &["etc/machine-id", "var/lib/dbus/machine-id", "etc/hostname", "etc/hosts", "etc/resolv.conf"],
    },
    Rule {
        reason: "randomness of one machine",
        patterns: &[
            "var/lib/systemd/random-seed",
            "var/lib/systemd/credential.secret",
            "var/lib/urandom/**",
            "root/.rnd",
            "etc/ssh/ssh_host_*",
        ],
    },
    Rule { reason: "init scripts' run levels, which systemd does not use", patterns: &["etc/rc?.d/**"] },
    Rule {
        reason: "kernels, their modules and initramfs, which are fruitbuild's own",
        patterns: &["boot/**", "usr/lib/modules/**", "vmlinuz*", "initrd.img*"],
    },
    Rule { reason: "what the run itself needed", patterns: &["usr/sbin/policy-rc.d"] },
    Rule { reason: "the history of a person's shell", patterns: &["root/.*history"] },
    Rule {
        reason: "time zone and locale, which are the recipe's",
        patterns: &["etc/localtime", "etc/timezone", "etc/default/locale", "etc/locale.conf"],
    },
    Rule {
        reason: "compiled settings of editors and manuals",
        patterns: &["var/lib/man-db/**", "var/lib/emacsen-common/**"],
    },
];

/// The rules, ready to be asked.
pub(crate) struct Rules {
    whole: Vec<(Globs, &'static str)>,
    /// Folders of which only files go.
    files: BTreeMap<&'static str, &'static str>,
}

impl Rules {
    pub fn new() -> Rules {
        let mut rules = Rules { whole: Vec::new(), files: BTreeMap::new() };
        for rule in &RULES {
            let (folders, globs): (Vec<&str>, Vec<&str>) = rule.patterns.iter().partition(|p| p.ends_with('/'));
            rules.files.extend(folders.into_iter().map(|folder| (folder, rule.reason)));
            // The patterns are this file's own, and a test reads them all.
            let globs: Vec<Glob> = globs.into_iter().filter_map(|pattern| Glob::new(pattern).ok()).collect();
            rules.whole.extend(Globs::new(&globs).ok().map(|globs| (globs, rule.reason)));
        }
        rules
    }

    /// Why a path is left out; `None` when it is not.
    pub fn leave_out(&self, path: &str, is_folder: bool) -> Option<&'static str> {
        let below = self.files.iter().find(|(folder, _)| !is_folder && path.starts_with(**folder));
        let whole = || self.whole.iter().find(|(glob, _)| glob.matches(path)).map(|(_, reason)| *reason);
        below.map(|(_, reason)| *reason).or_else(whole)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_pattern_is_one_and_folders_of_logs_and_caches_stay() {
        let patterns = RULES.iter().flat_map(|rule| rule.patterns);
        assert!(patterns.clone().all(|pattern| Glob::new(pattern).is_ok()));
        let rules = Rules::new();
        assert_eq!(rules.files.len(), patterns.filter(|p| p.ends_with('/')).count());
        for path in
            ["var/log/dpkg.log", "var/lib/dpkg/status", "etc/passwd-", "etc/rc2.d/S01x", "usr/lib/a/__pycache__/b.pyc"]
        {
            assert!(rules.leave_out(path, false).is_some(), "{path}");
        }
        assert!(rules.leave_out("var/log/postgresql", true).is_none());
        for path in ["etc/passwd", "etc/default/x", "var/lib/x/y", "etc/apache2/mods-enabled/a.load"] {
            assert!(rules.leave_out(path, false).is_none(), "{path}");
        }
    }
}
