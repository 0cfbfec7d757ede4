//! The key by which nodes know this machine, and the pass by which an operator vouches for it.

use crate::failure::{Code, Failure};
use crate::fleet::{Opened, Options, Signer, at, set_clock, usage};
use ed25519_dalek::SigningKey;
use fruit_base::{Replace, Sha256, replace_with};
use fruit_peer::pass::Pass;
use fruit_peer::state;
use fruit_record::{KeyId, Signature};
use fruit_release::keys::read_bounded;
use std::path::{Path, PathBuf};

/// In the fleet's folder.
const FOLDER: &str = "machines";
/// In the folder of a machine.
const PASS: &str = "pass";
/// How long a pass is good for, in seconds: until then the operator's key is not needed.
const LIFE: u64 = 30 * 86_400;
/// One that ends so soon is made anew.
const MARGIN: u64 = 600;
/// Bytes of a pass.
const LIMIT: u64 = 1024;

/// This machine, for the nodes of a fleet.
pub struct Identity {
    pub key: SigningKey,
    pub pass: Vec<u8>,
    /// The operator whose machine it is.
    pub operator: String,
}

/// Where this machine's key is. A folder that is copied to another machine, or shared with it, makes no second machine with
/// the same key.
fn folder(fleet: &Path) -> PathBuf {
    let id = std::fs::read("/etc/machine-id").unwrap_or_default();
    let name = Sha256::of(&[b"fruitctl ", &id[..]].concat()).to_string();
    fleet.join(FOLDER).join(name.get(..16).unwrap_or("this"))
}

/// The key, made if there is none.
fn key(folder: &Path) -> Result<SigningKey, Failure> {
    state::key(folder).map_err(|error| Failure::new(Code::Refused, error.to_string()))
}

/// Key and pass. A pass is signed by an operator whose key is here; without `anew`, one that is good still is taken.
pub fn identity(opened: &Opened, signer: &Signer<'_>, options: &Options, anew: bool) -> Result<Identity, Failure> {
    let folder = folder(&opened.folder);
    let key = key(&folder)?;
    let (machine, now) = (KeyId::from(key.verifying_key()), set_clock()?);
    let kept = read_bounded(&folder.join(PASS), LIMIT)?.unwrap_or_default();
    let trust = opened.replica.trust();
    if let (false, Ok((operator, _))) = (anew, Pass::verify(&kept, trust, machine, Some(now + MARGIN)))
        && options.means(&operator)
    {
        return Ok(Identity { key, pass: kept, operator });
    }
    let operators = signer.operators(opened)?;
    let operator = operators.first().ok_or_else(|| usage("name an operator with --as"))?;
    let ends = if operator.expires == 0 { u64::MAX } else { operator.expires };
    let not_after = (now + LIFE).min(ends);
    let message = Pass::message(&opened.id(), &machine, not_after);
    let Some(signature) = signer.sign_message(&message, operator.key)? else {
        return Err(no_key(&operator.name));
    };
    let pass = encode(machine, not_after, signature);
    let path = folder.join(PASS);
    replace_with(&path, &pass, Replace { mode: 0o600, durable: true }).map_err(at(&path))?;
    Ok(Identity { key, pass, operator: operator.name.clone() })
}

fn encode(machine: KeyId, not_after: u64, signature: Signature) -> Vec<u8> {
    Pass { machine, not_after, signature }.encode()
}

fn no_key(operator: &str) -> Failure {
    Failure::new(
        Code::Refused,
        format!("the key of {operator} is not here: nodes talk only with machines that an operator vouches for"),
    )
}
