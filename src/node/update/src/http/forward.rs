//! Which requests a proxy fetches, instead of making a tunnel.

use fruit_http_forward::Forward;
use ureq::Error;
use ureq::unversioned::transport::{ConnectionDetails, Connector, Either, TcpConnector, Transport};

/// Connects requests to `http://` servers to the proxy; all others are left to the next connector.
#[derive(Debug, Default)]
pub struct ForwardConnector(TcpConnector);

impl<In: Transport> Connector<In> for ForwardConnector {
    type Out = Either<In, Forward>;

    fn connect(&self, details: &ConnectionDetails<'_>, chained: Option<In>) -> Result<Option<Self::Out>, Error> {
        if let Some(connection) = chained {
            return Ok(Some(Either::A(connection)));
        }
        let Some(proxy) = details.config.proxy().filter(|_| details.uri.scheme_str() == Some("http")) else {
            return Ok(None);
        };
        // Who wants a password gets it from the client's own tunnel.
        let plain =
            proxy.uri().scheme_str() == Some("http") && proxy.username().is_none() && proxy.password().is_none();
        if !plain || proxy.is_no_proxy(details.uri) {
            return Ok(None);
        }
        Ok(fruit_http_forward::connect(&self.0, proxy.uri(), details)?.map(Either::B))
    }
}
