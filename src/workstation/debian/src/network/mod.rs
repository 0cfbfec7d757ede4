//! How this machine reaches servers: its proxies, its certificate authorities, and what stands in the way.

mod apt;
mod authorities;
mod forward;
mod portal;
mod proxy;

use std::collections::HashMap;
use std::sync::{Mutex, OnceLock, PoisonError};
use std::time::Duration;

use ureq::http::{HeaderName, Response, Uri, header};
use ureq::tls::TlsConfig;
use ureq::{Agent, Body};

use authorities::Authorities;
use forward::forwarding_agent;
use proxy::{Chosen, Proxies};

pub(crate) use portal::{page_instead_of_file, portal_status};

const CONNECT_TIMEOUT: Duration = Duration::from_secs(20);
/// Without a byte for so long, an attempt has failed.
const STALL_TIMEOUT: Duration = Duration::from_secs(30);
const MAX_REDIRECTS: usize = 10;

/// A request that got no answer.
#[derive(Debug)]
pub(crate) struct Trouble {
    pub(crate) why: String,
    /// Another attempt may succeed.
    pub(crate) passing: bool,
}

/// The network as this machine is set up for it. Settings are read when they are first needed.
#[derive(Debug, Default)]
pub(crate) struct Network {
    proxies: OnceLock<Proxies>,
    authorities: OnceLock<Result<Authorities, String>>,
    agents: Mutex<HashMap<Route, Agent>>,
}

/// How a request travels; connections are kept for each.
#[derive(Clone, PartialEq, Eq, Hash, Debug)]
enum Route {
    Direct {
        tls: bool,
    },
    /// A proxy that fetches `http://` addresses itself: it is asked with the whole address.
    Forward(ureq::Proxy),
    /// A proxy that only passes bytes on: CONNECT, or SOCKS.
    Tunnel {
        proxy: ureq::Proxy,
        tls: bool,
    },
}

impl Network {
    /// GET, following redirects; each hop takes the proxy that its own address asks for. What authorizes counts for the server of
    /// `url` alone: where it redirects to another one, as registries do to object stores, that one does not get it.
    pub(crate) fn get(&self, url: &str, headers: &[(HeaderName, String)]) -> Result<Response<Body>, Trouble> {
        let mut address = parse(url)?;
        let mut headers = headers.to_vec();
        for _ in 0..=MAX_REDIRECTS {
            let response = self.get_once(&address, &headers)?;
            let location = response.headers().get(header::LOCATION).filter(|_| response.status().is_redirection());
            let Some(location) = location else { return Ok(response) };
            let next = follow(&address, location.to_str().unwrap_or_default());
            let next = parse(&next)?;
            // As apt: who asked for TLS gets it.
            if address.scheme_str() == Some("https") && next.scheme_str() != Some("https") {
                return Err(Trouble::lasting(format!("redirects from https to {next}, which is not accepted")));
            }
            if address.authority() != next.authority() || address.scheme() != next.scheme() {
                headers.retain(|(name, _)| *name != header::AUTHORIZATION);
            }
            address = next;
        }
        Err(Trouble::lasting(format!("redirects more than {MAX_REDIRECTS} times")))
    }

    fn get_once(&self, address: &Uri, headers: &[(HeaderName, String)]) -> Result<Response<Body>, Trouble> {
        let chosen = self.proxies.get_or_init(Proxies::of_machine).choose(address).map_err(Trouble::lasting)?;
        let route = route(address, chosen.as_ref());
        let mut request = self.agent(&route)?.get(address);
        for (name, value) in headers {
            request = request.header(name, value);
        }
        if let Route::Forward(proxy) = &route
            && let Some(credentials) = proxy::credentials(proxy)
        {
            request = request.header(header::PROXY_AUTHORIZATION, credentials);
        }
        let through = chosen.as_ref().map(|chosen| format!(" (through the proxy {chosen})")).unwrap_or_default();
        let response = request.call().map_err(|error| {
            let mut trouble = self.explain(&error);
            trouble.why += &through;
            trouble
        })?;
        match (response.status().as_u16(), &chosen) {
            (407, Some(chosen)) => Err(Trouble::lasting(format!(
                "the proxy {chosen} asks for a user and password; give them as http://USER:PASSWORD@HOST:PORT"
            ))),
            (status, Some(_)) if status >= 500 => {
                let why = portal_status(status).unwrap_or_else(|| format!("the answer was {}", response.status()));
                Err(Trouble { why: why + &through, passing: is_passing(status) })
            }
            _ => Ok(response),
        }
    }

