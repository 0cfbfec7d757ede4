use super::{GptError, Layout, MAX_NAME, Mbr, Partition, SECTOR};
use crate::disk::Disk;
use std::fmt;
use uuid::Uuid;

/// Entries read at most. UEFI asks for room for 128 at least; nothing writes more than a few hundred.
const MAX_ENTRIES: u32 = 1024;
/// Bytes per entry at most; UEFI allows 128 × 2ⁿ.
const MAX_ENTRY_SIZE: u32 = 1024;
const HEADER_SIZE: usize = 92;
const ENTRY_SIZE: u32 = 128;

/// The state of one of the two copies of a table.
#[derive(Clone, PartialEq, Eq, Debug)]
pub enum CopyState {
    Good,
    /// What is wrong with it.
    Damaged(String),
}

impl fmt::Display for CopyState {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            CopyState::Good => f.write_str("good"),
            CopyState::Damaged(why) => write!(f, "damaged ({why})"),
        }
    }
}

/// A table that was read, and the state of its copies.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Found {
    /// From the primary copy if it is good, else from the backup.
    pub layout: Layout,
    pub primary: CopyState,
    pub backup: CopyState,
    /// Whether the backup lies in the last sector; it does not after an image was written to a larger card.
    pub backup_at_end: bool,
}

/// Reads the table of a disk or image, which may be hostile or damaged. Partitions that do not lie within the disk make
/// a copy count as damaged.
///
/// # Errors
/// Neither copy is good, or the disk cannot be read.
pub fn read<D: Disk + ?Sized>(disk: &D) -> Result<Found, GptError> {
    let last_sector = (disk.size() / SECTOR).saturating_sub(1);
    let primary = copy(disk, 1)?;
    // The primary says where the backup is; the last sector is where to look when there is no primary.
    let backup_sector = primary.as_ref().map_or(last_sector, |header| header.other_sector);
    let backup = copy(disk, backup_sector)?;
    let state =
        |c: &Result<Header, String>| c.as_ref().err().map_or(CopyState::Good, |why| CopyState::Damaged(why.clone()));
    let (primary_state, mut backup_state) = (state(&primary), state(&backup));
    if let (Ok(first), Ok(second)) = (&primary, &backup)
        && (first.disk_guid != second.disk_guid || first.partitions != second.partitions)
    {
        backup_state = CopyState::Damaged("differs from the primary".to_owned());
    }
    let header = match (primary, backup) {
        (Ok(header), _) | (_, Ok(header)) => header,
        _ => return Err(GptError::NoTable { primary: primary_state, backup: backup_state }),
    };
    let mbr = mbr(disk, &header.partitions)?;
    Ok(Found {
        layout: Layout { disk_guid: header.disk_guid, disk_size: disk.size(), mbr, partitions: header.partitions },
        primary: primary_state,
        backup: backup_state,
        backup_at_end: backup_sector == last_sector,
    })
}

struct Header {
    disk_guid: Uuid,
    other_sector: u64,
    partitions: Vec<Partition>,
}

