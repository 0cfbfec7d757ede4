use super::{ATTR_LONG_NAME, SLOT};
use std::collections::{BTreeMap, BTreeSet};

/// A name of eight and three bytes, padded with spaces.
pub(super) type ShortName = [u8; 11];

/// UTF-16 units in a long name at most (`fatgen103`, p. 28).
const MAX_LONG: usize = 255;
/// Units per directory entry of a long name, and the byte each is stored at.
const UNIT_AT: [usize; 13] = [1, 3, 5, 7, 9, 14, 16, 18, 20, 22, 24, 28, 30];
/// Marks the entry with the end of the name, which comes first.
const LAST: u8 = 0x40;

/// What is wrong with a name, as the end of "a FAT name cannot …".
pub(super) fn flaw(name: &str) -> Option<&'static str> {
    if name.encode_utf16().count() > MAX_LONG {
        Some("have more than 255 UTF-16 units")
    } else if name.ends_with(['.', ' ']) {
        Some("end in a dot or a space")
    } else if name.chars().any(|c| c < ' ' || "\"*/:<>?\\|\u{7f}".contains(c)) {
        Some("contain control characters or any of \" * / : < > ? \\ |")
    } else {
        None
    }
}

/// Hands out the short names of one directory.
#[derive(Default)]
pub(super) struct ShortNames {
    taken: BTreeSet<ShortName>,
    /// The last number given to a stem, so that a thousand alike names do not try each number from 1.
    numbers: BTreeMap<ShortName, u32>,
}

impl ShortNames {
    /// Takes the short form of a name that has one, upper and lower case being the same.
    pub fn exact(&mut self, name: &str) -> Option<ShortName> {
        let short = exact(name)?;
        self.taken.insert(short).then_some(short)
    }

    /// Makes up a free short name of the form `STEM~1.EXT` (`fatgen103`, p. 30).
    pub fn numbered(&mut self, name: &str) -> Option<ShortName> {
        let (stem, extension) = match name.rsplit_once('.') {
            Some((stem, extension)) if !stem.is_empty() => (stem, extension),
            _ => (name, ""),
        };
        let clean = |part: &str, len: usize| -> Vec<u8> {
            part.chars().filter(|c| !matches!(c, ' ' | '.')).map(short_byte).take(len).collect()
        };
        let (stem, extension) = (clean(stem, 6), clean(extension, 3));
        let mut pattern = [b' '; 11];
        pattern[..stem.len()].copy_from_slice(&stem);
        pattern[8..8 + extension.len()].copy_from_slice(&extension);
        let number = self.numbers.entry(pattern).or_insert(0);
        loop {
            *number += 1;
            let tail = format!("~{number}");
            let keep = stem.len().min(8usize.checked_sub(tail.len())?);
            let mut short = pattern;
            short[..8].fill(b' ');
            short[..keep].copy_from_slice(&stem[..keep]);
            short[keep..keep + tail.len()].copy_from_slice(tail.as_bytes());
            if self.taken.insert(short) {
                return Some(short);
            }
        }
    }
}

/// The short form of a name that differs from it in case at most.
fn exact(name: &str) -> Option<ShortName> {
    let (stem, extension) = name.split_once('.').unwrap_or((name, ""));
    let has_dot = name.contains('.');
    let fits = (1..=8).contains(&stem.len()) && extension.len() <= 3 && has_dot != extension.is_empty();
    let plain = |part: &str| part.bytes().all(|b| is_short(b.to_ascii_uppercase()));
    if !fits || !plain(stem) || !plain(extension) {
        return None;
    }
    let mut short = [b' '; 11];
    short[..stem.len()].copy_from_slice(stem.as_bytes());
    short[8..8 + extension.len()].copy_from_slice(extension.as_bytes());
    short.make_ascii_uppercase();
    Some(short)
}

/// Whether a byte may stand in a short name (`fatgen103`, p. 24), spaces aside.
pub(super) fn is_short(byte: u8) -> bool {
    matches!(byte, b'A'..=b'Z' | b'0'..=b'9') || b"!#$%&'()-@^_`{}~".contains(&byte)
}

fn short_byte(c: char) -> u8 {
    u8::try_from(c.to_ascii_uppercase()).ok().filter(|b| is_short(*b)).unwrap_or(b'_')
}

/// Whether the short name alone says it all: it is the name, upper case included.
pub(super) fn says_all(short: &ShortName, name: &str) -> bool {
    display(short) == name
}

/// `CONFIG  TXT` as `CONFIG.TXT`; bytes outside ASCII, which depend on a code page, become `_`.
pub(super) fn display(short: &ShortName) -> String {
    let text = |part: &[u8]| -> String {
        let end = part.iter().rposition(|b| *b != b' ').map_or(0, |i| i + 1);
        part[..end].iter().map(|b| if b.is_ascii_graphic() || *b == b' ' { char::from(*b) } else { '_' }).collect()
    };
    let (stem, extension) = (text(&short[..8]), text(&short[8..]));
    if extension.is_empty() { stem } else { format!("{stem}.{extension}") }
}

