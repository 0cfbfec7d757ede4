//! systemd units: which are enabled, from their `[Install]` sections (systemd.unit(5)), as `systemctl enable` does in
//! an offline root; and which are masked because there is nothing for them to do on an image.

use std::collections::{BTreeMap, BTreeSet};

use fruit_image::tree::{Kind, Tree};

use crate::edit::{TreeEditor, names};
use crate::error::candidates;
use crate::glob::Glob;
use crate::scripts::{Script, known};
use crate::{Error, PackageScripts};

/// Directories of system units, the strongest first.
const DIRS: [&str; 3] = ["etc/systemd/system", "usr/local/lib/systemd/system", "usr/lib/systemd/system"];
const ETC: &str = "etc/systemd/system";
const SUFFIXES: [&str; 11] =
    ["service", "socket", "timer", "target", "mount", "automount", "path", "slice", "scope", "swap", "device"];

/// Units that do their work at a machine's first boot, or after each change of `/usr`, by writing what a finished image
/// has already; and timers of the package manager. systemd would run them at each boot of a volatile root.
pub const NOTHING_TO_DO: [&str; 15] = [
    "apt-daily-upgrade.timer",
    "apt-daily.timer",
    "dpkg-db-backup.timer",
    "e2scrub_all.timer",
    "e2scrub_reap.service",
    "fstrim.timer",
    "ldconfig.service",
    "man-db.timer",
    "systemd-firstboot.service",
    "systemd-homed-firstboot.service",
    "systemd-hwdb-update.service",
    "systemd-journal-catalog-update.service",
    "systemd-machine-id-commit.service",
    "systemd-sysusers.service",
    "systemd-update-done.service",
];

/// What a recipe and its overlays say about units. A name without suffix means a `.service`.
#[derive(Clone, Debug)]
pub struct Units {
    /// Enable what the packages' own scripts enable, as an installation would.
    pub as_packaged: bool,
    /// What is enabled in the tree already, and by whom.
    pub linked: Vec<(String, String)>,
    pub enable: Vec<String>,
    /// Not enabled even if a package or overlay says so; a unit that others start anyway is to be masked.
    pub disable: Vec<String>,
    pub mask: Vec<String>,
    /// Units of [`NOTHING_TO_DO`] to leave alone.
    pub unmask: Vec<String>,
    /// Default `multi-user.target`.
    pub default_target: String,
}

impl Default for Units {
    fn default() -> Units {
        Units {
            as_packaged: true,
            linked: Vec::new(),
            enable: Vec::new(),
            disable: Vec::new(),
            mask: Vec::new(),
            unmask: Vec::new(),
            default_target: "multi-user.target".to_owned(),
        }
    }
}

/// A unit that starts at boot, and who says so.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct Enabled {
    pub unit: String,
    /// A package's name, [`BY_RECIPE`], or the unit that brings it along (`Also=`).
    pub by: String,
}

/// [`Enabled::by`] of what the recipe and its overlays list.
pub const BY_RECIPE: &str = "the recipe";

