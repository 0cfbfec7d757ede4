//! Licences from machine-readable copyright files (Debian's copyright format 1.0, DEP 5).

use std::collections::{BTreeMap, BTreeSet};

/// The licences that a package declares.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Licenses {
    /// SPDX licence expression.
    pub expression: String,
    /// `LicenseRef-…` ids used in it, with the licence's text where the file has it.
    pub references: BTreeMap<String, Option<String>>,
}

/// Debian's short names that SPDX knows under another name, or the same.
const KNOWN: &[(&str, &str)] = &[
    ("agpl-3", "AGPL-3.0-only"),
    ("agpl-3+", "AGPL-3.0-or-later"),
    ("apache-2", "Apache-2.0"),
    ("apache-2.0", "Apache-2.0"),
    ("artistic", "Artistic-1.0-Perl"),
    ("artistic-2", "Artistic-2.0"),
    ("artistic-2.0", "Artistic-2.0"),
    ("boost-1.0", "BSL-1.0"),
    ("bsd-2-clause", "BSD-2-Clause"),
    ("bsd-3-clause", "BSD-3-Clause"),
    ("bsd-4-clause", "BSD-4-Clause"),
    ("bsl-1.0", "BSL-1.0"),
    ("bzip2-1.0.6", "bzip2-1.0.6"),
    ("cc0", "CC0-1.0"),
    ("cc0-1.0", "CC0-1.0"),
    ("cc-by-3.0", "CC-BY-3.0"),
    ("cc-by-4.0", "CC-BY-4.0"),
    ("cc-by-sa-3.0", "CC-BY-SA-3.0"),
    ("cc-by-sa-4.0", "CC-BY-SA-4.0"),
    ("curl", "curl"),
    ("expat", "MIT"),
    ("mit", "MIT"),
    ("gfdl-1.3", "GFDL-1.3-only"),
    ("gfdl-1.3+", "GFDL-1.3-or-later"),
    ("gpl-1", "GPL-1.0-only"),
    ("gpl-1+", "GPL-1.0-or-later"),
    ("gpl-2", "GPL-2.0-only"),
    ("gpl-2.0", "GPL-2.0-only"),
    ("gpl-2+", "GPL-2.0-or-later"),
    ("gpl-2.0+", "GPL-2.0-or-later"),
    ("gpl-3", "GPL-3.0-only"),
    ("gpl-3.0", "GPL-3.0-only"),
    ("gpl-3+", "GPL-3.0-or-later"),
    ("gpl-3.0+", "GPL-3.0-or-later"),
    ("isc", "ISC"),
    ("lgpl-2", "LGPL-2.0-only"),
    ("lgpl-2+", "LGPL-2.0-or-later"),
    ("lgpl-2.0+", "LGPL-2.0-or-later"),
    ("lgpl-2.1", "LGPL-2.1-only"),
    ("lgpl-2.1+", "LGPL-2.1-or-later"),
    ("lgpl-3", "LGPL-3.0-only"),
    ("lgpl-3+", "LGPL-3.0-or-later"),
    ("mpl-1.1", "MPL-1.1"),
    ("mpl-2.0", "MPL-2.0"),
    ("openssl", "OpenSSL"),
    ("psf-2", "PSF-2.0"),
    ("python-2.0", "Python-2.0"),
    ("unlicense", "Unlicense"),
    ("zlib", "Zlib"),
    ("0bsd", "0BSD"),
];

