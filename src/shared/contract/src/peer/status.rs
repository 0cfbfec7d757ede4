//! What the program says of itself: the document behind `fruit-peer status`.

use std::fmt;

use serde::{Deserialize, Serialize};

/// The whole document.
#[derive(Clone, PartialEq, Eq, Debug, Default, Serialize, Deserialize)]
#[serde(default)]
pub struct Status {
    pub version: String,
    /// `member`, `pending`, `revoked`, `operator` on an operator's machine, or `none` without a usable invite.
    pub state: String,
    /// What is in the way, in words.
    pub trouble: Option<String>,
    /// The node's id: its public key.
    pub id: String,
    /// The four words by which an operator approves it.
    pub words: String,
    /// The fleet's id, and its name once the charter is here.
    pub fleet: Option<String>,
    pub fleet_name: Option<String>,
    /// Version of the charter that counts.
    pub charter: u64,
    /// Its name and labels, as a member.
    pub name: Option<String>,
    pub labels: Option<String>,
    /// Addresses at which it can be reached, as far as it knows.
    pub addresses: Vec<String>,
    pub records: u64,
    /// Nodes whose requests are held here for operators.
    pub requests: u64,
    pub peers: Vec<PeerStatus>,
    /// The fleet's relays that this program uses or tries to use.
    pub relays: Vec<RelayStatus>,
    pub pieces: PieceStatus,
    /// Why state is not kept across restarts.
    pub state_error: Option<String>,
}

/// A neighbour.
#[derive(Clone, PartialEq, Eq, Debug, Default, Serialize, Deserialize)]
#[serde(default)]
pub struct PeerStatus {
    pub id: String,
    pub name: String,
    /// `member`, `operator`, `guest` (it asks to become a member), or `greeting` while that is not clear yet.
    pub state: String,
    /// Whether this node has called it.
    pub dialed: bool,
    pub seconds: u64,
    /// `direct` or `relay`: the way that bytes take now; empty while there is none.
    pub path: String,
    /// The neighbour's address, or the relay's.
    pub address: String,
    /// Round trip, in milliseconds.
    pub rtt_ms: u64,
    pub records_in: u64,
    pub records_out: u64,
    pub bytes_in: u64,
    pub bytes_out: u64,
}

/// A relay.
#[derive(Clone, PartialEq, Eq, Debug, Default, Serialize, Deserialize)]
#[serde(default)]
pub struct RelayStatus {
    pub url: String,
    pub connected: bool,
    /// Why it is not, if that is known.
    pub error: Option<String>,
}

/// Pieces of releases since the start of the program.
#[derive(Clone, PartialEq, Eq, Debug, Default, Serialize, Deserialize)]
#[serde(default)]
pub struct PieceStatus {
    pub cached: u64,
    pub cached_bytes: u64,
    pub fetched: u64,
    pub fetched_bytes: u64,
    pub served: u64,
    pub served_bytes: u64,
    /// Pieces that came and were not what their name says.
    pub garbage: u64,
}

/// For people.
impl fmt::Display for Status {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let mut row = |name: &str, text: &str| writeln!(f, "{name:<11}{text}");
        row("node", &self.id)?;
        row("words", &self.words)?;
        match (&self.fleet, &self.fleet_name) {
            (Some(id), Some(name)) => row("fleet", &format!("{name} ({id}), charter {}", self.charter))?,
            (Some(id), None) => row("fleet", &format!("{id}, no charter yet"))?,
            (None, _) => row("fleet", "none")?,
        }
        row("state", &self.state)?;
        if let Some(trouble) = &self.trouble {
            row("", trouble)?;
        }
        if let Some(name) = &self.name {
            row("name", &format!("{name} {}", self.labels.as_deref().unwrap_or_default()))?;
        }
        row("addresses", &self.addresses.join(" "))?;
        row("records", &format!("{}, {} requests of nodes", self.records, self.requests))?;
        for (at, peer) in self.peers.iter().enumerate() {
            let PeerStatus { id, name, state, seconds, path, bytes_in, bytes_out, .. } = peer;
            let id = id.get(..12).unwrap_or(id);
            let text = format!("{id} {state} {name} {path} {seconds} s, {bytes_in} bytes in, {bytes_out} out");
            row(if at == 0 { "peers" } else { "" }, &text)?;
        }
        if self.peers.is_empty() {
            row("peers", "none")?;
        }
        let PieceStatus { cached, cached_bytes, fetched, served, garbage, .. } = self.pieces;
        row(
            "pieces",
            &format!("{cached} kept ({cached_bytes} bytes), {fetched} fetched, {served} served, {garbage} bad"),
        )?;
        if let Some(error) = &self.state_error {
            row("disk", error)?;
        }
        Ok(())
    }
}
