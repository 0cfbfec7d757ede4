//! Which proxy a request goes through: apt's settings, then the environment; `no_proxy` takes hosts out.

use std::collections::HashMap;
use std::fmt;
use std::net::IpAddr;
use std::sync::{Mutex, PoisonError};

use base64::Engine;
use ureq::http::Uri;

use super::apt::{AptProxy, AptSettings};

/// A proxy, and where it was named.
#[derive(Clone, Debug)]
pub(super) struct Chosen {
    pub(super) proxy: ureq::Proxy,
    origin: String,
}

#[derive(Debug, Default)]
pub(super) struct Proxies {
    apt: AptSettings,
    environment: Environment,
    /// What was decided for a scheme and host: apt's command is asked once for each.
    decided: Mutex<HashMap<(String, String), Decision>>,
}

/// A proxy, none for a direct connection, or what is wrong with the settings.
type Decision = Result<Option<Chosen>, String>;

/// Variable and value of each kind.
#[derive(Debug, Default)]
struct Environment {
    http: Option<(String, String)>,
    https: Option<(String, String)>,
    all: Option<(String, String)>,
    none: String,
}

impl Environment {
    /// Names in lower case count first. `HTTP_PROXY` does not where a web server runs the program: there it is a header
    /// of the request (CVE-2016-5385).
    fn of(variable: &dyn Fn(&str) -> Option<String>) -> Environment {
        let named = |names: &[&str]| {
            let set = |name: &&str| Some(((*name).to_owned(), variable(name)?));
            names.iter().filter_map(set).find(|(_, value)| !value.trim().is_empty())
        };
        let http: &[&str] =
            if variable("REQUEST_METHOD").is_some() { &["http_proxy"] } else { &["http_proxy", "HTTP_PROXY"] };
        Environment {
            http: named(http),
            https: named(&["https_proxy", "HTTPS_PROXY"]),
            all: named(&["all_proxy", "ALL_PROXY"]),
            none: named(&["no_proxy", "NO_PROXY"]).map(|(_, value)| value).unwrap_or_default(),
        }
    }

    fn of_scheme(&self, scheme: &str) -> Option<&(String, String)> {
        let own = if scheme == "https" { &self.https } else { &self.http };
        own.as_ref().or(self.all.as_ref())
    }
}

impl Proxies {
    pub(super) fn of_machine() -> Proxies {
        let variable = |name: &str| std::env::var_os(name).map(|value| value.to_string_lossy().into_owned());
        Proxies { apt: AptSettings::of_machine(), environment: Environment::of(&variable), ..Proxies::default() }
    }

    /// With the lines of `apt-config dump` and environment variables.
    #[cfg(test)]
    pub(super) fn of(apt: &str, variables: &[(&str, &str)]) -> Proxies {
        let variable = |name: &str| variables.iter().find(|(n, _)| *n == name).map(|(_, value)| (*value).to_owned());
        Proxies { apt: AptSettings::parse(apt), environment: Environment::of(&variable), ..Proxies::default() }
    }

    pub(super) fn apt(&self) -> &AptSettings {
        &self.apt
    }

    /// The proxy for an address, `None` for a direct connection.
    ///
    /// # Errors
    /// A setting that names no proxy.
    pub(super) fn choose(&self, address: &Uri) -> Decision {
        let scheme = address.scheme_str().unwrap_or("http").to_owned();
        let host = bare(address.host().unwrap_or_default()).to_ascii_lowercase();
        let port = address.port_u16().unwrap_or(if scheme == "https" { 443 } else { 80 });
        if is_excepted(&self.environment.none, &host, port) {
            return Ok(None);
        }
        let mut decided = self.decided.lock().unwrap_or_else(PoisonError::into_inner);
        decided.entry((scheme.clone(), host.clone())).or_insert_with(|| self.decide(&scheme, &host)).clone()
    }

    fn decide(&self, scheme: &str, host: &str) -> Decision {
        let (origin, address) = match self.apt.proxy(scheme, host)? {
            AptProxy::Direct => return Ok(None),
            AptProxy::Proxy { address, origin } => (origin, address),
            AptProxy::Unset => match self.environment.of_scheme(scheme) {
                Some((variable, value)) => (variable.clone(), value.trim().to_owned()),
                None => return Ok(None),
            },
        };
        let proxy = ureq::Proxy::new(&address).map_err(|_| {
            format!("{origin} names the proxy {address:?}, which is no address; expected http://HOST:PORT or socks5h://HOST:PORT")
        })?;
        Ok(Some(Chosen { proxy, origin }))
    }
}

impl fmt::Display for Chosen {
    /// Without user and password.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let scheme = self.proxy.uri().scheme_str().unwrap_or("http");
        write!(f, "{scheme}://{}:{}, from {}", self.proxy.host(), self.proxy.port(), self.origin)
    }
}

/// Value of `Proxy-Authorization`, if the proxy's address has a user.
pub(super) fn credentials(proxy: &ureq::Proxy) -> Option<String> {
    let user = proxy.username()?;
    let pair = format!("{user}:{}", proxy.password().unwrap_or_default());
    Some(format!("Basic {}", base64::engine::general_purpose::STANDARD.encode(pair)))
}

/// A literal IPv6 address without its brackets.
fn bare(host: &str) -> &str {
    host.strip_prefix('[').and_then(|host| host.strip_suffix(']')).unwrap_or(host)
}

