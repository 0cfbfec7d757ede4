//! Growth of the partition table: accepted by sgdisk, in an order that a power cut can't hurt.

use std::fs::File;
use std::os::unix::fs::FileExt;
use std::path::Path;
use std::process::Command;

use fruit_contract::Guid;
use fruit_device::gpt::{GptError, SECTOR, Table};

const MIB: u64 = 1 << 20;

fn sgdisk(disk: &Path, arguments: &[&str]) -> String {
    let output = Command::new("sgdisk").args(arguments).arg(disk).output();
    let output = output.expect("sgdisk is needed: install the Debian package 'gdisk'");
    let text = String::from_utf8_lossy(&output.stdout).into_owned();
    assert!(output.status.success(), "sgdisk {arguments:?}: {text}{}", String::from_utf8_lossy(&output.stderr));
    text
}

/// A card of 64 MiB as the image has it, on a "disk" of `size` bytes.
fn card(size: u64, hybrid: bool) -> tempfile::NamedTempFile {
    let disk = tempfile::NamedTempFile::new().unwrap();
    disk.as_file().set_len(64 * MIB).unwrap();
    let guid = Guid::of_disk("test");
    let mut arguments: Vec<String> =
        ["-a", "2048", "-n1:2048:+8M", "-t1:0700", "-n4:0:+8M", "-n7:0:0", "-c7:data"].map(String::from).into();
    arguments.extend([1, 4, 7].map(|n| format!("-u{n}:{}", guid.partition(n))));
    arguments.extend(["-U".into(), guid.to_string()]);
    if hybrid {
        arguments.extend(["-h".into(), "1".into()]);
    }
    sgdisk(disk.path(), &arguments.iter().map(String::as_str).collect::<Vec<_>>());
    disk.as_file().set_len(size).unwrap();
    disk
}

fn read(disk: &File) -> Result<Table, GptError> {
    Table::read(disk, disk.metadata().unwrap().len() / SECTOR)
}

fn plan(disk: &File, table: &Table) -> Vec<fruit_device::gpt::Write> {
    let mut start = [0u8; 4096];
    disk.read_exact_at(&mut start, 0).unwrap();
    let sectors = disk.metadata().unwrap().len() / SECTOR;
    table.plan_growth(7, sectors, &start).unwrap().map(|growth| growth.writes).unwrap_or_default()
}

fn assert_sound(disk: &Path) {
    let report = sgdisk(disk, &["-v"]);
    assert!(report.contains("No problems found"), "{report}");
}

#[test]
fn a_table_of_sgdisk_is_read() {
    let card = card(64 * MIB, false);
    let table = read(card.as_file()).unwrap();
    let guid = Guid::of_disk("test");
    assert_eq!(table.disk, guid);
    assert_eq!(table.find(guid.partition(7)), Some(7));
    assert_eq!(table.find(guid.partition(2)), None);
    assert_eq!(table.extent(1).unwrap().first, 2048);
    assert_eq!(table.extent(1).unwrap().bytes(), 8 * MIB);
    assert_eq!(table.extent(2), None);
    assert_eq!(Table::parse(&std::fs::read(card.path()).unwrap()).unwrap(), table);
    assert!(!table.from_backup);
}

#[test]
fn a_grown_table_is_sound_for_sgdisk_and_reaches_the_end() {
    for (size, hybrid) in [(128 * MIB, false), (128 * MIB + 512 * 777, true), (3 << 40, false), (65 * MIB, true)] {
        let card = card(size, hybrid);
        let table = read(card.as_file()).unwrap();
        for write in plan(card.as_file(), &table) {
            card.as_file().write_all_at(&write.bytes, write.offset).unwrap();
        }
        assert_sound(card.path());
        let grown = read(card.as_file()).unwrap();
        let sectors = size / SECTOR;
        let extent = grown.extent(7).unwrap();
        assert_eq!(extent.first, table.extent(7).unwrap().first);
        assert_eq!((extent.last + 1) % 2048, 0);
        assert!(sectors - extent.last < 2048 + 34 + 2048, "{sectors} {}", extent.last);
        assert_eq!(grown.extent(4), table.extent(4));
        assert_eq!(
            (1..8).map(|n| grown.guid(n)).collect::<Vec<_>>(),
            (1..8).map(|n| table.guid(n)).collect::<Vec<_>>()
        );
        let info = sgdisk(card.path(), &["-i", "7"]);
        assert!(info.contains("Partition name: 'data'"), "{info}");
        assert!(plan(card.as_file(), &grown).is_empty(), "a second growth has nothing to do");
    }
}

