//! Whatever the volumes, a delta makes the new ones from the old ones.

// A file of one extent is what there is.
#![allow(clippy::single_range_in_vec_init)]

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

fn file(path: &str, extents: &[std::ops::Range<u64>]) -> File {
    File { path: path.to_owned(), extents: extents.to_vec() }
}

/// AArch64 code: calls into `functions` places, data between.
fn code(words: u32, insert_at: u32, inserted: u32) -> Vec<u8> {
    let place = |w: u32| if w >= insert_at { w + inserted } else { w };
    let mut out = [0x1F, 0x20, 0x03, 0xD5].repeat((words + inserted) as usize);
    for w in 0..words {
        let at = place(w);
        let word = if w % 4 == 0 {
            let target = place(w.wrapping_mul(0x9E37_79B1) % words / 16 * 16);
            0x9400_0000 | target.wrapping_sub(at) & 0x03FF_FFFF
        } else {
            w.wrapping_mul(0x85EB_CA6B) | 1
        };
        out[4 * at as usize..][..4].copy_from_slice(&word.to_le_bytes());
    }
    out[..4].copy_from_slice(b"\x7fELF");
    out[4..6].copy_from_slice(&[2, 1]);
    out[18..20].copy_from_slice(&[183, 0]);
    out
}

#[test]
fn a_file_that_did_not_change_is_a_copy_wherever_it_moved() {
    let data = noise(3 * CHUNK, 5);
    let old = [noise(40_960, 1), data.clone()].concat();
    let new = [noise(8192, 2), data].concat();
    let (a, b) = (40_960, 8192);
    let old_files = vec![file("data", &[a..a + 3 * CHUNK as u64])];
    let new_files = vec![file("data", &[b..b + 3 * CHUNK as u64])];
    let sources = make(&[(&old, old_files)], &[(&new, new_files)], 2);
    check(&[&old], &[&new], &sources).unwrap();
    assert_eq!(sources[0][1], Source::Copy { volume: 0, offset: a + CHUNK as u64 - b });
    assert_eq!(sources[0][2], Source::Copy { volume: 0, offset: a + 2 * CHUNK as u64 - b });
}

#[test]
fn a_file_is_found_in_the_other_volume() {
    let data = noise(CHUNK, 5);
    let (old_boot, old_root) = (noise(CHUNK, 1), data.clone());
    let (new_boot, new_root) = (data, noise(CHUNK, 3));
    let whole = |path: &str| vec![file(path, &[0..CHUNK as u64])];
    let sources = make(
        &[(&old_boot, whole("else")), (&old_root, whole("boot/kernel"))],
        &[(&new_boot, whole("kernel")), (&new_root, whole("other"))],
        1,
    );
    check(&[&old_boot, &old_root], &[&new_boot, &new_root], &sources).unwrap();
    assert_eq!(sources[0], [Source::Copy { volume: 1, offset: 0 }]);
    assert_eq!(sources[1], [Source::Full]);
}

#[test]
fn new_noise_is_sent_whole_rather_than_as_a_larger_patch() {
    let (old, new) = (noise(2 * CHUNK, 1), noise(2 * CHUNK + 100, 2));
    let sources = make(&[(&old, vec![])], &[(&new, vec![])], 1);
    assert_eq!(sources[0][..2], [Source::Full, Source::Full]);
    check(&[&old], &[&new], &sources).unwrap();
}

#[test]
fn code_that_moved_costs_little_more_than_what_moved_it() {
    let (old, new) = (code(200_000, 200_000, 0), code(200_000, 60_000, 8));
    let whole = |data: &Vec<u8>| vec![file("lib", &[0..data.len() as u64])];
    let sources = make(&[(&old, whole(&old))], &[(&new, whole(&new))], 1);
    let size = check(&[&old], &[&new], &sources).unwrap();
    let calls = old.chunks(4).zip(new.chunks(4)).filter(|(a, b)| a != b).count();
    assert!(calls > 20_000, "{calls} words differ");
    assert!(size < 4_000, "{size} bytes for {calls} words that differ");
}