/// Whether `no_proxy` has the host: `*`, names with all that ends in them, addresses, networks (`10.0.0.0/8`), each with
/// a port or without; between commas or spaces.
fn is_excepted(list: &str, host: &str, port: u16) -> bool {
    list.split([',', ' ', '\t']).filter(|entry| !entry.is_empty()).any(|entry| matches(entry, host, port))
}

fn matches(entry: &str, host: &str, port: u16) -> bool {
    if entry == "*" {
        return true;
    }
    if let Some((network, bits)) = entry.split_once('/') {
        return bits.parse().is_ok_and(|bits| is_in_network(network, bits, host));
    }
    let (name, own_port) = match entry.rsplit_once(':') {
        Some((name, digits)) if name.ends_with(']') || !name.contains(':') => (name, digits.parse::<u16>().ok()),
        _ => (entry, None),
    };
    if own_port.is_some_and(|own| own != port) {
        return false;
    }
    let name = bare(name).to_ascii_lowercase();
    if let (Ok(one), Ok(other)) = (name.parse::<IpAddr>(), host.parse::<IpAddr>()) {
        return one == other;
    }
    let name = name.strip_prefix('*').unwrap_or(&name).trim_matches('.');
    let host = host.trim_end_matches('.');
    !name.is_empty() && host.strip_suffix(name).is_some_and(|rest| rest.is_empty() || rest.ends_with('.'))
}

fn is_in_network(network: &str, bits: u32, host: &str) -> bool {
    match (bare(network).parse(), host.parse()) {
        (Ok(IpAddr::V4(network)), Ok(IpAddr::V4(host))) => {
            bits <= 32 && (network.to_bits() ^ host.to_bits()).checked_shr(32 - bits).unwrap_or(0) == 0
        }
        (Ok(IpAddr::V6(network)), Ok(IpAddr::V6(host))) => {
            bits <= 128 && (network.to_bits() ^ host.to_bits()).checked_shr(128 - bits).unwrap_or(0) == 0
        }
        _ => false,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn chosen(proxies: &Proxies, url: &str) -> String {
        match proxies.choose(&url.parse().unwrap()) {
            Ok(Some(chosen)) => chosen.to_string(),
            Ok(None) => "direct".to_owned(),
            Err(why) => why,
        }
    }

    #[test]
    fn the_environment_counts_where_apt_says_nothing() {
        let variables =
            [("http_proxy", "http://user:pass@web:3128/"), ("ALL_PROXY", "socks5h://any:1080"), ("HTTP_PROXY", "no")];
        let proxies = Proxies::of("Acquire::http::Proxy::apt.test \"http://cacher:3142\";", &variables);
        assert_eq!(chosen(&proxies, "http://deb.test/debian"), "http://web:3128, from http_proxy");
        assert_eq!(chosen(&proxies, "https://deb.test/debian"), "socks5h://any:1080, from ALL_PROXY");
        assert_eq!(
            chosen(&proxies, "http://apt.test/"),
            "http://cacher:3142, from apt's Acquire::http::Proxy::apt.test"
        );
        let credentials = credentials(&proxies.choose(&"http://deb.test/".parse().unwrap()).unwrap().unwrap().proxy);
        assert_eq!(credentials.unwrap(), "Basic dXNlcjpwYXNz");
        let v6 = Proxies::of("", &[("https_proxy", "[::1]:3128"), ("http_proxy", " ")]);
        assert_eq!(chosen(&v6, "https://[2001:db8::1]/debian"), "http://[::1]:3128, from https_proxy");
        assert_eq!(chosen(&v6, "http://deb.test/"), "direct");
        let wrong = Proxies::of("", &[("http_proxy", "ftp://x")]);
        assert!(chosen(&wrong, "http://deb.test/").contains("http_proxy names the proxy \"ftp://x\""));
        let cgi = Proxies::of("", &[("HTTP_PROXY", "http://evil:1"), ("REQUEST_METHOD", "GET")]);
        assert_eq!(chosen(&cgi, "http://deb.test/"), "direct");
    }

    #[test]
    fn no_proxy_takes_hosts_out() {
        let list = "localhost, .corp.test *.lab.test plain.test,10.0.0.0/8,[fd00::]/8,192.0.2.7,[::1]:8080,odd.test:81";
        for (host, port, excepted) in [
            ("localhost", 80, true),
            ("a.corp.test", 80, true),
            ("corp.test", 80, true),
            ("notcorp.test", 80, false),
            ("deb.lab.test", 443, true),
            ("sub.plain.test", 80, true),
            ("10.200.3.4", 80, true),
            ("11.0.0.1", 80, false),
            ("fd12::5", 80, true),
            ("fe80::5", 80, false),
            ("192.0.2.7", 80, true),
            ("::1", 8080, true),
            ("::1", 80, false),
            ("odd.test", 81, true),
            ("odd.test", 80, false),
        ] {
            assert_eq!(is_excepted(list, host, port), excepted, "{host}:{port}");
        }
        assert!(is_excepted("*", "any.test", 80) && is_excepted("0.0.0.0/0", "1.2.3.4", 80));
        assert!(!is_excepted("", "any.test", 80) && !is_excepted(" , ./ /8 :80 ", "any.test", 80));
        let proxies = Proxies::of("Acquire::http::Proxy \"http://cacher:3142\";", &[("no_proxy", "own.test")]);
        assert_eq!(chosen(&proxies, "http://own.test/debian"), "direct");
    }
}