#[test]
fn a_short_table_is_grown_and_what_is_behind_it_stays() {
    let card = card(64 * MIB, false);
    sgdisk(card.path(), &["-S", "8"]);
    card.as_file().set_len(128 * MIB).unwrap();
    card.as_file().write_all_at(b"another's", 7 * SECTOR).unwrap();
    let table = read(card.as_file()).unwrap();
    for write in plan(card.as_file(), &table) {
        card.as_file().write_all_at(&write.bytes, write.offset).unwrap();
    }
    assert_sound(card.path());
    assert!(read(card.as_file()).unwrap().extent(7).unwrap().bytes() > 100 * MIB);
    let mut kept = [0; 9];
    card.as_file().read_exact_at(&mut kept, 7 * SECTOR).unwrap();
    assert_eq!(&kept, b"another's");
}

#[test]
fn entries_far_from_the_start_are_refused_before_memory_is_taken_for_all_before_them() {
    let card = card(64 * MIB, false);
    let disk = card.as_file();
    let mut header = [0u8; 512];
    disk.read_exact_at(&mut header, 512).unwrap();
    let mut entries = vec![0u8; 128 * 128];
    disk.read_exact_at(&mut entries, 2 * SECTOR).unwrap();
    let mut at = |entries_lba: u64| {
        header[72..80].copy_from_slice(&entries_lba.to_le_bytes());
        header[16..20].fill(0);
        let crc = fruit_contract::crc32::crc32(&header[..92]);
        header[16..20].copy_from_slice(&crc.to_le_bytes());
        disk.write_all_at(&header, 512).unwrap();
        disk.write_all_at(&entries, entries_lba * SECTOR).unwrap();
        read(disk).unwrap()
    };
    assert!(!at(1000).from_backup);
    assert!(at(100_000).from_backup, "the backup is as it should be");
}

#[test]
fn a_hybrid_boot_record_stays_as_it_is() {
    let card = card(256 * MIB, true);
    let mut before = [0u8; 512];
    card.as_file().read_exact_at(&mut before, 0).unwrap();
    for write in plan(card.as_file(), &read(card.as_file()).unwrap()) {
        card.as_file().write_all_at(&write.bytes, write.offset).unwrap();
    }
    let mut after = [0u8; 512];
    card.as_file().read_exact_at(&mut after, 0).unwrap();
    assert_eq!(before, after);
}

#[test]
fn a_power_cut_at_any_sector_leaves_a_table_that_can_be_read_and_finished() {
    let card = card(200 * MIB, true);
    let table = read(card.as_file()).unwrap();
    let writes = plan(card.as_file(), &table);
    let sectors: Vec<(u64, &[u8])> = writes
        .iter()
        .flat_map(|w| w.bytes.chunks(512).enumerate().map(|(i, chunk)| (w.offset + 512 * i as u64, chunk)))
        .collect();
    let disk = card.as_file();
    // Everything that is ever written to: the primary table and the backup at the end.
    let places = [(0, 40 * 512), (200 * MIB - 40 * 512, 40 * 512)];
    let before = places.map(|(at, length)| {
        let mut bytes = vec![0u8; length];
        disk.read_exact_at(&mut bytes, at).unwrap();
        bytes
    });
    for cut in 0..=sectors.len() {
        for ((at, _), bytes) in places.iter().zip(&before) {
            disk.write_all_at(bytes, *at).unwrap();
        }
        for (offset, sector) in &sectors[..cut] {
            disk.write_all_at(sector, *offset).unwrap();
        }
        let seen = read(disk).unwrap_or_else(|e| panic!("cut before sector {cut}: {e}"));
        assert_eq!(seen.disk, table.disk);
        for write in &plan(disk, &seen) {
            disk.write_all_at(&write.bytes, write.offset).unwrap();
        }
        let finished = read(disk).unwrap();
        assert!(!finished.from_backup);
        assert!(plan(disk, &finished).is_empty());
        assert_eq!(finished.extent(4), table.extent(4));
    }
    assert_sound(card.path());
}