/// Ties the entries of a long name to the short one they belong to (`fatgen103`, p. 28).
pub(super) fn checksum(short: &ShortName) -> u8 {
    short.iter().fold(0u8, |sum, b| sum.rotate_right(1).wrapping_add(*b))
}

/// The directory entries of a long name, in the order they are stored.
pub(super) fn long_slots(name: &str, short: &ShortName) -> Vec<[u8; SLOT]> {
    let mut units: Vec<u16> = name.encode_utf16().collect();
    let count = units.len().div_ceil(UNIT_AT.len());
    if units.len() < count * UNIT_AT.len() {
        units.push(0);
    }
    units.resize(count * UNIT_AT.len(), 0xFFFF);
    let checksum = checksum(short);
    let slot = |(index, units): (usize, &[u16])| {
        let mut slot = [0; SLOT];
        slot[0] = (index + 1) as u8 | if index + 1 == count { LAST } else { 0 };
        slot[11] = ATTR_LONG_NAME;
        slot[13] = checksum;
        for (at, unit) in UNIT_AT.iter().zip(units) {
            slot[*at..at + 2].copy_from_slice(&unit.to_le_bytes());
        }
        slot
    };
    units.chunks(UNIT_AT.len()).enumerate().map(slot).rev().collect()
}

/// Collects the entries of a long name while a directory is read.
#[derive(Default)]
pub(super) struct LongName {
    /// Pieces still to come before the name is complete.
    missing: u8,
    checksum: u8,
    /// Units of the pieces so far, the last piece first.
    pieces: Vec<[u16; UNIT_AT.len()]>,
}

impl LongName {
    /// Takes the next entry; one that does not continue the name starts over.
    pub fn push(&mut self, slot: &[u8]) {
        let number = slot[0] & !LAST;
        if slot[0] & LAST != 0 {
            *self = LongName { missing: number, checksum: slot[13], pieces: Vec::new() };
        }
        let expected = self.missing > 0 && number == self.missing && slot[13] == self.checksum;
        if !expected || usize::from(number) > MAX_LONG.div_ceil(UNIT_AT.len()) {
            *self = LongName::default();
            return;
        }
        self.missing -= 1;
        self.pieces.push(UNIT_AT.map(|at| u16::from_le_bytes([slot[at], slot[at + 1]])));
    }

    /// The long name of the entry with this short name, if one was complete; starts over.
    pub fn take(&mut self, short: &ShortName) -> Option<String> {
        let this = std::mem::take(self);
        if this.missing > 0 || this.pieces.is_empty() || this.checksum != checksum(short) {
            return None;
        }
        let units = this.pieces.into_iter().rev().flatten().take_while(|u| *u != 0);
        let name = String::from_utf16_lossy(&units.collect::<Vec<_>>());
        // A name that could not have been written would turn a listing into a path to elsewhere.
        (!name.is_empty() && name != "." && name != ".." && flaw(&name).is_none()).then_some(name)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn short_names_keep_what_fits_and_number_the_rest() {
        let mut names = ShortNames::default();
        assert_eq!(&names.exact("config.txt").unwrap(), b"CONFIG  TXT");
        assert_eq!(&names.exact("KERNEL8").unwrap(), b"KERNEL8    ");
        for no in ["bcm2837-rpi-3-b.dtb", ".hidden", "a.b.c", "ä", "x.", "with space"] {
            assert_eq!(names.exact(no), None, "{no}");
        }
        assert_eq!(&names.numbered("bcm2837-rpi-3-b.dtb").unwrap(), b"BCM283~1DTB");
        assert_eq!(&names.numbered("bcm2837-rpi-3-b-plus.dtb").unwrap(), b"BCM283~2DTB");
        assert_eq!(&names.numbered(".hidden").unwrap(), b"HIDDEN~1   ");
        assert_eq!(&names.numbered("ä").unwrap(), b"_~1        ");
        for _ in 3..=100 {
            names.numbered("bcm2837+.dtb").unwrap();
        }
        assert_eq!(&names.numbered("bcm2837+.dtb").unwrap(), b"BCM2~101DTB".as_slice());
    }

    #[test]
    fn long_names_survive_being_stored() {
        let exactly_two_slots = "abcdefghijklmnopqrstuvwxyz";
        for name in ["a", "bcm2837-rpi-3-b.dtb", exactly_two_slots, "größe 漢字 🍓.yaml", &"x".repeat(255)] {
            let short = ShortNames::default().numbered(name).unwrap();
            let mut long = LongName::default();
            long_slots(name, &short).iter().for_each(|slot| long.push(slot));
            assert_eq!(long.take(&short).as_deref(), Some(name));
            assert_eq!(long.take(&short), None, "used up");
        }
    }

    #[test]
    fn names_that_fat_cannot_hold_are_told() {
        for bad in ["a:b", "a\\b", "dot.", "space ", "tab\t", &"x".repeat(256)] {
            assert!(flaw(bad).is_some(), "{bad:?}");
        }
        assert_eq!(flaw("overlays+disable-bt[1].dtbo"), None);
    }
}
