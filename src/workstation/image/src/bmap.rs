//! Block maps, version 2.0, as bmaptool and this project's `flash` read them: which blocks of an image hold something,
//! with their SHA-256, so that a card is written in the time of its content and not of its size.
//! The format is defined by bmaptool's `BmapCreate.py`.

use crate::sparse::BLOCK;
use crate::sums::Sum;
use std::fmt::Write;
use std::ops::Range;

/// Ranges read from a block map at most; a map of a real card has a few hundred.
const MAX_RANGES: usize = 1 << 20;
/// The newest format is 2.x; bmaptool refuses other major versions.
const VERSION: &str = "2.0";

#[derive(thiserror::Error, Debug, PartialEq, Eq)]
pub enum BmapError {
    #[error("block map: no <{0}> with a value that makes sense")]
    Field(&'static str),
    #[error("block map of version {0}, expected 2.x")]
    Version(String),
    #[error("block map with {0} checksums, expected sha256")]
    ChecksumType(String),
    #[error("block map damaged: its own checksum is {found}, it says {expected}")]
    Damaged { found: Sum, expected: Sum },
    #[error("block map: range {0:?} is not behind the one before it and within the image")]
    Range(String),
    #[error("block map: more than {MAX_RANGES} ranges")]
    TooMany,
}

/// A run of blocks that hold something.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Mapped {
    /// In blocks of 4096 bytes.
    pub blocks: Range<u64>,
    /// Of the bytes of these blocks; the last block of an image may be cut short by its end.
    pub sum: Sum,
}

/// Which blocks of an image hold something.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Bmap {
    /// Bytes.
    pub image_size: u64,
    /// Ascending, not overlapping.
    pub ranges: Vec<Mapped>,
}

impl Bmap {
    pub fn mapped_blocks(&self) -> u64 {
        self.ranges.iter().map(|r| r.blocks.end - r.blocks.start).sum()
    }

    /// The bytes of a range: start and length.
    pub fn bytes(&self, range: &Mapped) -> (u64, u64) {
        let start = range.blocks.start * BLOCK;
        (start, (range.blocks.end * BLOCK).min(self.image_size) - start)
    }

    /// Bytes to be written to a card.
    pub fn mapped_bytes(&self) -> u64 {
        self.ranges.iter().map(|r| self.bytes(r).1).sum()
    }

    /// The block map file. Its own checksum is taken with the checksum's digits all zero.
    pub fn to_xml(&self) -> String {
        let zeros = "0".repeat(64);
        let xml = self.xml_with(&zeros);
        let sum = Sum::of(xml.as_bytes()).to_string();
        self.xml_with(&sum)
    }

    fn xml_with(&self, own_sum: &str) -> String {
        let mut ranges = String::new();
        for range in &self.ranges {
            let (first, last) = (range.blocks.start, range.blocks.end - 1);
            let blocks = if first == last { format!("{first}") } else { format!("{first}-{last}") };
            // Writing to a String does not fail.
            let _ = writeln!(ranges, "        <Range chksum=\"{}\"> {blocks} </Range>", range.sum);
        }
        format!(
            "<?xml version=\"1.0\" ?>\n\
             <!-- Which blocks of the image beside this file hold something. Use it with `fruitbuild flash` or bmaptool. -->\n\
             <bmap version=\"{VERSION}\">\n    \
                 <ImageSize> {} </ImageSize>\n    \
                 <BlockSize> {BLOCK} </BlockSize>\n    \
                 <BlocksCount> {} </BlocksCount>\n    \
                 <MappedBlocksCount> {} </MappedBlocksCount>\n    \
                 <ChecksumType> sha256 </ChecksumType>\n    \
                 <BmapFileChecksum> {own_sum} </BmapFileChecksum>\n    \
                 <BlockMap>\n{ranges}    </BlockMap>\n\
             </bmap>\n",
            self.image_size,
            self.image_size.div_ceil(BLOCK),
            self.mapped_blocks(),
        )
    }

    /// Reads a block map, which may be damaged or hostile.
    ///
    /// # Errors
    /// Another format or version, another block size than 4096, a wrong checksum, ranges out of order or out of the image.
    pub fn parse(xml: &str) -> Result<Bmap, BmapError> {
        let whole = xml;
        // Comments talk about the elements by name.
        let xml = &without_comments(whole);
        let version = attribute(xml, "<bmap", "version").ok_or(BmapError::Field("bmap"))?;
        if version.split('.').next() != Some("2") {
            return Err(BmapError::Version(version.to_owned()));
        }
        let kind = element(xml, "ChecksumType").ok_or(BmapError::Field("ChecksumType"))?;
        if kind != "sha256" {
            return Err(BmapError::ChecksumType(kind.to_owned()));
        }
        check_own_sum(whole, xml)?;
        let number = |name| element(xml, name).and_then(|v| v.parse::<u64>().ok()).ok_or(BmapError::Field(name));
        let image_size = number("ImageSize")?;
        if number("BlockSize")? != BLOCK {
            return Err(BmapError::Field("BlockSize"));
        }
        if number("BlocksCount")? != image_size.div_ceil(BLOCK) {
            return Err(BmapError::Field("BlocksCount"));
        }
        let map = Bmap { image_size, ranges: ranges(xml, image_size.div_ceil(BLOCK))? };
        if number("MappedBlocksCount")? != map.mapped_blocks() {
            return Err(BmapError::Field("MappedBlocksCount"));
        }
        Ok(map)
    }
}

