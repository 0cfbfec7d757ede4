//! What the board says about itself.

use std::fs;
use std::path::Path;

use fruit_contract::Slot;
use fruit_contract::cmdline::hex;

const DEVICE_TREE: &str = "/proc/device-tree";
const DMI: &str = "/sys/class/dmi/id";
const NETWORK: &str = "/sys/class/net";

/// Serial number and model.
#[derive(Clone, PartialEq, Eq, Debug, Default)]
pub struct Board {
    pub serial: Option<String>,
    pub model: Option<String>,
    /// 12 hexadecimal digits.
    pub mac: Option<String>,
}

impl Board {
    /// From the device tree, else from DMI.
    pub fn detect() -> Board {
        let tree = Path::new(DEVICE_TREE);
        let dmi = Path::new(DMI);
        Board {
            serial: text(&tree.join("serial-number"))
                .or_else(|| text(&dmi.join("product_serial")))
                .or_else(|| text(&dmi.join("board_serial")))
                .filter(|serial| is_serial(serial)),
            model: text(&tree.join("model")).or_else(|| text(&dmi.join("product_name"))),
            mac: mac_of_device_tree(tree).or_else(mac_of_network),
        }
    }
}

/// Text of a device tree property (NUL-terminated) or a sysfs file, on one line.
fn text(path: &Path) -> Option<String> {
    let bytes = fs::read(path).ok()?;
    clean(&bytes)
}

fn clean(bytes: &[u8]) -> Option<String> {
    const LONGEST: usize = 128;
    let text = String::from_utf8_lossy(bytes);
    let text: String = text.chars().filter(|c| !c.is_control()).take(LONGEST).collect();
    Some(text.trim().to_owned()).filter(|t| !t.is_empty())
}

/// Whether this is a number and not what a vendor left in its place.
fn is_serial(text: &str) -> bool {
    let lower = text.to_ascii_lowercase();
    let placeholder = ["to be filled", "default", "not specified", "none", "system serial", "unknown"];
    !placeholder.iter().any(|p| lower.contains(p)) && text.chars().any(|c| c.is_ascii_alphanumeric() && c != '0')
}

/// The firmware or U-Boot puts the address of the first Ethernet port into the tree, before any driver is loaded.
fn mac_of_device_tree(tree: &Path) -> Option<String> {
    let port = text(&tree.join("aliases/ethernet0")).or_else(|| text(&tree.join("aliases/ethernet")))?;
    let port = tree.join(port.trim_start_matches('/'));
    ["mac-address", "local-mac-address"].iter().find_map(|name| mac(&fs::read(port.join(name)).ok()?))
}

fn mac(bytes: &[u8]) -> Option<String> {
    // All zero or multicast is no address of a port.
    (bytes.len() == 6 && bytes != [0; 6] && bytes[0] & 1 == 0).then(|| hex(bytes))
}

/// The first Ethernet port with hardware behind it, by name.
fn mac_of_network() -> Option<String> {
    /// `ARPHRD_ETHER`
    const ETHERNET: &str = "1";
    let mut ports: Vec<_> = fs::read_dir(NETWORK).ok()?.flatten().map(|entry| entry.path()).collect();
    ports.sort();
    ports.iter().find_map(|port| {
        let is_port = text(&port.join("type")).as_deref() == Some(ETHERNET)
            && port.join("device").exists()
            && !port.join("wireless").exists()
            && !port.join("phy80211").exists();
        let digits: String = text(&port.join("address"))?.chars().filter(|c| *c != ':').collect();
        is_port.then(|| fruit_contract::cmdline::parse_hex(&digits))?.and_then(|bytes| mac(&bytes))
    })
}

/// Slot and trial as the firmware of a Raspberry Pi tells them: the boot partition's number and whether this is a
/// `tryboot` (documentation of `config.txt`, `/proc/device-tree/chosen/bootloader`; 32-bit, big-endian).
pub fn slot_of_firmware() -> Option<(Slot, bool)> {
    slot_in(&Path::new(DEVICE_TREE).join("chosen/bootloader"))
}

fn slot_in(folder: &Path) -> Option<(Slot, bool)> {
    let cell = |name: &str| Some(u32::from_be_bytes(fs::read(folder.join(name)).ok()?.try_into().ok()?));
    let partition = cell("partition")?;
    let slot = Slot::ALL.into_iter().find(|slot| u32::from(slot.boot_partition()) == partition)?;
    Some((slot, cell("tryboot").unwrap_or(0) == 1))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn properties_lose_their_nul_and_control_characters() {
        assert_eq!(clean(b"00000000f00dcafe\0").unwrap(), "00000000f00dcafe");
        assert_eq!(clean(b"Raspberry Pi\x1b[2J\n").unwrap(), "Raspberry Pi[2J");
        assert_eq!(clean(b"\0"), None);
        assert_eq!(clean(&[b'x'; 1000]).unwrap().len(), 128);
    }

    #[test]
    fn placeholders_are_no_serial_numbers() {
        assert!(is_serial("00000000f00dcafe"));
        for text in ["0000000000000000", "To be filled by O.E.M.", "None", "Default string", "--"] {
            assert!(!is_serial(text), "{text}");
        }
    }

    #[test]
    fn the_first_port_of_the_device_tree_gives_the_address() {
        let tree = tempfile::tempdir().unwrap();
        fs::create_dir_all(tree.path().join("aliases")).unwrap();
        fs::create_dir_all(tree.path().join("soc/usb/ethernet@1")).unwrap();
        fs::write(tree.path().join("aliases/ethernet0"), "/soc/usb/ethernet@1\0").unwrap();
        let property = tree.path().join("soc/usb/ethernet@1/local-mac-address");
        fs::write(&property, [0; 6]).unwrap();
        assert_eq!(mac_of_device_tree(tree.path()), None);
        fs::write(&property, [0xb8, 0x27, 0xeb, 1, 2, 3]).unwrap();
        assert_eq!(mac_of_device_tree(tree.path()).unwrap(), "b827eb010203");
    }

    #[test]
    fn the_firmware_tells_slot_and_trial() {
        let folder = tempfile::tempdir().unwrap();
        assert_eq!(slot_in(folder.path()), None);
        fs::write(folder.path().join("partition"), 3u32.to_be_bytes()).unwrap();
        assert_eq!(slot_in(folder.path()), Some((Slot::B, false)));
        fs::write(folder.path().join("tryboot"), 1u32.to_be_bytes()).unwrap();
        assert_eq!(slot_in(folder.path()), Some((Slot::B, true)));
        fs::write(folder.path().join("partition"), 1u32.to_be_bytes()).unwrap();
        assert_eq!(slot_in(folder.path()), None);
    }
}
