//! Bundles, read to their end, and manifests and deltas by themselves.
#![no_main]

use fruit_release::bundle::Stream;
use fruit_release::{Delta, Digest, Manifest, Name, Source};
use libfuzzer_sys::fuzz_target;

fuzz_target!(|bytes: &[u8]| {
    let mut stream = Stream::new(bytes, "fuzz");
    let _ = stream.get(&Name::Root(1), u64::MAX);
    let _ = stream.get(&Name::Chunk(Digest::of(b"")), u64::MAX);
    let mut stream = Stream::new(bytes, "fuzz");
    while let Ok(Some((name, piece))) = stream.next_entry() {
        assert!(piece.len() as u64 <= name.limit());
        assert_eq!(name.to_string().parse::<Name>().as_ref(), Ok(&name));
    }
    if let Ok(manifest) = Manifest::read(bytes) {
        assert_eq!(manifest.volumes.len(), 2);
        let _ = Delta::read(bytes, &manifest, Digest::of(bytes));
    }
    // What a frame would hold.
    let _ = serde_json::from_slice::<Manifest>(bytes);
    let _ = serde_json::from_slice::<Delta>(bytes);
});
