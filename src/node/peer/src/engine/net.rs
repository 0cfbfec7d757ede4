//! The QUIC endpoint: the node's key, the fleet's relays by their pins, nobody else's servers.

use std::collections::{BTreeMap, BTreeSet};
use std::net::{IpAddr, SocketAddr};
use std::sync::{Arc, PoisonError, RwLock};
use std::time::Duration;

use fruit_base::Sha256;
use fruit_record::KeyId;
use fruit_record::body::Relay;
use iroh::address_lookup::memory::MemoryLookup;
use iroh::dns::DnsResolver;
use iroh::endpoint::{IdleTimeout, PortmapperConfig, QuicTransportConfig, VarInt, presets};
use iroh::tls::CaTlsConfig;
use iroh::{Endpoint, EndpointAddr, EndpointId, RelayConfig, RelayMap, RelayMode, RelayUrl, SecretKey, TransportAddr};
use iroh_relay::RelayQuicConfig;
use rustls::client::danger::{HandshakeSignatureValid, ServerCertVerified, ServerCertVerifier};
use rustls::crypto::{CryptoProvider, verify_tls12_signature, verify_tls13_signature};
use rustls::pki_types::{CertificateDer, ServerName, UnixTime};
use rustls::{CertificateError, DigitallySignedStruct, Error, SignatureScheme};

use crate::hand;
use crate::wire::PROTOCOL;

/// Streams that a neighbour may have open at once: records, and pieces under way.
const STREAMS: u32 = 12;
/// A connection without a sign of life ends; a path of it is given up for another one.
const IDLE: Duration = Duration::from_secs(20);
const PATH_IDLE: Duration = Duration::from_secs(12);
/// Signs of life.
const ALIVE: Duration = Duration::from_secs(5);
/// Bytes of a stream, and of a connection, that may be on the way.
const STREAM_WINDOW: u32 = 2 << 20;
const WINDOW: u32 = 8 << 20;
/// Relays of the fleet that are used.
const RELAYS: usize = 4;
/// Time to look a host name up.
const NAME_TIME: Duration = Duration::from_secs(3);

/// Hashes of certificates of relays.
pub type Pins = Arc<RwLock<BTreeSet<Sha256>>>;

/// How the endpoint is made.
#[derive(Clone, Debug)]
pub struct Network {
    /// Where it listens; none: on all interfaces, IPv4 and IPv6.
    pub bind: Option<IpAddr>,
    /// UDP port; 0: any that is free.
    pub port: u16,
    /// Whether routers are asked to let others in.
    pub port_mapping: bool,
    pub relays: Vec<Relay>,
}

#[derive(Debug, thiserror::Error)]
#[error("port {port} cannot be opened for other nodes: {why}")]
pub struct NotBound {
    port: u16,
    why: String,
}

/// Certificates of relays are made by themselves, and named in the charter by their hash.
#[derive(Debug)]
struct Pinned {
    pins: Pins,
    provider: Arc<CryptoProvider>,
}

