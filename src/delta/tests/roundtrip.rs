//! Whatever the volumes, a delta makes the new ones from the old ones.

use fruit_delta::{CHUNK, File, OldVolume, Options, Source, Volume, apply, encode};
use proptest::prelude::*;

fn volume(data: &Vec<u8>, files: Vec<File>) -> Volume<'_> {
    Volume { data, len: data.len() as u64, files }
}

fn make(old: &[(&Vec<u8>, Vec<File>)], new: &[(&Vec<u8>, Vec<File>)], threads: usize) -> Vec<Vec<Source>> {
    let volumes = |all: &[(&Vec<u8>, Vec<File>)]| -> Vec<(usize, Vec<File>)> {
        all.iter().enumerate().map(|(i, (_, f))| (i, f.clone())).collect()
    };
    let old_volumes: Vec<Volume<'_>> = volumes(old).into_iter().map(|(i, f)| volume(old[i].0, f)).collect();
    let new_volumes: Vec<Volume<'_>> = volumes(new).into_iter().map(|(i, f)| volume(new[i].0, f)).collect();
    let options = Options { threads, ..Options::default() };
    encode(&old_volumes, &new_volumes, &options, &|_, _| {}).unwrap()
}

/// Applies every source and compares; full chunks are taken as they are.
fn check(old: &[&Vec<u8>], new: &[&Vec<u8>], sources: &[Vec<Source>]) -> Result<usize, TestCaseError> {
    let volumes: Vec<OldVolume<'_>> = old.iter().map(|v| OldVolume { data: *v, len: v.len() as u64 }).collect();
    let mut size = 0;
    prop_assert_eq!(new.len(), sources.len());
    for (new, sources) in new.iter().zip(sources) {
        prop_assert_eq!(sources.len(), new.len().div_ceil(CHUNK));
        for (chunk, source) in new.chunks(CHUNK).zip(sources) {
            match source {
                Source::Full => size += chunk.len(),
                Source::Copy { volume, offset } => {
                    let from = &old[usize::from(*volume)][*offset as usize..];
                    prop_assert_eq!(&from[..chunk.len()], chunk);
                }
                Source::Patch(patch) => {
                    let mut out = vec![0xAA; chunk.len()];
                    apply(patch, &volumes, &mut out).map_err(|e| TestCaseError::fail(e.to_string()))?;
                    prop_assert!(out == chunk);
                    size += patch.len();
                }
            }
        }
    }
    Ok(size)
}

/// Bytes that no compressor makes smaller.
fn noise(len: usize, seed: u64) -> Vec<u8> {
    let mut state = seed | 1;
    let step = |_| {
        state ^= state << 13;
        state ^= state >> 7;
        state ^= state << 17;
        (state >> 24) as u8
    };
    (0..len).map(step).collect()
}

#[derive(Clone, Debug)]
enum Edit {
    Set { at: usize, byte: u8 },
    Insert { at: usize, len: usize, seed: u64 },
    Remove { at: usize, len: usize },
    Move { from: usize, to: usize, len: usize },
}

fn edit() -> impl Strategy<Value = Edit> {
    prop_oneof![
        (any::<usize>(), any::<u8>()).prop_map(|(at, byte)| Edit::Set { at, byte }),
        (any::<usize>(), 1usize..5000, any::<u64>()).prop_map(|(at, len, seed)| Edit::Insert { at, len, seed }),
        (any::<usize>(), 1usize..5000).prop_map(|(at, len)| Edit::Remove { at, len }),
        (any::<usize>(), any::<usize>(), 1usize..9000).prop_map(|(from, to, len)| Edit::Move { from, to, len }),
    ]
}

fn apply_edits(old: &[u8], edits: &[Edit]) -> Vec<u8> {
    let mut new = old.to_vec();
    for edit in edits {
        let n = new.len();
        match *edit {
            Edit::Set { at, byte } if n > 0 => new[at % n] = byte,
            Edit::Insert { at, len, seed } => {
                let at = at % (n + 1);
                new.splice(at..at, noise(len, seed));
            }
            Edit::Remove { at, len } if n > 0 => {
                let at = at % n;
                new.drain(at..(at + len).min(n));
            }
            Edit::Move { from, to, len } if n > 0 => {
                let from = from % n;
                let part: Vec<u8> = new.drain(from..(from + len).min(n)).collect();
                let to = to % (new.len() + 1);
                new.splice(to..to, part);
            }
            _ => {}
        }
    }
    new
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(24))]

    #[test]
    fn edited_bytes_come_back_whatever_the_threads(
        len in 0usize..200_000, seed in any::<u64>(), edits in proptest::collection::vec(edit(), 0..30),
    ) {
        let old = noise(len, seed);
        let new = apply_edits(&old, &edits);
        let sources = make(&[(&old, vec![])], &[(&new, vec![])], 1);
        check(&[&old], &[&new], &sources)?;
        prop_assert_eq!(make(&[(&old, vec![])], &[(&new, vec![])], 4), sources);
    }
}
