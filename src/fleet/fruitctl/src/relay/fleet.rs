//! What the relay knows of the fleet: the records that have come to its seed.

use crate::fleet::now;
use fruit_record::{KeyId, Replica};
use fruit_relay::Members;
use std::sync::{Arc, PoisonError, RwLock};

#[derive(Clone, Debug)]
pub struct Fleet(Arc<RwLock<Option<Replica>>>);

impl Fleet {
    pub fn new(replica: Option<Replica>) -> Fleet {
        Fleet(Arc::new(RwLock::new(replica)))
    }

    pub fn learn(&self, replica: Option<Replica>) {
        *self.0.write().unwrap_or_else(PoisonError::into_inner) = replica;
    }
}

impl Members for Fleet {
    fn admit(&self, key: &[u8; 32], token: Option<&str>) -> Result<(), String> {
        let replica = self.0.read().unwrap_or_else(PoisonError::into_inner);
        // Nobody vouches for anybody to a relay that belongs to no fleet.
        let replica = replica.as_ref().ok_or("the relay waits for the fleet's charter")?;
        fruit_peer::relay::admit(replica, &KeyId(*key), token, Some(now()))
    }
}
