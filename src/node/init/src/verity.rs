//! Opens a dm-verity device: every block of the root is checked against the root hash as it is read, and one that does
//! not fit is an I/O error of that read only.

use std::fs::{File, OpenOptions};
use std::io;
use std::path::PathBuf;

use fruit_contract::cmdline::hex;
use fruit_device::gpt::{Extent, SECTOR};
use fruit_verity::{BLOCK, Params};

use crate::ioctl::{DM_HEADER, DmRequest, device_mapper};

/// Name of the mapped device.
const NAME: &str = "root";
const CONTROL: &str = "/dev/mapper/control";

/// `DM_READONLY_FLAG`: dm-verity takes nothing else.
const READ_ONLY: u32 = 1;
// Fields of `struct dm_ioctl` (include/uapi/linux/dm-ioctl.h).
const DATA_START_AT: usize = 16;
const TARGET_COUNT_AT: usize = 20;
const FLAGS_AT: usize = 28;
const DEVICE_AT: usize = 40;
const NAME_AT: usize = 48;
const NAME_BYTES: usize = 128;
const UUID_AT: usize = 176;
const UUID_BYTES: usize = 129;
// `struct dm_target_spec`.
const TARGET_BYTES: usize = 40;
const TARGET_LENGTH_AT: usize = 8;
const TARGET_TYPE_AT: usize = 24;

/// Checks that data and hash tree fit the partition, so that a wrong command line is a clear message instead of I/O
/// errors later.
///
/// # Errors
/// A sentence.
pub fn check_fits(verity: &Params, partition: Extent) -> Result<(), String> {
    let blocks = partition.bytes() / BLOCK;
    // At least one block of the tree behind its start.
    if verity.hash_start_block < blocks && verity.data_blocks < blocks {
        Ok(())
    } else {
        Err(format!(
            "fruit.verity={verity} needs more than the {blocks} blocks of the root partition: is this slot's command \
             line from another image?"
        ))
    }
}

/// The table line of the target (Documentation/admin-guide/device-mapper/verity.rst), without options: a corrupt block
/// is an I/O error. `device` is `major:minor`.
pub fn table(verity: &Params, device: &str) -> String {
    let salt = if verity.salt.is_empty() { "-".into() } else { hex(&verity.salt) };
    format!(
        "1 {device} {device} {BLOCK} {BLOCK} {} {} sha256 {} {salt}",
        verity.data_blocks,
        verity.hash_start_block,
        hex(&verity.root_hash)
    )
}

/// A request: the header, and behind it a target if there is one.
fn request(flags: u32, uuid: &str, target: Option<(u64, &str)>) -> Vec<u8> {
    let parameters = target.map_or("", |(_, parameters)| parameters);
    // A NUL behind the parameters, and a multiple of 8 as the kernel aligns targets.
    let length = (DM_HEADER + TARGET_BYTES + parameters.len() + 1).next_multiple_of(8);
    let mut buffer = vec![0u8; length];
    let mut put = |at: usize, bytes: &[u8]| buffer[at..at + bytes.len()].copy_from_slice(bytes);
    put(0, &4u32.to_ne_bytes());
    put(DATA_START_AT, &(DM_HEADER as u32).to_ne_bytes());
    put(FLAGS_AT, &flags.to_ne_bytes());
    put(NAME_AT, &NAME.as_bytes()[..NAME.len().min(NAME_BYTES - 1)]);
    put(UUID_AT, &uuid.as_bytes()[..uuid.len().min(UUID_BYTES - 1)]);
    if let Some((sectors, parameters)) = target {
        put(TARGET_COUNT_AT, &1u32.to_ne_bytes());
        put(DM_HEADER + TARGET_LENGTH_AT, &sectors.to_ne_bytes());
        put(DM_HEADER + TARGET_TYPE_AT, b"verity");
        put(DM_HEADER + TARGET_BYTES, parameters.as_bytes());
    }
    buffer
}

