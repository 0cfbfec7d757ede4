//! Where releases come from.

use std::path::{Path, PathBuf};

use serde::{Deserialize, Serialize};

use crate::url::check_url;

/// One source. All URLs of a configuration are mirrors of one repository.
#[derive(Clone, PartialEq, Eq, Debug, Serialize, Deserialize)]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema))]
#[serde(try_from = "String", into = "String")]
#[cfg_attr(feature = "schema", schemars(extend("pattern" = r"^(usb|peers|/.*|https?://.+)$")))]
pub enum SourceAddress {
    /// A repository on an HTTP or HTTPS server; ends in `/`.
    Url(String),
    /// A repository, or bundles, in a folder: where a stick or a share is mounted.
    Folder(PathBuf),
    /// Whatever USB storage is plugged in, mounted for as long as it is read.
    Usb,
    /// The fleet's other nodes, which `fruit-peer` asks.
    Peers,
}

impl TryFrom<String> for SourceAddress {
    type Error = String;

    fn try_from(text: String) -> Result<SourceAddress, String> {
        if text == "usb" {
            return Ok(SourceAddress::Usb);
        }
        if text == "peers" {
            return Ok(SourceAddress::Peers);
        }
        if text.starts_with('/') {
            let path = Path::new(&text);
            if text.contains('\0') || path.components().any(|part| part == std::path::Component::ParentDir) {
                return Err(format!("`{text}` must not contain `..`"));
            }
            return Ok(SourceAddress::Folder(path.to_owned()));
        }
        if !text.contains("://") {
            return Err(format!("`{text}` is no source; write a URL (https://…), a folder (/…), usb, or peers"));
        }
        check_url(&text)?;
        if text.contains(['?', '#']) {
            return Err(format!("`{text}` is the address of one page; a repository's is that of a folder"));
        }
        Ok(SourceAddress::Url(if text.ends_with('/') { text } else { text + "/" }))
    }
}

impl From<SourceAddress> for String {
    fn from(source: SourceAddress) -> String {
        match source {
            SourceAddress::Url(url) => url,
            SourceAddress::Folder(path) => path.display().to_string(),
            SourceAddress::Usb => "usb".to_owned(),
            SourceAddress::Peers => "peers".to_owned(),
        }
    }
}

/// `http://HOST:PORT` of a proxy that downloads go through. It fetches from `http://` servers (GET), and makes
/// tunnels to those of `https://` (CONNECT).
#[derive(Clone, PartialEq, Eq, Debug, Serialize, Deserialize)]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema))]
#[serde(try_from = "String", into = "String")]
#[cfg_attr(feature = "schema", schemars(extend("pattern" = r"^http://[^@/]+/?$")))]
pub struct ProxyUrl(String);

impl ProxyUrl {
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

impl std::fmt::Display for ProxyUrl {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(&self.0)
    }
}

impl TryFrom<String> for ProxyUrl {
    type Error = String;

    fn try_from(text: String) -> Result<ProxyUrl, String> {
        if text.contains('@') {
            return Err("a proxy's password would stand in the image, for everyone who has one to read".into());
        }
        let rest = text.strip_prefix("http://").map(|rest| rest.trim_end_matches('/'));
        if rest.is_none_or(|rest| rest.contains(['/', '?', '#'])) {
            return Err(format!("`{text}` is no proxy; write http://HOST:PORT"));
        }
        check_url(&text)?;
        Ok(ProxyUrl(text))
    }
}

impl From<ProxyUrl> for String {
    fn from(proxy: ProxyUrl) -> String {
        proxy.0
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn proxies_are_servers_without_a_password() {
        let read = |text: &str| ProxyUrl::try_from(text.to_owned());
        for good in ["http://proxy:3128", "http://10.0.0.1:8080/", "http://[::1]:3128"] {
            assert_eq!(read(good).map(String::from), Ok(good.to_owned()));
        }
        for bad in ["", "proxy:3128", "https://proxy", "http://", "http://a/b", "http://u:p@a", "http://a b"] {
            assert!(read(bad).is_err(), "{bad}");
        }
    }

    #[test]
    fn sources_are_servers_folders_sticks_or_peers() {
        let read = |text: &str| SourceAddress::try_from(text.to_owned());
        assert_eq!(read("https://a.example/x"), Ok(SourceAddress::Url("https://a.example/x/".into())));
        assert_eq!(read("http://[::1]:80/"), Ok(SourceAddress::Url("http://[::1]:80/".into())));
        assert_eq!(read("/media/usb"), Ok(SourceAddress::Folder("/media/usb".into())));
        assert_eq!(read("usb"), Ok(SourceAddress::Usb));
        assert_eq!(read("peers"), Ok(SourceAddress::Peers));
        for bad in [
            "",
            "media/usb",
            "a.example",
            "ftp://a/",
            "file:///x",
            "https://",
            "https:///x",
            "https://:80/",
            "https://u:p@a/",
            "https://a/?q",
            "https://a/ b",
            "https://a/\n",
            "/a/../b",
        ] {
            assert!(read(bad).is_err(), "{bad}");
        }
    }
}
