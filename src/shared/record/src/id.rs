//! Names that are keys or hashes: 32 bytes, 64 hexadecimal digits as text.

use std::fmt;

use ed25519_dalek::VerifyingKey;
use fruit_base::{Sha256, hex};

use crate::wire::{Malformed, Reader};

macro_rules! id {
    ($(#[$doc:meta])* $name:ident) => {
        $(#[$doc])*
        #[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
        pub struct $name(pub [u8; 32]);

        impl $name {
            /// # Errors
            /// Fewer than 32 bytes are left.
            pub fn read(reader: &mut Reader<'_>) -> Result<$name, Malformed> {
                reader.array(stringify!($name)).map($name)
            }

            /// The first 12 digits, for tables.
            #[must_use]
            pub fn short(&self) -> String {
                hex::encode(&self.0[..6])
            }

            /// Of 64 digits.
            #[must_use]
            pub fn parse(text: &str) -> Option<$name> {
                hex::decode_array(text).map($name)
            }
        }

        impl fmt::Display for $name {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                fmt::Display::fmt(&hex::Hex(&self.0), f)
            }
        }

        impl fmt::Debug for $name {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                fmt::Display::fmt(&hex::Hex(&self.0), f)
            }
        }
    };
}

id! {
    /// A public ed25519 key: of a node, whose name it is, of an operator, of an invite, or a root key.
    KeyId
}
id! {
    /// A fleet: the hash of its first charter.
    FleetId
}
id! {
    /// What is signed of a record. Two with the same hash say the same, whoever has signed them.
    RecordHash
}

impl KeyId {
    /// The key that it stands for; `None` for bytes that are no point of the curve, or one under which a signature fits many
    /// messages.
    #[must_use]
    pub fn key(&self) -> Option<VerifyingKey> {
        VerifyingKey::from_bytes(&self.0).ok().filter(|key| !key.is_weak())
    }
}

impl From<VerifyingKey> for KeyId {
    fn from(key: VerifyingKey) -> KeyId {
        KeyId(key.to_bytes())
    }
}

impl FleetId {
    /// The fleet whose first charter this is, by what is signed of it.
    #[must_use]
    pub fn of(signed: &[u8]) -> FleetId {
        FleetId(Sha256::of(&[b"fruit fleet 1\n", signed].concat()).0)
    }
}

impl RecordHash {
    #[must_use]
    pub fn of(signed: &[u8]) -> RecordHash {
        RecordHash(Sha256::of(&[b"fruit record hash 1\n", signed].concat()).0)
    }
}
