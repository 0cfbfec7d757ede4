//! One copy of a table: its header and its entries.

use std::io;

use fruit_base::le::{u32_at, u64_at};
use fruit_contract::crc32::crc32;

use crate::{ENTRY, MAX_ENTRIES, MAX_NAME, SECTOR, SECTOR_BYTES};

const SIGNATURE: &[u8; 8] = b"EFI PART";
const HEADER_BYTES: u32 = 92;
/// The primary entries end before this sector (32 MiB): all up to there is held in memory when the table is written anew.
const MAX_ENTRIES_END: u64 = 1 << 16;

/// What is wrong with a copy.
#[derive(Clone, Copy, PartialEq, Eq, Debug, thiserror::Error)]
pub enum Damage {
    #[error("its header, sector {0}, is past the end of the disk")]
    Outside(u64),
    #[error("no signature in sector {0}")]
    Signature(u64),
    #[error("header size {0}, expected {HEADER_BYTES}")]
    HeaderSize(u32),
    #[error("header checksum {stored:08x}, computed {computed:08x}")]
    HeaderChecksum { stored: u32, computed: u32 },
    #[error("header says it is in sector {says}, it is in {found}")]
    Place { says: u64, found: u64 },
    #[error("{count} entries of {size} bytes, expected 1 to {MAX_ENTRIES} of {ENTRY}")]
    Layout { count: u32, size: u32 },
    #[error("impossible sectors: usable are {first} to {last}, entries start at {entries}")]
    Sectors { first: u64, last: u64, entries: u64 },
    #[error("its entries are past the end of the disk")]
    EntriesOutside,
    #[error("checksum of the entries {stored:08x}, computed {computed:08x}")]
    EntriesChecksum { stored: u32, computed: u32 },
    #[error("partition {number} (sectors {first} to {last}) is not within the disk")]
    Partition { number: u32, first: u64, last: u64 },
    #[error("partitions {0} and {1} overlap")]
    Overlap(u32, u32),
}

/// A copy whose checksums are right and whose numbers are possible.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Table {
    /// GUID of the disk, as it is stored.
    pub disk: [u8; 16],
    /// Sector of the other copy's header.
    pub other: u64,
    /// Sector that the entries start at.
    pub entries_at: u64,
    pub first_usable: u64,
    pub last_usable: u64,
    /// [`ENTRY`] bytes for each partition, from 1 on.
    pub entries: Vec<u8>,
}

/// A partition as it stands in the table.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Entry {
    /// From 1, as Linux counts.
    pub number: u32,
    /// As it is stored.
    pub type_guid: [u8; 16],
    /// PARTUUID, as it is stored.
    pub guid: [u8; 16],
    /// First and last sector, both part of it.
    pub first: u64,
    pub last: u64,
    pub name: String,
}

/// Sectors that `count` entries take.
#[must_use]
pub const fn entry_sectors(count: u32) -> u64 {
    (count as u64 * ENTRY as u64).div_ceil(SECTOR)
}

fn guid_at(bytes: &[u8], at: usize) -> [u8; 16] {
    std::array::from_fn(|i| bytes[at + i])
}

impl Table {
    /// Reads the copy whose header is in `sector` of a disk of `disk_sectors`. `read` fills the bytes from an offset of
    /// the disk; at most 32 KiB are asked for, all within the disk.
    ///
    /// # Errors
    /// The outer ones are of reading; the inner one says what is wrong with the copy.
    pub fn read(
        read: &dyn Fn(&mut [u8], u64) -> io::Result<()>,
        sector: u64,
        disk_sectors: u64,
    ) -> io::Result<Result<Table, Damage>> {
        if sector == 0 || sector >= disk_sectors {
            return Ok(Err(Damage::Outside(sector)));
        }
        let mut header = [0; SECTOR_BYTES];
        read(&mut header, sector.saturating_mul(SECTOR))?;
        let (mut table, stored) = match Table::header_of(&header, sector, disk_sectors) {
            Ok(found) => found,
            Err(damage) => return Ok(Err(damage)),
        };
        read(&mut table.entries, table.entries_at.saturating_mul(SECTOR))?;
        let computed = crc32(&table.entries);
        Ok(if stored == computed { Ok(table) } else { Err(Damage::EntriesChecksum { stored, computed }) })
    }

