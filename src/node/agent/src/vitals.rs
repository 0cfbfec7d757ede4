//! Figures of the node that the kernel offers as files. Each is left out where the kernel or the hardware has none.

use std::fs;
use std::path::{Path, PathBuf};

use fruit_contract::agent::vitals::{DiskWear, Temperature, Vitals};
use fruit_device::block::{self, BlockDevice};

use crate::account::ResetCause;
use crate::health::observe::share_used;

/// Entries looked at in one folder of sysfs.
const ENTRIES_MAX: usize = 16;
/// Bytes read of one file.
const FILE_MAX: usize = 4096;

/// Where the kernel's files are; tests bring their own.
#[derive(Clone, Debug)]
pub struct Roots {
    pub proc: PathBuf,
    pub sys: PathBuf,
    pub dev: PathBuf,
    pub run: PathBuf,
}

impl Roots {
    /// Below `prefix`, which is `/` on a node.
    pub fn below(prefix: &Path) -> Roots {
        let below = |name| prefix.join(name);
        Roots { proc: below("proc"), sys: below("sys"), dev: below("dev"), run: below("run") }
    }
}

fn text(path: &Path) -> Option<String> {
    let mut bytes = fs::read(path).ok()?;
    bytes.truncate(FILE_MAX);
    Some(String::from_utf8_lossy(&bytes).trim().to_owned())
}

fn number(path: &Path) -> Option<i64> {
    text(path)?.parse().ok()
}

/// Folders in `path` whose name starts with `prefix`, sorted.
fn folders(path: &Path, prefix: &str) -> Vec<(String, PathBuf)> {
    let entries = fs::read_dir(path).into_iter().flatten().flatten();
    let named = entries.filter_map(|entry| Some((entry.file_name().into_string().ok()?, entry.path())));
    let mut found: Vec<_> = named.filter(|(name, _)| name.starts_with(prefix)).take(ENTRIES_MAX).collect();
    found.sort();
    found
}

fn hex(word: &str) -> Option<u32> {
    u32::from_str_radix(word.trim_start_matches("0x"), 16).ok()
}

/// Reads all figures. `overlay` is where the fill of the writable root is asked.
pub fn read(roots: &Roots, overlay: &Path) -> Vitals {
    let Roots { proc, sys, .. } = roots;
    let under_voltage = folders(&sys.join("class/hwmon"), "hwmon")
        .into_iter()
        // drivers/hwmon/raspberrypi-hwmon.c
        .find(|(_, path)| text(&path.join("name")).as_deref() == Some("rpi_volt"))
        .and_then(|(_, path)| number(&path.join("in0_lcrit_alarm")))
        .map(|alarm| alarm != 0);
    let throttled = text(&sys.join("devices/platform/soc/soc:firmware/get_throttled"));
    let temperatures = folders(&sys.join("class/thermal"), "thermal_zone").into_iter().filter_map(|(name, path)| {
        let millis = number(&path.join("temp"))?;
        Some(Temperature { zone: text(&path.join("type")).unwrap_or(name), celsius: millis as f64 / 1_000.0 })
    });
    let meminfo = text(&proc.join("meminfo")).unwrap_or_default();
    let memory = |key: &str| {
        let line = meminfo.lines().find_map(|line| line.strip_prefix(key))?;
        line.trim().strip_suffix(" kB")?.trim().parse::<u64>().ok()?.checked_mul(1_024)
    };
    let uptime = text(&proc.join("uptime"));
    Vitals {
        uptime: uptime.and_then(|uptime| uptime.split(' ').next()?.parse().ok()),
        under_voltage,
        throttled: throttled.and_then(|flags| hex(&flags)),
        temperatures: temperatures.collect(),
        memory_total: memory("MemTotal:"),
        memory_available: memory("MemAvailable:"),
        overlay_used_percent: share_used(overlay).ok(),
        disks: disks(sys),
        agent_resident: resident(Path::new("/proc/self/statm")),
    }
}
fn disks(sys: &Path) -> Vec<DiskWear> {
    // mmcblk0p1 and mmcblk0boot0 are parts of mmcblk0.
    let is_card =
        |name: &str| name.strip_prefix("mmcblk").is_some_and(|number| number.bytes().all(|c| c.is_ascii_digit()));
    let cards = block::all(sys).into_iter().filter(|device| is_card(&device.name)).take(ENTRIES_MAX);
    let worn = cards.filter_map(|BlockDevice { name: device, folder: path }| {
        let estimates = text(&path.join("device/life_time")).unwrap_or_default();
        // 1 = up to 10 % used … 10 = up to 100 %, 11 = more; 0 = not told.
        let steps = estimates.split_ascii_whitespace().filter_map(hex).filter(|step| (1..=11).contains(step));
        let life_used_percent: Vec<u8> = steps.map(|step| step as u8 * 10).collect();
        let pre_eol = text(&path.join("device/pre_eol_info")).and_then(|info| hex(&info));
        let pre_eol = pre_eol.filter(|level| (1..=3).contains(level)).map(|level| level as u8);
        (pre_eol.is_some() || !life_used_percent.is_empty()).then_some(DiskWear { device, life_used_percent, pre_eol })
    });
    worn.collect()
}

fn resident(statm: &Path) -> Option<u64> {
    let pages: u64 = text(statm)?.split(' ').nth(1)?.parse().ok()?;
    pages.checked_mul(rustix::param::page_size() as u64)
}

