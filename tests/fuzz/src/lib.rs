//! What several targets share: a disk of which only the start is given, and checksums that are right again, so that
//! what is behind them is reached.

pub mod seeds;

use std::io;

use fruit_image::disk::Disk;
use fruit_image::storage::{Contents, ReadAt};
use sha2::{Digest, Sha256};

/// The input, and zeros behind it up to `size` bytes.
pub struct ZeroDisk<'b> {
    bytes: &'b [u8],
    size: u64,
}

impl<'b> ZeroDisk<'b> {
    pub fn new(bytes: &'b [u8], size: u64) -> ZeroDisk<'b> {
        ZeroDisk { bytes, size }
    }
}

impl ReadAt for ZeroDisk<'_> {
    fn read_exact_at(&self, buf: &mut [u8], offset: u64) -> io::Result<()> {
        let end = offset.checked_add(buf.len() as u64);
        if end.is_none_or(|end| end > self.size) {
            return Err(io::ErrorKind::UnexpectedEof.into());
        }
        let given = self.bytes.get(offset as usize..).unwrap_or_default();
        let given = &given[..given.len().min(buf.len())];
        buf[..given.len()].copy_from_slice(given);
        buf[given.len()..].fill(0);
        Ok(())
    }
}

impl Contents for ZeroDisk<'_> {}

impl Disk for ZeroDisk<'_> {
    fn size(&self) -> u64 {
        self.size
    }
}

pub fn crc32(bytes: &[u8]) -> u32 {
    crc32fast::hash(bytes)
}

/// Gives the primary partition table, if there is one, the checksums of its entries and of its header.
pub fn mend_gpt(disk: &mut [u8]) {
    // Protective MBR and header.
    if disk.len() < 1024 {
        return;
    }
    let word = |disk: &[u8], at: usize| disk.get(at..at + 4).map(|b| u32::from_le_bytes([b[0], b[1], b[2], b[3]]));
    let place = word(disk, 512 + 72).map_or(0, |sector| sector as usize).saturating_mul(512);
    let len = word(disk, 512 + 80).zip(word(disk, 512 + 84)).map(|(count, size)| u64::from(count) * u64::from(size));
    let entries = len.and_then(|len| disk.get(place..place.checked_add(usize::try_from(len).ok()?)?));
    if let Some(sum) = entries.map(crc32) {
        disk[512 + 88..512 + 92].copy_from_slice(&sum.to_le_bytes());
    }
    let header_size = word(disk, 512 + 12).unwrap_or(0) as usize;
    if (92..=512).contains(&header_size) {
        disk[512 + 16..512 + 20].fill(0);
        let sum = crc32(&disk[512..512 + header_size]);
        disk[512 + 16..512 + 20].copy_from_slice(&sum.to_le_bytes());
    }
}

/// Puts the right checksum into a block map that has a place for one.
pub fn mend_bmap(xml: &str) -> String {
    let Some((before, rest)) = xml.split_once("<BmapFileChecksum>") else { return xml.to_owned() };
    let Some((_, after)) = rest.split_once("</BmapFileChecksum>") else { return xml.to_owned() };
    let with = |sum: &str| format!("{before}<BmapFileChecksum>{sum}</BmapFileChecksum>{after}");
    let digest = Sha256::digest(with(&"0".repeat(64)));
    with(&digest.iter().map(|b| format!("{b:02x}")).collect::<String>())
}

/// The key that fuzzed metadata is signed with; the seeds' roots name it for every role.
pub fn metadata_key() -> fruit_release::keys::SecretKey {
    fruit_release::keys::SecretKey::from_seed(&[7; 32])
}

/// Gives metadata, whatever it says, a valid signature of [`metadata_key`].
pub fn sign_metadata(bytes: &[u8]) -> Vec<u8> {
    use fruit_release::tuf::json::{self, Json};
    let Ok(Json::Object(mut document)) = json::parse(bytes, 1 << 20) else { return bytes.to_vec() };
    let Some(signed) = document.get("signed") else { return bytes.to_vec() };
    let key = metadata_key();
    let signature: String = key.sign(&signed.canonical()).iter().map(|byte| format!("{byte:02x}")).collect();
    let id = key.public().id().map_or_else(String::new, |id| id.to_string());
    let signature = Json::from([("keyid", id.into()), ("sig", signature.into())]);
    document.insert("signatures".into(), Json::List(vec![signature]));
    serde_json::to_vec(&Json::Object(document)).unwrap_or_default()
}

/// Bytes of the chunk that patches are applied to.
pub const PATCHED: usize = 20_000;

/// The old volumes of patches: some code, some text.
pub fn old_volumes() -> [Vec<u8>; 2] {
    let code = (0..8192u32)
        .flat_map(|i| if i % 5 == 0 { 0x9400_0000 | (i * 3) } else { i.wrapping_mul(0x9E37_79B1) }.to_le_bytes());
    let text = (0..3000u32).flat_map(|i| format!("line {i}\n").into_bytes());
    [code.collect(), text.collect()]
}

/// Records of every class as they are on cards, by class, and what else has a format of its own.
pub fn golden_records() -> impl Iterator<Item = (&'static str, Vec<u8>)> {
    let lines = include_str!("../../../src/shared/record/tests/golden/records.txt").lines();
    lines.map(|line| {
        let (name, digits) = line.split_once(' ').expect("a name and digits");
        (name, fruit_base::hex::decode(digits).expect("digits"))
    })
}

/// The fleet that signed them.
pub fn fleet() -> &'static fruit_record::Replica {
    static FLEET: std::sync::OnceLock<fruit_record::Replica> = std::sync::OnceLock::new();
    FLEET.get_or_init(|| {
        let (_, charter) = golden_records().next().expect("the charter comes first");
        let fleet = fruit_record::Record::parse(&charter).expect("a charter").fleet();
        fruit_record::Replica::new(fruit_record::Trust::new(fleet, &charter).expect("the first charter"))
    })
}