/// Minor number in `dev` of the header, as `huge_decode_dev` of the kernel reads it (include/linux/kdev_t.h).
fn minor(header: &[u8]) -> u64 {
    let device = header[DEVICE_AT..DEVICE_AT + 8].iter().rev().fold(0u64, |n, &b| n << 8 | u64::from(b));
    device & 0xff | device >> 12 & 0xf_ff00
}

/// Opens `device` (`major:minor`) with these parameters; returns the path of the checked, read-only block device.
///
/// # Errors
/// Those of the kernel; typically a missing dm-verity module.
pub fn open(verity: &Params, device: &str) -> io::Result<PathBuf> {
    let control = OpenOptions::new().read(true).write(true).open(CONTROL);
    let control = control.map_err(|e| io::Error::new(e.kind(), format!("{CONTROL}: {e}; is dm-mod loaded?")))?;
    let uuid = format!("fruit-verity-{}", hex(&verity.root_hash));
    let mut create = request(0, &uuid, None);
    device_mapper(&control, DmRequest::Create, &mut create)?;
    let path = PathBuf::from(format!("/dev/dm-{}", minor(&create)));
    start(&control, verity, device).inspect_err(|_| {
        // Leave nothing half-made; the first error is the one that matters.
        let _ = device_mapper(&control, DmRequest::Remove, &mut request(0, "", None));
    })?;
    Ok(path)
}

fn start(control: &File, verity: &Params, device: &str) -> io::Result<()> {
    let sectors = verity.data_blocks.saturating_mul(BLOCK / SECTOR);
    let table = table(verity, device);
    device_mapper(control, DmRequest::TableLoad, &mut request(READ_ONLY, "", Some((sectors, &table))))?;
    // Suspend without its flag is resume: it puts the loaded table to work.
    device_mapper(control, DmRequest::Suspend, &mut request(0, "", None))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn verity(salt: &[u8]) -> Params {
        Params { data_blocks: 100, hash_start_block: 101, root_hash: [0xab; 32], salt: salt.into() }
    }

    #[test]
    fn the_table_is_what_veritysetup_would_load_without_options() {
        let root = "ab".repeat(32);
        assert_eq!(table(&verity(&[1, 2]), "179:4"), format!("1 179:4 179:4 4096 4096 100 101 sha256 {root} 0102"));
        assert!(table(&verity(&[]), "179:4").ends_with(" -"));
    }

    #[test]
    fn a_tree_outside_the_partition_is_refused() {
        let extent = |blocks: u64| Extent { first: 2048, last: 2047 + blocks * 8 };
        assert!(check_fits(&verity(&[]), extent(102)).is_ok());
        assert!(check_fits(&verity(&[]), extent(101)).is_err());
    }

    #[test]
    fn a_request_is_laid_out_as_the_kernel_reads_it() {
        let bytes = request(READ_ONLY, "u", Some((800, "1 x")));
        assert_eq!(bytes.len() % 8, 0);
        assert_eq!(bytes[28], 1);
        assert_eq!(&bytes[48..53], b"root\0");
        assert_eq!(&bytes[176..178], b"u\0");
        assert_eq!(bytes[DM_HEADER + 8..DM_HEADER + 16], 800u64.to_ne_bytes());
        assert_eq!(&bytes[DM_HEADER + 24..DM_HEADER + 31], b"verity\0");
        assert_eq!(&bytes[DM_HEADER + 40..DM_HEADER + 44], b"1 x\0");
    }

    #[test]
    fn the_minor_number_is_taken_out_of_the_kernels_encoding() {
        let mut header = vec![0u8; DM_HEADER];
        // major 254, minor 3; then minor 0x12345
        header[DEVICE_AT..DEVICE_AT + 8].copy_from_slice(&(254u64 << 8 | 3).to_le_bytes());
        assert_eq!(minor(&header), 3);
        header[DEVICE_AT..DEVICE_AT + 8].copy_from_slice(&(254u64 << 8 | 0x45 | 0x12300 << 12).to_le_bytes());
        assert_eq!(minor(&header), 0x12345);
    }
}
