//! What the files of an image say: index, manifest and configuration (OCI image specification 1.1, and Docker's forms of the
//! same, "Image Manifest V 2, Schema 2").

use fruit_base::Sha256;
use fruit_debian::LockedBlob;
use oci_spec::image::{Descriptor, ImageConfiguration, ImageIndex, ImageManifest};
use serde_json::Value;

use crate::error::{Error, Result};

/// Most bytes of an index, a manifest or a configuration; registries have a limit of 4 MiB for the first two.
pub(crate) const MAX_TEXT: u64 = 8 << 20;

/// Layers that Podman's overlay driver can lay over each other are 128 at most, and the container's own is one of them.
const MAX_LAYERS: usize = 127;

/// Largest layer as it is fetched, in bytes.
const MAX_LAYER: u64 = 16 << 30;

/// Images that an error shows.
const SHOWN: usize = 12;

/// What an image must be made for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Platform {
    /// As Go and with it image indices call it.
    pub architecture: &'static str,
    /// The best one first; an image that names none fits.
    pub variants: &'static [&'static str],
}

impl Platform {
    /// The platform of a Debian architecture.
    pub fn of_debian(architecture: &str) -> Option<Platform> {
        let (architecture, variants): (_, &'static [&'static str]) = match architecture {
            "amd64" => ("amd64", &["v1"]),
            "arm64" => ("arm64", &["v8"]),
            "armhf" => ("arm", &["v7", "v6", "v5"]),
            "armel" => ("arm", &["v5"]),
            "i386" => ("386", &[]),
            "riscv64" => ("riscv64", &[]),
            "ppc64el" => ("ppc64le", &[]),
            "s390x" => ("s390x", &[]),
            _ => return None,
        };
        Some(Platform { architecture, variants })
    }

    /// How well an image fits, 0 best; nothing if it does not.
    fn rank(self, os: &str, architecture: &str, variant: Option<&str>) -> Option<usize> {
        if os != "linux" || architecture != self.architecture {
            return None;
        }
        match variant.filter(|variant| !variant.is_empty()) {
            None => Some(self.variants.len()),
            Some(variant) => self.variants.iter().position(|one| *one == variant),
        }
    }
}

impl std::fmt::Display for Platform {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "linux/{}", self.architecture)
    }
}

/// What a file says that is either an index or a manifest.
pub(crate) enum Document {
    Index(Vec<Entry>),
    Manifest(Parts),
}

/// An image of an index.
#[derive(Clone, Debug)]
pub(crate) struct Entry {
    pub(crate) blob: LockedBlob,
    /// Operating system, architecture and variant.
    pub(crate) platform: Option<(String, String, Option<String>)>,
    /// Names that archives give it.
    pub(crate) names: Vec<String>,
}

/// The files that an image is made of besides its manifest.
pub(crate) struct Parts {
    pub(crate) config: LockedBlob,
    pub(crate) layers: Vec<LockedBlob>,
}

/// # Errors
/// What is neither an index nor a manifest of an image.
pub(crate) fn read(bytes: &[u8], image: &str) -> Result<Document> {
    let wrong = |why: String| Error::image(image, why);
    let value: Value =
        serde_json::from_slice(bytes).map_err(|why| wrong(format!("its manifest is not JSON: {why}")))?;
    let has = |key: &str| value.get(key).is_some_and(Value::is_array);
    if has("manifests") {
        let index =
            ImageIndex::from_reader(bytes).map_err(|why| wrong(format!("its index is not understood: {why}")))?;
        return index.manifests().iter().map(|one| entry(one, image)).collect::<Result<_>>().map(Document::Index);
    }
    if has("fsLayers") {
        return Err(wrong(
            "its manifest is of Docker's form of 2013, which does not name its files by their hashes; push it anew"
                .to_owned(),
        ));
    }
    let manifest =
        ImageManifest::from_reader(bytes).map_err(|why| wrong(format!("its manifest is not understood: {why}")))?;
    let config_type = manifest.config().media_type().to_string();
    if !matches!(
        config_type.as_str(),
        "application/vnd.oci.image.config.v1+json" | "application/vnd.docker.container.image.v1+json"
    ) {
        return Err(wrong(format!("is no container image: its configuration is of the type {config_type}")));
    }
    if manifest.layers().len() > MAX_LAYERS {
        return Err(wrong(format!(
            "has {} layers, more than the {MAX_LAYERS} that Podman takes",
            manifest.layers().len()
        )));
    }
    let layer = |layer: &Descriptor| {
        let media_type = layer.media_type().to_string();
        if media_type.contains("foreign") || media_type.contains("nondistributable") || media_type.contains("encrypted")
        {
            return Err(wrong(format!("has a layer of the type {media_type}, which is not supported")));
        }
        blob(layer, MAX_LAYER, image)
    };
    let layers = manifest.layers().iter().map(layer).collect::<Result<_>>()?;
    Ok(Document::Manifest(Parts { config: blob(manifest.config(), MAX_TEXT, image)?, layers }))
}

fn entry(one: &Descriptor, image: &str) -> Result<Entry> {
    let platform = one.platform().as_ref();
    let platform = platform.map(|one| (one.os().to_string(), one.architecture().to_string(), one.variant().clone()));
    let notes = one.annotations().as_ref();
    let note = |key: &str| notes.and_then(|notes| notes.get(key)).cloned();
    let names = ["io.containerd.image.name", "org.opencontainers.image.ref.name"].into_iter().filter_map(note);
    Ok(Entry { blob: blob(one, MAX_TEXT, image)?, platform, names: names.collect() })
}

