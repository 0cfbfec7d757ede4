//! What a fleet signs, and what it takes for a signed record to count.
//!
//! A *charter* is the fleet's root of trust: root keys, operators with roles and scopes, how many of them must sign what. All
//! else follows from it: who is a member, who was revoked, what is to run where, and what nodes say of themselves. Every
//! record has the same outer format ([`record`]), a body of its class ([`body`]), and is believed only as a [`Verified`] value,
//! which [`Trust`] alone makes: from bytes of a known size, in the one form that the content has, signed by enough operators
//! whose role and scope allow it, or by the node that it is about.
//!
//! A [`Replica`] holds the version of each record that counts. Whatever the order in which records arrive, whatever is
//! lost and repeated: replicas are equal that are offered the same records until nothing changes. (A record that a later one has
//! replaced, which then turns out not to count, has to be offered again: by somebody who still has it.)
//!
//! Nothing here does I/O, knows the time, or makes random numbers.

pub mod body;
pub mod class;
mod counts;
pub mod id;
pub mod invite;
pub mod limits;
pub mod record;
pub mod replica;
pub mod request;
#[cfg(feature = "seal")]
pub mod seal;
pub mod selector;
pub mod signature;
pub mod trust;
mod verified;
pub mod wire;
mod words;

pub use body::Body;
pub use class::{Class, Role, Roles};
pub use id::{FleetId, KeyId, RecordHash};
pub use invite::Invite;
pub use record::{Draft, Head, Key, Name, Record};
pub use replica::{Conflict, Outcome, Replica};
pub use request::Request;
pub use selector::{Labels, Selector};
pub use signature::Signature;
pub use trust::{Refused, Trust};
pub use verified::Verified;
pub use words::words;