/// Enables, disables and masks; returns the units that are enabled, sorted. A root without systemd is left alone.
///
/// # Errors
/// A named unit that does not exist, or that is a link leading nowhere; `enable` of a unit without `[Install]`.
pub fn configure(
    tree: &mut Tree,
    packages: &[PackageScripts],
    units: &Units,
    epoch: i64,
) -> Result<Vec<Enabled>, Error> {
    let root = TreeEditor::new(tree, epoch);
    if !root.exists("usr/lib/systemd/systemd") {
        return match units.enable.first().or(units.mask.first()) {
            Some(unit) => Err(Error::Invalid {
                path: "usr/lib/systemd/systemd".to_owned(),
                what: format!("unit {unit:?} cannot be enabled or masked: systemd is not in this root"),
            }),
            None => Ok(Vec::new()),
        };
    }
    let mut enabler = Enabler { root, enabled: BTreeMap::new() };
    let disabled =
        units.disable.iter().map(|u| enabler.find(u).map(|_| full_name(u))).collect::<Result<BTreeSet<_>, _>>()?;
    if units.as_packaged {
        for (unit, by) in packaged(packages) {
            // A package may enable what another one provides, or what is not built on this architecture.
            if !disabled.contains(&unit) && enabler.find(&unit).is_ok() && preset(&enabler.root, &unit)? {
                enabler.enable(&unit, &by, &disabled, false)?;
            }
        }
    }
    enabler.enabled.extend(units.linked.iter().filter(|(unit, _)| !disabled.contains(unit)).cloned());
    for unit in &units.enable {
        enabler.find(unit)?;
        enabler.enable(&full_name(unit), BY_RECIPE, &disabled, true)?;
    }
    for unit in &disabled {
        enabler.remove_links(unit);
    }
    let unmasked: BTreeSet<String> = units.unmask.iter().map(|u| full_name(u)).collect();
    let wanted: BTreeSet<String> = units.enable.iter().map(|u| full_name(u)).collect();
    for unit in NOTHING_TO_DO {
        if !unmasked.contains(unit) && !wanted.contains(unit) && enabler.find(unit).is_ok() {
            enabler.mask(unit)?;
        }
    }
    // Host keys come from the data partition; openssh's own unit would make a second set at each boot.
    if enabler.find("fruit-ssh-keys.service").is_ok() && enabler.find("sshd-keygen.service").is_ok() {
        enabler.mask("sshd-keygen.service")?;
    }
    for unit in &units.mask {
        if enabler.find(unit).is_err() && NOTHING_TO_DO.contains(&full_name(unit).as_str()) {
            continue; // masked above wherever it exists
        }
        enabler.find(unit)?;
        enabler.mask(&full_name(unit))?;
    }
    let target = enabler.find(&units.default_target)?;
    enabler.root.symlink(&format!("/{target}"), &format!("{ETC}/default.target"))?;
    Ok(enabler.enabled.into_iter().map(|(unit, by)| Enabled { unit, by }).collect())
}

/// Names of all units of the root, for messages and for checks of a recipe.
pub fn list(tree: &Tree) -> BTreeSet<String> {
    DIRS.iter().flat_map(|dir| names(tree, dir)).filter(|name| is_unit(name)).collect()
}

/// Units that links in `/etc/systemd/system` start at boot, each with the path of the file that defines it, if there is one.
pub fn linked(tree: &Tree) -> Vec<(String, String)> {
    let mut found = BTreeMap::new();
    for (path, _, inode) in tree.below(ETC) {
        let mut parts = path[ETC.len()..].trim_start_matches('/').split('/');
        let (Some(dir), Some(unit), None) = (parts.next(), parts.next(), parts.next()) else { continue };
        let of_another = [".wants", ".requires", ".upholds"].iter().any(|end| dir.ends_with(end));
        if of_another && is_unit(unit) && matches!(inode.kind, Kind::Symlink(_)) {
            found.insert(unit.to_owned(), tree.resolve(path).unwrap_or_default());
        }
    }
    found.into_iter().collect()
}

/// Units that the packages' scripts enable on a first installation, in order, and the packages.
fn packaged(packages: &[PackageScripts]) -> Vec<(String, String)> {
    let mut units: Vec<(String, String)> = Vec::new();
    for script in crate::scripts::read(packages).iter().filter(|s| s.name == "postinst") {
        for unit in enabled_by(script) {
            if !units.iter().any(|(known, _)| *known == unit) {
                units.push((unit, script.package.name.clone()));
            }
        }
    }
    units
}

/// `deb-systemd-helper enable` as far as a first installation reaches it, and `systemctl enable` and `preset`, the latter as
/// packages have it that are made from specifications of RPM. Units of users' managers are not for an image to enable.
fn enabled_by(script: &Script<'_>) -> Vec<String> {
    let mut units = Vec::new();
    for command in script.known_commands() {
        let words: Vec<&str> = command.words.iter().map(String::as_str).filter(|w| !w.starts_with('-')).collect();
        if let ["deb-systemd-helper" | "systemctl", "enable" | "preset", list @ ..] = words.as_slice()
            && !command.words.iter().any(|w| w == "--user")
        {
            units.extend(list.iter().filter(|u| known(u)).map(|u| (*u).to_owned()));
        }
    }
    units
}