/// The copy whose header is at `sector`. The outer error is of reading, the inner says what is wrong with the copy.
fn copy<D: Disk + ?Sized>(disk: &D, sector: u64) -> Result<Result<Header, String>, GptError> {
    let within = |start: u64, len: u64| {
        let start = start.checked_mul(SECTOR)?;
        start.checked_add(len).filter(|end| *end <= disk.size()).map(|_| start)
    };
    let Some(at) = within(sector, SECTOR) else {
        return Ok(Err(format!("its header, sector {sector}, is past the end of the disk")));
    };
    let mut raw = [0; SECTOR as usize];
    disk.read_exact_at(&mut raw, at)?;
    if &raw[..8] != b"EFI PART" {
        return Ok(Err(format!("no signature in sector {sector}")));
    }
    let header_size = le32(&raw, 12) as usize;
    if !(HEADER_SIZE..=raw.len()).contains(&header_size) {
        return Ok(Err(format!("header size {header_size}, expected {HEADER_SIZE} to {}", raw.len())));
    }
    let stored = le32(&raw, 16);
    raw[16..20].fill(0);
    let computed = crc32fast::hash(&raw[..header_size]);
    if stored != computed {
        return Ok(Err(format!("header checksum {stored:08x}, computed {computed:08x}")));
    }
    if le64(&raw, 24) != sector {
        return Ok(Err(format!("header says it is in sector {}, it is in {sector}", le64(&raw, 24))));
    }
    let (count, entry_size) = (le32(&raw, 80), le32(&raw, 84));
    if count > MAX_ENTRIES || !(ENTRY_SIZE..=MAX_ENTRY_SIZE).contains(&entry_size) || !entry_size.is_power_of_two() {
        return Ok(Err(format!("{count} entries of {entry_size} bytes, expected up to {MAX_ENTRIES} of {ENTRY_SIZE}")));
    }
    let mut entries = vec![0; (count * entry_size) as usize];
    let Some(at) = within(le64(&raw, 72), entries.len() as u64) else {
        return Ok(Err("its entries are past the end of the disk".to_owned()));
    };
    disk.read_exact_at(&mut entries, at)?;
    let (stored, computed) = (le32(&raw, 88), crc32fast::hash(&entries));
    if stored != computed {
        return Ok(Err(format!("checksum of the entries {stored:08x}, computed {computed:08x}")));
    }
    let mut partitions = Vec::new();
    for (number, entry) in (1..).zip(entries.chunks_exact(entry_size as usize)) {
        if entry[..16].iter().all(|b| *b == 0) {
            continue; // UEFI 5.3.3: the nil type marks an unused entry
        }
        let (first, last) = (le64(entry, 32), le64(entry, 40));
        let sectors = last.checked_sub(first).and_then(|n| n.checked_add(1));
        let Some(sectors) = sectors.filter(|_| first > 0 && last < disk.size() / SECTOR) else {
            return Ok(Err(format!("partition {number} (sectors {first} to {last}) is not within the disk")));
        };
        partitions.push(Partition {
            number,
            name: name(&entry[56..56 + 2 * MAX_NAME]),
            type_guid: guid(&entry[..16]),
            guid: guid(&entry[16..32]),
            first_sector: first,
            sectors,
        });
    }
    let mut places: Vec<_> = partitions.iter().map(|p| (p.first_sector, p.sectors, p.number)).collect();
    places.sort_unstable();
    if let Some(pair) = places.windows(2).find(|pair| pair[0].0 + pair[0].1 > pair[1].0) {
        return Ok(Err(format!("partitions {} and {} overlap", pair[0].2, pair[1].2)));
    }
    Ok(Ok(Header { disk_guid: guid(&raw[56..72]), other_sector: le64(&raw, 32), partitions }))
}

/// The kind of MBR: hybrid when an entry besides 0xEE names one of the partitions.
fn mbr<D: Disk + ?Sized>(disk: &D, partitions: &[Partition]) -> Result<Mbr, GptError> {
    let mut raw = [0; SECTOR as usize];
    disk.read_exact_at(&mut raw, 0)?;
    let named = raw[446..510].chunks_exact(16).filter(|e| e[4] != 0 && e[4] != 0xEE).find_map(|e| {
        let place = (u64::from(le32(e, 8)), u64::from(le32(e, 12)));
        partitions.iter().find(|p| (p.first_sector, p.sectors) == place)
    });
    Ok(named.map_or(Mbr::Protective, |p| Mbr::Hybrid { partition: p.number }))
}

fn name(raw: &[u8]) -> String {
    let units: Vec<u16> =
        raw.chunks_exact(2).map(|u| u16::from_le_bytes([u[0], u[1]])).take_while(|u| *u != 0).collect();
    String::from_utf16_lossy(&units)
}

/// GUIDs are stored with their first three fields in little-endian order (UEFI appendix A).
fn guid(raw: &[u8]) -> Uuid {
    let mut bytes = [0; 16];
    bytes.copy_from_slice(&raw[..16]);
    Uuid::from_bytes_le(bytes)
}

fn le32(raw: &[u8], at: usize) -> u32 {
    u32::from_le_bytes([raw[at], raw[at + 1], raw[at + 2], raw[at + 3]])
}

fn le64(raw: &[u8], at: usize) -> u64 {
    u64::from(le32(raw, at)) | u64::from(le32(raw, at + 4)) << 32
}
