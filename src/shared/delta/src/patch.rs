//! The patch of one chunk: its format, and how it is applied.
//!
//! ```text
//!   byte 0      format (1) << 4 | zero bytes at the end that are left out (0 to 8)
//!   byte 1..    one arithmetic-coded stream (range.rs) of operations until the chunk is full
//!
//!   operation   kind, length - 1, then
//!     Literal   that many bytes (literal.rs), or as they are
//!     Similar   a place in an old volume; words and bytes that are predicted from those there (words.rs)
//!     Same      a place in an old volume; the bytes there
//!     Again     a distance back in this chunk; the bytes there
//! ```
//! A patch declares nothing that is trusted. The chunk's length comes from the caller; memory is a constant; every
//! operation makes at least one byte; places are checked against the volumes' lengths.

use std::io;

use crate::literal::Literals;
use crate::mix::{Number, Opinion};
use crate::range::{Coder, Decoder, MAX_TRIMMED};
use crate::words::{GROUP, Words};
use fruit_base::storage::ReadAt;

/// The format's number, in the high half of a patch's first byte.
pub const FORMAT: u8 = 1;
/// Most old volumes that a patch may refer to.
pub const MAX_VOLUMES: usize = 4;

/// An old volume to copy from.
#[derive(Clone, Copy)]
pub struct OldVolume<'a> {
    pub data: &'a dyn ReadAt,
    /// Bytes. Nothing behind is read.
    pub len: u64,
}

/// Why a patch cannot be applied.
#[derive(Debug, thiserror::Error)]
pub enum PatchError {
    #[error("the patch is empty")]
    Empty,
    #[error("a patch of format {0}, expected {FORMAT}")]
    Format(u8),
    #[error("the patch leaves out {0} zero bytes, at most {MAX_TRIMMED} are possible")]
    Trimmed(usize),
    #[error("the patch was cut off: {has} bytes, its operations take {takes}")]
    Truncated { has: usize, takes: usize },
    #[error("{0} bytes behind the end of the patch")]
    Trailing(usize),
    #[error("an operation of {len} bytes at byte {at} goes beyond the chunk's {chunk} bytes")]
    Length { at: usize, len: u64, chunk: usize },
    #[error("a copy from volume {0}, which is not there")]
    Volume(u32),
    #[error("a copy of {len} bytes from byte {at} of volume {volume}, which has {has}")]
    Place { volume: u32, at: i64, len: usize, has: u64 },
    #[error("byte {at} of the chunk is copied from {distance} bytes before, which is before its start")]
    Distance { at: usize, distance: u64 },
    #[error("reading volume {volume} at byte {at}: {source}")]
    Read { volume: u32, at: u64, source: io::Error },
}

