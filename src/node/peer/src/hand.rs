//! The remote hand: an operator's machine reaches services of a node through the network, above all its ssh server.
//!
//! It has a protocol of its own beside that of records, one stream for each connection:
//!
//! ```text
//! question   u16 length · pass · u8 length · `ssh` or `IP:PORT`
//! answer     u8 0: open, from here on the service's own bytes; or 1 · u8 length · why not
//! ```

use std::fmt;
use std::net::SocketAddr;
use std::os::unix::net::UnixStream;
use std::str::FromStr;
use std::sync::Arc;

use fruit_contract::peer::config::Forwards;

/// Its name in the handshake.
pub const PROTOCOL: &[u8] = b"fruit-hand/1";
/// Bytes of a pass, and of a target or a refusal.
pub const PASS: usize = 1024;
pub const TEXT: usize = 255;

/// What a node lets operators reach.
#[derive(Clone, Debug, Default)]
pub struct Services {
    pub ssh: Option<SocketAddr>,
    pub forward: Forwards,
}

/// What an operator wants to reach.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Target {
    /// The node's ssh server, wherever that listens.
    Ssh,
    Address(SocketAddr),
}

/// This machine's end of a stream.
#[derive(Debug)]
pub struct Local {
    pub stream: UnixStream,
    /// What it gets as soon as the stream is open, before all else.
    pub first: &'static [u8],
    /// Let go when the stream has ended.
    pub guard: Arc<()>,
}

/// Why there is no stream.
#[derive(Clone, PartialEq, Eq, Debug, thiserror::Error)]
pub enum NotOpened {
    #[error("not reached: {0}")]
    Unreachable(String),
    #[error("the node refuses: {0}")]
    Refused(String),
}

impl Services {
    /// Where a target is.
    ///
    /// # Errors
    /// A sentence: the node does not offer it.
    pub fn address(&self, target: Target) -> Result<SocketAddr, String> {
        match target {
            Target::Ssh => self.ssh.ok_or_else(|| "its ssh server is not offered (`ssh:` in peer.yaml)".into()),
            Target::Address(address) if self.forward.allow(&address) => Ok(address),
            Target::Address(address) => Err(format!("{address} is not among `forward:` of its peer.yaml")),
        }
    }
}

impl FromStr for Target {
    type Err = String;

    fn from_str(text: &str) -> Result<Target, String> {
        match text {
            "ssh" => Ok(Target::Ssh),
            _ => text.parse().map(Target::Address).map_err(|_| "expected ssh or IP:PORT".into()),
        }
    }
}

impl fmt::Display for Target {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Target::Ssh => f.write_str("ssh"),
            Target::Address(address) => address.fmt(f),
        }
    }
}

/// A question, as it is sent.
#[must_use]
pub fn question(pass: &[u8], target: Target) -> Vec<u8> {
    let text = target.to_string();
    let mut bytes = u16::try_from(pass.len()).unwrap_or(u16::MAX).to_be_bytes().to_vec();
    bytes.extend_from_slice(pass);
    bytes.push(u8::try_from(text.len()).unwrap_or(u8::MAX));
    bytes.extend_from_slice(text.as_bytes());
    bytes
}

/// An answer, as it is sent.
#[must_use]
pub fn answer(opened: Result<(), &str>) -> Vec<u8> {
    let Err(why) = opened else { return vec![0] };
    let end = (0..=why.len().min(TEXT)).rev().find(|end| why.is_char_boundary(*end)).unwrap_or(0);
    let why = &why.as_bytes()[..end];
    [&[1, u8::try_from(why.len()).unwrap_or(u8::MAX)], why].concat()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_node_offers_what_its_configuration_names() {
        let at: SocketAddr = "127.0.0.1:8080".parse().unwrap();
        let services = Services { ssh: None, forward: vec![at].try_into().unwrap() };
        assert_eq!(services.address(Target::Address(at)), Ok(at));
        assert!(services.address("127.0.0.1:22".parse().unwrap()).is_err() && services.address(Target::Ssh).is_err());
        assert!("localhost:22".parse::<Target>().is_err());
    }

    #[test]
    fn what_is_sent_stays_within_its_lengths() {
        assert_eq!(question(b"ab", Target::Ssh), b"\0\x02ab\x03ssh");
        assert_eq!((answer(Ok(())), answer(Err("no"))), (vec![0], b"\x01\x02no".to_vec()));
        let long = answer(Err(&"é".repeat(400)));
        assert_eq!((long.len(), long[1]), (256, 254));
    }
}
