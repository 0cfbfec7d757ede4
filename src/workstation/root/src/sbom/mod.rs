//! Software bill of materials: SPDX 2.3 as JSON (ISO/IEC 5962, spdx.github.io/spdx-spec/v2.3).

mod copyright;

use std::collections::BTreeMap;

use fruit_base::Sha256;
use fruit_base::calendar::Date;
use serde_json::{Value, json};

pub use copyright::{Licenses, licenses};

/// One binary package of the image.
#[derive(Clone, Debug, Default)]
pub struct Component {
    pub name: String,
    pub version: String,
    pub architecture: String,
    /// Source package and its version; the binary's own when the same.
    pub source: String,
    pub source_version: String,
    /// `Name <address>`, from the field Maintainer.
    pub maintainer: String,
    pub homepage: String,
    pub summary: String,
    /// Of the .deb, lower-case hex.
    pub sha256: String,
    /// Path in the archive's pool, `pool/main/b/bash/…deb`; never a mirror's address.
    pub pool_path: String,
    /// Text of `/usr/share/doc/NAME/copyright`.
    pub copyright: Option<String>,
}

/// A file of the image that came by its address.
#[derive(Clone, Debug, Default)]
pub struct Download {
    pub name: String,
    pub url: String,
    /// Lower-case hex.
    pub sha256: String,
}

/// A Python wheel.
#[derive(Clone, Debug, Default)]
pub struct Wheel {
    pub name: String,
    pub version: String,
    pub url: String,
    /// Lower-case hex.
    pub sha256: String,
}

/// The image of a container.
#[derive(Clone, Debug, Default)]
pub struct Container {
    pub name: String,
    /// `docker.io/library/nginx:1.27`.
    pub image: String,
    /// `sha256:…`.
    pub digest: String,
}

/// What is in an image besides packages.
#[derive(Clone, Copy, Debug, Default)]
pub struct Besides<'a> {
    pub downloads: &'a [Download],
    pub wheels: &'a [Wheel],
    pub containers: &'a [Container],
}

/// The image that the document is about.
#[derive(Clone, Debug, Default)]
pub struct Subject {
    pub name: String,
    pub version: String,
    /// `fruitbuild-0.1.0`.
    pub tool: String,
    /// Seconds since 1970; the document's time of creation.
    pub epoch: i64,
    /// `debian`, for package URLs.
    pub distribution: String,
    /// `trixie`, for package URLs.
    pub suite: String,
}

/// The document, pretty-printed with a line break at its end. Same input, same bytes: the namespace is a hash of the
/// content, the time is the epoch.
pub fn spdx(subject: &Subject, components: &[Component], besides: &Besides<'_>) -> String {
    let mut packages = vec![image(subject)];
    let mut relationships = vec![relationship("SPDXRef-DOCUMENT", "DESCRIBES", "SPDXRef-image")];
    let mut extracted: BTreeMap<String, Value> = BTreeMap::new();
    let mut sorted: Vec<&Component> = components.iter().collect();
    sorted.sort_by(|a, b| (&a.name, &a.architecture).cmp(&(&b.name, &b.architecture)));
    for component in sorted {
        let id = format!("SPDXRef-package-{}-{}", id_text(&component.name), id_text(&component.architecture));
        packages.push(package(subject, component, &id, &mut extracted));
        relationships.push(relationship("SPDXRef-image", "CONTAINS", &id));
    }
    for one in besides.downloads {
        let id = format!("SPDXRef-download-{}", id_text(&one.name));
        packages.push(download(one, &id));
        relationships.push(relationship("SPDXRef-image", "CONTAINS", &id));
    }
    for one in besides.wheels {
        let id = format!("SPDXRef-wheel-{}", id_text(&one.name));
        packages.push(wheel(one, &id));
        relationships.push(relationship("SPDXRef-image", "CONTAINS", &id));
    }
    for one in besides.containers {
        let id = format!("SPDXRef-container-{}", id_text(&one.name));
        packages.push(container(one, &id));
        relationships.push(relationship("SPDXRef-image", "CONTAINS", &id));
    }
    let content = json!([packages, relationships]).to_string();
    let digest = Sha256::of(content.as_bytes());
    let (name, version) = (&subject.name, &subject.version);
    let namespace = format!("https://spdx.org/spdxdocs/{}-{}-{digest}", id_text(name), id_text(version));
    let mut document = document(&format!("{name}-{version}"), &namespace, &utc(subject.epoch), &subject.tool);
    document["packages"] = packages.into();
    document["relationships"] = relationships.into();
    if !extracted.is_empty() {
        document["hasExtractedLicensingInfos"] = extracted.into_values().collect();
    }
    // Serializing a `Value` cannot fail: its keys are strings.
    serde_json::to_string_pretty(&document).unwrap_or_default() + "\n"
}

