//! Whether bytes are what the name of a piece says.

use fruit_base::Sha256;
use fruit_release::frame;
use fruit_release::name::Name;

/// Bytes of a chunk.
const CHUNK: usize = 1 << 20;

/// What can be said of bytes that came under a name.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Found {
    /// They are what was named.
    Right,
    /// They are something else.
    Wrong,
    /// The name does not say: metadata, whose signatures others verify.
    Unsaid,
}

/// Whether the name of a piece says what its bytes are.
#[must_use]
pub fn is_fixed(name: &Name) -> bool {
    matches!(name, Name::Root(1) | Name::Target(..) | Name::Chunk(_) | Name::Patch(_))
}

/// Looks at what came for `name` of the repository with this id.
#[must_use]
pub fn check(repository: &Sha256, name: &Name, bytes: &[u8]) -> Found {
    if bytes.len() as u64 > name.limit() {
        return Found::Wrong;
    }
    let is = |right: bool| if right { Found::Right } else { Found::Wrong };
    match name {
        Name::Root(1) => is(Sha256::of(bytes) == *repository),
        Name::Target(digest, _) | Name::Patch(digest) => is(Sha256::of(bytes) == *digest),
        // Named by what is in it, however it was compressed.
        Name::Chunk(digest) => is(frame::decode(bytes, CHUNK).is_ok_and(|content| Sha256::of(&content) == *digest)),
        Name::Root(_) | Name::Timestamp | Name::Snapshot(_) | Name::Targets(_) => Found::Unsaid,
    }
}
