//! An agent for a proxy that fetches for us.

use fruit_http_forward::Forward;
use ureq::config::Config;
use ureq::http::Uri;
use ureq::unversioned::resolver::{DefaultResolver, ResolvedSocketAddrs, Resolver};
use ureq::unversioned::transport::{ConnectionDetails, Connector, DefaultConnector, NextTimeout};
use ureq::{Agent, Error, Proxy};

/// An agent that connects to `proxy` whatever it is asked for. `config` names no proxy.
pub(super) fn forwarding_agent(config: Config, proxy: &Proxy) -> Agent {
    let uri = proxy.uri().clone();
    let connector = ForwardConnector { proxy: uri.clone(), inner: DefaultConnector::new() };
    Agent::with_parts(config, connector, ProxyResolver { proxy: uri, inner: DefaultResolver::default() })
}

/// Looks up the proxy: the servers behind it may have no address here.
#[derive(Debug)]
struct ProxyResolver {
    proxy: Uri,
    inner: DefaultResolver,
}

impl Resolver for ProxyResolver {
    fn resolve(&self, _: &Uri, config: &Config, timeout: NextTimeout) -> Result<ResolvedSocketAddrs, Error> {
        self.inner.resolve(&self.proxy, config, timeout)
    }
}

#[derive(Debug)]
struct ForwardConnector {
    proxy: Uri,
    inner: DefaultConnector,
}

impl Connector<()> for ForwardConnector {
    type Out = Forward;

    fn connect(&self, details: &ConnectionDetails<'_>, _: Option<()>) -> Result<Option<Forward>, Error> {
        fruit_http_forward::connect(&self.inner, &self.proxy, details)
    }
}