impl ServerCertVerifier for Pinned {
    fn verify_server_cert(
        &self,
        end_entity: &CertificateDer<'_>,
        _: &[CertificateDer<'_>],
        _: &ServerName<'_>,
        _: &[u8],
        _: UnixTime,
    ) -> Result<ServerCertVerified, Error> {
        let pins = self.pins.read().unwrap_or_else(PoisonError::into_inner);
        if pins.contains(&Sha256::of(end_entity)) {
            Ok(ServerCertVerified::assertion())
        } else {
            Err(Error::InvalidCertificate(CertificateError::ApplicationVerificationFailure))
        }
    }

    fn verify_tls12_signature(
        &self,
        message: &[u8],
        certificate: &CertificateDer<'_>,
        signature: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, Error> {
        verify_tls12_signature(message, certificate, signature, &self.provider.signature_verification_algorithms)
    }

    fn verify_tls13_signature(
        &self,
        message: &[u8],
        certificate: &CertificateDer<'_>,
        signature: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, Error> {
        verify_tls13_signature(message, certificate, signature, &self.provider.signature_verification_algorithms)
    }

    fn supported_verify_schemes(&self) -> Vec<SignatureScheme> {
        self.provider.signature_verification_algorithms.supported_schemes()
    }
}

/// Where a relay is. Its address discovery, without which nobody is found behind a router, has the UDP port of the same number.
fn relay(relay: &Relay, token: Option<&str>) -> Option<(RelayUrl, RelayConfig)> {
    let url: RelayUrl = format!("https://{}", relay.address).parse().ok()?;
    let port = relay.address.rsplit_once(':').and_then(|(_, port)| port.parse().ok())?;
    let config = RelayConfig::new(url.clone(), Some(RelayQuicConfig::new(port)));
    let config = match token {
        Some(token) => config.with_auth_token(token),
        None => config,
    };
    Some((url, config))
}

/// The first ones of the charter, and what is shown to them.
fn relays<'r>(relays: &'r [Relay], token: Option<&'r str>) -> impl Iterator<Item = (RelayUrl, RelayConfig)> + 'r {
    relays.iter().take(RELAYS).filter_map(move |one| relay(one, token))
}

fn transport() -> QuicTransportConfig {
    let idle = IdleTimeout::try_from(IDLE).ok();
    QuicTransportConfig::builder()
        .max_concurrent_bidi_streams(VarInt::from_u32(STREAMS))
        .max_concurrent_uni_streams(VarInt::from_u32(0))
        .stream_receive_window(VarInt::from_u32(STREAM_WINDOW))
        .receive_window(VarInt::from_u32(WINDOW))
        .send_window(u64::from(WINDOW))
        .datagram_receive_buffer_size(None)
        .default_path_max_idle_timeout(PATH_IDLE)
        .default_path_keep_alive_interval(ALIVE)
        .max_idle_timeout(idle)
        .build()
}

/// Opens the endpoint, and what mDNS tells it may be put into.
///
/// # Errors
/// The port is taken, or the machine has no network.
pub async fn open(
    network: &Network,
    key: &[u8; 32],
    token: Option<&str>,
) -> Result<(Endpoint, MemoryLookup, Pins), NotBound> {
    let wrong = |why: &dyn std::fmt::Display| NotBound { port: network.port, why: why.to_string() };
    let pins: Pins = Arc::new(RwLock::new(network.relays.iter().map(|relay| relay.pin).collect()));
    let verifier = {
        let pins = pins.clone();
        CaTlsConfig::custom_server_cert_verifier(Arc::new(move |provider| {
            Ok(Arc::new(Pinned { pins: pins.clone(), provider }) as Arc<dyn ServerCertVerifier>)
        }))
    };
    let map: RelayMap = relays(&network.relays, token).map(|(_, config)| config).collect();
    let memory = MemoryLookup::new();
    let mut builder = Endpoint::builder(presets::Minimal)
        .secret_key(SecretKey::from_bytes(key))
        .alpns(vec![PROTOCOL.to_vec(), hand::PROTOCOL.to_vec()])
        .relay_mode(RelayMode::Custom(map))
        .ca_tls_config(verifier)
        // Names are asked of the network's own servers, never of public ones.
        .dns_resolver(DnsResolver::builder().with_system_defaults().disable_fallback().build())
        .address_lookup(memory.clone())
        .transport_config(transport());
    if !network.port_mapping {
        builder = builder.portmapper_config(PortmapperConfig::Disabled);
    }
    let builder = match (network.bind, network.port) {
        (Some(ip), port) => builder.clear_ip_transports().bind_addr(SocketAddr::new(ip, port)),
        (None, 0) => Ok(builder),
        (None, port) => builder.bind_addr(SocketAddr::from(([0, 0, 0, 0], port))).and_then(|builder| {
            // A machine without IPv6 is one nevertheless.
            let opts = iroh::endpoint::BindOpts::default().set_is_required(false);
            builder.bind_addr_with_opts(SocketAddr::from(([0u16; 8], port)), opts)
        }),
    };
    let endpoint = builder.map_err(|why| wrong(&why))?.bind().await.map_err(|why| wrong(&why))?;
    Ok((endpoint, memory, pins))
}

/// Uses these relays from now on, instead of those.
pub async fn use_relays(endpoint: &Endpoint, pins: &Pins, before: &[Relay], wanted: &[Relay], token: Option<&str>) {
    *pins.write().unwrap_or_else(PoisonError::into_inner) = wanted.iter().map(|relay| relay.pin).collect();
    let wanted: BTreeMap<RelayUrl, RelayConfig> = relays(wanted, token).collect();
    for (url, _) in relays(before, None).filter(|(url, _)| !wanted.contains_key(url)) {
        endpoint.remove_relay(&url).await;
    }
    for (url, config) in wanted {
        endpoint.insert_relay(url, Arc::new(config)).await;
    }
}

/// The key by which QUIC knows a node.
#[must_use]
pub fn endpoint_id(peer: &KeyId) -> Option<EndpointId> {
    EndpointId::from_bytes(&peer.0).ok()
}

/// All that is known of where a node is. Names are looked up; relays may know it.
pub async fn whereabouts(peer: &KeyId, addresses: &[String], fleet: &[Relay]) -> Option<EndpointAddr> {
    let mut found = EndpointAddr::new(endpoint_id(peer)?);
    for address in addresses {
        if let Ok(address) = address.parse::<SocketAddr>() {
            found = found.with_ip_addr(address);
        } else if let Ok(Ok(names)) = tokio::time::timeout(NAME_TIME, tokio::net::lookup_host(address.clone())).await {
            found = found.with_addrs(names.take(4).map(TransportAddr::Ip));
        }
    }
    for (url, _) in relays(fleet, None) {
        found = found.with_relay_url(url);
    }
    Some(found)
}
