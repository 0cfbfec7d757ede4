//! Packages' control files as those who read maintainer scripts take them.

use std::collections::BTreeMap;

use fruit_debian::package::Control;
use fruit_debian::relation::Relations;
use fruit_debian::{Diversions, PackageContents};
use fruit_root::PackageScripts;
use fruit_root::scripts::{self, Diversion};

/// What finishing must know of each package.
pub fn package_scripts(packages: &[PackageContents]) -> Vec<PackageScripts> {
    packages
        .iter()
        .map(|p| PackageScripts {
            name: p.name.clone(),
            version: p.version.clone(),
            scripts: script_texts(&p.control),
            conffiles: p.control.conffiles.clone(),
            depends: depends(&p.control),
            paths: p.paths.clone(),
        })
        .collect()
}

/// Names in a package's Pre-Depends and Depends, alternatives included.
fn depends(control: &Control) -> Vec<String> {
    let texts = ["Pre-Depends", "Depends"].into_iter().filter_map(|field| control.paragraph.get(field));
    let relations = texts.flat_map(|text| Relations::parse(text).unwrap_or_default().0);
    relations.flat_map(|clause| clause.0).map(|relation| relation.name).collect()
}

/// A package's maintainer scripts and triggers, by the name of the control file.
pub fn script_texts(control: &Control) -> BTreeMap<String, String> {
    let text = |bytes: &Vec<u8>| String::from_utf8_lossy(bytes).into_owned();
    let mut scripts: BTreeMap<String, String> =
        control.scripts.iter().map(|(name, bytes)| (name.clone(), text(bytes))).collect();
    scripts.extend(control.triggers.iter().map(|t| ("triggers".to_owned(), t.clone())));
    scripts
}

/// What packages' scripts would have diverted before any file is laid down.
pub fn diversions(packages: &[&Control]) -> Diversions {
    let mut diversions = Diversions::default();
    for one in diverted(packages) {
        diversions.divert(one.from.trim_start_matches('/'), one.to.trim_start_matches('/'), &one.by);
    }
    diversions
}

/// The same, one by one.
pub fn diverted(packages: &[&Control]) -> Vec<Diversion> {
    let texts: Vec<_> = packages
        .iter()
        .map(|control| PackageScripts {
            name: control.name().to_owned(),
            version: control.version().to_owned(),
            scripts: script_texts(control),
            ..Default::default()
        })
        .collect();
    scripts::diversions(&texts)
}
