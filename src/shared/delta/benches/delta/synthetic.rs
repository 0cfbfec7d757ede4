//! Inputs that need nothing but this program: a large change of an ordinary kind, and those that an encoder could be
//! slow at.

use fruit_delta::{CHUNK, File, Options, Source, Volume, encode};

use crate::{MIB, processor_seconds};

/// Seconds of one processor for each 100 MB that are other than before: what the README promises, whatever the input.
const MOST_SECONDS: f64 = 60.0;
/// Bytes of each input.
const LEN: usize = 24 << 20;

/// Repeatable random numbers (xorshift).
struct Dice(u64);

impl Dice {
    fn roll(&mut self) -> u64 {
        self.0 ^= self.0 << 13;
        self.0 ^= self.0 >> 7;
        self.0 ^= self.0 << 17;
        self.0.wrapping_mul(0x2545_F491_4F6C_DD1D)
    }

    fn below(&mut self, limit: usize) -> usize {
        (self.roll() >> 33) as usize % limit
    }

    fn noise(&mut self, len: usize) -> Vec<u8> {
        let mut bytes: Vec<u8> = (0..len.div_ceil(8)).flat_map(|_| self.roll().to_le_bytes()).collect();
        bytes.truncate(len);
        bytes
    }

    /// Instructions as a compiler makes them: few operations, registers and distances that vary.
    fn code(&mut self, len: usize) -> Vec<u8> {
        let shapes: Vec<u32> = (0..300).map(|_| self.roll() as u32 & 0xFFC0_0000).collect();
        let mut bytes = b"\x7fELF\x02\x01".to_vec();
        bytes.resize(18, 0);
        bytes.extend([183, 0]);
        while bytes.len() < len {
            let shape = shapes[self.below(300) * self.below(300) / 300];
            bytes.extend((shape | self.below(1 << 14) as u32).to_le_bytes());
        }
        bytes.truncate(len);
        bytes
    }

    /// Words of a small language.
    fn text(&mut self, len: usize) -> Vec<u8> {
        let words: Vec<Vec<u8>> =
            (0..4000).map(|_| (0..2 + self.below(8)).map(|_| b'a' + self.below(26) as u8).collect()).collect();
        let mut bytes = Vec::with_capacity(len + 16);
        while bytes.len() < len {
            bytes.extend(&words[self.below(4000) * self.below(4000) / 4000]);
            bytes.push(b' ');
        }
        bytes.truncate(len);
        bytes
    }
}

/// Old and new bytes.
type Pair = (Vec<u8>, Vec<u8>);

/// What makes an input.
type Make = fn(&mut Dice) -> Pair;

/// Another release of a distribution: of each file some is as it was, some moved, most rebuilt.
fn upgrade(dice: &mut Dice) -> Pair {
    let old = [dice.code(LEN / 2), dice.text(LEN / 2)].concat();
    let mut new = Vec::with_capacity(LEN);
    while new.len() < LEN {
        let len = 16 + dice.below(3000);
        let at = dice.below(LEN - len);
        match dice.below(4) {
            0 => new.extend(&old[at..at + len]),
            1 => new.extend(dice.text(len / 2)),
            2 => new.extend(dice.noise(len / 4)),
            _ => new.extend(old[at..at + len].iter().enumerate().map(|(i, b)| if i % 40 == 7 { !b } else { *b })),
        }
    }
    new.truncate(LEN);
    (old, new)
}

/// Each stretch is too short to be copied with profit, and there are very many.
fn crumbs(dice: &mut Dice) -> Pair {
    let old = dice.noise(LEN);
    let mut new = Vec::with_capacity(LEN);
    while new.len() < LEN {
        let len = 20 + dice.below(30);
        let at = dice.below(LEN - len);
        new.extend(&old[at..at + len]);
        new.extend(dice.noise(9));
    }
    new.truncate(LEN);
    (old, new)
}

