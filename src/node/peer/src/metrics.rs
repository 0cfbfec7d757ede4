//! The status as metrics, for Prometheus.

use fruit_base::prometheus::{Text, flag};
use fruit_contract::peer::status::Status;

/// The document behind `/metrics`.
#[must_use]
pub fn text(status: &Status) -> String {
    let mut text = Text::default();
    text.single("fruit_peer_member", "gauge", "Whether the node belongs to its fleet.", flag(status.state == "member"));
    text.single("fruit_peer_charter_version", "gauge", "Version of the fleet's charter here.", status.charter as f64);
    text.single("fruit_peer_records", "gauge", "Records of the fleet here.", status.records as f64);
    text.single("fruit_peer_requests", "gauge", "Nodes that wait for an operator.", status.requests as f64);
    text.family("fruit_peer_neighbours", "gauge", "Connections to other nodes, by what they are.");
    for state in ["member", "operator", "guest", "greeting"] {
        let count = status.peers.iter().filter(|peer| peer.state == state).count();
        text.sample("fruit_peer_neighbours", &[("state", state)], count as f64);
    }
    let pieces = &status.pieces;
    for (name, help, value) in [
        ("fetched", "Pieces of releases that came from other nodes.", pieces.fetched),
        ("fetched_bytes", "Their bytes.", pieces.fetched_bytes),
        ("served", "Pieces of releases that other nodes got.", pieces.served),
        ("served_bytes", "Their bytes.", pieces.served_bytes),
        ("garbage", "Pieces that were not what their name says.", pieces.garbage),
    ] {
        text.single(&format!("fruit_peer_pieces_{name}_total"), "counter", help, value as f64);
    }
    text.single("fruit_peer_cache_bytes", "gauge", "Bytes of pieces in the cache.", pieces.cached_bytes as f64);
    text.into_string()
}