    /// The table without its entries, which have their length only, and their checksum.
    fn header_of(header: &[u8; SECTOR_BYTES], sector: u64, disk_sectors: u64) -> Result<(Table, u32), Damage> {
        if &header[..8] != SIGNATURE {
            return Err(Damage::Signature(sector));
        }
        if u32_at(header, 12) != HEADER_BYTES {
            return Err(Damage::HeaderSize(u32_at(header, 12)));
        }
        let mut zeroed = *header;
        zeroed[16..20].fill(0);
        let (stored, computed) = (u32_at(header, 16), crc32(&zeroed[..HEADER_BYTES as usize]));
        if stored != computed {
            return Err(Damage::HeaderChecksum { stored, computed });
        }
        let says = u64_at(header, 24);
        if says != sector {
            return Err(Damage::Place { says, found: sector });
        }
        let (count, size) = (u32_at(header, 80), u32_at(header, 84));
        if size as usize != ENTRY || !(1..=MAX_ENTRIES).contains(&count) {
            return Err(Damage::Layout { count, size });
        }
        let (first, last, entries) = (u64_at(header, 40), u64_at(header, 48), u64_at(header, 72));
        let possible = first <= last && last < disk_sectors && entries >= 2;
        let end = entries.checked_add(entry_sectors(count));
        if !possible || sector == 1 && end.is_none_or(|end| end > MAX_ENTRIES_END) {
            return Err(Damage::Sectors { first, last, entries });
        }
        if end.is_none_or(|end| end > disk_sectors) {
            return Err(Damage::EntriesOutside);
        }
        let table = Table {
            disk: guid_at(header, 56),
            other: u64_at(header, 32),
            entries_at: entries,
            first_usable: first,
            last_usable: last,
            // Bounded by MAX_ENTRIES.
            entries: vec![0; count as usize * ENTRY],
        };
        Ok((table, u32_at(header, 88)))
    }

    /// Number of entries, used or not.
    #[must_use]
    pub fn count(&self) -> u32 {
        (self.entries.len() / ENTRY) as u32
    }

    /// Entry `number` (from 1); `None` if it is unused or not there (UEFI 5.3.3: the nil type marks an unused one).
    #[must_use]
    pub fn raw(&self, number: u32) -> Option<&[u8; ENTRY]> {
        let (entries, _) = self.entries.as_chunks::<ENTRY>();
        entries.get((number as usize).checked_sub(1)?).filter(|entry| entry[..16] != [0; 16])
    }

    /// Numbers of the entries that are used.
    pub fn numbers(&self) -> impl Iterator<Item = u32> + '_ {
        (1..=self.count()).filter(|&number| self.raw(number).is_some())
    }

    /// The partitions, none of which reaches out of a disk of `disk_sectors` or into another.
    ///
    /// # Errors
    /// One that does.
    pub fn partitions(&self, disk_sectors: u64) -> Result<Vec<Entry>, Damage> {
        let mut partitions = Vec::new();
        for number in self.numbers() {
            let Some(raw) = self.raw(number) else { continue };
            let (first, last) = (u64_at(raw, 32), u64_at(raw, 40));
            if first == 0 || first > last || last >= disk_sectors {
                return Err(Damage::Partition { number, first, last });
            }
            let units = raw[56..].as_chunks::<2>().0.iter().map(|unit| u16::from_le_bytes(*unit));
            let name: Vec<u16> = units.take(MAX_NAME).take_while(|unit| *unit != 0).collect();
            let (type_guid, guid) = (guid_at(raw, 0), guid_at(raw, 16));
            partitions.push(Entry { number, type_guid, guid, first, last, name: String::from_utf16_lossy(&name) });
        }
        let mut places: Vec<_> = partitions.iter().map(|p| (p.first, p.last, p.number)).collect();
        places.sort_unstable();
        match places.windows(2).find(|pair| pair[0].1 >= pair[1].0) {
            Some(pair) => Err(Damage::Overlap(pair[0].2, pair[1].2)),
            None => Ok(partitions),
        }
    }

    /// Writes `entry` to its place in the entries, which have room for it.
    pub fn set(&mut self, entry: &Entry) {
        let at = (entry.number as usize).saturating_sub(1) * ENTRY;
        let Some(raw) = self.entries.get_mut(at..at + ENTRY) else { return };
        raw.fill(0);
        raw[..16].copy_from_slice(&entry.type_guid);
        raw[16..32].copy_from_slice(&entry.guid);
        raw[32..40].copy_from_slice(&entry.first.to_le_bytes());
        raw[40..48].copy_from_slice(&entry.last.to_le_bytes());
        for (to, unit) in raw[56..].as_chunks_mut::<2>().0.iter_mut().zip(entry.name.encode_utf16()) {
            *to = unit.to_le_bytes();
        }
    }

    /// The header of a copy in sector `own`, with the other one in `other` and its entries from `entries` on.
    #[must_use]
    pub fn header(&self, own: u64, other: u64, entries: u64) -> [u8; SECTOR_BYTES] {
        let mut sector = [0; SECTOR_BYTES];
        let mut put = |at: usize, bytes: &[u8]| sector[at..at + bytes.len()].copy_from_slice(bytes);
        put(0, SIGNATURE);
        put(8, &0x0001_0000u32.to_le_bytes());
        put(12, &HEADER_BYTES.to_le_bytes());
        put(24, &own.to_le_bytes());
        put(32, &other.to_le_bytes());
        put(40, &self.first_usable.to_le_bytes());
        put(48, &self.last_usable.to_le_bytes());
        put(56, &self.disk);
        put(72, &entries.to_le_bytes());
        put(80, &self.count().to_le_bytes());
        put(84, &(ENTRY as u32).to_le_bytes());
        put(88, &crc32(&self.entries).to_le_bytes());
        let crc = crc32(&sector[..HEADER_BYTES as usize]);
        sector[16..20].copy_from_slice(&crc.to_le_bytes());
        sector
    }
}
