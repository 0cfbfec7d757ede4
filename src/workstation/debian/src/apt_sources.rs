//! The mirrors that the machine's own apt uses (sources.list(5)): one-line `.list` and deb822 `.sources` files.

use std::collections::BTreeMap;
use std::fs;
use std::path::{Path, PathBuf};

use crate::control::Paragraph;
use crate::mirror::Mirror;

/// Archive name (last component of the address) to the first mirror named for it. Files that cannot be read or do not
/// follow the format are passed over: they are apt's to complain about, not ours.
pub(crate) fn mirrors(etc_apt: &Path) -> BTreeMap<String, Mirror> {
    let mut found = BTreeMap::new();
    for file in source_files(etc_apt) {
        let Ok(text) = fs::read(&file) else { continue };
        let addresses = match file.extension() {
            Some(end) if end == "sources" => deb822_addresses(&text),
            _ => one_line_addresses(&String::from_utf8_lossy(&text)),
        };
        for address in addresses {
            let Ok(mirror) = Mirror::parse(&address, &file.display().to_string()) else { continue };
            if let Some(archive) = archive_name(mirror.as_str()) {
                found.entry(archive).or_insert(mirror);
            }
        }
    }
    found
}

fn source_files(etc_apt: &Path) -> Vec<PathBuf> {
    let parts = fs::read_dir(etc_apt.join("sources.list.d")).into_iter().flatten().filter_map(|e| Some(e.ok()?.path()));
    let mut parts: Vec<PathBuf> =
        parts.filter(|path| path.extension().is_some_and(|end| end == "sources" || end == "list")).collect();
    parts.sort();
    parts.insert(0, etc_apt.join("sources.list"));
    parts
}

/// `deb [options] ADDRESS SUITE COMPONENT…`
fn one_line_addresses(text: &str) -> Vec<String> {
    let mut addresses = Vec::new();
    for line in text.lines() {
        let line = line.split('#').next().unwrap_or_default().trim();
        let Some(rest) = line.strip_prefix("deb").filter(|rest| rest.starts_with([' ', '\t'])) else { continue };
        let rest = rest.trim_start();
        let rest = match rest.strip_prefix('[') {
            Some(options) => options.split_once(']').map_or("", |(_, after)| after),
            None => rest,
        };
        addresses.extend(rest.split_whitespace().next().map(str::to_owned));
    }
    addresses
}

fn deb822_addresses(text: &[u8]) -> Vec<String> {
    let paragraphs = Paragraph::parse_all(text, "").unwrap_or_default();
    let wanted = |p: &&Paragraph| {
        let enabled = !p.get("Enabled").is_some_and(|v| ["no", "false", "0"].contains(&v.to_lowercase().as_str()));
        enabled && p.get("Types").unwrap_or("deb").split_whitespace().any(|t| t == "deb")
    };
    let uris = paragraphs.iter().filter(wanted).filter_map(|p| p.get("URIs"));
    uris.flat_map(str::split_whitespace).map(str::to_owned).collect()
}

/// What an address serves, told by its last component, as every Debian mirror names its folders.
fn archive_name(url: &str) -> Option<String> {
    let (_, path) = url.split_once("://")?;
    let last = path.rsplit_once('/')?.1;
    Some(last.to_owned()).filter(|name| !name.is_empty())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn both_formats_are_read_and_disabled_sources_are_not() {
        let etc = tempfile::tempdir().unwrap();
        let parts = etc.path().join("sources.list.d");
        fs::create_dir(&parts).unwrap();
        fs::write(
            etc.path().join("sources.list"),
            "# deb http://off.test/debian x main\ndeb-src http://s.test/debian x main\ndeb [arch=amd64 signed-by=/k] http://one.test/extra/ x main # note\n",
        )
        .unwrap();
        fs::write(
            parts.join("debian.sources"),
            "Types: deb deb-src\n# comment\nURIs: http://two.test/debian\nSuites: x\nComponents: main\n\nTypes: deb\nURIs: http://two.test/debian-security http://spare.test/debian-security\nSuites: y\n\nEnabled: no\nTypes: deb\nURIs: http://off.test/off\n",
        )
        .unwrap();
        fs::write(parts.join("z.list.save"), "deb http://off.test/saved x main\n").unwrap();
        let found = mirrors(etc.path());
        let found: Vec<(&str, &str)> = found.iter().map(|(a, m)| (a.as_str(), m.as_str())).collect();
        let expected = [
            ("debian", "http://two.test/debian"),
            ("debian-security", "http://two.test/debian-security"),
            ("extra", "http://one.test/extra"),
        ];
        assert_eq!(found, expected);
    }
}
