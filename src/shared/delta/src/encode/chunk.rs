//! From stretches to the patch of a chunk.

use crate::patch::{FORMAT, Kind, Model, Op, stored};
use crate::range::Encoder;

use super::suffix::common;

/// New bytes of a volume, and where they come from.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Span {
    pub new_at: u64,
    pub len: u64,
    /// Volume and place of the old bytes.
    pub old: Option<(usize, u64)>,
}

/// Equal bytes from which on a copy is worth an operation of its own, for the sake of the node's time.
const SAME: usize = 4096;
/// Shortest repetition within a chunk that is worth an operation.
const AGAIN: usize = 20;

/// Shortest run of literals of which it is asked whether they are noise.
const STORE: usize = 512;

/// The patch that makes `new` from `spans`, whose old bytes are in `old`, span after span, in one buffer as long as
/// `new`.
pub fn patch(spans: &[Span], old: &[u8], new: &[u8]) -> Vec<u8> {
    let mut ops = Vec::new();
    // One for the whole chunk: filling a table anew for each stretch takes the square of the time.
    let mut seen = Seen::new(new);
    let mut at = 0;
    for span in spans {
        let len = span.len as usize;
        match span.old {
            Some((volume, place)) => copies(&mut ops, volume, place, &old[at..at + len], &new[at..at + len]),
            None => literals(&mut ops, &mut seen, at, len),
        }
        at += len;
    }
    store(&mut ops, new);
    write(&ops, old, new)
}

/// Literals that are compressed already are not modelled: for the node's time.
fn store(ops: &mut [Op], new: &[u8]) {
    let mut at = 0;
    for op in ops {
        let bytes = &new[at..at + op.len as usize];
        let noise = || zstd::bulk::compress(bytes, 1).is_ok_and(|packed| packed.len() >= bytes.len() / 64 * 63);
        if op.kind == Kind::Literal && bytes.len() >= STORE && noise() {
            op.kind = Kind::Stored;
        }
        at += op.len as usize;
    }
}

fn push_copy(ops: &mut Vec<Op>, kind: Kind, volume: usize, place: u64, len: usize) {
    if len > 0 {
        ops.push(Op { kind, len: len as u64, volume: volume as u32, place: place as i64 });
    }
}

/// Splits a copy into parts with and without differences.
fn copies(ops: &mut Vec<Op>, volume: usize, place: u64, old: &[u8], new: &[u8]) {
    let (mut start, mut i) = (0, 0);
    while i < new.len() {
        let same = common(&old[i..], &new[i..]);
        if same >= SAME || (same == new.len() && same > 0) {
            push_copy(ops, Kind::Similar, volume, place + start as u64, i - start);
            push_copy(ops, Kind::Same, volume, place + i as u64, same);
            start = i + same;
        }
        i += same + 1;
    }
    if start < new.len() {
        push_copy(ops, Kind::Similar, volume, place + start as u64, new.len() - start);
    }
}

/// Splits bytes from nowhere into those that are in the chunk before, and those that are not.
fn literals(ops: &mut Vec<Op>, seen: &mut Seen<'_>, at: usize, len: usize) {
    let end = at + len;
    let (mut start, mut i) = (at, at);
    while i < end {
        match seen.longest(i, end) {
            Some((from, found)) if found >= AGAIN => {
                if start < i {
                    ops.push(Op { kind: Kind::Literal, len: (i - start) as u64, volume: 0, place: 0 });
                }
                ops.push(Op { kind: Kind::Again, len: found as u64, volume: 0, place: (i - from) as i64 });
                i += found;
                start = i;
            }
            _ => i += 1,
        }
    }
    if start < end {
        ops.push(Op { kind: Kind::Literal, len: (end - start) as u64, volume: 0, place: 0 });
    }
}

/// Where the bytes of a chunk were seen before.
struct Seen<'n> {
    new: &'n [u8],
    places: Vec<u32>,
    filled: usize,
}

impl<'n> Seen<'n> {
    fn new(new: &'n [u8]) -> Seen<'n> {
        Seen { new, places: vec![u32::MAX; 1 << 16], filled: 0 }
    }

    fn slot(&self, at: usize) -> Option<usize> {
        let bytes = self.new.get(at..)?.first_chunk::<8>()?;
        Some((u64::from_le_bytes(*bytes).wrapping_mul(0x9E37_79B9_7F4A_7C15) >> 48) as usize)
    }

    fn longest(&mut self, at: usize, end: usize) -> Option<(usize, usize)> {
        while self.filled < at {
            if let Some(slot) = self.slot(self.filled) {
                self.places[slot] = self.filled as u32;
            }
            self.filled += 1;
        }
        let from = self.places[self.slot(at)?];
        (from != u32::MAX).then(|| (from as usize, common(&self.new[from as usize..], &self.new[at..end])))
    }
}

/// Writes operations as a patch.
pub fn write(ops: &[Op], old: &[u8], new: &[u8]) -> Vec<u8> {
    let mut encoder = Encoder::new();
    let mut model = Model::new();
    let mut scratch = new.to_vec();
    let mut at = 0;
    for op in ops {
        let len = op.len as usize;
        model.header(&mut encoder, Some(op), at);
        match op.kind {
            Kind::Literal => model.literal(&mut encoder, &mut scratch, at, len),
            Kind::Similar => {
                let mut buf = old[at..at + len].to_vec();
                model.similar(&mut encoder, &mut buf, Some(&new[at..at + len]), op.place as u64, at as u64);
            }
            Kind::Stored => stored(&mut encoder, &mut scratch[at..at + len]),
            Kind::Same | Kind::Again => {}
        }
        at += len;
    }
    let (stream, trimmed) = encoder.finish();
    let mut patch = Vec::with_capacity(stream.len() + 1);
    patch.push(FORMAT << 4 | trimmed as u8);
    patch.extend(stream);
    patch
}