/// Makes `out`, a chunk of the new volume, from the old volumes.
///
/// # Errors
/// Anything but a whole and consistent patch for a chunk of this length. That the bytes are the right ones is for the
/// caller to check, by the chunk's hash; `out` holds anything after an error.
pub fn apply(patch: &[u8], old: &[OldVolume<'_>], out: &mut [u8]) -> Result<(), PatchError> {
    let (&head, stream) = patch.split_first().ok_or(PatchError::Empty)?;
    if head >> 4 != FORMAT {
        return Err(PatchError::Format(head >> 4));
    }
    let trimmed = usize::from(head & 15);
    if trimmed > MAX_TRIMMED {
        return Err(PatchError::Trimmed(trimmed));
    }
    let available = stream.len() + trimmed;
    let mut decoder = Decoder::new(stream);
    let mut model = Model::new();
    let mut at = 0;
    while at < out.len() {
        let op = model.header(&mut decoder, None, at);
        let len = usize::try_from(op.len).ok().filter(|len| *len <= out.len() - at);
        let len = len.ok_or(PatchError::Length { at, len: op.len, chunk: out.len() })?;
        match op.kind {
            Kind::Literal => model.literal(&mut decoder, out, at, len),
            Kind::Stored => stored(&mut decoder, &mut out[at..at + len]),
            Kind::Similar | Kind::Same => {
                let place = read_old(old, &op, &mut out[at..at + len])?;
                if op.kind == Kind::Similar {
                    model.similar(&mut decoder, &mut out[at..at + len], None, place, at as u64);
                }
            }
            Kind::Again => {
                let distance = usize::try_from(op.place).ok().filter(|d| (1..=at).contains(d));
                let distance = distance.ok_or(PatchError::Distance { at, distance: op.place as u64 })?;
                again(out, at, distance, len);
            }
        }
        at += len;
        if decoder.taken() > available {
            return Err(PatchError::Truncated { has: patch.len(), takes: 1 + decoder.taken() });
        }
    }
    match available.checked_sub(decoder.taken()) {
        Some(0) => Ok(()),
        Some(rest) => Err(PatchError::Trailing(rest)),
        None => Err(PatchError::Truncated { has: patch.len(), takes: 1 + decoder.taken() }),
    }
}

/// Reads what an operation copies, and says where that was.
fn read_old(old: &[OldVolume<'_>], op: &Op, buf: &mut [u8]) -> Result<u64, PatchError> {
    let volume = old.get(op.volume as usize).ok_or(PatchError::Volume(op.volume))?;
    let outside = || PatchError::Place { volume: op.volume, at: op.place, len: buf.len(), has: volume.len };
    let place = u64::try_from(op.place).map_err(|_| outside())?;
    if place.checked_add(buf.len() as u64).is_none_or(|end| end > volume.len) {
        return Err(outside());
    }
    volume.data.read_exact_at(buf, place).map_err(|source| PatchError::Read {
        volume: op.volume,
        at: place,
        source,
    })?;
    Ok(place)
}

/// Repeats what is `distance` before; the two may overlap.
fn again(out: &mut [u8], at: usize, distance: usize, len: usize) {
    if distance >= len {
        out.copy_within(at - distance..at - distance + len, at);
        return;
    }
    for i in at..at + len {
        out[i] = out[i - distance];
    }
}

/// Codes bytes of which nothing is known.
pub fn stored<C: Coder>(coder: &mut C, bytes: &mut [u8]) {
    for pair in bytes.chunks_mut(2) {
        match <&mut [u8; 2]>::try_from(&mut *pair) {
            Ok(pair) => *pair = coder.even(u16::from_le_bytes(*pair)).to_le_bytes(),
            Err(_) => pair.fill(coder.raw(pair[0].into(), 8) as u8),
        }
    }
}

/// What an operation does.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Kind {
    Literal,
    Similar,
    Same,
    Again,
    Stored,
}

impl Kind {
    /// Those with a number of their own; [`Kind::Stored`] is a form of the first.
    const NUMBERED: [Kind; 4] = [Kind::Literal, Kind::Similar, Kind::Same, Kind::Again];
}

/// An operation as it is written: lengths and places that nobody has checked yet.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Op {
    pub kind: Kind,
    /// Bytes, at least 1.
    pub len: u64,
    pub volume: u32,
    /// In the old volume; or the distance, of [`Kind::Again`].
    pub place: i64,
}

/// How many of the last distances between old and new place are remembered.
const DIAGONALS: usize = 4;

/// Everything that learns while a chunk is coded. The same for both directions.
pub struct Model {
    kinds: [[Opinion; 4]; 8],
    last_kinds: usize,
    stored: Opinion,
    lengths: [Number; 5],
    /// Old place less new place, of the last copies, newest first.
    diagonals: [(u32, i64); DIAGONALS],
    which: [Opinion; DIAGONALS],
    signs: Opinion,
    volumes: [Opinion; 4],
    moves: Number,
    far: Opinion,
    distances: Number,
    literals: Literals,
    words: Words,
}

impl Model {
    pub fn new() -> Model {
        Model {
            kinds: [[Opinion::NEW; 4]; 8],
            last_kinds: 0,
            stored: Opinion::NEW,
            lengths: std::array::from_fn(|_| Number::new()),
            diagonals: [(0, 0); DIAGONALS],
            which: [Opinion::NEW; DIAGONALS],
            signs: Opinion::NEW,
            volumes: [Opinion::NEW; 4],
            moves: Number::new(),
            far: Opinion::NEW,
            distances: Number::new(),
            literals: Literals::new(),
            words: Words::new(),
        }
    }