/// Id of this boot.
pub fn boot_id(proc: &Path) -> Option<[u8; 16]> {
    let id = text(&proc.join("sys/kernel/random/boot_id"))?.replace('-', "");
    u128::from_str_radix(&id, 16).ok().filter(|_| id.len() == 32).map(u128::to_be_bytes)
}

/// Set in the watchdog's boot status after it has reset the machine (`WDIOF_CARDRESET`, linux/watchdog.h).
const CARD_RESET: i64 = 0x20;
/// Bits of the Pi's PM_RSTS register: reset by power-on, and full, quick or half reset by the watchdog (names
/// `PM_RSTS_HADPOR`, `PM_RSTS_HADWR{Q,F,H}` in the vendor's bcm2708_chip headers).
const RSTS_POWER_ON: u32 = 0x1000;
const RSTS_WATCHDOG: u32 = 0x70;

/// Why the hardware says that it came up.
pub fn reset_cause(roots: &Roots) -> ResetCause {
    let status = number(&roots.sys.join("class/watchdog/watchdog0/bootstatus")).unwrap_or(0);
    // The bootloader of the Pi 4 and newer passes the register on, big-endian as all device-tree cells.
    let rsts = fs::read(roots.proc.join("device-tree/chosen/bootloader/rsts")).ok();
    let rsts = rsts.and_then(|bytes| Some(u32::from_be_bytes(bytes.try_into().ok()?))).unwrap_or(0);
    if status & CARD_RESET != 0 || (rsts & RSTS_WATCHDOG != 0 && rsts & RSTS_POWER_ON == 0) {
        ResetCause::Watchdog
    } else {
        ResetCause::Unknown
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn write(root: &Path, path: &str, content: impl AsRef<[u8]>) {
        let path = root.join(path);
        fs::create_dir_all(path.parent().unwrap()).unwrap();
        fs::write(path, content).unwrap();
    }

    #[test]
    fn a_node_without_sensors_has_no_figures() {
        let root = tempfile::tempdir().unwrap();
        let vitals = read(&Roots::below(root.path()), Path::new("/nowhere"));
        let none = Vitals { agent_resident: vitals.agent_resident, ..Vitals::default() };
        assert_eq!(vitals, none);
        assert!(vitals.agent_resident.unwrap() > 0);
    }

    #[test]
    fn the_kernels_files_are_understood() {
        let root = tempfile::tempdir().unwrap();
        let put = |path: &str, content: &str| write(root.path(), path, content);
        put("sys/class/hwmon/hwmon0/name", "cpu_thermal\n");
        put("sys/class/hwmon/hwmon1/name", "rpi_volt\n");
        put("sys/class/hwmon/hwmon1/in0_lcrit_alarm", "1\n");
        put("sys/devices/platform/soc/soc:firmware/get_throttled", "50005\n");
        put("sys/class/thermal/thermal_zone0/type", "cpu-thermal\n");
        put("sys/class/thermal/thermal_zone0/temp", "48312\n");
        put("sys/class/block/mmcblk0/device/life_time", "0x02 0x0b\n");
        put("sys/class/block/mmcblk0/device/pre_eol_info", "0x01\n");
        put("sys/class/block/mmcblk0p1/device/life_time", "0x01 0x01\n");
        put("sys/class/block/mmcblk1/device/life_time", "0x00 0x00\n");
        put("proc/uptime", "12.34 40.00\n");
        put("proc/meminfo", "MemTotal:         949448 kB\nMemFree: 1 kB\nMemAvailable:     800000 kB\n");
        let vitals = read(&Roots::below(root.path()), root.path());
        assert_eq!(vitals.uptime, Some(12.34));
        assert_eq!((vitals.under_voltage, vitals.throttled), (Some(true), Some(0x50005)));
        assert_eq!(vitals.temperatures, [Temperature { zone: "cpu-thermal".to_owned(), celsius: 48.312 }]);
        assert_eq!((vitals.memory_total, vitals.memory_available), (Some(949_448 << 10), Some(800_000 << 10)));
        let wear = DiskWear { device: "mmcblk0".to_owned(), life_used_percent: vec![20, 110], pre_eol: Some(1) };
        assert_eq!(vitals.disks, [wear]);
        assert!(vitals.overlay_used_percent.is_some());
    }

    #[test]
    fn the_hardware_tells_a_watchdog_from_a_power_cut() {
        for (rsts, status, expected) in [
            (0x1000u32, "0", ResetCause::Unknown),
            (0x20, "0", ResetCause::Watchdog),
            (0x1020, "0", ResetCause::Unknown),
            (0, "32\n", ResetCause::Watchdog),
            (0, "0\n", ResetCause::Unknown),
        ] {
            let root = tempfile::tempdir().unwrap();
            write(root.path(), "proc/device-tree/chosen/bootloader/rsts", rsts.to_be_bytes());
            write(root.path(), "sys/class/watchdog/watchdog0/bootstatus", status);
            assert_eq!(reset_cause(&Roots::below(root.path())), expected, "{rsts:x} {status}");
        }
        assert_eq!(reset_cause(&Roots::below(Path::new("/nowhere"))), ResetCause::Unknown);
    }

    #[test]
    fn the_boot_id_is_sixteen_bytes() {
        let root = tempfile::tempdir().unwrap();
        write(root.path(), "sys/kernel/random/boot_id", "00112233-4455-6677-8899-aabbccddeeff\n");
        assert_eq!(boot_id(root.path()).unwrap()[15], 0xff);
        write(root.path(), "sys/kernel/random/boot_id", "0011\n");
        assert_eq!(boot_id(root.path()), None);
    }
}