fn blob(one: &Descriptor, limit: u64, image: &str) -> Result<LockedBlob> {
    let sha256 = one.as_digest_sha256().and_then(|hex| hex.parse::<Sha256>().ok());
    let sha256 =
        sha256.ok_or_else(|| Error::image(image, format!("names a file by {}, expected a SHA-256", one.digest())))?;
    if one.size() > limit {
        return Err(Error::image(image, format!("{} has {} bytes, more than {limit}", one.digest(), one.size())));
    }
    Ok(LockedBlob { size: one.size(), sha256 })
}

/// The image of an index for a platform.
///
/// # Errors
/// There is none; with those that there are.
pub(crate) fn choose(index: &[Entry], platform: Platform, image: &str) -> Result<LockedBlob> {
    let rank = |entry: &Entry| {
        let (os, architecture, variant) = entry.platform.as_ref()?;
        platform.rank(os, architecture, variant.as_deref()).map(|rank| (rank, entry.blob))
    };
    if let Some((_, blob)) = index.iter().filter_map(rank).min_by_key(|(rank, _)| *rank) {
        return Ok(blob);
    }
    // An archive of one image need not say what it is for; its configuration does.
    if let [Entry { blob, platform: None, .. }] = index {
        return Ok(*blob);
    }
    let shown = index.iter().filter_map(|entry| entry.platform.as_ref()).filter(|(os, ..)| os != "unknown");
    let shown: Vec<String> = shown
        .take(SHOWN)
        .map(|(os, architecture, variant)| {
            let variant = variant.as_ref().map(|variant| format!("/{variant}")).unwrap_or_default();
            format!("{os}/{architecture}{variant}")
        })
        .collect();
    Err(Error::image(image, format!("there is no image for {platform}; there is {}", shown.join(", "))))
}

/// What the configuration of an image says of its layers.
#[derive(Clone, Debug)]
pub(crate) struct Configuration {
    /// SHA-256 of each layer when it is not compressed, from the lowest one up.
    pub(crate) diff_ids: Vec<Sha256>,
    /// As RFC 3339.
    pub(crate) created: Option<String>,
}

/// # Errors
/// A configuration that is not one of an image for `platform` with so many layers.
pub(crate) fn configuration(bytes: &[u8], platform: Platform, layers: usize, image: &str) -> Result<Configuration> {
    let wrong = |why: String| Error::image(image, why);
    let config = ImageConfiguration::from_reader(bytes)
        .map_err(|why| wrong(format!("its configuration is not understood: {why}")))?;
    let (os, architecture) = (config.os().to_string(), config.architecture().to_string());
    if platform.rank(&os, &architecture, config.variant().as_deref()).is_none() {
        let variant = config.variant().as_ref().map(|variant| format!("/{variant}")).unwrap_or_default();
        return Err(wrong(format!("is for {os}/{architecture}{variant}, and the board needs {platform}")));
    }
    let digests = config.rootfs().diff_ids().iter();
    let diff_ids: Option<Vec<Sha256>> = digests.map(|id| id.strip_prefix("sha256:")?.parse().ok()).collect();
    let diff_ids = diff_ids.ok_or_else(|| wrong("its configuration names a layer by no SHA-256".to_owned()))?;
    if diff_ids.len() != layers {
        return Err(wrong(format!("has {layers} layers, and its configuration names {}", diff_ids.len())));
    }
    let created =
        config.created().clone().filter(|text| text.len() <= 40 && text.bytes().all(|b| b.is_ascii_graphic()));
    Ok(Configuration { diff_ids, created })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn entry(architecture: &str, variant: Option<&str>, byte: u8) -> Entry {
        Entry {
            blob: LockedBlob { size: 1, sha256: Sha256([byte; 32]) },
            platform: Some(("linux".into(), architecture.into(), variant.map(str::to_owned))),
            names: Vec::new(),
        }
    }

    #[test]
    fn the_best_variant_that_runs_on_the_board_is_chosen() {
        let index = [
            entry("amd64", None, 1),
            entry("arm", Some("v5"), 2),
            entry("arm", Some("v7"), 3),
            entry("arm64", Some("v8"), 4),
        ];
        let chosen = |debian: &str| choose(&index, Platform::of_debian(debian).unwrap(), "x").map(|b| b.sha256.0[0]);
        assert_eq!(chosen("armhf").unwrap(), 3);
        assert_eq!(chosen("armel").unwrap(), 2);
        assert_eq!(chosen("arm64").unwrap(), 4);
        assert_eq!(chosen("amd64").unwrap(), 1);
        let none = chosen("riscv64").unwrap_err().to_string();
        assert_eq!(
            none,
            "x: there is no image for linux/riscv64; there is linux/amd64, linux/arm/v5, linux/arm/v7, linux/arm64/v8"
        );
        assert_eq!(Platform::of_debian("hurd-i386"), None);
    }

    #[test]
    fn what_is_no_image_is_refused_with_what_it_is() {
        let said = |text: &str| read(text.as_bytes(), "x").err().unwrap().to_string();
        assert!(said("<html>").contains("is not JSON"));
        assert!(said(r#"{"schemaVersion":1,"fsLayers":[]}"#).contains("2013"));
        let zero = "0".repeat(64);
        let chart = format!(
            r#"{{"schemaVersion":2,"config":{{"mediaType":"application/vnd.cncf.helm.config.v1+json","digest":"sha256:{zero}","size":2}},"layers":[]}}"#
        );
        assert!(said(&chart).contains("helm"), "{}", said(&chart));
        let large = chart.replace("cncf.helm.config", "oci.image.config").replace("\"size\":2", "\"size\":99999999999");
        assert!(said(&large).contains("more than"), "{}", said(&large));
        let weak = large.replace("99999999999", "2").replace(&format!("sha256:{zero}"), "md5:00");
        read(weak.as_bytes(), "x").err().unwrap();
    }
}