    fn agent(&self, route: &Route) -> Result<Agent, Trouble> {
        if let Some(agent) = self.agents.lock().unwrap_or_else(PoisonError::into_inner).get(route) {
            return Ok(agent.clone());
        }
        let mut config = Agent::config_builder()
            .http_status_as_error(false)
            .max_redirects(0)
            .timeout_connect(Some(CONNECT_TIMEOUT))
            .timeout_recv_response(Some(STALL_TIMEOUT))
            .timeout_per_read(Some(STALL_TIMEOUT))
            .user_agent(concat!("fruitbuild/", env!("CARGO_PKG_VERSION")))
            .proxy(match route {
                Route::Tunnel { proxy, .. } => Some(proxy.clone()),
                _ => None,
            });
        if route.needs_tls() {
            let authorities = self.authorities().as_ref().map_err(|why| Trouble::lasting(why.clone()))?;
            config = config.tls_config(TlsConfig::builder().root_certs(authorities.roots.clone()).build());
        }
        let agent = match route {
            Route::Forward(proxy) => forwarding_agent(config.build(), proxy),
            _ => config.build().new_agent(),
        };
        self.agents.lock().unwrap_or_else(PoisonError::into_inner).insert(route.clone(), agent.clone());
        Ok(agent)
    }

    fn authorities(&self) -> &Result<Authorities, String> {
        let read = || Authorities::of_machine(&self.proxies.get_or_init(Proxies::of_machine).apt().authorities());
        self.authorities.get_or_init(read)
    }

    fn explain(&self, error: &ureq::Error) -> Trouble {
        match error {
            ureq::Error::Rustls(tls) => self.explain_tls(tls),
            ureq::Error::Io(io) => match io.get_ref().and_then(|inner| inner.downcast_ref::<rustls::Error>()) {
                Some(tls) => self.explain_tls(tls),
                None => Trouble { why: io.to_string(), passing: true },
            },
            ureq::Error::HostNotFound => Trouble { why: "the host name has no address".to_owned(), passing: true },
            ureq::Error::ConnectProxyFailed(why) => Trouble::lasting(format!("no tunnel: {why}")),
            other => Trouble { why: other.to_string(), passing: true },
        }
    }

    fn explain_tls(&self, error: &rustls::Error) -> Trouble {
        let trusted = self.authorities().as_ref().map(Authorities::to_string).unwrap_or_default();
        Trouble::lasting(authorities::explain(error, &trusted))
    }

    /// A network with given settings.
    #[cfg(test)]
    fn with(proxies: Proxies, authorities: Result<Authorities, String>) -> Network {
        let network = Network::default();
        let _ = (network.proxies.set(proxies), network.authorities.set(authorities));
        network
    }
}

impl Trouble {
    fn lasting(why: impl Into<String>) -> Trouble {
        Trouble { why: why.into(), passing: false }
    }
}

impl Route {
    fn needs_tls(&self) -> bool {
        match self {
            Route::Direct { tls } => *tls,
            Route::Forward(proxy) => proxy.protocol() == ureq::ProxyProtocol::Https,
            Route::Tunnel { proxy, tls } => *tls || proxy.protocol() == ureq::ProxyProtocol::Https,
        }
    }
}

fn route(address: &Uri, chosen: Option<&Chosen>) -> Route {
    let tls = address.scheme_str() == Some("https");
    match chosen.map(|chosen| chosen.proxy.clone()) {
        None => Route::Direct { tls },
        Some(proxy) => match proxy.protocol() {
            // Proxies refuse CONNECT to port 80 as they are shipped, and cannot keep what they do not see.
            ureq::ProxyProtocol::Http | ureq::ProxyProtocol::Https if !tls => Route::Forward(proxy),
            _ => Route::Tunnel { proxy, tls },
        },
    }
}

/// Whether a server may do better when asked again.
pub(crate) fn is_passing(status: u16) -> bool {
    matches!(status, 408 | 425 | 429 | 500..=510 | 512..=599)
}

fn parse(url: &str) -> Result<Uri, Trouble> {
    let bad = |why: String| Trouble::lasting(format!("{url:?} is not an address that can be fetched: {why}"));
    let address: Uri = url.parse().map_err(|error: ureq::http::uri::InvalidUri| bad(error.to_string()))?;
    match address.scheme_str() {
        Some("http" | "https") if address.host().is_some_and(|host| !host.is_empty()) => Ok(address),
        _ => Err(bad("expected http:// or https:// and a host".to_owned())),
    }
}

/// The address that `location` means on a page of `base` (RFC 3986, section 5, for what servers send).
fn follow(base: &Uri, location: &str) -> String {
    let scheme = base.scheme_str().unwrap_or("http");
    let authority = base.authority().map_or("", |authority| authority.as_str());
    let location = location.split('#').next().unwrap_or_default();
    if location.split_once("://").is_some_and(|(scheme, _)| scheme.bytes().all(|b| b.is_ascii_alphanumeric())) {
        location.to_owned()
    } else if let Some(rest) = location.strip_prefix("//") {
        format!("{scheme}://{rest}")
    } else if location.starts_with('/') {
        format!("{scheme}://{authority}{location}")
    } else if location.starts_with('?') {
        format!("{scheme}://{authority}{}{location}", base.path())
    } else {
        let folder = base.path().rsplit_once('/').map_or("", |(folder, _)| folder);
        format!("{scheme}://{authority}{folder}/{location}")
    }
}

#[cfg(test)]
mod tests;
