//! A node's part of its fleet's network. It joins the fleet by an invite, passes on records that it has verified, and finds and
//! hands on pieces of releases.
//!
//! [`machine`] decides, without I/O; [`engine`] talks to other nodes over iroh (QUIC between keys, through NATs); [`daemon`] is the
//! service on a node, with its local sockets.

pub mod daemon;
pub mod engine;
pub mod facts;
pub mod hand;
pub mod machine;
pub mod metrics;
pub mod pass;
pub mod piece;
pub mod relay;
mod sockets;
pub mod state;
pub mod store;
pub mod wire;
