//! Requests to a proxy that fetches for us. RFC 9112, section 3.2.2: the request line holds the whole address
//! (absolute-form). Proxies as they are shipped make tunnels to ports of TLS only, and the HTTP client knows only tunnels,
//! so the line is completed where bytes leave.

use ureq::Error;
use ureq::http::Uri;
use ureq::unversioned::transport::{Buffers, ConnectionDetails, Connector, NextTimeout, Transport};

/// Connects to `proxy` by `connector`, for requests to the server that `details` name. None: `connector` makes no
/// connections of this kind.
///
/// # Errors
/// The proxy has no address, or cannot be reached in time.
pub fn connect(
    connector: &impl Connector<()>,
    proxy: &Uri,
    details: &ConnectionDetails<'_>,
) -> Result<Option<Forward>, Error> {
    let to_proxy = ConnectionDetails {
        uri: proxy,
        addrs: details.resolver.resolve(proxy, details.config, details.timeout)?,
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
    let connected = connector.connect(&to_proxy, None)?;
    Ok(connected.map(|inner| Forward { inner: inner.boxed(), origin: format!("http://{host}"), at_start: true }))
}

/// A connection to a proxy, on behalf of one server.
#[derive(Debug)]
pub struct Forward {
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
        let request = self.inner.buffers().output().get(..amount).unwrap_or_default().to_vec();
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
