//! Addresses of servers.

use crate::text::shown;

/// Longest address, in bytes.
const MAX_URL: usize = 1024;

/// Whether `url` is the address of something on a web server; else what is wrong with it.
///
/// # Errors
/// In words: another scheme, no server, characters that no address has, a user name or password.
pub fn check_url(url: &str) -> Result<(), String> {
    let rest = url.strip_prefix("https://").or_else(|| url.strip_prefix("http://"));
    let rest = rest.ok_or_else(|| format!("`{}` does not begin with https:// or http://", shown(url)))?;
    let host = rest.split(['/', '?', '#']).next().unwrap_or_default();
    if host.contains('@') {
        // Not shown: it may hold a password.
        return Err(
            "a user name or password in an address would be shown in logs and kept in images; leave it out".into()
        );
    }
    check_characters(url)?;
    if host.is_empty() || host.starts_with(':') {
        return Err(format!("`{}` names no server", shown(url)));
    }
    Ok(())
}

/// As [`check_url`], or the address of a folder of this machine, `file:///…`.
///
/// # Errors
/// As [`check_url`], for the folder as well.
pub fn check_url_or_folder(url: &str) -> Result<(), String> {
    let Some(path) = url.strip_prefix("file://") else { return check_url(url) };
    check_characters(url)?;
    match path.strip_prefix('/') {
        Some("") | None => {
            Err(format!("`{}` names no folder of this machine; with its path it is file:///PATH", shown(url)))
        }
        Some(_) => Ok(()),
    }
}

fn check_characters(url: &str) -> Result<(), String> {
    // RFC 3986: these are in no address.
    let strange = |c: char| !c.is_ascii_graphic() || "\"<>`\\{}^|".contains(c);
    if url.len() > MAX_URL || url.contains(strange) {
        let why = "spaces and other marks must be written as %20 and the like";
        return Err(format!("`{}` is not an address: {why}", shown(url)));
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn folders_are_addresses_on_the_workstation_only() {
        assert!(check_url("file:///srv/debian").is_err());
        assert!(check_url_or_folder("file:///srv/debian").is_ok());
        assert!(check_url_or_folder("https://example.org/debian").is_ok());
        for bad in ["file://", "file:///", "file://host/x", "file:///a b", "/srv/debian", "https://"] {
            assert!(check_url_or_folder(bad).is_err(), "{bad}");
        }
    }

    #[test]
    fn a_password_in_an_address_is_not_repeated() {
        let error = check_url("https://me:secret@example.org/ x").unwrap_err();
        assert!(!error.contains("secret"), "{error}");
    }
}
