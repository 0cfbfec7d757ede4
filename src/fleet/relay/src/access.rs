//! Who uses the relay.

use std::collections::HashMap;
use std::fmt;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Mutex, MutexGuard, PoisonError};

use iroh_base::EndpointId;
use iroh_relay::server::{Access as Verdict, AccessControl, ClientRequest, ConnectionId};

/// Connections of one member at once: one, and those that it does not know yet to be dead.
const OF_ONE: usize = 4;
/// Bytes of the longest token.
const TOKEN: usize = 17 << 10;

/// Says who may use a relay.
pub trait Members: fmt::Debug + Send + Sync + 'static {
    /// Whether the owner of this ed25519 key may use it, who has proven to be that, and shows this token.
    ///
    /// # Errors
    /// Why not, in a sentence for whoever asks.
    fn admit(&self, key: &[u8; 32], token: Option<&str>) -> Result<(), String>;
}

/// One that was let in.
#[derive(Debug)]
struct Used {
    id: EndpointId,
    token: Option<String>,
}

#[derive(Debug)]
pub struct Access {
    members: Box<dyn Members>,
    most: usize,
    used: Mutex<HashMap<ConnectionId, Used>>,
    refused: AtomicU64,
}

impl Access {
    pub fn new(members: Box<dyn Members>, most: usize) -> Access {
        Access { members, most, used: Mutex::default(), refused: AtomicU64::new(0) }
    }

    fn used(&self) -> MutexGuard<'_, HashMap<ConnectionId, Used>> {
        self.used.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn admit(&self, connection: ConnectionId, id: EndpointId, token: Option<String>) -> Result<(), String> {
        if token.as_ref().is_some_and(|token| token.len() > TOKEN) {
            return Err("the token is too long".into());
        }
        self.members.admit(id.as_bytes(), token.as_deref())?;
        let mut used = self.used();
        if used.len() >= self.most {
            return Err("the relay has as many connections as it may have".into());
        }
        if used.values().filter(|one| one.id == id).count() >= OF_ONE {
            return Err("too many connections with this key".into());
        }
        used.insert(connection, Used { id, token });
        Ok(())
    }

    /// Connections of those who may not use the relay any more.
    pub fn review(&self) -> Vec<(EndpointId, ConnectionId)> {
        let used = self.used();
        let gone = used.iter().filter(|(_, one)| self.members.admit(one.id.as_bytes(), one.token.as_deref()).is_err());
        gone.map(|(connection, one)| (one.id, *connection)).collect()
    }

    pub fn members(&self) -> usize {
        let used = self.used();
        let mut ids: Vec<&EndpointId> = used.values().map(|one| &one.id).collect();
        ids.sort_unstable();
        ids.dedup();
        ids.len()
    }

    pub fn refused(&self) -> u64 {
        self.refused.load(Ordering::Relaxed)
    }
}

impl AccessControl for Access {
    async fn on_connect(&self, request: &ClientRequest) -> Verdict {
        match self.admit(request.connection_id(), request.endpoint_id(), request.auth_token()) {
            Ok(()) => Verdict::Allow,
            Err(reason) => {
                self.refused.fetch_add(1, Ordering::Relaxed);
                Verdict::Deny { reason: Some(reason) }
            }
        }
    }

    fn on_disconnect(&self, _: EndpointId, connection: ConnectionId) {
        self.used().remove(&connection);
    }
}
