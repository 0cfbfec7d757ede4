//! Changes of inputs that know nothing of what they lead to.

use fastrand::Rng;

/// Numbers at the edges of what fields hold.
const EDGES: [u64; 14] = [
    0,
    1,
    0x7f,
    0x80,
    0xff,
    0x7fff,
    0x8000,
    0xffff,
    0x7fff_ffff,
    0x8000_0000,
    0xffff_ffff,
    0x7fff_ffff_ffff_ffff,
    0x8000_0000_0000_0000,
    u64::MAX,
];
/// What texts stumble over.
const WORDS: [&str; 16] =
    ["\n", "\0", ":", "..", "/", "-1", "99999999999999999999", "{", "}", "\"", "\u{a0}", "\r\n", " ", "%", "\t", "é"];

/// Makes one input after another of the seeds.
pub struct Changer<'s> {
    random: Rng,
    seeds: &'s [Vec<u8>],
    longest: usize,
    input: Vec<u8>,
}

impl<'s> Changer<'s> {
    /// No input is longer than `longest` bytes.
    pub fn new(seed: u64, seeds: &'s [Vec<u8>], longest: usize) -> Changer<'s> {
        Changer { random: Rng::with_seed(seed), seeds, longest, input: Vec::new() }
    }

    /// Some changes to a seed; or, one time in four, to the input before.
    pub fn next(&mut self) -> &[u8] {
        if self.input.is_empty() || self.random.u8(..4) != 0 {
            self.input.clear();
            if let Some(seed) = self.random.choice(self.seeds) {
                self.input.extend_from_slice(seed);
            }
        }
        for _ in 0..self.random.usize(1..=6) {
            self.change();
        }
        self.input.truncate(self.longest);
        &self.input
    }

    fn change(&mut self) {
        let random = &mut self.random;
        let len = self.input.len();
        let at = random.usize(..=len);
        let end = len.min(at + piece(random));
        match random.u8(..9) {
            0 => self.input.truncate(at),
            1 => drop(self.input.drain(at..end)),
            2 => {
                let piece = self.input[at..end].to_vec();
                let to = random.usize(..=len);
                self.input.splice(to..to, piece);
            }
            3 => {
                let word = random.choice(WORDS).unwrap_or_default();
                self.input.splice(at..at, word.bytes());
            }
            4 => {
                // A piece of another seed.
                let Some(other) = random.choice(self.seeds) else { return };
                let from = random.usize(..=other.len());
                let to = other.len().min(from + piece(random));
                self.input.splice(at..end, other[from..to].iter().copied());
            }
            5 => {
                let number = random.choice(EDGES).unwrap_or_default();
                let width = 1 << random.u8(..4);
                let bytes = if random.bool() { number.to_le_bytes() } else { number.to_be_bytes() };
                let bytes = if random.bool() { &bytes[..width] } else { &bytes[8 - width..] };
                self.input.splice(at..len.min(at + width), bytes.iter().copied());
            }
            6 if at < len => self.input[at] = self.input[at].wrapping_add(random.u8(..)),
            7 if at < len => self.input[at..end].fill(random.u8(..)),
            _ if at < len => self.input[at] ^= 1 << random.u8(..8),
            _ => {}
        }
    }
}

/// Bytes of a piece: short ones are as likely as long ones.
fn piece(random: &mut Rng) -> usize {
    let most = 1 << random.u8(..12);
    random.usize(..=most)
}

/// FNV-1a: a name for an input.
pub fn hash(bytes: &[u8]) -> u64 {
    bytes.iter().fold(0xcbf2_9ce4_8422_2325, |hash, byte| (hash ^ u64::from(*byte)).wrapping_mul(0x0100_0000_01b3))
}