/// Whether the distribution's presets (systemd.preset(5)) let a packaged unit be enabled, as deb-systemd-helper asks
/// them: the first line that fits decides, no line means yes.
fn preset(root: &TreeEditor, unit: &str) -> Result<bool, Error> {
    let dir = "usr/lib/systemd/system-preset";
    for file in names(root.tree, dir) {
        // The image's own preset is for the running system: what this crate has not enabled stays off.
        if file == "00-fruit.preset" || !file.ends_with(".preset") {
            continue;
        }
        for line in root.text(&format!("{dir}/{file}"))?.unwrap_or_default().lines() {
            let mut words = line.split_whitespace();
            let (Some(verb @ ("enable" | "disable")), Some(pattern)) = (words.next(), words.next()) else { continue };
            let template = template(unit).map_or_else(|| unit.to_owned(), |(name, _)| name);
            if Glob::new(pattern).is_ok_and(|glob| glob.matches(unit) || glob.matches(&template)) {
                return Ok(verb == "enable");
            }
        }
    }
    Ok(true)
}

fn is_unit(name: &str) -> bool {
    name.rsplit_once('.').is_some_and(|(_, suffix)| SUFFIXES.contains(&suffix))
}

fn full_name(unit: &str) -> String {
    if is_unit(unit) { unit.to_owned() } else { format!("{unit}.service") }
}

/// `getty@tty1.service` → (`getty@.service`, `tty1`).
fn template(unit: &str) -> Option<(String, &str)> {
    let (prefix, rest) = unit.split_once('@')?;
    let (instance, suffix) = rest.rsplit_once('.')?;
    (!instance.is_empty()).then(|| (format!("{prefix}@.{suffix}"), instance))
}

struct Enabler<'a> {
    root: TreeEditor<'a>,
    /// Enabled units and who enabled each.
    enabled: BTreeMap<String, String>,
}

/// The `[Install]` section of a unit with its drop-ins.
#[derive(Default)]
struct Install {
    values: Vec<(String, String)>,
}

impl Install {
    fn all(&self, key: &str) -> impl Iterator<Item = &str> {
        self.values.iter().filter(move |(k, _)| k == key).flat_map(|(_, v)| v.split_whitespace())
    }

    fn is_empty(&self) -> bool {
        self.values.iter().all(|(_, value)| value.trim().is_empty())
    }

    fn read(&mut self, text: &str) {
        let mut inside = false;
        let joined = text.replace("\\\n", " ");
        for line in joined.lines().map(str::trim) {
            if line.starts_with('[') {
                inside = line == "[Install]";
            } else if inside
                && !line.starts_with(['#', ';'])
                && let Some((key, value)) = line.split_once('=')
            {
                let (key, value) = (key.trim().to_owned(), value.trim().to_owned());
                if value.is_empty() {
                    self.values.retain(|(k, _)| *k != key); // an empty assignment resets the list
                } else {
                    self.values.push((key, value));
                }
            }
        }
    }
}

