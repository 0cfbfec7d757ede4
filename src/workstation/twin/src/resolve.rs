//! Which packages the scripts run over: each package of a lock in the workstation's architecture, and the tools of the run.

use std::collections::{BTreeMap, BTreeSet};

use fruit_debian::progress::Progress;
use fruit_debian::universe::OfferId;
use fruit_debian::{Lock, LockedPackage, LockedTwin, Mirrors, Request, Store, Universe, Version};

use crate::error::Error;

/// What the run itself needs; all that is Essential comes besides.
const TOOLS: [&str; 5] = ["debconf", "dpkg", "init-system-helpers", "perl-base", "tar"];

/// Packages whose scripts do for kernel, firmware and loader what fruitbuild does itself: taken for configured. Patterns of one
/// `*` at the end.
const CONFIGURED: [&str; 8] = [
    "linux-image-*",
    "linux-headers-*",
    "firmware-*",
    "raspi-firmware",
    "u-boot-*",
    "linux-base",
    "systemd-boot*",
    "initramfs-tools*",
];

/// Names that packages depend on and that are not there: their work is fruitbuild's.
pub(crate) const SUPPLIED: [&str; 4] =
    ["initramfs-tools", "linux-initramfs-tool", "linux-base", "initramfs-tools-core"];

/// Whether a package's scripts are not run whatever they do.
pub fn is_taken_for_configured(name: &str) -> bool {
    CONFIGURED.iter().any(|pattern| match pattern.strip_suffix('*') {
        Some(start) => name.starts_with(start),
        None => name == *pattern,
    })
}

/// Finds the twin of `installed`, packages of `lock`, among what `host` offers.
///
/// # Errors
/// A package of which the repositories have another version by now, or tools that cannot be installed beside the packages.
pub fn resolve(
    installed: &[&LockedPackage],
    host: &Universe,
    store: &Store,
    mirrors: &Mirrors,
    progress: &dyn Progress,
) -> Result<LockedTwin, Error> {
    let mut configured = Vec::new();
    let mut pins: BTreeMap<String, Version> = BTreeMap::new();
    for package in installed {
        if is_taken_for_configured(&package.name) {
            configured.push(package.name.clone());
            continue;
        }
        let offers: Vec<OfferId> = host.offers_of(&package.name).to_vec();
        let versions = || offers.iter().map(|id| &host.offer(*id).version);
        match versions().find(|version| same_source(&package.version, version)) {
            Some(version) => drop(pins.insert(package.name.clone(), version.clone())),
            None if offers.is_empty() => configured.push(package.name.clone()),
            None => {
                return Err(Error::OtherVersion {
                    package: package.name.clone(),
                    wanted: package.version.to_string(),
                    found: versions().next().map(Version::to_string).unwrap_or_default(),
                    architecture: host.architecture().to_owned(),
                });
            }
        }
    }
    let mut supplied: Vec<String> = SUPPLIED.map(str::to_owned).to_vec();
    supplied.extend(configured.iter().cloned());
    let mut packages: BTreeSet<String> = pins.keys().cloned().collect();
    packages.extend(TOOLS.map(str::to_owned));
    let request = Request { packages: packages.into_iter().collect(), supplied, essential: true, ..Request::default() };
    let resolution = host.resolve(&request, &pins).map_err(fruit_debian::Error::from)?;
    let whole = Lock::new(&request, host, &resolution, store, mirrors, progress)?;
    let known: BTreeMap<&str, &LockedPackage> = installed.iter().map(|p| (p.name.as_str(), *p)).collect();
    let tools = whole.packages.iter().map(|p| p.name.clone()).filter(|name| !known.contains_key(name.as_str()));
    let tools = tools.collect();
    let is_in_lock = |p: &LockedPackage| known.get(p.name.as_str()).is_some_and(|known| known.sha256 == p.sha256);
    Ok(LockedTwin {
        architecture: host.architecture().to_owned(),
        packages: whole.packages.into_iter().filter(|p| !is_in_lock(p)).collect(),
        tools,
        configured,
    })
}

/// The packages that are unpacked for a run, in order of the name.
///
/// # Errors
/// A twin that is not of these packages.
pub fn packages(installed: &[&LockedPackage], twin: &LockedTwin) -> Result<Vec<LockedPackage>, Error> {
    let mut all: BTreeMap<&str, &LockedPackage> = BTreeMap::new();
    for package in installed.iter().filter(|p| !twin.configured.contains(&p.name)) {
        let usable = package.architecture == "all" || package.architecture == twin.architecture;
        if usable {
            all.insert(&package.name, package);
        } else if !twin.packages.iter().any(|p| p.name == package.name && same_source(&package.version, &p.version)) {
            return Err(Error::NotTheTwin { package: package.label(), architecture: twin.architecture.clone() });
        }
    }
    all.extend(twin.packages.iter().map(|p| (p.name.as_str(), p)));
    Ok(all.into_values().cloned().collect())
}

/// Whether two versions of a package are builds of the same source: `1.2-3` and `1.2-3+b1`.
fn same_source(a: &Version, b: &Version) -> bool {
    fn source(version: &str) -> &str {
        match version.rsplit_once("+b") {
            Some((source, build)) if !build.is_empty() && build.bytes().all(|b| b.is_ascii_digit()) => source,
            _ => version,
        }
    }
    source(a.as_str()) == source(b.as_str())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn rebuilds_of_one_source_are_twins_and_other_versions_are_not() {
        let same = |a: &str, b: &str| same_source(&a.parse().unwrap(), &b.parse().unwrap());
        assert!(same("1.2-3", "1.2-3+b1") && same("1:1.2-3+b2", "1:1.2-3+b11"));
        assert!(!same("1.2-3", "1.2-4") && !same("1.2-3", "1.2-3+deb13u1") && !same("1.2-3+beta", "1.2-3"));
    }

    #[test]
    fn kernels_and_firmware_are_taken_for_configured() {
        for name in ["linux-image-6.12.48+deb13-arm64", "firmware-brcm80211", "raspi-firmware", "linux-base"] {
            assert!(is_taken_for_configured(name), "{name}");
        }
        assert!(!is_taken_for_configured("linux-sysctl-defaults") && !is_taken_for_configured("udev"));
    }
}
