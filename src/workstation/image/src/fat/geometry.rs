use super::{FatError, Kind, SECTOR, SLOT};

/// Clusters that separate the kinds: fewer than this is FAT12, …
const LEAST_FAT16: u64 = 4085;
/// … fewer than this FAT16, the rest FAT32 (`fatgen103`, p. 14: nothing else decides).
const LEAST_FAT32: u64 = 65525;
/// Distance kept from those limits, because drivers are off by up to this many (`fatgen103`, p. 15).
const MARGIN: u64 = 16;
/// Cluster numbers have 28 bits; the highest are reserved.
const MOST_FAT32: u64 = 0x0FFF_FFF5;
/// Entries of the fixed root directory of FAT16, as every mkfs has it.
const ROOT_ENTRIES: u64 = 512;
/// Reserved sectors that Windows and mkfs.fat give FAT32: boot sector, FSInfo, their backup, spare.
const RESERVED_FAT32: u64 = 32;
/// The data area begins at a multiple of this many sectors, the 4 KiB page of cards and page caches.
const DATA_ALIGNMENT: u64 = 8;
/// Copies of the allocation table.
pub(super) const COPIES: u64 = 2;

/// Where the parts of a FAT filesystem are. In sectors unless it says clusters.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(super) struct Geometry {
    pub kind: Kind,
    pub sectors: u64,
    pub cluster_sectors: u64,
    pub reserved: u64,
    pub fat_sectors: u64,
    /// Of FAT16's root directory; 0 for FAT32.
    pub root_sectors: u64,
    pub clusters: u64,
}

impl Geometry {
    /// The geometry of a filesystem of `size` bytes. Clusters are as large as the kind allows, up to 4 KiB (FAT32), or as
    /// small as it allows (FAT16).
    pub fn new(kind: Kind, size: u64) -> Result<Geometry, FatError> {
        let sizes: &[u64] = match kind {
            Kind::Fat32 => &[8, 4, 2, 1],
            Kind::Fat16 => &[1, 2, 4, 8, 16, 32, 64],
        };
        let fits = |g: &Geometry| match kind {
            Kind::Fat32 => (LEAST_FAT32 + MARGIN..=MOST_FAT32).contains(&g.clusters),
            Kind::Fat16 => (LEAST_FAT16 + MARGIN..LEAST_FAT32 - MARGIN).contains(&g.clusters),
        };
        let sectors = size / SECTOR;
        sizes
            .iter()
            .filter_map(|cluster| Geometry::with_clusters(kind, sectors, *cluster))
            .find(fits)
            .filter(|_| sectors <= u64::from(u32::MAX))
            .ok_or(FatError::Size { kind, size })
    }

    fn with_clusters(kind: Kind, sectors: u64, cluster_sectors: u64) -> Option<Geometry> {
        let (least_reserved, root_sectors) = match kind {
            Kind::Fat32 => (RESERVED_FAT32, 0),
            Kind::Fat16 => (1, ROOT_ENTRIES * SLOT as u64 / SECTOR),
        };
        let mut fat_sectors = 1;
        loop {
            let before_data = least_reserved + COPIES * fat_sectors + root_sectors;
            let aligned = before_data.next_multiple_of(DATA_ALIGNMENT);
            let clusters = sectors.checked_sub(aligned)? / cluster_sectors;
            let needed = ((clusters + 2) * kind.entry_size()).div_ceil(SECTOR);
            if needed <= fat_sectors {
                let reserved = least_reserved + aligned - before_data;
                return Some(Geometry {
                    kind,
                    sectors,
                    cluster_sectors,
                    reserved,
                    fat_sectors,
                    root_sectors,
                    clusters,
                });
            }
            fat_sectors = needed;
        }
    }

    /// Bytes per cluster.
    pub fn cluster_size(&self) -> u64 {
        self.cluster_sectors * SECTOR
    }

    /// Byte where copy `n` of the allocation table begins.
    pub fn fat_start(&self, n: u64) -> u64 {
        (self.reserved + n * self.fat_sectors) * SECTOR
    }

    /// Byte where FAT16's root directory begins.
    pub fn root_start(&self) -> u64 {
        self.fat_start(COPIES)
    }

    /// Byte where `cluster` begins; the first is number 2.
    pub fn cluster_start(&self, cluster: u32) -> u64 {
        self.root_start() + self.root_sectors * SECTOR + (u64::from(cluster) - 2) * self.cluster_size()
    }

    /// The kind that a number of clusters means.
    pub fn kind_of(clusters: u64) -> Option<Kind> {
        match clusters {
            ..LEAST_FAT16 => None,
            LEAST_FAT16..LEAST_FAT32 => Some(Kind::Fat16),
            _ => Some(Kind::Fat32),
        }
    }
}
