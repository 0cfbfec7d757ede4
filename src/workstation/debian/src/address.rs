//! The address of a mirror of an archive.

use crate::error::{Error, Result};

/// The archive that a lone address is for.
pub(crate) const MAIN_ARCHIVE: &str = "debian";

/// Base address of an archive (`…/debian`), without slash at the end.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct Mirror(String);

impl Mirror {
    /// # Errors
    /// Anything but an absolute `http`, `https` or `file` address. `origin` says where the value was written.
    pub fn parse(value: &str, origin: &str) -> Result<Mirror> {
        let bad =
            |why: &str| Error::BadMirror { origin: origin.to_owned(), value: value.to_owned(), why: why.to_owned() };
        let local = local_address(value.trim());
        let url = local.as_deref().unwrap_or(value.trim()).trim_end_matches('/');
        let (scheme, rest) = url
            .split_once("://")
            .ok_or_else(|| bad("expected an address such as http://HOST/debian or file:///PATH"))?;
        match scheme {
            "http" | "https" if !rest.starts_with(['/', ':']) && !rest.is_empty() => {}
            "file" if rest.starts_with('/') => {}
            "http" | "https" => return Err(bad("it names no host")),
            "file" => return Err(bad("a file address needs an absolute path: file:///PATH")),
            _ => return Err(bad("only http, https, file and copy are known")),
        }
        if url.bytes().any(|b| b.is_ascii_whitespace() || b.is_ascii_control()) {
            return Err(bad("it has a space or control character in it"));
        }
        Ok(Mirror(url.to_owned()))
    }

    pub fn as_str(&self) -> &str {
        &self.0
    }

    /// Address of `path` below this mirror. On the web `+` is written as `%2B`, since some object stores take it for a blank.
    pub fn join(&self, path: &str) -> String {
        if self.0.starts_with("file:") {
            return format!("{}/{path}", self.0);
        }
        let mut url = format!("{}/", self.0);
        for byte in path.bytes() {
            match byte {
                b'a'..=b'z'
                | b'A'..=b'Z'
                | b'0'..=b'9'
                | b'/'
                | b'.'
                | b'-'
                | b'_'
                | b'~'
                | b':'
                | b'='
                | b'@'
                | b',' => {
                    url.push(char::from(byte));
                }
                _ => url += &format!("%{byte:02X}"),
            }
        }
        url
    }

    /// The address with its last component replaced: `…/debian` → `…/debian-security`.
    pub(crate) fn sister(&self, archive: &str) -> Option<Mirror> {
        let stem = self.0.strip_suffix(MAIN_ARCHIVE)?.strip_suffix('/')?;
        Some(Mirror(format!("{stem}/{archive}")))
    }
}

/// `file:/PATH`, `copy:/PATH` and `file://localhost/PATH` as apt takes them, in the form with an empty host.
fn local_address(value: &str) -> Option<String> {
    let path = value.strip_prefix("file:").or_else(|| value.strip_prefix("copy:"))?;
    let path = path.strip_prefix("//localhost/").map_or(path.to_owned(), |path| format!("/{path}"));
    let path = path.strip_prefix("//").unwrap_or(&path);
    Some(format!("file://{path}"))
}

impl std::fmt::Display for Mirror {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(&self.0)
    }
}
