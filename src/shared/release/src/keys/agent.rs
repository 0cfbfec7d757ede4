//! Keys that ssh-agent holds: two messages of its protocol (draft-ietf-sshm-ssh-agent), with raw ed25519 signatures.

use std::io::{Read, Write};
use std::os::unix::net::UnixStream;
use std::path::Path;
use std::time::Duration;

use super::KeyError;
use crate::tuf::PublicKey;

const FAILURE: u8 = 5;
const REQUEST_IDENTITIES: u8 = 11;
const IDENTITIES_ANSWER: u8 = 12;
const SIGN_REQUEST: u8 = 13;
const SIGN_RESPONSE: u8 = 14;
/// Bytes of the longest message: `AGENT_MAX_LEN` of OpenSSH's ssh-agent.c.
const MAX_MESSAGE: usize = 256 << 10;
/// Most identities of an answer that are looked at.
const MAX_IDENTITIES: u32 = 2048;
/// How long an agent may take: it may ask a person to confirm.
const PATIENCE: Duration = Duration::from_secs(120);
const KEY_TYPE: &[u8] = b"ssh-ed25519";

/// A connection to an agent.
pub struct Agent {
    stream: UnixStream,
}

impl Agent {
    /// The agent that `SSH_AUTH_SOCK` names.
    ///
    /// # Errors
    /// There is none, or it does not answer.
    pub fn from_environment() -> Result<Agent, KeyError> {
        let path = std::env::var_os("SSH_AUTH_SOCK")
            .ok_or_else(|| KeyError::Agent("none is running (SSH_AUTH_SOCK is not set)".into()))?;
        Agent::connect(Path::new(&path))
    }

    /// # Errors
    /// Those of `connect(2)`.
    pub fn connect(socket: &Path) -> Result<Agent, KeyError> {
        let failed = |error: std::io::Error| KeyError::Agent(format!("{}: {error}", socket.display()));
        let stream = UnixStream::connect(socket).map_err(failed)?;
        stream.set_read_timeout(Some(PATIENCE)).map_err(failed)?;
        stream.set_write_timeout(Some(PATIENCE)).map_err(failed)?;
        Ok(Agent { stream })
    }

    /// The ed25519 keys that the agent holds, with their comments.
    ///
    /// # Errors
    /// The agent fails, or answers something else.
    pub fn identities(&mut self) -> Result<Vec<(PublicKey, String)>, KeyError> {
        let answer = self.ask(REQUEST_IDENTITIES, &[], IDENTITIES_ANSWER)?;
        identities(&answer).ok_or_else(|| KeyError::Agent("its list of keys is cut off".into()))
    }

    /// The agent's signature with `key` over `message`.
    ///
    /// # Errors
    /// The agent does not hold the key, or refuses; a message that it does not take, or a signature that is wrong.
    pub fn sign(&mut self, key: &PublicKey, message: &[u8]) -> Result<[u8; 64], KeyError> {
        let public = key.as_ed25519().ok_or_else(|| KeyError::Agent("only ed25519 keys sign releases".into()))?;
        let mut request = Vec::new();
        put(&mut request, &[length(KEY_TYPE).as_slice(), KEY_TYPE, &length(public), public].concat());
        put(&mut request, message);
        request.extend_from_slice(&[0; 4]);
        let answer = self.ask(SIGN_REQUEST, &request, SIGN_RESPONSE)?;
        signature(&answer).ok_or_else(|| KeyError::Agent("its answer is no ed25519 signature".into()))
    }

    fn ask(&mut self, kind: u8, body: &[u8], expected: u8) -> Result<Vec<u8>, KeyError> {
        let io = |error: std::io::Error| KeyError::Agent(error.to_string());
        let size =
            u32::try_from(body.len() + 1).ok().filter(|&size| size as usize <= MAX_MESSAGE).ok_or_else(|| {
                KeyError::Agent(format!("{} bytes are to be signed, it takes {MAX_MESSAGE} at most", body.len()))
            })?;
        let message = [size.to_be_bytes().as_slice(), &[kind], body].concat();
        self.stream.write_all(&message).map_err(io)?;
        let mut head = [0u8; 4];
        self.stream.read_exact(&mut head).map_err(io)?;
        let size = u32::from_be_bytes(head) as usize;
        if size == 0 || size > MAX_MESSAGE {
            return Err(KeyError::Agent(format!("an answer of {size} bytes")));
        }
        let mut answer = vec![0u8; size];
        self.stream.read_exact(&mut answer).map_err(io)?;
        match answer.remove(0) {
            found if found == expected => Ok(answer),
            FAILURE => Err(KeyError::Agent(
                "it refuses; does it hold the key (ssh-add -l lists what it holds), and is it unlocked?".into(),
            )),
            found => Err(KeyError::Agent(format!("an answer of type {found}"))),
        }
    }
}

fn length(bytes: &[u8]) -> [u8; 4] {
    // Longer ones do not pass `ask`.
    u32::try_from(bytes.len()).unwrap_or(u32::MAX).to_be_bytes()
}

fn put(out: &mut Vec<u8>, bytes: &[u8]) {
    out.extend_from_slice(&length(bytes));
    out.extend_from_slice(bytes);
}

/// Takes a length and as many bytes from the front.
fn take<'a>(rest: &mut &'a [u8]) -> Option<&'a [u8]> {
    let (head, tail) = rest.split_first_chunk::<4>()?;
    let (bytes, after) = tail.split_at_checked(u32::from_be_bytes(*head) as usize)?;
    *rest = after;
    Some(bytes)
}

fn identities(answer: &[u8]) -> Option<Vec<(PublicKey, String)>> {
    let (count, mut rest) = answer.split_first_chunk::<4>()?;
    let mut found = Vec::new();
    for _ in 0..u32::from_be_bytes(*count).min(MAX_IDENTITIES) {
        let mut blob = take(&mut rest)?;
        let comment = String::from_utf8_lossy(take(&mut rest)?).into_owned();
        if take(&mut blob) == Some(KEY_TYPE)
            && let Some(key) = take(&mut blob).and_then(|bytes| PublicKey::ed25519(bytes.try_into().ok()?))
        {
            found.push((key, comment));
        }
    }
    Some(found)
}

fn signature(mut answer: &[u8]) -> Option<[u8; 64]> {
    let mut blob = take(&mut answer)?;
    let kind = take(&mut blob)?;
    if kind != KEY_TYPE {
        return None;
    }
    take(&mut blob)?.try_into().ok()
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    proptest! {
        #[test]
        fn no_answer_of_an_agent_makes_us_panic(answer: Vec<u8>) {
            identities(&answer);
            signature(&answer);
        }
    }
}
