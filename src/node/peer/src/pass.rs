//! What a machine of an operator shows instead of a member's record: an operator of the charter vouches for its key.

use fruit_record::signature::message;
use fruit_record::wire::{Malformed, Reader, Writer};
use fruit_record::{FleetId, KeyId, Roles, Signature, Trust};

const FORMAT: u8 = 1;

/// An operator's word that a network key is one of their machines.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Pass {
    /// The machine's key.
    pub machine: KeyId,
    /// Seconds since 1970 after which it does not count; 0: never.
    pub not_after: u64,
    pub signature: Signature,
}

/// Why a pass does not count.
#[derive(Clone, PartialEq, Eq, Debug, thiserror::Error)]
pub enum NotAPass {
    #[error(transparent)]
    Malformed(#[from] Malformed),
    #[error("the pass is for another key")]
    Machine,
    #[error("the pass is signed by no operator of the charter")]
    Operator,
    #[error("the pass has expired")]
    Expired,
}

impl Pass {
    /// What an operator signs.
    #[must_use]
    pub fn message(fleet: &FleetId, machine: &KeyId, not_after: u64) -> Vec<u8> {
        let mut w = Writer(machine.0.to_vec());
        w.number(not_after);
        message("pass", fleet, &w.0)
    }

    #[must_use]
    pub fn encode(&self) -> Vec<u8> {
        let mut w = Writer(vec![FORMAT]);
        w.raw(&self.machine.0);
        w.number(self.not_after);
        w.raw(&self.signature.key.0);
        w.raw(&self.signature.bytes);
        w.0
    }

    /// Reads a pass; nobody has looked at its signature.
    ///
    /// # Errors
    /// [`Malformed`].
    pub fn decode(bytes: &[u8]) -> Result<Pass, Malformed> {
        let what = "the pass";
        let mut r = Reader::new(bytes);
        match r.array(what)? {
            [FORMAT] => {}
            [number] => return Err(Malformed::Newer { what, number: number.into() }),
        }
        let (machine, not_after) = (KeyId::read(&mut r)?, r.number(what)?);
        let signature = Signature { key: KeyId::read(&mut r)?, bytes: r.array(what)? };
        r.end(what)?;
        Ok(Pass { machine, not_after, signature })
    }

    /// The operator's name and roles, if the pass counts for `machine` at `now`, in seconds since 1970. Who does not know the time
    /// passes over the end: a clock must not lock operators out.
    ///
    /// # Errors
    /// [`NotAPass`].
    pub fn verify(bytes: &[u8], trust: &Trust, machine: KeyId, now: Option<u64>) -> Result<(String, Roles), NotAPass> {
        let pass = Pass::decode(bytes)?;
        if pass.machine != machine {
            return Err(NotAPass::Machine);
        }
        let ended = |end: u64| end != 0 && now.is_some_and(|now| now > end);
        let operator = trust.charter().operators.iter().find(|operator| operator.key == pass.signature.key);
        let operator = operator.ok_or(NotAPass::Operator)?;
        if !pass.signature.verifies(&Pass::message(&trust.fleet(), &machine, pass.not_after)) {
            return Err(NotAPass::Operator);
        }
        if ended(pass.not_after) || ended(operator.expires) {
            return Err(NotAPass::Expired);
        }
        Ok((operator.name.clone(), operator.roles))
    }
}
