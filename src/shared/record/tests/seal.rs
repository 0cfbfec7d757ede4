//! Secrets open for the nodes that they are for, in the place that they are for.

use crate::fleet::*;
use fruit_base::hex;
use fruit_record::body::{Body, Config, Secret};
use fruit_record::seal::{SealError, open, seal};
use fruit_record::{Class, Draft, FleetId, Head, Key};
use hpke::rand_core::{TryCryptoRng, TryRng};

/// Not random: what is sealed in tests is the same each time.
struct Counter(u8);

impl TryRng for Counter {
    type Error = std::convert::Infallible;

    fn try_next_u32(&mut self) -> Result<u32, Self::Error> {
        let mut bytes = [0; 4];
        self.try_fill_bytes(&mut bytes)?;
        Ok(u32::from_le_bytes(bytes))
    }

    fn try_next_u64(&mut self) -> Result<u64, Self::Error> {
        let mut bytes = [0; 8];
        self.try_fill_bytes(&mut bytes)?;
        Ok(u64::from_le_bytes(bytes))
    }

    fn try_fill_bytes(&mut self, bytes: &mut [u8]) -> Result<(), Self::Error> {
        for byte in bytes {
            self.0 = self.0.wrapping_add(1);
            *byte = self.0;
        }
        Ok(())
    }
}

impl TryCryptoRng for Counter {}

const FLEET: FleetId = FleetId([3; 32]);

fn record(text: &str, domain: &str) -> Key {
    Key { class: Class::Config, name: name(text), domain: labels(domain) }
}

fn sealed() -> Secret {
    seal(&FLEET, &record("wifi", ""), "network.wifi.password", b"open sesame", [id(31), id(30)], &mut Counter(0))
        .unwrap()
}

#[test]
fn a_secret_opens_for_its_nodes_only() {
    let secret = sealed();
    for node in [30, 31] {
        assert_eq!(open(&FLEET, &record("wifi", ""), &secret, &key(node)).unwrap().as_slice(), b"open sesame");
    }
    assert_eq!(open(&FLEET, &record("wifi", ""), &secret, &key(32)), Err(SealError::NotForThis));
    // Nor for a node in whose name somebody else's part stands.
    let mut swapped = secret.clone();
    swapped.sealed[0].1 = secret.sealed[1].1.clone();
    let node = [30, 31].into_iter().find(|node| id(*node) == secret.sealed[0].0).unwrap();
    assert_eq!(open(&FLEET, &record("wifi", ""), &swapped, &key(node)), Err(SealError::Opened));
}

#[test]
fn a_secret_opens_in_its_place_only() {
    let secret = sealed();
    let node = key(30);
    assert_eq!(open(&FleetId([4; 32]), &record("wifi", ""), &secret, &node), Err(SealError::Opened));
    assert_eq!(open(&FLEET, &record("wlan", ""), &secret, &node), Err(SealError::Opened));
    // Nor in a record of the same name that somebody may sign for one site.
    assert_eq!(open(&FLEET, &record("wifi", "site=berlin"), &secret, &node), Err(SealError::Opened));
    let moved = Secret { path: "hostname".into(), ..secret.clone() };
    assert_eq!(open(&FLEET, &record("wifi", ""), &moved, &node), Err(SealError::Opened));
    let at = secret.sealed.iter().position(|(to, _)| *to == id(30)).unwrap();
    for byte in 0..secret.sealed[at].1.len() {
        let mut bad = secret.clone();
        bad.sealed[at].1[byte] ^= 1;
        // X25519 ignores the highest bit of a public key; HPKE takes the key as it stands into what it derives.
        assert_eq!(open(&FLEET, &record("wifi", ""), &bad, &node), Err(SealError::Opened), "byte {byte}");
        bad.sealed[at].1.truncate(byte);
        assert!(open(&FLEET, &record("wifi", ""), &bad, &node).is_err(), "{byte} bytes");
    }
}

#[test]
fn a_sealed_secret_fits_into_a_record() {
    let config = Config { nodes: selector("all"), rank: 1, settings: Vec::new(), secrets: vec![sealed()] };
    assert!(Draft::new(Head::first(name("wifi")), Body::Config(config)).is_ok());
    let long = vec![0; 513];
    assert_eq!(seal(&FLEET, &record("w", ""), "p", &long, [id(30)], &mut Counter(0)), Err(SealError::TooMuch));
    let bad = fruit_record::KeyId([2; 32]);
    assert_eq!(seal(&FLEET, &record("w", ""), "p", b"", [bad], &mut Counter(0)), Err(SealError::Key(bad)));
}

/// What was sealed once opens for ever.
#[test]
fn what_was_sealed_by_this_version_opens() {
    let text = include_str!("golden/sealed.txt").trim();
    let secret = sealed();
    let mine = secret.sealed.iter().find(|(to, _)| *to == id(30)).unwrap().1.clone();
    assert_eq!(hex::encode(&mine), text);
    let golden = Secret { sealed: vec![(id(30), hex::decode(text).unwrap())], ..secret };
    assert_eq!(open(&FLEET, &record("wifi", ""), &golden, &key(30)).unwrap().as_slice(), b"open sesame");
}
