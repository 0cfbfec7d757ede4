//! What takes trust away.

use fruit_base::Sha256;

use crate::id::RecordHash;
use crate::limits::{ENTRIES, NAME, TEXT};
use crate::selector::Selector;
use crate::wire::{Content, FieldWriter, Fields, Malformed, ascending};

/// Hashes that fit into a floor itself.
const INLINE: usize = 120;

/// A node or an invite that counts no longer; the record's key is the one that is revoked. There is no way back: a node that
/// is to return gets a new key. It counts for members that have the labels of its domain.
#[derive(Clone, PartialEq, Eq, Debug, Default)]
pub struct Revocation {
    pub reason: String,
}

/// Versions of a product that every node has to leave.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Recall {
    pub nodes: Selector,
    pub product: String,
    /// Ascending.
    pub versions: Vec<String>,
    /// What they are to run: the SHA-256 of a release's manifest.
    pub to: Sha256,
    pub reason: String,
}

/// A plan that must not go on; the record's name is the plan's.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Halt {
    pub nodes: Selector,
    /// Of the plan that is meant: a later one by the same name is another.
    pub nonce: [u8; 16],
    pub reason: String,
}

/// Which records of a class count that were written before this floor: the record's name is the class, its version is the
/// epoch that begins.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Floor {
    pub named: Named,
}

/// Records that a floor keeps.
#[derive(Clone, PartialEq, Eq, Debug)]
pub enum Named {
    /// Ascending.
    Inline(Vec<RecordHash>),
    /// In a blob with this SHA-256, 32 bytes each, ascending.
    Blob(Sha256),
}

impl Named {
    /// The blob that has the hashes, if one has.
    #[must_use]
    pub fn blob(&self) -> Option<Sha256> {
        match self {
            Named::Inline(_) => None,
            Named::Blob(digest) => Some(*digest),
        }
    }

    /// The hashes, from the blob if they are in one.
    ///
    /// # Errors
    /// A blob that is another, or is none of hashes in order.
    pub fn hashes(&self, blob: &[u8]) -> Result<Vec<RecordHash>, Malformed> {
        let what = "the floor's blob";
        match self {
            Named::Inline(hashes) => Ok(hashes.clone()),
            Named::Blob(digest) if Sha256::of(blob) != *digest => {
                Err(Malformed::Value { what, why: "it has another SHA-256" })
            }
            Named::Blob(_) => {
                let (hashes, rest) = blob.as_chunks::<32>();
                let hashes: Vec<RecordHash> = hashes.iter().copied().map(RecordHash).collect();
                ascending(&hashes, what)?;
                if rest.is_empty() { Ok(hashes) } else { Err(Malformed::Trailing { what, bytes: rest.len() }) }
            }
        }
    }
}

impl Content for Revocation {
    const WHAT: &'static str = "the revocation";

    fn write(&self, fields: &mut FieldWriter) {
        fields.raw(1, self.reason.as_bytes());
    }

    fn read(fields: &mut Fields<'_>) -> Result<Revocation, Malformed> {
        Ok(Revocation { reason: fields.text(1, TEXT, "the reason")? })
    }
}

impl Content for Recall {
    const WHAT: &'static str = "the recall";

    fn write(&self, fields: &mut FieldWriter) {
        fields.field(1, |w| self.nodes.write(w));
        fields.raw(2, self.product.as_bytes());
        fields.list(3, &self.versions, |w, version| w.bytes(version.as_bytes()));
        fields.raw(4, &self.to.0);
        fields.raw(5, self.reason.as_bytes());
    }

    fn read(fields: &mut Fields<'_>) -> Result<Recall, Malformed> {
        let recall = Recall {
            nodes: fields.required(1, "the nodes", Selector::read)?,
            product: fields.text(2, NAME, "the product")?,
            versions: fields.list(3, ENTRIES, "the versions", |r| r.text(NAME, "a version"))?,
            to: Sha256(fields.required(4, "the release to go to", |r| r.array("the release to go to"))?),
            reason: fields.text(5, TEXT, "the reason")?,
        };
        ascending(&recall.versions, "the versions")?;
        if recall.product.is_empty() || recall.versions.is_empty() {
            return Err(Malformed::Missing { what: "what is recalled" });
        }
        Ok(recall)
    }
}

impl Content for Halt {
    const WHAT: &'static str = "the halt";

    fn write(&self, fields: &mut FieldWriter) {
        fields.field(1, |w| self.nodes.write(w));
        fields.raw(2, &self.nonce);
        fields.raw(3, self.reason.as_bytes());
    }

    fn read(fields: &mut Fields<'_>) -> Result<Halt, Malformed> {
        Ok(Halt {
            nodes: fields.required(1, "the nodes", Selector::read)?,
            nonce: fields.required(2, "the plan's nonce", |r| r.array("the plan's nonce"))?,
            reason: fields.text(3, TEXT, "the reason")?,
        })
    }
}

impl Content for Floor {
    const WHAT: &'static str = "the floor";

    fn write(&self, fields: &mut FieldWriter) {
        match &self.named {
            Named::Inline(hashes) => fields.list(1, hashes, |w, hash| w.raw(&hash.0)),
            Named::Blob(digest) => fields.raw(2, &digest.0),
        }
    }

    fn read(fields: &mut Fields<'_>) -> Result<Floor, Malformed> {
        let here = fields.list(1, INLINE, "the records that are kept", RecordHash::read)?;
        ascending(&here, "the records that are kept")?;
        let blob = fields.optional(2, "the blob", |r| r.array("the blob"))?;
        match (here.is_empty(), blob) {
            (_, None) => Ok(Floor { named: Named::Inline(here) }),
            (true, Some(digest)) => Ok(Floor { named: Named::Blob(Sha256(digest)) }),
            (false, Some(_)) => Err(Malformed::Value { what: "the floor", why: "it has both hashes and a blob" }),
        }
    }
}
