//! What a file is, by its first bytes: an image, plain or packed, or something else that was taken for one.

use std::path::Path;

/// How an image file is packed.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Packing {
    None,
    Zstd,
    Xz,
    Gzip,
}

/// First bytes of a zstd frame (RFC 8878, 3.1.1), an .xz file (its specification, 2.1.1.1) and a gzip member (RFC 1952).
const ZSTD: &[u8] = &[0x28, 0xB5, 0x2F, 0xFD];
const XZ: &[u8] = &[0xFD, b'7', b'z', b'X', b'Z', 0];
const GZIP: &[u8] = &[0x1F, 0x8B];

/// Packed files that are not read, by their first bytes, with the command that unpacks them.
const UNREAD: [(&[u8], &str, &str); 5] = [
    (b"BZh", "bzip2", "bunzip2 --keep"),
    (b"PK\x03\x04", "a ZIP archive", "unzip"),
    (&[0x04, 0x22, 0x4D, 0x18], "lz4", "unlz4"),
    (&[0x5D, 0, 0, 0x80, 0], "lzma", "unlzma --keep"),
    (b"7z\xBC\xAF\x27\x1C", "a 7-Zip archive", "7z x"),
];

impl Packing {
    pub fn of(start: &[u8]) -> Packing {
        [(ZSTD, Packing::Zstd), (XZ, Packing::Xz), (GZIP, Packing::Gzip)]
            .into_iter()
            .find(|(magic, _)| start.starts_with(magic))
            .map_or(Packing::None, |(_, packing)| packing)
    }
}

/// What a file is that starts like this, when it cannot be the image of a card.
pub fn foreign(start: &[u8], path: &Path) -> Option<String> {
    if start.is_empty() {
        return Some("is empty; get the image again".to_owned());
    }
    if let Some((_, what, command)) = UNREAD.iter().find(|(magic, ..)| start.starts_with(magic)) {
        return Some(format!("is packed ({what}); unpack it first: {command} {}", path.display()));
    }
    // A multi-byte character may be cut at the end.
    let text = match std::str::from_utf8(start) {
        Ok(text) => text,
        Err(e) if e.error_len().is_none() => std::str::from_utf8(&start[..e.valid_up_to()]).unwrap_or_default(),
        Err(_) => return None,
    };
    if text.is_empty() || text.contains('\0') {
        return None;
    }
    let lower = text.to_ascii_lowercase();
    Some(if lower.contains("<bmap") {
        "is a block map, not an image; name the image, and keep the block map beside it".to_owned()
    } else if lower.contains("<!doctype html") || lower.contains("<html") {
        "is a web page, not an image; get the image again".to_owned()
    } else {
        "is text, not an image".to_owned()
    })
}
