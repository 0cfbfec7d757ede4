//! Requests to a proxy that fetches for us. RFC 9112, section 3.2.2: the request line holds the whole address
//! (absolute-form). The HTTP client knows only tunnels, so the line is completed where bytes leave.

use ureq::config::Config;
use ureq::http::Uri;
use ureq::unversioned::resolver::{DefaultResolver, ResolvedSocketAddrs, Resolver};
use ureq::unversioned::transport::{Buffers, ConnectionDetails, Connector, DefaultConnector, NextTimeout, Transport};
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

    fn connect(&self, details: &ConnectionDetails<'_>, chained: Option<()>) -> Result<Option<Forward>, Error> {
        let to_proxy = ConnectionDetails {
            uri: &self.proxy,
            addrs: details.resolver.resolve(&self.proxy, details.config, details.timeout)?,
            config: details.config,
            request_level: details.request_level,
            resolver: details.resolver,
            now: details.now,
            timeout: details.timeout,
            current_time: details.current_time.clone(),
            run_connector: details.run_connector.clone(),
            register_shutdown: details.register_shutdown.clone(),
        };
        let authority = details.uri.authority().map_or("", |authority| authority.as_str());
        // What stands before `@` is for the server, and not part of its address here.
        let host = authority.rsplit_once('@').map_or(authority, |(_, host)| host);
        let origin = format!("http://{host}");
        let connected = self.inner.connect(&to_proxy, chained)?;
        Ok(connected.map(|inner| Forward { inner, origin, at_start: true }))
    }
}

/// A connection to a proxy, on behalf of one server.
#[derive(Debug)]
struct Forward {
    inner: Box<dyn Transport>,
    /// `http://HOST[:PORT]`, what the request line lacks.
    origin: String,
    /// The next bytes begin a request.
    at_start: bool,
}

impl Transport for Forward {
    fn buffers(&mut self) -> &mut dyn Buffers {
        self.inner.buffers()
    }

    fn transmit_output(&mut self, amount: usize, timeout: NextTimeout) -> Result<(), Error> {
        let request = self.inner.buffers().output()[..amount].to_vec();
        let line = if self.at_start { absolute_form(&request, &self.origin) } else { None };
        // Requests have no body: each ends with its head.
        self.at_start = request.ends_with(b"\r\n\r\n");
        let Some(line) = line else { return self.inner.transmit_output(amount, timeout) };
        let mut rest = &line[..];
        while !rest.is_empty() {
            let output = self.inner.buffers().output();
            let part = rest.len().min(output.len());
            output[..part].copy_from_slice(&rest[..part]);
            self.inner.transmit_output(part, timeout)?;
            rest = &rest[part..];
        }
        Ok(())
    }

    fn await_input(&mut self, timeout: NextTimeout) -> Result<bool, Error> {
        self.inner.await_input(timeout)
    }

    fn is_open(&mut self) -> bool {
        self.inner.is_open()
    }

    // Of the connection to the server, which is what the client wants to know.
    fn is_tls(&self) -> bool {
        false
    }
}

/// `GET /path …` with `origin` before the path.
fn absolute_form(request: &[u8], origin: &str) -> Option<Vec<u8>> {
    let path = request.iter().position(|&b| b == b' ')? + 1;
    (request.get(path) == Some(&b'/')).then(|| [&request[..path], origin.as_bytes(), &request[path..]].concat())
}
