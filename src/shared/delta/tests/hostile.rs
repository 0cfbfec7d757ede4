//! Patches that lie: every one ends in an error or in bytes, within the memory of a constant.

use std::alloc::{GlobalAlloc, Layout, System};
use std::cell::Cell;
use std::io;

use fruit_delta::{CHUNK, OldVolume, Options, PatchError, ReadAt, Source, Volume, apply, encode};

/// Counts the bytes that this thread holds.
struct Counting;

thread_local! {
    static HELD: Cell<isize> = const { Cell::new(0) };
    static PEAK: Cell<isize> = const { Cell::new(0) };
}

// SAFETY: everything is passed on to the system's allocator.
unsafe impl GlobalAlloc for Counting {
    unsafe fn alloc(&self, layout: Layout) -> *mut u8 {
        count(layout.size() as isize);
        // SAFETY: the caller keeps to the contract of the same function.
        unsafe { System.alloc(layout) }
    }

    unsafe fn alloc_zeroed(&self, layout: Layout) -> *mut u8 {
        count(layout.size() as isize);
        // SAFETY: the caller keeps to the contract of the same function.
        unsafe { System.alloc_zeroed(layout) }
    }

    unsafe fn dealloc(&self, place: *mut u8, layout: Layout) {
        count(-(layout.size() as isize));
        // SAFETY: the caller keeps to the contract of the same function.
        unsafe { System.dealloc(place, layout) }
    }
}

fn count(bytes: isize) {
    let _ = HELD.try_with(|held| {
        held.set(held.get() + bytes);
        let _ = PEAK.try_with(|peak| peak.set(peak.get().max(held.get())));
    });
}

#[global_allocator]
static ALLOCATOR: Counting = Counting;

/// Bytes of memory that applying may take beside the chunk.
const MEMORY: isize = 4 << 20;

fn measured(patch: &[u8], old: &[OldVolume<'_>], out: &mut [u8]) -> Result<(), PatchError> {
    let before = HELD.get();
    PEAK.set(before);
    let result = apply(patch, old, out);
    let peak = PEAK.get() - before;
    assert!(peak <= MEMORY, "applying took {peak} bytes of memory");
    result
}

fn code(len: usize) -> Vec<u8> {
    (0..len as u32 / 4)
        .flat_map(|i| if i % 5 == 0 { 0x9400_0000 | (i * 3) } else { i.wrapping_mul(0x9E37_79B1) }.to_le_bytes())
        .collect()
}

/// Old and new bytes, and the patch: every kind of operation is in it.
fn real(len: usize) -> (Vec<u8>, Vec<u8>, Vec<u8>) {
    let old = code(len);
    let mut new = old.clone();
    new.splice(3000..3000, (0..900u32).map(|i| (i * i % 251) as u8));
    new.splice(7000..7000, std::iter::repeat_n(b"again and again ", 100).flatten().copied());
    let mut noise = 1u64;
    let noise = std::iter::repeat_with(|| {
        noise = noise.wrapping_mul(6364136223846793005).wrapping_add(1);
        (noise >> 56) as u8
    });
    new.splice(11000..11000, noise.take(2000));
    for word in new[20000..].chunks_exact_mut(4).step_by(5) {
        word[0] = word[0].wrapping_add(7);
    }
    new.truncate(len);
    fn volume(bytes: &Vec<u8>) -> Volume<'_> {
        Volume { data: bytes, len: bytes.len() as u64, files: Vec::new() }
    }
    let made = encode(&[volume(&old)], &[volume(&new)], &Options::default(), &|_, _| {}).unwrap();
    let Source::Patch(patch) = made[0][0].clone() else { panic!("not a patch: {:?}", made[0][0]) };
    (old, new, patch)
}

fn volumes(old: &Vec<u8>) -> [OldVolume<'_>; 1] {
    [OldVolume { data: old, len: old.len() as u64 }]
}

#[test]
fn a_whole_chunk_takes_no_more_memory_than_promised() {
    let (old, new, patch) = real(CHUNK);
    let mut out = vec![0; CHUNK];
    measured(&patch, &volumes(&old), &mut out).unwrap();
    assert!(out == new);
}