impl Enabler<'_> {
    /// The path of the file that defines `unit` (its template for an instance).
    fn find(&self, unit: &str) -> Result<String, Error> {
        let unit = full_name(unit);
        let template = template(&unit).map(|(name, _)| name);
        for name in [Some(&unit), template.as_ref()].into_iter().flatten() {
            for dir in DIRS {
                let path = format!("{dir}/{name}");
                match self.root.tree.get(&path).map(|inode| &inode.kind) {
                    // A link within the unit directories is an alias; one to /dev/null a mask.
                    Some(Kind::Symlink(target)) if target == "/dev/null" && dir == ETC => {}
                    Some(_) if self.root.exists(&path) => return Ok(path),
                    Some(_) => {
                        let what = "is a link that leads nowhere".to_owned();
                        return Err(Error::Invalid { path, what });
                    }
                    None => {}
                }
            }
        }
        let all = list(self.root.tree);
        Err(Error::UnknownUnit { candidates: candidates(&unit, all.iter().map(String::as_str)), unit })
    }

    fn install(&self, unit: &str, path: &str) -> Result<Install, Error> {
        let mut install = Install::default();
        install.read(&self.root.text(path)?.unwrap_or_default());
        let mut names_of_unit = vec![unit.to_owned()];
        names_of_unit.extend(template(unit).map(|(name, _)| name));
        for name in names_of_unit {
            let mut drop_ins = BTreeMap::new();
            for dir in DIRS.iter().rev() {
                for file in names(self.root.tree, &format!("{dir}/{name}.d")) {
                    if file.ends_with(".conf") {
                        drop_ins.insert(file.clone(), format!("{dir}/{name}.d/{file}"));
                    }
                }
            }
            for path in drop_ins.values() {
                install.read(&self.root.text(path)?.unwrap_or_default());
            }
        }
        Ok(install)
    }

    fn enable(&mut self, unit: &str, by: &str, disabled: &BTreeSet<String>, asked: bool) -> Result<(), Error> {
        let mut todo = vec![(unit.to_owned(), by.to_owned(), asked)];
        while let Some((unit, by, asked)) = todo.pop() {
            if self.enabled.contains_key(&unit) || disabled.contains(&unit) {
                continue;
            }
            let path = self.find(&unit)?;
            let real = self.root.tree.resolve(&path)?;
            let install = self.install(&unit, &path)?;
            if install.is_empty() {
                if asked {
                    let what = format!(
                        "unit {unit:?} has no [Install] section, so there is nothing to enable; something else starts it"
                    );
                    return Err(Error::Invalid { path, what });
                }
                continue;
            }
            let unit = match install.all("DefaultInstance").next() {
                Some(instance) if unit.contains("@.") => unit.replacen("@.", &format!("@{instance}."), 1),
                _ => unit,
            };
            self.link(&unit, &real, &install)?;
            for also in install.all("Also") {
                if self.find(also).is_ok() {
                    todo.push((also.to_owned(), unit.clone(), false));
                }
            }
            self.enabled.insert(unit, by);
        }
        Ok(())
    }

    fn link(&mut self, unit: &str, real: &str, install: &Install) -> Result<(), Error> {
        let target = format!("/{real}");
        for (key, dir) in [("WantedBy", "wants"), ("RequiredBy", "requires"), ("UpheldBy", "upholds")] {
            for by in install.all(key) {
                let by = specifiers(by, unit);
                self.root.symlink(&target, &format!("{ETC}/{by}.{dir}/{unit}"))?;
            }
        }
        for alias in install.all("Alias") {
            let alias = specifiers(alias, unit);
            if !alias.contains('/') && alias != unit {
                self.root.symlink(&target, &format!("{ETC}/{alias}"))?;
            }
        }
        Ok(())
    }

    /// Removes links to `unit` from the `.wants` and similar directories of /etc, and its aliases.
    fn remove_links(&mut self, unit: &str) {
        let gone: Vec<String> = self
            .root
            .tree
            .below(ETC)
            .filter(|(path, _, inode)| match &inode.kind {
                Kind::Symlink(target) => path.ends_with(&format!("/{unit}")) || target.ends_with(&format!("/{unit}")),
                _ => false,
            })
            .map(|(path, ..)| path.to_owned())
            .collect();
        for path in gone {
            self.root.tree.remove(&path);
        }
    }

    fn mask(&mut self, unit: &str) -> Result<(), Error> {
        self.remove_links(unit);
        self.enabled.remove(unit);
        self.root.symlink("/dev/null", &format!("{ETC}/{unit}"))
    }
}

