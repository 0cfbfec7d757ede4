//! The machine id (machine-id(5)): without a stable one every boot would be a "first boot" for systemd.

use std::fs;
use std::io;
use std::path::Path;

use fruit_contract::cmdline::{hex, parse_hex};
use fruit_contract::report::MachineId;
use sha2::{Digest, Sha256};

/// On the data partition.
const STORED: &str = "fruit/machine-id";

/// The id, 32 hexadecimal digits, and where it is from. `data` is where the data partition is mounted, if it is.
pub fn id(data: Option<&Path>, serial: Option<&str>) -> (String, MachineId) {
    if let Some(id) = data.and_then(|data| stored_or_new(data).ok()) {
        return (id, MachineId::Stored);
    }
    match serial {
        Some(serial) => (from_serial(serial), MachineId::FromSerial),
        None => (random(), MachineId::Random),
    }
}

fn stored_or_new(data: &Path) -> io::Result<String> {
    let path = data.join(STORED);
    if let Ok(text) = fs::read_to_string(&path) {
        // Damaged or empty: make a new one, as if there were none.
        if let Some(id) = parse_hex(text.trim()).filter(|id| id.len() == 16 && id.iter().any(|&b| b != 0)) {
            return Ok(hex(&id));
        }
    }
    let folder = path.parent().unwrap_or(data);
    fs::create_dir_all(folder)?;
    let id = random();
    fruit_base::replace(&path, format!("{id}\n").as_bytes())?;
    Ok(id)
}

/// Another application's hash of the serial number must not be this one, hence the prefix.
fn from_serial(serial: &str) -> String {
    let hash = Sha256::new().chain_update(b"fruitbuild machine-id\0").chain_update(serial.as_bytes()).finalize();
    let mut id = [0u8; 16];
    id.copy_from_slice(&hash[..16]);
    uuid(id)
}

fn random() -> String {
    let mut id = [0u8; 16];
    // Waits for the kernel's generator; a Raspberry Pi has a hardware source, so milliseconds.
    let mut filled = 0;
    while filled < id.len() {
        match rustix::rand::getrandom(&mut id[filled..], rustix::rand::GetRandomFlags::empty()) {
            Ok(n) => filled += n,
            Err(_) => break,
        }
    }
    uuid(id)
}

/// machine-id(5): a version 4 UUID, also when it is made in another way.
fn uuid(mut id: [u8; 16]) -> String {
    id[6] = id[6] & 0x0f | 0x40;
    id[8] = id[8] & 0x3f | 0x80;
    hex(&id)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_id_is_made_once_and_kept() {
        let data = tempfile::tempdir().unwrap();
        let (first, source) = id(Some(data.path()), Some("1234"));
        assert_eq!(source, MachineId::Stored);
        assert_eq!(first.len(), 32);
        assert_eq!(id(Some(data.path()), None), (first, MachineId::Stored));
    }

    #[test]
    fn a_damaged_id_is_made_again() {
        let data = tempfile::tempdir().unwrap();
        fs::create_dir(data.path().join("fruit")).unwrap();
        for damaged in ["", "xyz", &"0".repeat(32), "abcd"] {
            fs::write(data.path().join(STORED), damaged).unwrap();
            let (new, source) = id(Some(data.path()), None);
            assert_eq!((new.len(), source), (32, MachineId::Stored));
        }
    }

    #[test]
    fn without_a_data_partition_the_board_decides() {
        let (one, source) = id(None, Some("00000000f00dcafe"));
        assert_eq!(source, MachineId::FromSerial);
        assert_eq!(id(None, Some("00000000f00dcafe")).0, one);
        assert_ne!(id(None, Some("00000000f00dcaff")).0, one);
        assert_eq!(id(None, None).1, MachineId::Random);
        assert_ne!(id(None, None).0, id(None, None).0);
    }
}
