//! What an operator should know before nodes learn it: releases that cards have no room for, that carry no updater, and a
//! list of releases that is nearly full.

use std::collections::BTreeSet;

use fruit_contract::update::files::PROGRAM_PATH;
use fruit_progress::Progress;
use fruit_release::keys::KeyError;
use fruit_release::manifest::{SlotSizes, VolumeKind};
use fruit_release::tuf::limits;

use super::reference::VerifiedRepository;
use super::slot::{Identity, Slot};
use crate::error::Error;
use crate::signing::SigningSession;

/// Bytes of a target in the list of releases, generously.
const TARGET_BYTES: usize = 1000;

/// Says what is odd about publishing `slot` beside what is on the `verified`, or coded against `olds`.
///
/// # Errors
/// Verity parameters that are none.
pub fn about(
    slot: &Slot,
    verified: Option<&VerifiedRepository>,
    olds: &[&Identity],
    progress: &dyn Progress,
) -> Result<(), Error> {
    let name = format!("{} {} for {}", slot.identity.product, slot.identity.version, slot.identity.board);
    if !has_updater(slot) {
        progress.say(&format!(
            "warning: {name} carries no updater (its recipe has no `update:` section): nodes that install it cannot be \
             updated any more"
        ));
    }
    let same = |other: &Identity| {
        (&other.product, &other.board) == (&slot.identity.product, &slot.identity.board)
            && other.build_id != slot.identity.build_id
    };
    let published = verified.into_iter().flat_map(|verified| &verified.releases).map(Identity::of);
    let others = published.chain(olds.iter().map(|old| (*old).clone())).filter(|other| same(other));
    let needs = needs(slot)?;
    let mut small: BTreeSet<(String, &str, u64)> = BTreeSet::new();
    for other in others {
        let Some(has) = other.slot_sizes else { continue };
        for (key, needs, has) in [("root", needs.root, has.root), ("boot", needs.boot, has.boot)] {
            if needs > has {
                small.insert((other.version.clone(), key, has));
            }
        }
    }
    for (version, key, has) in small {
        let needs = if key == "root" { needs.root } else { needs.boot };
        progress.say(&format!(
            "warning: {name} does not fit cards that were made with {version}: its {key} needs {} MiB and the slots there \
             have {}. Those nodes cannot install it; their cards have to be written anew. Slots get room, before the first \
             cards are made, with `partitions: {{{key}: {}M}}` in the recipe",
            needs.div_ceil(1 << 20),
            has >> 20,
            (needs * 2).next_multiple_of(16 << 20) >> 20
        ));
    }
    Ok(())
}

/// What a slot's partitions must have room for.
fn needs(slot: &Slot) -> Result<SlotSizes, Error> {
    let root = slot.part(VolumeKind::Root).extent.len;
    // With the hash tree, which is made on the node.
    let root = fruit_image::verity::total_len(root).map_err(|error| Error::other(error.to_string()))?;
    Ok(SlotSizes { root, boot: slot.part(VolumeKind::Boot).extent.len })
}

fn has_updater(slot: &Slot) -> bool {
    let program = PROGRAM_PATH.trim_start_matches('/');
    let files = &slot.part(VolumeKind::Root).files;
    slot.identity.updater.unwrap_or_else(|| files.iter().any(|(path, _)| path == program))
}

/// Refuses, before anything is made, what the list of releases has no room for, and warns when that is near.
///
/// # Errors
/// [`Error::Refused`], with the remedy.
pub fn about_room(session: &SigningSession, adding: usize, progress: &dyn Progress) -> Result<(), Error> {
    let (count, bytes) = session.repository.targets_size()?;
    let (count, bytes) = (count + adding, bytes + adding * TARGET_BYTES);
    let remedy = "take old ones out with: fruitbuild prune --keep N";
    if count > limits::TARGET_COUNT || bytes > limits::TARGETS {
        let full = KeyError::TooManyTargets { count, bytes };
        return Err(Error::refused(format!("{full}. Nothing was published; {remedy}")));
    }
    if count > limits::TARGET_COUNT * 8 / 10 || bytes > limits::TARGETS * 8 / 10 {
        progress.say(&format!(
            "warning: the list of releases has {count} of {} targets, in {} of {} KiB (a release is one, and so is each \
             delta); {remedy}",
            limits::TARGET_COUNT,
            bytes >> 10,
            limits::TARGETS >> 10
        ));
    }
    Ok(())
}
