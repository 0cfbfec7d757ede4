//! Nodes that can be called, and when.

use std::collections::{BTreeMap, BTreeSet};

use fruit_base::Sha256;
use fruit_record::KeyId;

use super::link::Millis;

/// Nodes that are remembered.
const MOST: usize = 1024;
/// Addresses of one node that are remembered.
const ADDRESSES: usize = 8;
/// Between two calls of a node that does not answer, at first and at last.
const RETRY: [Millis; 2] = [2_000, 300_000];

#[derive(Clone, Debug, Default)]
struct Contact {
    /// Where somebody said that it is; may be empty, if it is found by its id alone.
    addresses: Vec<String>,
    /// Named by a person, an invite or the charter, or seen nearby: called even if no record names it.
    is_named: bool,
    failures: u32,
    next: Millis,
}

/// Whom to call.
#[derive(Debug, Default)]
pub struct Contacts(BTreeMap<KeyId, Contact>);

impl Contacts {
    /// Remembers a node and an address.
    pub fn learn(&mut self, peer: KeyId, addresses: impl IntoIterator<Item = String>, is_named: bool) {
        if !self.0.contains_key(&peer) && self.0.len() >= MOST {
            // What a record says can be learned again.
            let Some(out) = self.0.iter().find(|(_, contact)| !contact.is_named).map(|(peer, _)| *peer) else { return };
            self.0.remove(&out);
        }
        let contact = self.0.entry(peer).or_default();
        contact.is_named |= is_named;
        for address in addresses {
            if !contact.addresses.contains(&address) {
                // The latest one first.
                contact.addresses.insert(0, address);
                contact.addresses.truncate(ADDRESSES);
                contact.next = 0;
            }
        }
    }

    /// It was seen nearby: worth a call at once.
    pub fn seen(&mut self, peer: KeyId) {
        self.learn(peer, [], true);
        if let Some(contact) = self.0.get_mut(&peer) {
            // One that refused or did not answer before keeps its time.
            if contact.failures == 0 {
                contact.next = 0;
            }
        }
    }

    pub fn forget(&mut self, peer: &KeyId) {
        self.0.remove(peer);
    }

    #[must_use]
    pub fn is_named(&self, peer: &KeyId) -> bool {
        self.0.get(peer).is_some_and(|contact| contact.is_named)
    }

    /// A call came to something: both belong together.
    pub fn reached(&mut self, peer: &KeyId) {
        if let Some(contact) = self.0.get_mut(peer) {
            contact.failures = 0;
        }
    }

    /// Puts the next call of a node off: the longer, the more often it has failed, and by another time at each node.
    pub fn put_off(&mut self, me: &KeyId, peer: &KeyId, now: Millis) {
        let Some(contact) = self.0.get_mut(peer) else { return };
        let wait = (RETRY[0] << contact.failures.min(16)).min(RETRY[1]);
        contact.failures = contact.failures.saturating_add(1);
        let seed = Sha256::of(&[&me.0[..], &peer.0, &contact.failures.to_be_bytes()].concat()).0;
        let jitter = u64::from(u16::from_be_bytes([seed[0], seed[1]])) * wait / 65_536;
        contact.next = now + wait / 2 + jitter;
    }

    /// Up to `count` nodes to be called now, of those that `wanted` takes: named ones first, in an order that differs from node to
    /// node.
    pub fn due(
        &mut self,
        me: &KeyId,
        now: Millis,
        count: usize,
        linked: &BTreeSet<KeyId>,
        wanted: impl Fn(&KeyId) -> bool,
    ) -> Vec<(KeyId, Vec<String>)> {
        let mut due: Vec<KeyId> = self
            .0
            .iter()
            .filter(|(peer, contact)| contact.next <= now && *peer != me && !linked.contains(peer))
            .filter(|(peer, contact)| contact.is_named || wanted(peer))
            .map(|(peer, _)| *peer)
            .collect();
        due.sort_by_key(|peer| {
            let place = Sha256::of(&[&me.0[..], &peer.0].concat());
            (!self.is_named(peer), self.0.get(peer).map_or(0, |contact| contact.failures), place)
        });
        due.truncate(count);
        due.into_iter()
            .map(|peer| {
                self.put_off(me, &peer, now);
                let addresses = self.0.get(&peer).map(|contact| contact.addresses.clone()).unwrap_or_default();
                (peer, addresses)
            })
            .collect()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn who_does_not_answer_is_called_less_and_less_often() {
        let (me, peer) = (KeyId([1; 32]), KeyId([2; 32]));
        let mut contacts = Contacts::default();
        contacts.learn(peer, ["192.0.2.1:1".to_owned()], false);
        let none = BTreeSet::new();
        assert!(contacts.due(&me, 0, 8, &none, |_| false).is_empty(), "no record names it");
        let mut calls = Vec::new();
        for now in (0..3_600_000).step_by(500) {
            if !contacts.due(&me, now, 8, &none, |_| true).is_empty() {
                calls.push(now);
            }
        }
        assert!((10..40).contains(&calls.len()), "{calls:?}");
        assert!(calls[1] < 5_000, "{calls:?}");
        contacts.reached(&peer);
        assert!(contacts.due(&me, u64::MAX, 8, &BTreeSet::from([peer]), |_| true).is_empty(), "it is linked");
    }

    #[test]
    fn there_is_an_end_to_what_is_remembered() {
        let mut contacts = Contacts::default();
        let id = |n: u32| KeyId(Sha256::of(&n.to_be_bytes()).0);
        contacts.learn(id(0), (0..100).map(|port| format!("192.0.2.1:{port}")), true);
        (1..3000).for_each(|n| contacts.learn(id(n), [], false));
        assert!(contacts.is_named(&id(0)) && contacts.0.len() == MOST);
        assert_eq!(contacts.0[&id(0)].addresses.len(), ADDRESSES);
        assert_eq!(contacts.0[&id(0)].addresses[0], "192.0.2.1:99");
    }
}
