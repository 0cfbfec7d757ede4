//! GUID partition table: UEFI specification 2.10, section 5.3, with sectors of 512 bytes. What a node reads when it boots
//! is read by the same rules on the workstation, so that nothing is called good there that a node refuses.

mod mbr;
mod table;

pub use mbr::{Hybrid, mbr, set_protective_size};
pub use table::{Damage, Entry, Table, entry_sectors};

/// Bytes per sector; cards and USB sticks have no other size.
pub const SECTOR: u64 = 512;
/// Bytes of a sector in memory.
pub const SECTOR_BYTES: usize = SECTOR as usize;
/// Bytes of an entry; the specification allows more, nobody writes it.
pub const ENTRY: usize = 128;
/// Most entries that are read: twice of what the specification reserves.
pub const MAX_ENTRIES: u32 = 256;
/// UTF-16 units in a partition's name.
pub const MAX_NAME: usize = 36;