/// `%i`, `%I`, `%j`, `%p`, `%n`, `%N` in an `[Install]` value (systemd.unit(5), Specifiers).
fn specifiers(value: &str, unit: &str) -> String {
    if !value.contains('%') {
        return value.to_owned();
    }
    let (stem, _) = unit.rsplit_once('.').unwrap_or((unit, ""));
    let (prefix, instance) = stem.split_once('@').unwrap_or((stem, ""));
    let last = prefix.rsplit('-').next().unwrap_or(prefix);
    [("%i", instance), ("%I", instance), ("%p", prefix), ("%n", unit), ("%N", stem), ("%j", last), ("%%", "%")]
        .iter()
        .fold(value.to_owned(), |text, (name, with)| text.replace(name, with))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn tree(units: &[(&str, &str)]) -> Tree {
        let mut tree = Tree::new(0);
        let mut root = TreeEditor::new(&mut tree, 0);
        root.write("usr/lib/systemd/systemd", "", 0o755).unwrap();
        root.write("usr/lib/systemd/system/multi-user.target", "", 0o644).unwrap();
        for (name, text) in units {
            root.write(&format!("usr/lib/systemd/system/{name}"), *text, 0o644).unwrap();
        }
        tree
    }

    fn links(tree: &Tree) -> Vec<String> {
        let below = tree.below(ETC).filter(|(.., inode)| matches!(inode.kind, Kind::Symlink(_)));
        below.map(|(path, ..)| path[ETC.len() + 1..].to_owned()).filter(|p| p != "default.target").collect()
    }

    fn enable(list: &[&str]) -> Units {
        Units { as_packaged: false, enable: list.iter().map(|u| (*u).to_owned()).collect(), ..Units::default() }
    }

    #[test]
    fn install_sections_make_the_links_that_systemctl_makes() {
        let mut tree = tree(&[
            (
                "a.service",
                "[Unit]\nWantedBy=not.this\n[Install]\nWantedBy=x.target y.target\nAlias=b.service\nAlso=c.socket\n",
            ),
            ("c.socket", "[Install]\nRequiredBy=s.target\nUpheldBy=u.target\n"),
            ("t@.service", "[Install]\nDefaultInstance=one\nWantedBy=dev-%i.target\n"),
        ]);
        let enabled = configure(&mut tree, &[], &enable(&["a", "t@two.service", "t@.service"]), 0).unwrap();
        let enabled: Vec<(&str, &str)> = enabled.iter().map(|e| (e.unit.as_str(), e.by.as_str())).collect();
        let expected = [
            ("a.service", BY_RECIPE),
            ("c.socket", "a.service"),
            ("t@one.service", BY_RECIPE),
            ("t@two.service", BY_RECIPE),
        ];
        assert_eq!(enabled, expected);
        let expected = [
            "b.service",
            "dev-one.target.wants/t@one.service",
            "dev-two.target.wants/t@two.service",
            "s.target.requires/c.socket",
            "u.target.upholds/c.socket",
            "x.target.wants/a.service",
            "y.target.wants/a.service",
        ];
        assert_eq!(links(&tree), expected);
    }

    #[test]
    fn what_packages_enable_starts_as_on_any_debian_and_their_names_are_told() {
        let install = "[Install]\nWantedBy=multi-user.target\n";
        let mut tree = tree(&[
            ("web.service", install),
            ("off.service", install),
            ("quiet.service", install),
            ("rpm.service", install),
        ]);
        let mut root = TreeEditor::new(&mut tree, 0);
        root.write("usr/lib/systemd/system-preset/90-x.preset", "disable quiet.*\nenable *\n", 0o644).unwrap();
        let package = |name: &str| {
            let helper = format!("deb-systemd-helper --quiet was-enabled '{name}.service'");
            let script = format!(
                "#!/bin/sh\nif [ \"$1\" = configure ]; then\n if {helper}; then\n  deb-systemd-helper enable '{name}.service' >/dev/null || true\n fi\nfi\n"
            );
            let scripts = [("postinst".to_owned(), script)].into();
            PackageScripts { name: name.to_owned(), scripts, ..PackageScripts::default() }
        };
        let units = Units { disable: vec!["off".into()], ..Units::default() };
        let mut packages = Vec::from(["web", "off", "quiet", "rpm"].map(package));
        let preset =
            "#!/bin/sh\nif [ \"$1\" = \"configure\" ] ; then\n systemctl preset rpm.service >/dev/null 2>&1 || :\nfi\n";
        packages[3].scripts = [("postinst".to_owned(), preset.to_owned())].into();
        let enabled = configure(&mut tree, &packages, &units, 0).unwrap();
        let names = ["rpm", "web"].map(|name| Enabled { unit: format!("{name}.service"), by: name.into() });
        assert_eq!(enabled, names);
        assert_eq!(links(&tree), names.map(|one| format!("multi-user.target.wants/{}", one.unit)));
    }

    #[test]
    fn what_the_recipe_disables_wins_and_what_it_masks_cannot_start() {
        let text = "[Install]\nWantedBy=x.target\n";
        let mut tree = tree(&[("a.service", text), ("b.service", text), ("systemd-firstboot.service", "")]);
        let units = Units { disable: vec!["a".into()], mask: vec!["b".into()], ..enable(&["a", "b"]) };
        assert!(configure(&mut tree, &[], &units, 0).unwrap().is_empty());
        assert_eq!(links(&tree), ["b.service", "systemd-firstboot.service"]);
    }

    #[test]
    fn units_that_do_not_exist_or_cannot_be_enabled_are_errors() {
        let mut tree = tree(&[("ssh.service", "[Unit]\n"), ("systemd-networkd.service", "")]);
        let error = configure(&mut tree, &[], &enable(&["systemd-network"]), 0).unwrap_err().to_string();
        assert!(error.contains("did you mean systemd-networkd.service"), "{error}");
        let error = configure(&mut tree, &[], &enable(&["ssh"]), 0).unwrap_err().to_string();
        assert!(error.contains("no [Install] section"), "{error}");
    }
}