    /// Codes the operation for the chunk's bytes from `at` on, without its bytes.
    pub fn header<C: Coder>(&mut self, coder: &mut C, op: Option<&Op>, at: usize) -> Op {
        let none = Op { kind: Kind::Literal, len: 1, volume: 0, place: 0 };
        let op = op.unwrap_or(&none);
        let context = &mut self.kinds[self.last_kinds];
        let number = if op.kind == Kind::Stored { 0 } else { op.kind as usize };
        let high = context[1].code(coder, number >> 1 == 1);
        let low = context[2 + usize::from(high)].code(coder, number & 1 == 1);
        let mut kind = Kind::NUMBERED[usize::from(high) << 1 | usize::from(low)];
        self.last_kinds = kind as usize;
        if kind == Kind::Literal && self.stored.code(coder, op.kind == Kind::Stored) {
            kind = Kind::Stored;
        }
        let len = self.lengths[kind as usize].code(coder, (op.len.wrapping_sub(1)) as u32);
        let mut got = Op { kind, len: u64::from(len) + 1, volume: 0, place: 0 };
        match kind {
            Kind::Literal | Kind::Stored => {}
            Kind::Again => got.place = i64::from(self.distances.code(coder, op.place as u32)),
            Kind::Similar | Kind::Same => (got.volume, got.place) = self.place(coder, op, at as i64),
        }
        got
    }

    fn place<C: Coder>(&mut self, coder: &mut C, op: &Op, at: i64) -> (u32, i64) {
        let wanted = (op.volume, op.place - at);
        let known = self.diagonals.iter().position(|d| *d == wanted).unwrap_or(DIAGONALS);
        // 0 to 3 are known ones, 4 is another.
        let which = &mut self.which;
        let mut index = 0;
        while index < DIAGONALS && !which[index].code(coder, known == index) {
            index += 1;
        }
        let diagonal = match self.diagonals.get(index) {
            Some(known) => *known,
            None => {
                let (last_volume, last) = self.diagonals[0];
                let mut volume = 0;
                for i in 0..MAX_VOLUMES.ilog2() {
                    let bit = wanted.0 >> i & 1 == 1;
                    let context = &mut self.volumes[(last_volume & 1) as usize + 2 * (i & 1) as usize];
                    volume |= u32::from(context.code(coder, bit)) << i;
                }
                let change = wanted.1.wrapping_sub(last);
                let negative = self.signs.code(coder, change < 0);
                let size = change.unsigned_abs();
                // A distance of 4 GiB or more is written as two numbers.
                let far = self.far.code(coder, size >= u64::from(u32::MAX));
                let size = if far {
                    let high = u64::from(coder.raw((size >> 32) as u32, 31));
                    high << 32 | u64::from(coder.raw(size as u32, 32))
                } else {
                    self.moves.code(coder, size as u32).into()
                };
                let change = if negative { (size as i64).wrapping_neg() } else { size as i64 };
                (volume, last.wrapping_add(change))
            }
        };
        let until = index.min(DIAGONALS - 1);
        self.diagonals.copy_within(..until, 1);
        self.diagonals[0] = diagonal;
        (diagonal.0, diagonal.1.wrapping_add(at))
    }

    /// Codes `len` bytes of `out` from `at` on.
    pub fn literal<C: Coder>(&mut self, coder: &mut C, out: &mut [u8], at: usize, len: usize) {
        for i in at..at + len {
            let (before, rest) = out.split_at_mut(i);
            rest[0] = self.literals.code(coder, before, rest[0]);
        }
    }

    /// Turns the old bytes in `buf`, which were at `old_at`, into the new ones at `new_at` of the chunk. An encoder
    /// says what these are.
    pub fn similar<C: Coder>(&mut self, coder: &mut C, buf: &mut [u8], new: Option<&[u8]>, old_at: u64, new_at: u64) {
        let (mut i, mut asked) = (0, 0);
        while i < buf.len() {
            if i >= asked && (new_at + i as u64).is_multiple_of(4) && buf.len() - i >= GROUP && self.words.calm() {
                let still = new.is_some_and(|n| n[i..i + GROUP] == buf[i..i + GROUP]);
                asked = i + GROUP;
                if self.words.still(coder, still) {
                    i = asked;
                    continue;
                }
            }
            let (old_here, new_here) = (old_at + i as u64, new_at + i as u64);
            let rest = &mut buf[i..];
            let size = rest.len().min(4);
            let (head, next) = rest.split_at_mut(size);
            match <&mut [u8; 4]>::try_from(&mut *head) {
                Ok(word) if new_here.is_multiple_of(4) => {
                    let wanted = new.and_then(|n| n[i..].first_chunk().copied()).map_or(0, u32::from_le_bytes);
                    let old = u32::from_le_bytes(*word);
                    *word = self.words.code(coder, old, old_here, new_here, next, wanted).to_le_bytes();
                    i += 4;
                }
                _ => {
                    let wanted = new.map_or(0, |n| n[i]);
                    head[0] = self.words.single(coder, head[0], wanted);
                    i += 1;
                }
            }
        }
    }
}