/// The head of a document, without packages and their relationships. `created`: as RFC 3339.
pub fn document(name: &str, namespace: &str, created: &str, tool: &str) -> Value {
    json!({
        "spdxVersion": "SPDX-2.3",
        "dataLicense": "CC0-1.0",
        "SPDXID": "SPDXRef-DOCUMENT",
        "name": name,
        "documentNamespace": namespace,
        "creationInfo": { "created": created, "creators": [format!("Tool: {tool}")] },
    })
}

fn image(subject: &Subject) -> Value {
    json!({
        "SPDXID": "SPDXRef-image",
        "name": subject.name,
        "versionInfo": subject.version,
        "downloadLocation": "NOASSERTION",
        "filesAnalyzed": false,
        "primaryPackagePurpose": "OPERATING-SYSTEM",
        "licenseConcluded": "NOASSERTION",
        "licenseDeclared": "NOASSERTION",
        "copyrightText": "NOASSERTION",
    })
}

fn package(subject: &Subject, c: &Component, id: &str, extracted: &mut BTreeMap<String, Value>) -> Value {
    let declared = match c.copyright.as_deref().and_then(licenses) {
        Some(found) => {
            for (license, text) in found.references {
                let text = text.unwrap_or_else(|| format!("See /usr/share/doc/{}/copyright in the image.", c.name));
                extracted
                    .entry(license.clone())
                    .or_insert_with(|| json!({ "licenseId": license, "extractedText": text }));
            }
            found.expression
        }
        None => "NOASSERTION".to_owned(),
    };
    let mut value = json!({
        "SPDXID": id,
        "name": c.name,
        "versionInfo": c.version,
        "downloadLocation": "NOASSERTION",
        "filesAnalyzed": false,
        "supplier": person(&c.maintainer),
        "licenseConcluded": "NOASSERTION",
        "licenseDeclared": declared,
        "copyrightText": "NOASSERTION",
        "sourceInfo": format!("built from source package {} {}", c.source, c.source_version),
        "externalRefs": [{
            "referenceCategory": "PACKAGE-MANAGER",
            "referenceType": "purl",
            "referenceLocator": purl(subject, c),
        }],
    });
    let optional = [("homepage", &c.homepage), ("summary", &c.summary), ("packageFileName", &c.pool_path)];
    for (key, text) in optional {
        if !text.is_empty() {
            value[key] = json!(text);
        }
    }
    if !c.sha256.is_empty() {
        value["checksums"] = json!([{ "algorithm": "SHA256", "checksumValue": c.sha256 }]);
    }
    value
}

/// What is no package of the distribution. `url` is told where others can fetch from it.
fn other(id: &str, name: &str, url: &str, sha256: &str, purl: &str) -> Value {
    json!({
        "SPDXID": id,
        "name": name,
        "downloadLocation": if url.starts_with("http") { url } else { "NOASSERTION" },
        "filesAnalyzed": false,
        "licenseConcluded": "NOASSERTION",
        "licenseDeclared": "NOASSERTION",
        "copyrightText": "NOASSERTION",
        "checksums": [{ "algorithm": "SHA256", "checksumValue": sha256 }],
        "externalRefs": [{
            "referenceCategory": "PACKAGE-MANAGER",
            "referenceType": "purl",
            "referenceLocator": purl,
        }],
    })
}

fn download(one: &Download, id: &str) -> Value {
    // purl-spec, types/generic.
    let (name, url) = (escape(&one.name), escape(&one.url));
    let purl = format!("pkg:generic/{name}?checksum=sha256:{}&download_url={url}", one.sha256);
    other(id, &one.name, &one.url, &one.sha256, &purl)
}