#[test]
fn files_in_several_extents_and_shared_ones_come_back() {
    let data = noise(50_000, 9);
    let mut old = noise(16 * 4096, 1);
    let mut new = noise(20 * 4096, 2);
    old[8192..8192 + 20_480].copy_from_slice(&data[..20_480]);
    old[36_864..36_864 + 20_000].copy_from_slice(&data[20_480..40_480]);
    new[4096..4096 + 12_288].copy_from_slice(&data[..12_288]);
    new[40_960..40_960 + 28_000].copy_from_slice(&data[12_288..40_288]);
    let old_files = vec![file("a", &[8192..28_672, 36_864..56_864]), file("b", &[8192..28_672])];
    // Tails among the metadata, extents that lie outside, and empty ones are no files of their own.
    let new_files =
        vec![file("a", &[4096..16_384, 40_960..68_960]), file("c", &[100..140]), file("d", &[80_000..90_000, 5..5])];
    let sources = make(&[(&old, old_files)], &[(&new, new_files)], 2);
    let size = check(&[&old], &[&new], &sources).unwrap();
    assert!(size < new.len() - 40_000, "{size}");
}

#[test]
fn memory_that_does_not_suffice_for_a_file_makes_parts_of_it() {
    let old = noise(300_000, 1);
    let new = [&old[..100_000], &noise(100, 3), &old[100_000..]].concat();
    let volume = |data| Volume { data, len: 0, files: vec![] };
    let options = Options { memory: 1 << 20, ..Options::default() };
    let made = encode(
        &[Volume { len: 300_000, ..volume(&old) }],
        &[Volume { len: 300_100, ..volume(&new) }],
        &options,
        &|_, _| {},
    );
    let size = check(&[&old], &[&new], &made.unwrap()).unwrap();
    assert!(size < 10_000, "{size}");
}

#[test]
fn progress_ends_with_everything_done() {
    let (old, new) = (noise(3_000_000, 1), noise(2_500_000, 1));
    let last = std::sync::Mutex::new((0, 0));
    let note = |done, total| *last.lock().unwrap() = (done, total);
    let volume = |data, len| Volume { data, len, files: vec![] };
    let options = Options { threads: 1, ..Options::default() };
    encode(&[volume(&old, 3_000_000)], &[volume(&new, 2_500_000)], &options, &note).unwrap();
    assert_eq!(*last.lock().unwrap(), (5_000_000, 5_000_000));
}

#[test]
fn volumes_that_are_not_there_or_empty_are_no_difficulty() {
    let (empty, some) = (Vec::new(), noise(5000, 1));
    let sources = make(&[], &[(&some, vec![]), (&empty, vec![])], 1);
    check(&[], &[&some, &empty], &sources).unwrap();
    assert_eq!(sources[1], []);
    let sources = make(&[(&empty, vec![])], &[(&some, vec![])], 1);
    check(&[&empty], &[&some], &sources).unwrap();
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(16))]

    #[test]
    fn files_that_move_grow_and_shrink_in_two_volumes_come_back(
        files in proptest::collection::vec((1usize..60_000, any::<u64>(), proptest::collection::vec(edit(), 0..4)), 1..8),
        order in any::<u64>(), versions in any::<bool>(),
    ) {
        // Old files in order; new ones rotated, edited, half of them in the other volume.
        let lay = |files: &[(String, Vec<u8>)]| {
            let (mut data, mut list) = (noise(4096, 77), Vec::new());
            for (path, bytes) in files {
                let start = data.len() as u64;
                data.extend(bytes);
                list.push(file(path, &[start..data.len() as u64]));
                data.resize(data.len().next_multiple_of(4096), 0);
            }
            (data, list)
        };
        let name = |i: usize, v: u32| format!("lib/{v}.{i}/x{}", char::from(b'a' + i as u8));
        let old: Vec<_> = files.iter().enumerate().map(|(i, (len, seed, _))| (name(i, 1), noise(*len, *seed))).collect();
        let mut new: Vec<_> = files.iter().enumerate()
            .map(|(i, (_, _, edits))| (name(i, 1 + u32::from(versions)), apply_edits(&old[i].1, edits))).collect();
        let n = new.len();
        new.rotate_left(order as usize % n);
        let (old_data, old_files) = lay(&old);
        let (first, second) = new.split_at(n / 2);
        let (a, a_files) = lay(first);
        let (b, b_files) = lay(second);
        let sources = make(&[(&old_data, old_files.clone())], &[(&a, a_files.clone()), (&b, b_files.clone())], 1);
        check(&[&old_data], &[&a, &b], &sources)?;
        let again = make(&[(&old_data, old_files)], &[(&a, a_files), (&b, b_files)], 3);
        prop_assert_eq!(again, sources);
    }
}
