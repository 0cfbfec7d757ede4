//! How much there is of what is bounded. What stops others, or makes room, has room of its own; and operators of a part of the
//! fleet share three quarters of each room, of which none has more than a quarter: they cannot keep others out.

use std::collections::BTreeMap;

use crate::class::{Class, Signers};
use crate::id::KeyId;
use crate::limits;
use crate::record::Record;
use crate::trust::Refused;

/// What is counted, and how much of it there may be.
const ROOMS: [(&str, usize); 5] = [
    ("revocations", limits::REVOCATIONS),
    ("recalls, halts and floors", limits::STOPS),
    ("members and invites", limits::MEMBERS),
    ("records of operators", limits::OPERATOR_RECORDS),
    ("bytes of records of operators", limits::OPERATOR_BYTES),
];

type Amounts = [usize; ROOMS.len()];

#[derive(Clone, PartialEq, Eq, Debug, Default)]
pub(crate) struct Counts {
    all: Amounts,
    /// Of operators of a part of the fleet: together, and each.
    parts: Amounts,
    each: BTreeMap<KeyId, Amounts>,
}

/// What a record takes of each room.
fn amounts(record: &Record) -> Amounts {
    match record.class() {
        Class::Revocation => [1, 0, 0, 0, 0],
        Class::Recall | Class::Halt | Class::Floor => [0, 1, 0, 0, 0],
        Class::Member | Class::Invite => [0, 0, 1, 0, 0],
        class if class.signers() == Signers::Node => [0; ROOMS.len()],
        _ => [0, 0, 0, 1, record.encode().len()],
    }
}

impl Counts {
    fn change(&mut self, record: &Record, owner: Option<KeyId>, by: impl Fn(usize, usize) -> usize) {
        let amounts = amounts(record);
        let add = |to: &mut Amounts| to.iter_mut().zip(amounts).for_each(|(count, amount)| *count = by(*count, amount));
        add(&mut self.all);
        if let Some(owner) = owner {
            add(&mut self.parts);
            add(self.each.entry(owner).or_default());
        }
    }

    pub(crate) fn add(&mut self, record: &Record, owner: Option<KeyId>) {
        self.change(record, owner, usize::saturating_add);
    }

    pub(crate) fn take(&mut self, record: &Record, owner: Option<KeyId>) {
        self.change(record, owner, usize::saturating_sub);
    }

    /// Whether there is room for all that was counted, of which `owner` has signed the last record.
    pub(crate) fn check(&self, owner: Option<KeyId>) -> Result<(), Refused> {
        for (at, (what, limit)) in ROOMS.into_iter().enumerate() {
            if self.all[at] > limit {
                return Err(Refused::Full { what, limit });
            }
            let Some(owner) = owner else { continue };
            let full = |who, limit| Err(Refused::FullPart { what, limit, who });
            if self.each.get(&owner).is_some_and(|each| each[at] > limit / 4) {
                return full("this operator", limit / 4);
            }
            if self.parts[at] > limit / 4 * 3 {
                return full("operators of parts of the fleet", limit / 4 * 3);
            }
        }
        Ok(())
    }
}