fn check_own_sum(whole: &str, xml: &str) -> Result<(), BmapError> {
    let text = element(xml, "BmapFileChecksum").filter(|t| t.len() == 64);
    let missing = || BmapError::Field("BmapFileChecksum");
    let (text, expected) = text.and_then(|t| Some((t, Sum::parse(t)?))).ok_or_else(missing)?;
    let found = Sum::of(whole.replacen(text, &"0".repeat(64), 1).as_bytes());
    if found == expected { Ok(()) } else { Err(BmapError::Damaged { found, expected }) }
}

fn ranges(xml: &str, blocks: u64) -> Result<Vec<Mapped>, BmapError> {
    let mut found: Vec<Mapped> = Vec::new();
    for piece in xml.split("<Range").skip(1) {
        let short: String = piece.chars().take(120).collect();
        let bad = || BmapError::Range(short.clone());
        let sum = attribute(piece, "", "chksum").and_then(Sum::parse).ok_or_else(bad)?;
        let (_, rest) = piece.split_once('>').ok_or_else(bad)?;
        let (value, _) = rest.split_once("</Range>").ok_or_else(bad)?;
        let (first, last) = value.trim().split_once('-').unwrap_or((value.trim(), value.trim()));
        let first: u64 = first.trim().parse().map_err(|_| bad())?;
        let last: u64 = last.trim().parse().map_err(|_| bad())?;
        let after = found.last().map_or(0, |r| r.blocks.end);
        if first < after || last < first || last >= blocks {
            return Err(bad());
        }
        if found.len() == MAX_RANGES {
            return Err(BmapError::TooMany);
        }
        found.push(Mapped { blocks: first..last + 1, sum });
    }
    Ok(found)
}

fn without_comments(xml: &str) -> String {
    let mut rest = xml;
    let mut kept = String::with_capacity(xml.len());
    while let Some((before, comment)) = rest.split_once("<!--") {
        kept.push_str(before);
        rest = comment.split_once("-->").map_or("", |(_, after)| after);
    }
    kept + rest
}

/// The trimmed text of the first element of that name.
fn element<'a>(xml: &'a str, name: &str) -> Option<&'a str> {
    let (_, rest) = xml.split_once(&format!("<{name}>"))?;
    Some(rest.split_once(&format!("</{name}>"))?.0.trim())
}

/// The value of an attribute of the tag that begins with `tag`.
fn attribute<'a>(xml: &'a str, tag: &str, name: &str) -> Option<&'a str> {
    let (_, rest) = xml.split_once(tag)?;
    let (inside, _) = rest.split_once('>')?;
    let (_, value) = inside.split_once(&format!("{name}=\""))?;
    Some(value.split_once('"')?.0)
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn map() -> Bmap {
        let range = |blocks: Range<u64>| Mapped { sum: Sum::of(&blocks.start.to_le_bytes()), blocks };
        Bmap { image_size: 100 * BLOCK - 7, ranges: vec![range(0..1), range(5..9), range(98..100)] }
    }

    #[test]
    fn a_map_is_read_as_it_was_written() {
        assert_eq!(Bmap::parse(&map().to_xml()), Ok(map()));
        assert_eq!(map().mapped_bytes(), 7 * BLOCK - 7);
    }

    #[test]
    fn a_changed_map_is_refused() {
        let xml = map().to_xml();
        assert!(matches!(Bmap::parse(&xml.replace(" 5-8 ", " 5-7 ")), Err(BmapError::Damaged { .. })));
        assert_eq!(
            Bmap::parse(&xml.replace("version=\"2.0\"", "version=\"3.0\"")),
            Err(BmapError::Version("3.0".into()))
        );
        assert_eq!(Bmap::parse(""), Err(BmapError::Field("bmap")));
    }

    proptest! {
        #[test]
        fn no_text_panics(text: String, at: prop::sample::Index, insert in "[<>/0-9 \"-]{0,8}") {
            let _ = Bmap::parse(&text);
            let mut xml = map().to_xml();
            xml.insert_str(at.index(xml.len()), &insert);
            let _ = Bmap::parse(&xml);
            let _ = ranges(&xml, 100);
        }
    }
}