#[test]
fn a_lost_start_is_restored_from_the_backup() {
    let card = card(64 * MIB, false);
    let whole = read(card.as_file()).unwrap();
    card.as_file().write_all_at(&[0u8; 33 * 512], 512).unwrap();
    let table = read(card.as_file()).unwrap();
    assert!(table.from_backup);
    for write in plan(card.as_file(), &table) {
        card.as_file().write_all_at(&write.bytes, write.offset).unwrap();
    }
    assert_sound(card.path());
    assert_eq!(read(card.as_file()).unwrap().extent(4), whole.extent(4));
}

#[test]
fn a_partition_that_is_not_the_last_one_is_left_alone() {
    let card = card(128 * MIB, false);
    let table = read(card.as_file()).unwrap();
    let start = [0u8; 4096];
    assert!(matches!(table.plan_growth(4, 128 * MIB / SECTOR, &start), Err(GptError::NotLast(4))));
    assert!(matches!(table.plan_growth(2, 128 * MIB / SECTOR, &start), Err(GptError::Missing(2))));
    assert!(matches!(table.plan_growth(7, 32 * MIB / SECTOR, &start), Err(GptError::DiskTooSmall { .. })));
}

#[test]
fn damage_anywhere_in_the_table_is_noticed() {
    let card = card(64 * MIB, false);
    let sectors = 64 * MIB / SECTOR;
    // Bytes of header and used entries, one at a time, with the backup gone.
    card.as_file().write_all_at(&[0u8; 512], (sectors - 1) * SECTOR).unwrap();
    for at in (512..604).chain(1024..1024 + 7 * 128) {
        let mut byte = [0u8];
        card.as_file().read_exact_at(&mut byte, at).unwrap();
        card.as_file().write_all_at(&[byte[0] ^ 0x40], at).unwrap();
        assert!(matches!(read(card.as_file()), Err(GptError::Invalid { .. })), "byte {at}");
        card.as_file().write_all_at(&byte, at).unwrap();
    }
}

proptest::proptest! {
    #[test]
    fn no_disk_makes_the_reader_panic(
        fields in proptest::collection::vec(proptest::prelude::any::<u64>(), 12), entry in proptest::prelude::any::<[u8; 128]>(),
    ) {
        // A header with a right checksum and wild numbers.
        let mut header = [0u8; 512];
        header[..8].copy_from_slice(b"EFI PART");
        for (i, field) in fields.iter().enumerate().skip(2) {
            header[8 * i..8 * i + 8].copy_from_slice(&field.to_le_bytes());
        }
        header[12..16].copy_from_slice(&92u32.to_le_bytes());
        if fields[0] % 2 == 0 {
            header[24..32].copy_from_slice(&1u64.to_le_bytes());
            header[72..80].copy_from_slice(&2u64.to_le_bytes());
            header[80..88].copy_from_slice(&[4, 0, 0, 0, 128, 0, 0, 0]);
            let entries = entry.repeat(4);
            header[88..92].copy_from_slice(&fruit_contract::crc32::crc32(&entries).to_le_bytes());
            header[40..56].copy_from_slice(&[34u64.to_le_bytes(), 100u64.to_le_bytes()].concat());
        }
        header[16..20].fill(0);
        let crc = fruit_contract::crc32::crc32(&header[..92]);
        header[16..20].copy_from_slice(&crc.to_le_bytes());
        let mut disk = vec![0u8; 1 << 16];
        disk[512..1024].copy_from_slice(&header);
        disk[1024..1536].copy_from_slice(&entry.repeat(4));
        if let Ok(table) = Table::parse(&disk) {
            for n in 0..6 {
                table.extent(n);
                let _ = table.plan_growth(n, 1 << 40, &[0u8; 4096]);
            }
        }
    }
}
