//! TCP connections. Strangers get a bounded number of them, for seconds: until the handshake has shown who they are.

use std::collections::HashMap;
use std::convert::Infallible;
use std::net::IpAddr;
use std::os::fd::{AsFd, OwnedFd};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use hyper::body::Incoming;
use hyper::server::conn::http1;
use hyper::service::{Service, service_fn};
use hyper::{Method, Request};
use hyper_util::rt::TokioIo;
use iroh_relay::http::RELAY_PROBE_PATH;
use iroh_relay::server::http_server::{BytesBody, Handlers, RelayService, RelayServiceWithNotify};
use iroh_relay::server::streams::MaybeTlsStream;
use rustix::net::{Shutdown, shutdown};
use rustls::ServerConfig;
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::{Notify, Semaphore, oneshot};
use tokio_rustls::TlsAcceptor;

/// Connections of strangers at once, and those of one address among them. Behind one router there may be a fleet.
const STRANGERS: usize = 1024;
const OF_ONE: usize = 128;
/// Time to show who one is.
const HANDSHAKE: Duration = Duration::from_secs(10);
/// Bytes of a request: the longest token is in it.
const REQUEST: usize = 32 << 10;

/// Nodes measure how far away a relay is.
pub fn handlers(mut handlers: Handlers) -> Handlers {
    let empty = || -> BytesBody { Box::new(String::new()) };
    handlers.insert(
        (Method::GET, RELAY_PROBE_PATH),
        Box::new(move |_, response| {
            response.header("Access-Control-Allow-Origin", "*").body(empty()).map_err(Into::into)
        }),
    );
    handlers
}

/// How many strangers come from an address.
#[derive(Clone, Debug, Default)]
struct Origins(Arc<Mutex<HashMap<IpAddr, usize>>>);

/// One of them.
struct Origin {
    origins: Origins,
    from: IpAddr,
}

impl Origins {
    fn enter(&self, from: IpAddr) -> Option<Origin> {
        // Whoever has one address of IPv6 has 2^64 of them.
        let from = match from.to_canonical() {
            IpAddr::V6(ip) => IpAddr::V6((ip.to_bits() >> 64 << 64).into()),
            v4 => v4,
        };
        let mut counts = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        let count = counts.entry(from).or_default();
        (*count < OF_ONE).then(|| {
            *count += 1;
            Origin { origins: self.clone(), from }
        })
    }
}

impl Drop for Origin {
    fn drop(&mut self) {
        let mut counts = self.origins.0.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(count) = counts.get_mut(&self.from) {
            *count -= 1;
            if *count == 0 {
                counts.remove(&self.from);
            }
        }
    }
}

/// Takes connections for as long as the relay runs.
pub async fn take(listener: TcpListener, tls: Arc<ServerConfig>, service: RelayService) {
    let (strangers, origins) = (Arc::new(Semaphore::new(STRANGERS)), Origins::default());
    loop {
        let Ok((stream, from)) = listener.accept().await else {
            // Too many open files, say.
            tokio::time::sleep(Duration::from_millis(100)).await;
            continue;
        };
        let Some((permit, origin)) = strangers.clone().try_acquire_owned().ok().zip(origins.enter(from.ip())) else {
            continue;
        };
        let Ok(plug) = stream.as_fd().try_clone_to_owned() else { continue };
        let (tls, service) = (TlsAcceptor::from(tls.clone()), service.clone());
        tokio::spawn(async move {
            greet(stream, plug, tls, service).await;
            drop((permit, origin));
        });
    }
}

/// Until it is known who this is: then the service has it, or it is closed.
async fn greet(stream: TcpStream, plug: OwnedFd, tls: TlsAcceptor, service: RelayService) {
    let (accepted, ended) = oneshot::channel::<Infallible>();
    let known = async {
        let Ok(stream) = tls.accept(stream).await else { return };
        // It goes with the request, and is dropped when the handshake that follows has ended, one way or the other.
        let accepted = Mutex::new(Some(Arc::new(accepted)));
        let service = RelayServiceWithNotify::new(service, Arc::new(Notify::new()));
        let service = service_fn(move |mut request: Request<Incoming>| {
            if let Some(accepted) = accepted.lock().unwrap_or_else(PoisonError::into_inner).take() {
                request.extensions_mut().insert(accepted);
            }
            let answer = service.call(request);
            async move { answer.await.map_err(std::io::Error::other) }
        });
        let mut http = http1::Builder::new();
        http.keep_alive(false).max_buf_size(REQUEST);
        let stream = TokioIo::new(MaybeTlsStream::Tls(stream));
        // What went wrong is the other one's business.
        let _ = http.serve_connection(stream, service).with_upgrades().await;
        let _ = ended.await;
    };
    if tokio::time::timeout(HANDSHAKE, known).await.is_err() {
        // The handshake goes on in a task of the service's: this ends it.
        let _ = shutdown(&plug, Shutdown::Both);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn one_address_takes_only_its_share_of_the_connections() {
        let origins = Origins::default();
        let from = |text: &str| origins.enter(text.parse().unwrap());
        let held: Vec<Option<Origin>> = (0..OF_ONE).map(|at| from(&format!("2001:db8::{at:x}"))).collect();
        assert!(held.iter().all(Option::is_some));
        assert!(from("2001:db8::ffff").is_none() && from("2001:db8:0:1::").is_some());
        assert!(from("::ffff:192.0.2.1").is_some() && from("192.0.2.1").is_some());
        drop(held);
        assert!(from("2001:db8::ffff").is_some());
        assert!(origins.0.lock().unwrap().is_empty());
    }
}