/// The licences of a copyright file; `None` when it is not machine-readable or names none.
pub fn licenses(text: &str) -> Option<Licenses> {
    let paragraphs = paragraphs(text);
    let header = paragraphs.first()?;
    if !header
        .get("format")
        .is_some_and(|f| f.contains("copyright-format") || f.contains("dep5") || f.contains("dep-5"))
    {
        return None;
    }
    let texts: BTreeMap<String, String> = paragraphs
        .iter()
        .filter(|p| !p.contains_key("files"))
        .filter_map(|p| {
            let (name, text) = p.get("license")?.split_once('\n')?;
            Some((name.trim().to_lowercase(), text.trim().to_owned()))
        })
        .collect();
    let mut parts = BTreeSet::new();
    let mut references = BTreeMap::new();
    for paragraph in paragraphs.iter().filter(|p| p.contains_key("files")) {
        let Some(license) = paragraph.get("license") else { continue };
        let name = license.lines().next().unwrap_or("").trim();
        if !name.is_empty() {
            parts.insert(expression(name, &texts, &mut references));
        }
    }
    if parts.is_empty() {
        return None;
    }
    let alone = parts.len() == 1;
    let parts: Vec<String> =
        parts.into_iter().map(|p| if !alone && p.contains(" OR ") { format!("({p})") } else { p }).collect();
    Some(Licenses { expression: parts.join(" AND "), references })
}

/// `A or B`, `A and B`, `A, and B`: in DEP 5, `and` binds tighter, and a comma before `or`/`and` loosest.
fn expression(
    name: &str,
    texts: &BTreeMap<String, String>,
    references: &mut BTreeMap<String, Option<String>>,
) -> String {
    for (separator, operator) in [(", and ", " AND "), (", or ", " OR "), (" or ", " OR "), (" and ", " AND ")] {
        let parts: Vec<&str> = name.split(separator).collect();
        if parts.len() > 1 {
            let inner: Vec<String> = parts
                .iter()
                .map(|part| {
                    let part = expression(part.trim(), texts, references);
                    let other = if operator == " AND " { " OR " } else { " AND " };
                    if part.contains(other) { format!("({part})") } else { part }
                })
                .collect();
            return inner.join(operator);
        }
    }
    let lower = name.to_lowercase();
    if let Some((_, id)) = KNOWN.iter().find(|(debian, _)| *debian == lower) {
        return (*id).to_owned();
    }
    let id: String = name.chars().map(|c| if c.is_ascii_alphanumeric() || c == '.' { c } else { '-' }).collect();
    let id = format!("LicenseRef-{}", id.trim_matches('-').replace("--", "-"));
    references.entry(id.clone()).or_insert_with(|| texts.get(&lower).cloned());
    id
}

/// Paragraphs of a deb822 text, keys in lower case, continuation lines joined by line breaks.
fn paragraphs(text: &str) -> Vec<BTreeMap<String, String>> {
    let mut all: Vec<BTreeMap<String, String>> = vec![BTreeMap::new()];
    let mut key = String::new();
    for line in text.lines() {
        if line.trim().is_empty() {
            all.push(BTreeMap::new());
            key.clear();
        } else if line.starts_with([' ', '\t']) {
            if let Some(value) = all.last_mut().and_then(|p| p.get_mut(&key)) {
                let rest = line.trim_start();
                value.push_str(&format!("\n{}", if rest == "." { "" } else { rest }));
            }
        } else if let Some((name, value)) = line.split_once(':') {
            key = name.to_lowercase();
            if let Some(paragraph) = all.last_mut() {
                paragraph.insert(key.clone(), value.trim().to_owned());
            }
        }
    }
    all.retain(|p| !p.is_empty());
    all
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn short_names_become_spdx_expressions() {
        let text = |license: &str| {
            format!(
                "Format: https://www.debian.org/doc/packaging-manuals/copyright-format/1.0/\n\nFiles: *\nLicense: {license}\n"
            )
        };
        let of = |license: &str| licenses(&text(license)).unwrap().expression;
        assert_eq!(of("Expat"), "MIT");
        assert_eq!(of("GPL-2+ or Artistic"), "GPL-2.0-or-later OR Artistic-1.0-Perl");
        assert_eq!(of("GPL-2+ and Expat, or BSD-3-clause"), "(GPL-2.0-or-later AND MIT) OR BSD-3-Clause");
        assert_eq!(of("GPL-2+ with Bison exception"), "LicenseRef-GPL-2-with-Bison-exception");
        assert_eq!(licenses("This package was debianized by …"), None);
    }
}