fn wheel(one: &Wheel, id: &str) -> Value {
    // purl-spec, types/pypi.
    let purl = format!("pkg:pypi/{}@{}", escape(&one.name), escape(&one.version));
    let mut value = other(id, &one.name, &one.url, &one.sha256, &purl);
    value["versionInfo"] = json!(one.version);
    value
}

fn container(one: &Container, id: &str) -> Value {
    // purl-spec, types/oci: the name is the last component of the repository, which stands in full in `repository_url`.
    let repository = one.image.split('@').next().unwrap_or_default();
    let (repository, tag) = match repository.rsplit_once(':') {
        Some((before, tag)) if !tag.contains('/') => (before, Some(tag)),
        _ => (repository, None),
    };
    let name = repository.rsplit('/').next().unwrap_or(repository);
    let mut purl = format!("pkg:oci/{}@{}?repository_url={}", escape(name), escape(&one.digest), escape(repository));
    if let Some(tag) = tag {
        purl += &format!("&tag={}", escape(tag));
    }
    // Not by its address: a registry is no place that a file is fetched from.
    let mut value = other(id, &one.image, "", one.digest.trim_start_matches("sha256:"), &purl);
    value["versionInfo"] = json!(one.digest);
    value["primaryPackagePurpose"] = json!("CONTAINER");
    value
}

fn relationship(from: &str, kind: &str, to: &str) -> Value {
    json!({ "spdxElementId": from, "relationshipType": kind, "relatedSpdxElement": to })
}

/// Debian's maintainers are teams more often than not; `Organization` covers both.
fn person(maintainer: &str) -> String {
    match maintainer.split_once('<') {
        Some((name, address)) => format!("Organization: {} ({})", name.trim(), address.trim_end_matches(['>', ' '])),
        None if maintainer.trim().is_empty() => "NOASSERTION".to_owned(),
        None => format!("Organization: {}", maintainer.trim()),
    }
}

/// `pkg:deb/debian/bash@5.2-1?arch=arm64&distro=trixie` (purl-spec, types/deb), `upstream` when the source differs.
fn purl(subject: &Subject, c: &Component) -> String {
    let mut text = format!(
        "pkg:deb/{}/{}@{}?arch={}",
        escape(&subject.distribution),
        escape(&c.name),
        escape(&c.version),
        escape(&c.architecture)
    );
    if !subject.suite.is_empty() {
        text += &format!("&distro={}", escape(&subject.suite));
    }
    if c.source != c.name || c.source_version != c.version {
        text += &format!("&upstream={}@{}", escape(&c.source), escape(&c.source_version));
    }
    text
}

/// Percent-encoding of everything but unreserved characters and `:` (purl-spec, Character encoding).
fn escape(text: &str) -> String {
    text.bytes()
        .map(|b| match b {
            b'a'..=b'z' | b'A'..=b'Z' | b'0'..=b'9' | b'-' | b'.' | b'_' | b'~' | b':' => (b as char).to_string(),
            other => format!("%{other:02X}"),
        })
        .collect()
}

/// SPDX ids hold letters, digits, `.` and `-` only.
fn id_text(text: &str) -> String {
    text.chars()
        .map(|c| {
            if c.is_ascii_alphanumeric() || c == '.' {
                c.to_string()
            } else if c == '+' {
                "-plus".to_owned()
            } else {
                "-".to_owned()
            }
        })
        .collect()
}