/// Every place of the old bytes is like every other one, with mistakes in other places.
fn nearly_periodic(dice: &mut Dice) -> Pair {
    let period = dice.noise(61);
    let make = |dice: &mut Dice, every: usize| {
        let mut bytes: Vec<u8> = period.iter().copied().cycle().take(LEN).collect();
        let mut at = 0;
        while at < LEN {
            bytes[at] ^= 1 << dice.below(8);
            at += 1 + dice.below(every);
        }
        bytes
    };
    (make(dice, 400), make(dice, 37))
}

/// Nothing but zeros and ones, few changes each.
fn plains(dice: &mut Dice) -> Pair {
    let make = |dice: &mut Dice| {
        let mut bytes = vec![0; LEN];
        for _ in 0..LEN / 300 {
            bytes[dice.below(LEN)] = 1;
        }
        bytes
    };
    (make(dice), make(dice))
}

/// The Fibonacci word: the longest repetitions that there can be without a period.
fn fibonacci(_: &mut Dice) -> Pair {
    let word = |mut a: Vec<u8>, mut b: Vec<u8>| {
        while b.len() < LEN {
            let next = [&b[..], &a[..]].concat();
            (a, b) = (b, next);
        }
        b.truncate(LEN);
        b
    };
    (word(b"a".to_vec(), b"ab".to_vec()), word(b"b".to_vec(), b"aab".to_vec()))
}

/// Bytes of the new state that an ever better place of the old state is found for.
fn ladder(dice: &mut Dice) -> Pair {
    let new = dice.noise(LEN);
    let mut old = Vec::with_capacity(LEN);
    let mut step = 4096;
    while old.len() < LEN {
        let every = 2 + old.len() / 4096 % 60;
        let end = step.min(LEN);
        old.extend(new[..end].iter().enumerate().map(|(i, b)| if i % every == 0 { !b } else { *b }));
        step += 4096;
    }
    old.truncate(LEN);
    (old, new)
}

fn all_new(dice: &mut Dice) -> Pair {
    (dice.noise(LEN), [dice.code(LEN / 2), dice.text(LEN / 2)].concat())
}

fn all_noise(dice: &mut Dice) -> Pair {
    (dice.noise(LEN), dice.noise(LEN))
}

/// Measures each; ends the program with an error if one takes longer than it may.
pub fn measure(only: Option<&str>) {
    let mut late = Vec::new();
    let inputs: [(&str, Make); 8] = [
        ("another release of a distribution", upgrade),
        ("all new, code and text", all_new),
        ("all new, noise", all_noise),
        ("crumbs between noise", crumbs),
        ("nearly periodic", nearly_periodic),
        ("zeros with a few ones", plains),
        ("Fibonacci words", fibonacci),
        ("ever better places", ladder),
    ];
    for (name, make) in inputs {
        if only.is_some_and(|only| !name.contains(only)) {
            continue;
        }
        let (old, new) = make(&mut Dice(0x5EED));
        let volume = |data, name: &str| Volume {
            data,
            len: LEN as u64,
            files: vec![File { path: name.into(), extents: std::iter::once(0..LEN as u64).collect() }],
        };
        let before = processor_seconds();
        let sources = encode(&[volume(&old, "f")], &[volume(&new, "f")], &Options::default(), &|_, _| {});
        let seconds = processor_seconds() - before;
        let (mut size, mut changed) = (0, 0);
        for (source, chunk) in sources.expect("a delta")[0].iter().zip(new.chunks(CHUNK)) {
            changed += chunk.len();
            match source {
                Source::Copy { .. } => changed -= chunk.len(),
                Source::Patch(patch) => size += patch.len(),
                Source::Full => size += zstd::bulk::compress(chunk, 19).expect("zstd").len(),
            }
        }
        let each = seconds / changed.max(1) as f64 * 1e8;
        println!(
            "{name:36} {:5.1} MiB changed, {:9} bytes, {seconds:6.1} s of one processor, {each:5.1} s per 100 MB",
            changed as f64 / MIB,
            size
        );
        if each > MOST_SECONDS {
            late.push(name);
        }
    }
    if !late.is_empty() {
        eprintln!("more than {MOST_SECONDS} s per 100 MB: {}", late.join(", "));
        std::process::exit(1);
    }
}
