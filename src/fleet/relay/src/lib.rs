//! A fleet's relay.
//!
//! Nodes that cannot reach each other directly send through it what is sealed for each other: it sees who talks to whom, and how
//! much. On the UDP port of the same number it tells everybody the address that they are seen at, without which nobody is found
//! behind a router. Who may use it is asked of [`Members`] at the handshake, and again whenever the fleet has changed.

mod access;
mod certificate;
mod discovery;
mod service;

use std::io;
use std::net::{Ipv4Addr, SocketAddr, TcpListener, UdpSocket};
use std::num::NonZeroU32;
use std::sync::Arc;
use std::time::Duration;

use iroh_relay::KeyCache;
use iroh_relay::server::http_server::{Handlers, RelayService};
use iroh_relay::server::{ClientRateLimit, Metrics};
use tokio::runtime::Runtime;

use access::Access;
pub use access::Members;
pub use certificate::{Certificate, CertificateError};

/// Threads that pass things on: what they do is to copy, and to encrypt.
const THREADS: usize = 4;
/// Keys of members that are kept unpacked.
const KEYS: usize = 4096;
/// How long the end may take.
const END: Duration = Duration::from_secs(2);
/// Ports that are tried if any will do: one of that number has to be free for TCP and for UDP.
const TRIES: usize = 16;

/// How a relay is run.
#[derive(Clone, Copy, Debug)]
pub struct Options {
    /// Address, and number of the TCP and of the UDP port; 0: any.
    pub listen: SocketAddr,
    /// Connections of members at once.
    pub connections: usize,
    /// Bytes that a connection may send in a second; none: as many as there is room for.
    pub rate: Option<NonZeroU32>,
}

/// Why a relay does not start.
#[derive(Debug, thiserror::Error)]
pub enum NotStarted {
    #[error("TCP and UDP port {listen} cannot be opened for the relay: {why}{}", hint(.listen, .why))]
    Bind { listen: SocketAddr, why: io::Error },
    #[error("the relay's certificate cannot be used: {0}")]
    Tls(#[from] rustls::Error),
    #[error("the relay cannot be started: {0}")]
    Io(#[from] io::Error),
}

fn hint(listen: &SocketAddr, why: &io::Error) -> &'static str {
    match why.kind() {
        io::ErrorKind::PermissionDenied if listen.port() < 1024 => {
            "; ports below 1024 need the capability CAP_NET_BIND_SERVICE, which `fruitctl relay install` gives: or name another \
             port with --listen"
        }
        io::ErrorKind::AddrInUse => "; another program has it: name another one with --listen",
        _ => "",
    }
}

/// What a relay has done since it was started.
#[derive(Clone, Copy, Default, PartialEq, Eq, Debug)]
pub struct Counts {
    /// Members that are connected.
    pub members: usize,
    /// Connections that were not let in.
    pub refused: u64,
    pub bytes_in: u64,
    pub bytes_out: u64,
}

/// A running relay. It ends when this is dropped.
pub struct Relay {
    listen: SocketAddr,
    access: Arc<Access>,
    service: RelayService,
    metrics: Arc<Metrics>,
    runtime: Option<Runtime>,
}

impl Relay {
    /// Opens the ports, and begins.
    ///
    /// # Errors
    /// [`NotStarted`].
    pub fn start(options: Options, certificate: &Certificate, members: Box<dyn Members>) -> Result<Relay, NotStarted> {
        let (tcp, udp) = bind(options.listen).map_err(|why| NotStarted::Bind { listen: options.listen, why })?;
        let listen = tcp.local_addr()?;
        tcp.set_nonblocking(true)?;
        udp.set_nonblocking(true)?;
        let threads = std::thread::available_parallelism().map_or(1, usize::from).min(THREADS);
        let mut builder = tokio::runtime::Builder::new_multi_thread();
        let runtime = builder.worker_threads(threads).thread_name("relay").enable_all().build()?;
        let access = Arc::new(Access::new(members, options.connections));
        let metrics = Arc::new(Metrics::default());
        let service = RelayService::new(
            service::handlers(Handlers::default()),
            hyper::HeaderMap::new(),
            options.rate.map(ClientRateLimit::new),
            KeyCache::new(KEYS),
            access.clone(),
            metrics.clone(),
        );
        let tls = Arc::new(certificate.config(&[])?);
        let quic = certificate.config(&[discovery::PROTOCOL])?;
        {
            let _within = runtime.enter();
            runtime.spawn(discovery::answer(discovery::open(quic, udp)?));
            runtime.spawn(service::take(tokio::net::TcpListener::from_std(tcp)?, tls, service.clone()));
        }
        Ok(Relay { listen, access, service, metrics, runtime: Some(runtime) })
    }

    /// Where it listens.
    #[must_use]
    pub fn listen(&self) -> SocketAddr {
        self.listen
    }

    /// The fleet has changed: cuts the connections of those who may not use it any more, and says how many were.
    pub fn review(&self) -> usize {
        let gone = self.access.review();
        gone.iter().filter(|(id, connection)| self.service.clients().disconnect(*id, Some(*connection))).count()
    }

    #[must_use]
    pub fn counts(&self) -> Counts {
        Counts {
            members: self.access.members(),
            refused: self.access.refused(),
            bytes_in: self.metrics.bytes_recv.get(),
            bytes_out: self.metrics.bytes_sent.get(),
        }
    }
}

impl Drop for Relay {
    fn drop(&mut self) {
        if let Some(runtime) = self.runtime.take() {
            let service = self.service.clone();
            // Members are told, so that they turn to another one at once.
            let _ = runtime.block_on(async { tokio::time::timeout(END, service.shutdown()).await });
            runtime.shutdown_timeout(END);
        }
    }
}

/// TCP and UDP port of the same number. A machine without IPv6 is one nevertheless.
fn bind(listen: SocketAddr) -> io::Result<(TcpListener, UdpSocket)> {
    let both = |listen: SocketAddr| -> io::Result<(TcpListener, UdpSocket)> {
        let tcp = TcpListener::bind(listen)?;
        let udp = UdpSocket::bind(SocketAddr::new(listen.ip(), tcp.local_addr()?.port()))?;
        Ok((tcp, udp))
    };
    let mut bound = both(listen);
    for _ in 1..TRIES {
        match &bound {
            Err(why) if listen.port() == 0 && why.kind() == io::ErrorKind::AddrInUse => bound = both(listen),
            Err(_) if listen.ip().is_unspecified() && listen.is_ipv6() => {
                return both(SocketAddr::from((Ipv4Addr::UNSPECIFIED, listen.port()))).or(bound);
            }
            _ => break,
        }
    }
    bound
}