/// `2025-10-09T08:53:20Z`.
fn utc(epoch: i64) -> String {
    let (days, seconds) = (epoch.div_euclid(86_400), epoch.rem_euclid(86_400));
    let Date { year, month, day } = Date::from_days(days);
    format!("{year:04}-{month:02}-{day:02}T{:02}:{:02}:{:02}Z", seconds / 3600, seconds / 60 % 60, seconds % 60)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn component(name: &str) -> Component {
        Component {
            name: name.into(),
            version: "1:2.0+dfsg-1~deb13u1".into(),
            architecture: "arm64".into(),
            source: "src".into(),
            source_version: "2.0".into(),
            maintainer: "A Team <team@example.org>".into(),
            sha256: "00".repeat(32),
            copyright: Some("Format: https://www.debian.org/doc/packaging-manuals/copyright-format/1.0/\n\nFiles: *\nCopyright: x\nLicense: GPL-2+ and Odd\n\nLicense: Odd\n May be odd.\n".into()),
            ..Component::default()
        }
    }

    #[test]
    fn dates_are_civil() {
        assert_eq!(utc(0), "1970-01-01T00:00:00Z");
        assert_eq!(utc(1_760_000_000), "2025-10-09T08:53:20Z");
        assert_eq!(utc(951_782_399), "2000-02-28T23:59:59Z");
        assert_eq!(utc(951_782_400), "2000-02-29T00:00:00Z");
    }

    /// The fields that SPDX 2.3's JSON schema requires, and the patterns it sets.
    #[test]
    fn the_document_has_what_the_schema_requires_and_is_reproducible() {
        let subject = Subject {
            name: "pistack".into(),
            version: "1.4.2".into(),
            tool: "fruitbuild-0.1.0".into(),
            epoch: 1_760_000_000,
            distribution: "debian".into(),
            suite: "trixie".into(),
        };
        let url = "https://example.org/k3s?a=1".to_owned();
        let downloads = [Download { name: "k3s".into(), url, sha256: "11".repeat(32) }];
        let containers = [Container {
            name: "web".into(),
            image: "r.example:5000/team/web:1".into(),
            digest: format!("sha256:{}", "22".repeat(32)),
        }];
        let besides = Besides { downloads: &downloads, wheels: &[], containers: &containers };
        let text = spdx(&subject, &[component("libstdc++6"), component("bash")], &besides);
        assert_eq!(text, spdx(&subject, &[component("bash"), component("libstdc++6")], &besides));
        let document: Value = serde_json::from_str(&text).unwrap();
        for key in ["spdxVersion", "dataLicense", "SPDXID", "name", "documentNamespace", "creationInfo"] {
            assert!(document.get(key).is_some(), "{key}");
        }
        let mut ids = vec!["SPDXRef-DOCUMENT".to_owned()];
        for package in document["packages"].as_array().unwrap() {
            for key in ["SPDXID", "name", "downloadLocation"] {
                assert!(package[key].is_string(), "{key}");
            }
            let id = package["SPDXID"].as_str().unwrap();
            let rest = id.strip_prefix("SPDXRef-").unwrap();
            assert!(rest.chars().all(|c| c.is_ascii_alphanumeric() || ".-".contains(c)), "{id}");
            assert!(!ids.contains(&id.to_owned()), "{id} twice");
            ids.push(id.to_owned());
        }
        for relation in document["relationships"].as_array().unwrap() {
            for key in ["spdxElementId", "relatedSpdxElement"] {
                assert!(ids.iter().any(|id| relation[key] == id.as_str()), "{relation}");
            }
        }
        let purl = document["packages"][3]["externalRefs"][0]["referenceLocator"].as_str().unwrap();
        let sum = "11".repeat(32);
        assert_eq!(
            purl,
            format!("pkg:generic/k3s?checksum=sha256:{sum}&download_url=https:%2F%2Fexample.org%2Fk3s%3Fa%3D1")
        );
        let purl = document["packages"][4]["externalRefs"][0]["referenceLocator"].as_str().unwrap();
        let digest = "22".repeat(32);
        let url = "r.example:5000%2Fteam%2Fweb";
        assert_eq!(purl, format!("pkg:oci/web@sha256:{digest}?repository_url={url}&tag=1"));
        assert_eq!(document["packages"][1]["licenseDeclared"], "GPL-2.0-or-later AND LicenseRef-Odd");
        assert_eq!(document["hasExtractedLicensingInfos"][0]["extractedText"], "May be odd.");
        let purl = document["packages"][1]["externalRefs"][0]["referenceLocator"].as_str().unwrap();
        assert_eq!(purl, "pkg:deb/debian/bash@1:2.0%2Bdfsg-1~deb13u1?arch=arm64&distro=trixie&upstream=src@2.0");
    }
}
