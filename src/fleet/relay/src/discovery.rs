//! Tells whoever asks the address that it is seen at, over QUIC. Anybody may ask: there is nothing to be had from it, and a
//! connection without streams costs next to nothing.

use std::io;
use std::net::UdpSocket;
use std::sync::Arc;
use std::time::Duration;

use iroh_relay::quic::ALPN_QUIC_ADDR_DISC;
use noq::crypto::rustls::QuicServerConfig;
use noq::{Endpoint, EndpointConfig, IdleTimeout, ServerConfig, TokioRuntime, TransportConfig, VarInt};
use rustls::ServerConfig as TlsConfig;
use tokio::sync::Semaphore;

pub const PROTOCOL: &[u8] = ALPN_QUIC_ADDR_DISC;
/// Connections at once: a node keeps one.
const CONNECTIONS: usize = 8192;
/// Handshakes that may wait.
const WAITING: usize = 256;
/// Time for a handshake.
const HANDSHAKE: Duration = Duration::from_secs(10);
/// Nodes give signs of life more often.
const IDLE: Duration = Duration::from_secs(45);

fn transport() -> TransportConfig {
    let mut transport = TransportConfig::default();
    transport
        .max_concurrent_uni_streams(VarInt::from_u32(0))
        .max_concurrent_bidi_streams(VarInt::from_u32(0))
        .datagram_receive_buffer_size(None)
        .max_idle_timeout(IdleTimeout::try_from(IDLE).ok())
        .send_observed_address_reports(true);
    transport
}

/// Within a runtime.
pub fn open(tls: TlsConfig, socket: UdpSocket) -> io::Result<Endpoint> {
    let crypto = QuicServerConfig::try_from(tls).map_err(io::Error::other)?;
    let mut config = ServerConfig::with_crypto(Arc::new(crypto));
    config.transport_config(Arc::new(transport())).max_incoming(WAITING).incoming_buffer_size(16 << 10);
    Endpoint::new(EndpointConfig::default(), Some(config), socket, Arc::new(TokioRuntime))
}

pub async fn answer(endpoint: Endpoint) {
    let connections = Arc::new(Semaphore::new(CONNECTIONS));
    while let Some(incoming) = endpoint.accept().await {
        let Ok(permit) = connections.clone().try_acquire_owned() else {
            incoming.ignore();
            continue;
        };
        tokio::spawn(async move {
            let _permit = permit;
            if let Ok(Ok(connection)) = tokio::time::timeout(HANDSHAKE, incoming).await {
                connection.closed().await;
            }
        });
    }
}