#[test]
fn altered_patches_end_in_an_error_or_in_bytes() {
    let (old, _, patch) = real(40_000);
    let mut out = vec![0; 40_000];
    let mut refused = 0;
    let mut random = 7u64;
    for round in 0..400 {
        let mut bad = patch.clone();
        for _ in 0..1 + round % 3 {
            random = random.wrapping_mul(6364136223846793005).wrapping_add(1442695040888963407);
            let at = (random >> 33) as usize % bad.len();
            bad[at] ^= 1 << (random >> 29 & 7);
        }
        refused += u32::from(measured(&bad, &volumes(&old), &mut out).is_err());
    }
    assert!(refused > 300, "only {refused} of 400 altered patches were refused");
}

#[test]
fn a_patch_cut_anywhere_is_refused() {
    let (old, _, patch) = real(40_000);
    let mut out = vec![0; 40_000];
    for len in (0..patch.len()).step_by(97).chain(patch.len() - 8..patch.len()) {
        assert!(measured(&patch[..len], &volumes(&old), &mut out).is_err(), "{len} of {} bytes", patch.len());
    }
}

#[test]
fn bytes_behind_the_end_are_refused() {
    let (old, _, patch) = real(40_000);
    let mut out = vec![0; 40_000];
    for more in [&[0][..], &[1], &[0; 4], &[0xFF; 9], &[0; 1000]] {
        let longer = [&patch[..], more].concat();
        let result = measured(&longer, &volumes(&old), &mut out);
        assert!(matches!(result, Err(PatchError::Trailing(n)) if n == more.len()), "{result:?}");
    }
}

#[test]
fn a_patch_for_another_size_of_chunk_is_refused() {
    let (old, _, patch) = real(40_000);
    for len in [0, 1, 39_999, 40_001, CHUNK] {
        assert!(measured(&patch, &volumes(&old), &mut vec![0; len]).is_err(), "{len} bytes");
    }
}

#[test]
fn an_old_volume_that_is_missing_or_shorter_is_an_error() {
    let (old, _, patch) = real(40_000);
    let mut out = vec![0; 40_000];
    assert!(matches!(measured(&patch, &[], &mut out), Err(PatchError::Volume(0))));
    let short = [OldVolume { data: &old, len: 1000 }];
    assert!(matches!(measured(&patch, &short, &mut out), Err(PatchError::Place { has: 1000, .. })));
    let lies = [OldVolume { data: &old, len: u64::MAX }];
    assert!(measured(&patch, &lies, &mut out).is_ok());
}

#[test]
fn a_disk_that_cannot_be_read_is_named() {
    struct Broken;
    impl ReadAt for Broken {
        fn read_exact_at(&self, _: &mut [u8], _: u64) -> io::Result<()> {
            Err(io::Error::other("worn out"))
        }
    }
    let (_, _, patch) = real(40_000);
    let broken = [OldVolume { data: &Broken, len: 1 << 20 }];
    let error = measured(&patch, &broken, &mut vec![0; 40_000]).unwrap_err();
    assert_eq!(error.to_string(), "reading volume 0 at byte 0: worn out");
}

#[test]
fn other_formats_are_refused() {
    let mut out = [0; 16];
    assert!(matches!(measured(&[], &[], &mut out), Err(PatchError::Empty)));
    assert!(matches!(measured(&[0x20, 1], &[], &mut out), Err(PatchError::Format(2))));
    assert!(matches!(measured(&[0x19, 1], &[], &mut out), Err(PatchError::Trimmed(9))));
}

#[test]
fn bytes_of_any_kind_are_no_danger() {
    let old = code(30_000);
    let mut out = vec![0; 30_000];
    let mut random = 99u64;
    for len in (1..300).chain([5000, 40_000]) {
        let mut patch = vec![0x10; len];
        for byte in &mut patch[1..] {
            random = random.wrapping_mul(6364136223846793005).wrapping_add(1442695040888963407);
            *byte = (random >> 56) as u8;
        }
        let _ = measured(&patch, &volumes(&old), &mut out);
    }
}
