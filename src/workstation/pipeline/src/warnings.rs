//! What a build warns of: each package once, the worst first, and where the rest is.

use std::collections::BTreeMap;
use std::path::Path;

use fruit_contract::image_manifest::ImageManifest;
use fruit_progress::Progress;
use fruit_root::account::Unhandled;

use super::root::RootReport;
use crate::error::Error;

/// Commands by what an image lacks without them, the worst first: rights and accounts, files, settings.
const EFFECTS: [&[&str]; 3] = [
    &[
        "setcap",
        "chown",
        "chmod",
        "chgrp",
        "install",
        "adduser",
        "useradd",
        "usermod",
        "groupadd",
        "addgroup",
        "dpkg-statoverride",
        "systemctl",
        "deb-systemd-helper",
    ],
    &["dpkg-divert", "update-alternatives", "mv", "ln", "mkdir", "cp", "rm", "mktemp", "openssl", "ssh-keygen"],
    &["sed", "cat", "echo", "printf", "tee", "ucf", "touch"],
];

/// All warnings of a build, in the order in which they are told.
pub fn list(report: &RootReport) -> Vec<String> {
    let mut all: Vec<String> = Vec::new();
    for loss in &report.pruned.losses {
        let package = if loss.package.is_empty() { String::new() } else { format!("{}: ", loss.package) };
        all.push(format!("{package}{}", loss.what));
    }
    all.extend(report.of_scripts.iter().cloned());
    all.extend(of_scripts(&report.unhandled));
    all.extend(report.problems.iter().map(|problem| format!("/{}: {}", problem.path, problem.what)));
    all
}

/// One line for each package.
fn of_scripts(unhandled: &[Unhandled]) -> Vec<String> {
    let mut packages: BTreeMap<&str, Vec<&Unhandled>> = BTreeMap::new();
    for one in unhandled {
        packages.entry(&one.package).or_default().push(one);
    }
    let mut lines: Vec<(usize, String)> = Vec::new();
    for all in packages.values() {
        // The first of those that are equally bad.
        let Some(worst) = all.iter().min_by_key(|one| badness(&one.command)) else { continue };
        let more = match all.len() - 1 {
            0 => String::new(),
            more => format!(" (and {more} more)"),
        };
        let line = format!(
            "{} {}: {}:{} is not run and its effect is not known: {}{more}",
            worst.package, worst.version, worst.script, worst.line, worst.command
        );
        lines.push((badness(&worst.command), line));
    }
    lines.sort_by_key(|(badness, _)| *badness);
    lines.into_iter().map(|(_, line)| line).collect()
}

/// Every line of a script that is not run, in the order of packages.
fn details(unhandled: &[Unhandled]) -> Vec<String> {
    let line = |one: &Unhandled| {
        format!("  not run: {} {}: {}:{}: {}", one.package, one.version, one.script, one.line, one.command)
    };
    unhandled.iter().map(line).collect()
}

fn badness(command: &str) -> usize {
    let word = command.split_whitespace().next().unwrap_or_default();
    let name = word.rsplit('/').next().unwrap_or_default();
    EFFECTS.iter().position(|names| names.contains(&name)).unwrap_or(EFFECTS.len())
}

/// Tells them. `manifest` is the file that will have the details.
///
/// # Errors
/// With `strict`, when scripts do more than fruitbuild does.
pub fn say(report: &RootReport, manifest: &Path, strict: bool, progress: &dyn Progress) -> Result<(), Error> {
    let all = list(report);
    for warning in &all {
        progress.say(&format!("warning: {warning}"));
    }
    for line in details(&report.unhandled) {
        progress.detail(&line);
    }
    for name in &report.acknowledged_not_here {
        progress.say(&format!("note: `acknowledge` names {name}, which is not in this image"));
    }
    if strict && !report.unhandled.is_empty() {
        return Err(Error::input(
            "--strict: packages' scripts do more than fruitbuild does itself; look at them and name the packages under `acknowledge:`",
        ));
    }
    if let Some(line) = count(all.len(), manifest) {
        progress.say(&line);
    }
    Ok(())
}

/// What a build that had nothing to do says of the warnings of the build before it, which are in its manifest.
pub fn repeat(warnings: usize, manifest: &Path, progress: &dyn Progress) {
    if progress.has_details()
        && let Ok(bytes) = std::fs::read(manifest)
        && let Ok(made) = ImageManifest::read(&bytes)
    {
        for warning in &made.warnings {
            progress.detail(&format!("warning: {warning}"));
        }
        for one in &made.scripts_not_reproduced {
            let place = format!("{} {}: {}:{}", one.package, one.version, one.script, one.line);
            progress.detail(&format!("  not run: {place}: {}", one.command));
        }
    }
    if let Some(line) = count(warnings, manifest) {
        progress.say(&line);
    }
}

fn count(warnings: usize, manifest: &Path) -> Option<String> {
    let noun = if warnings == 1 { "warning" } else { "warnings" };
    let all = "`warnings` and, line by line, `scripts_not_reproduced`";
    (warnings > 0)
        .then(|| format!("{warnings} {noun} (details: --verbose); all of them: {all} in {}", manifest.display()))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_package_is_named_once_with_its_worst_effect_and_the_worst_package_comes_first() {
        let one = |package: &str, line, command: &str| Unhandled {
            package: package.to_owned(),
            version: "1".to_owned(),
            script: "postinst".to_owned(),
            line,
            command: command.to_owned(),
        };
        let all = [
            one("a", 3, "pg_updatedicts"),
            one("a", 9, "mkdir /srv/a"),
            one("b", 2, "frobnicate"),
            one("c", 5, "/sbin/setcap cap_net_raw+ep /usr/bin/c"),
            one("a", 7, "sed -i s/x/y/ /etc/a"),
        ];
        let lines = of_scripts(&all);
        assert_eq!(lines.len(), 3);
        assert!(lines[0].starts_with("c 1: postinst:5"), "{lines:?}");
        assert!(
            lines[1].starts_with("a 1: postinst:9") && lines[1].ends_with("mkdir /srv/a (and 2 more)"),
            "{lines:?}"
        );
        let details = details(&all);
        assert_eq!(details.len(), all.len());
        assert_eq!(details[2], "  not run: b 1: postinst:2: frobnicate");
        assert!(lines[2].starts_with("b 1: postinst:2") && lines[2].ends_with("frobnicate"), "{lines:?}");
    }

    #[test]
    fn the_count_says_where_the_details_are_and_none_says_nothing() {
        let manifest = Path::new("out/x.json");
        assert!(count(0, manifest).is_none());
        assert!(count(1, manifest).unwrap().starts_with("1 warning (details: --verbose);"));
        assert!(count(4, manifest).unwrap().ends_with("in out/x.json"));
    }
}
