//! The bill of materials of the programs: every crate that takes part in compiling one of them, as SPDX 2.3.

use std::collections::{BTreeMap, BTreeSet};
use std::process::Command;

use fruit_device_programs::{ARCHITECTURES, target};
use fruit_root::sbom;
use fruitbuild::failure::Failure;
use serde::Deserialize;
use serde_json::{Value, json};

use crate::source::Source;

#[derive(Deserialize)]
struct Metadata {
    packages: Vec<Package>,
    resolve: Resolve,
}

#[derive(Deserialize)]
struct Package {
    id: String,
    name: String,
    version: String,
    license: Option<String>,
    /// `null` is a crate of this repository.
    source: Option<String>,
}

#[derive(Deserialize)]
struct Resolve {
    nodes: Vec<Node>,
}

#[derive(Deserialize)]
struct Node {
    id: String,
    deps: Vec<Dependency>,
}

#[derive(Deserialize)]
struct Dependency {
    pkg: String,
    dep_kinds: Vec<DependencyKind>,
}

#[derive(Deserialize)]
struct DependencyKind {
    /// `null` is an ordinary dependency.
    kind: Option<String>,
}

const PROGRAMS: [&str; 6] = ["fruitbuild", "fruitctl", "fruit-init", "fruit-agent", "fruit-update", "fruit-peer"];

/// The document as JSON.
///
/// # Errors
/// cargo cannot describe the workspace.
pub fn of(source: &Source) -> Result<Vec<u8>, Failure> {
    // Crates for other systems take no part.
    let mut targets = Vec::new();
    for architecture in ARCHITECTURES {
        let target = target(architecture).map_err(|error| Failure::general(error.to_string()))?;
        targets.extend(["--filter-platform", target.triple]);
    }
    let output = Command::new(std::env::var_os("CARGO").unwrap_or_else(|| "cargo".into()))
        .current_dir(&source.top)
        .args(["metadata", "--locked", "--format-version", "1"])
        .args(targets)
        .output()
        .map_err(|error| Failure::general(format!("cannot run cargo: {error}")))?;
    if !output.status.success() {
        return Err(Failure::general(format!("cargo metadata: {}", String::from_utf8_lossy(&output.stderr).trim())));
    }
    let metadata: Metadata =
        serde_json::from_slice(&output.stdout).map_err(|error| Failure::general(format!("cargo metadata: {error}")))?;
    let document = document(source, &metadata);
    let mut text = serde_json::to_vec_pretty(&document).map_err(|error| Failure::general(error.to_string()))?;
    text.push(b'\n');
    Ok(text)
}

fn document(source: &Source, metadata: &Metadata) -> Value {
    let by_id: BTreeMap<&str, &Package> = metadata.packages.iter().map(|p| (p.id.as_str(), p)).collect();
    let nodes: BTreeMap<&str, &Node> = metadata.resolve.nodes.iter().map(|n| (n.id.as_str(), n)).collect();
    let roots: Vec<&str> =
        metadata.packages.iter().filter(|p| PROGRAMS.contains(&p.name.as_str())).map(|p| p.id.as_str()).collect();
    let mut seen = BTreeSet::new();
    let mut open = roots.clone();
    while let Some(id) = open.pop() {
        if !seen.insert(id) {
            continue;
        }
        let ordinary = |d: &&Dependency| d.dep_kinds.iter().any(|k| k.kind.as_deref() != Some("dev"));
        open.extend(nodes.get(id).into_iter().flat_map(|n| n.deps.iter().filter(ordinary)).map(|d| d.pkg.as_str()));
    }
    let mut used: Vec<&Package> = seen.iter().filter_map(|id| by_id.get(id).copied()).collect();
    used.sort_by(|a, b| (&a.name, &a.version).cmp(&(&b.name, &b.version)));
    let reference = |p: &Package| format!("SPDXRef-{}-{}", p.name, p.version.replace('+', "-")).replace('_', "-");
    let package = |p: &&Package| {
        json!({
            "SPDXID": reference(p),
            "name": p.name,
            "versionInfo": p.version,
            "licenseDeclared": p.license.as_deref().map_or("NOASSERTION".to_owned(), |l| l.replace('/', " OR ")),
            "licenseConcluded": "NOASSERTION",
            "copyrightText": "NOASSERTION",
            "downloadLocation": "NOASSERTION",
            "filesAnalyzed": false,
            "externalRefs": p.source.iter().map(|_| json!({
                "referenceCategory": "PACKAGE-MANAGER",
                "referenceType": "purl",
                "referenceLocator": format!("pkg:cargo/{}@{}", p.name, p.version),
            })).collect::<Vec<_>>(),
        })
    };
    let described = roots.iter().filter_map(|id| by_id.get(id)).map(|p| {
        json!({"spdxElementId": "SPDXRef-DOCUMENT", "relationshipType": "DESCRIBES", "relatedSpdxElement": reference(p)})
    });
    let version = &source.version;
    let namespace = format!("urn:fruitbuild:release:{version}:{}", source.commit);
    let created = format!("{}T00:00:00Z", source.date);
    let mut document =
        sbom::document(&format!("fruitbuild-{version}"), &namespace, &created, &format!("fruit-dist-{version}"));
    document["packages"] = used.iter().map(package).collect();
    document["relationships"] = described.collect();
    document
}
