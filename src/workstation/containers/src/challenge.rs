//! What a registry asks for before it gives anything: `WWW-Authenticate` (RFC 9110, section 11.6.1) and the token that its
//! "Bearer" means (distribution's token authentication specification).

use serde::Deserialize;

/// What a registry wants to see.
#[derive(Debug, PartialEq, Eq)]
pub(crate) enum Challenge {
    /// User and password.
    Basic,
    /// A token of the server at `realm`.
    Bearer { realm: String, service: Option<String>, scope: Option<String> },
}

impl Challenge {
    /// The first one that is known.
    pub(crate) fn of(all: &[String]) -> Option<Challenge> {
        all.iter().find_map(|text| {
            let (scheme, rest) = text.trim().split_once(' ').unwrap_or((text.trim(), ""));
            if scheme.eq_ignore_ascii_case("basic") {
                return Some(Challenge::Basic);
            }
            if !scheme.eq_ignore_ascii_case("bearer") {
                return None;
            }
            let parameters = parameters(rest);
            let get = |name: &str| parameters.iter().find(|(key, _)| key == name).map(|(_, value)| value.clone());
            Some(Challenge::Bearer { realm: get("realm")?, service: get("service"), scope: get("scope") })
        })
    }
}

/// `name="value", name=value`, with names in lower case.
fn parameters(text: &str) -> Vec<(String, String)> {
    let mut all = Vec::new();
    let mut rest = text;
    while let Some((name, after)) = rest.split_once('=') {
        let name = name.trim_matches([' ', ',']).to_ascii_lowercase();
        let mut value = String::new();
        if let Some(quoted) = after.strip_prefix('"') {
            let mut escaped = false;
            let mut end = quoted.len();
            for (at, c) in quoted.char_indices() {
                match c {
                    _ if escaped => {
                        value.push(c);
                        escaped = false;
                    }
                    '\\' => escaped = true,
                    '"' => {
                        end = at + 1;
                        break;
                    }
                    _ => value.push(c),
                }
            }
            rest = &quoted[end..];
        } else {
            let end = after.find(',').unwrap_or(after.len());
            value.push_str(after[..end].trim());
            rest = &after[end..];
        }
        all.push((name, value));
    }
    all
}

/// The address at which a token is asked for.
pub(crate) fn token_address(realm: &str, service: Option<&str>, scope: &str) -> String {
    let mut address = realm.to_owned();
    let mut add = |name: &str, value: &str| {
        address.push(if address.contains('?') { '&' } else { '?' });
        address.push_str(name);
        address.push('=');
        for byte in value.bytes() {
            match byte {
                b'a'..=b'z' | b'A'..=b'Z' | b'0'..=b'9' | b'-' | b'.' | b'_' | b'~' => address.push(char::from(byte)),
                other => address.push_str(&format!("%{other:02X}")),
            }
        }
    };
    if let Some(service) = service {
        add("service", service);
    }
    add("scope", scope);
    address
}

#[derive(Deserialize)]
struct Token {
    #[serde(default)]
    token: Option<String>,
    #[serde(default)]
    access_token: Option<String>,
    #[serde(default)]
    expires_in: Option<u64>,
}

/// The token in an answer, and for how many seconds it is good.
pub(crate) fn token(bytes: &[u8]) -> Option<(String, u64)> {
    let read: Token = serde_json::from_slice(bytes).ok()?;
    let given = [read.token, read.access_token].into_iter().flatten().find(|token| !token.is_empty())?;
    // It becomes part of a header.
    let plain = given.len() <= 64 << 10 && given.bytes().all(|byte| byte.is_ascii_graphic());
    plain.then_some((given, read.expires_in.unwrap_or(60)))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn challenges_are_read_as_servers_write_them() {
        let of = |text: &str| Challenge::of(&[text.to_owned()]);
        let bearer = |realm: &str, service: Option<&str>, scope: Option<&str>| {
            let owned = |text: Option<&str>| text.map(str::to_owned);
            Some(Challenge::Bearer { realm: realm.to_owned(), service: owned(service), scope: owned(scope) })
        };
        assert_eq!(
            of(r#"Bearer realm="https://a.test/token",service="a, b",scope="repository:x:pull""#),
            bearer("https://a.test/token", Some("a, b"), Some("repository:x:pull"))
        );
        assert_eq!(of("bearer Realm = x"), bearer("x", None, None));
        assert_eq!(of("Bearer service=x"), None);
        assert_eq!(of(r#"bearer realm=https://a.test, service=s"#), bearer("https://a.test", Some("s"), None));
        assert_eq!(of(r#"Bearer realm="a\"b"#), bearer("a\"b", None, None));
        assert_eq!(of("Basic realm=x"), Some(Challenge::Basic));
        assert_eq!(of("Negotiate"), None);
        let both = ["Negotiate".to_owned(), "Basic".to_owned()];
        assert_eq!(Challenge::of(&both), Some(Challenge::Basic));
    }

    #[test]
    fn a_token_is_asked_for_with_what_it_is_for() {
        let address = token_address("https://a.test/token", Some("reg istry"), "repository:a/b:pull");
        assert_eq!(address, "https://a.test/token?service=reg%20istry&scope=repository%3Aa%2Fb%3Apull");
        assert_eq!(token_address("https://a.test/?x=1", None, "s"), "https://a.test/?x=1&scope=s");
        assert_eq!(token(br#"{"token":"","access_token":"abc"}"#), Some(("abc".to_owned(), 60)));
        assert_eq!(token(b"{\"token\":\"a\\r\\nb\"}"), None);
        assert_eq!(token(b"{}"), None);
    }
}
