//! Who may use the fleet's relays.
//!
//! A relay knows the key of whoever connects. That is enough for members. Others show a token: a machine of an operator its pass,
//! a node that wants to be a member its request, for its only way to an operator may be a relay. Neither is a secret: each is for
//! one key.

use fruit_base::hex;
use fruit_record::{KeyId, Replica, limits};

use crate::pass::Pass;

const OPERATOR: &str = "operator-";
const GUEST: &str = "guest-";

/// The token of an operator's machine, made of its pass.
#[must_use]
pub fn operator(pass: &[u8]) -> String {
    OPERATOR.to_owned() + &hex::encode(pass)
}

/// The token of a node that wants to be a member, made of its request.
#[must_use]
pub fn guest(request: &[u8]) -> String {
    GUEST.to_owned() + &hex::encode(request)
}

/// Whether the owner of a key may use a relay, by what is known of the fleet here. `now` is in seconds since 1970.
///
/// # Errors
/// Why not.
pub fn admit(replica: &Replica, peer: &KeyId, token: Option<&str>, now: Option<u64>) -> Result<(), String> {
    if replica.is_member(peer) {
        return Ok(());
    }
    let stranger = || "it is no member, as far as is known here".to_owned();
    let token = token.filter(|token| token.len() <= 2 * limits::REQUEST + GUEST.len()).ok_or_else(stranger)?;
    if let Some(pass) = token.strip_prefix(OPERATOR).and_then(hex::decode) {
        return Pass::verify(&pass, replica.trust(), *peer, now).map(drop).map_err(|why| why.to_string());
    }
    let request = token.strip_prefix(GUEST).and_then(hex::decode).ok_or_else(stranger)?;
    let request = replica.verify_request(&request).map_err(|why| why.to_string())?;
    if request.node != *peer {
        return Err("the request is another node's".into());
    }
    replica.admit(&request, now).map(drop).map_err(|why| why.to_string())
}
