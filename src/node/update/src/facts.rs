//! What the node knows of itself: what runs, on what hardware, and what time it is.

use std::fs;
use std::path::PathBuf;
use std::time::{SystemTime, UNIX_EPOCH};

use fruit_contract::init::ImageInfo;
use fruit_contract::report::BootReport;
use fruit_contract::update::status::Identity;
use fruit_contract::{BOOT_REPORT_PATH, CommandLine};
use fruit_release::tuf::{Clock, Node, Time};
use fruit_verity::Params;

use crate::local_time;

/// Its time of change is the latest time that systemd-timesyncd knew.
const SAVED_CLOCK: &str = "var/lib/systemd/timesync/clock";
const COMPATIBLE: &str = "proc/device-tree/compatible";
/// Most bytes of a device tree's `compatible`.
const COMPATIBLE_MAX: usize = 4096;

/// Why the node does not know itself.
#[derive(Debug, thiserror::Error)]
#[error("{path}: {why}; is this a node that fruitbuild made, and is this root?")]
pub struct FactsError {
    path: String,
    why: String,
}

/// What runs here.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Facts {
    /// The running image.
    pub image: ImageInfo,
    /// Of the running root.
    pub verity: Option<Params>,
    /// Device tree's `compatible`, most specific first.
    pub compatible: Vec<String>,
    /// Debian's name.
    pub architecture: String,
    /// Interface version of the boot loader on the card.
    pub loader: u64,
    /// Security epoch of the running image.
    pub epoch: u64,
    pub clock: Clock,
}

/// Where the node's files are.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Roots {
    root: PathBuf,
}

impl Roots {
    /// Below a folder that stands for `/`.
    pub fn below(root: impl Into<PathBuf>) -> Roots {
        Roots { root: root.into() }
    }

    fn path(&self, path: &str) -> PathBuf {
        self.root.join(path.trim_start_matches('/'))
    }

    /// fruit-init's report of this boot.
    ///
    /// # Errors
    /// It is not there or not readable.
    pub fn boot_report(&self) -> Result<BootReport, FactsError> {
        let path = self.path(BOOT_REPORT_PATH);
        let wrong = |why: String| FactsError { path: path.display().to_string(), why };
        BootReport::from_json(&fs::read(&path).map_err(|e| wrong(e.to_string()))?).map_err(wrong)
    }

    /// The kernel's command line.
    ///
    /// # Errors
    /// It is not readable.
    pub fn command_line(&self) -> Result<CommandLine, FactsError> {
        let path = self.path("proc/cmdline");
        let text = fs::read_to_string(&path)
            .map_err(|e| FactsError { path: path.display().to_string(), why: e.to_string() })?;
        Ok(CommandLine::parse(&text))
    }

    fn compatible(&self) -> Vec<String> {
        let mut bytes = fs::read(self.path(COMPATIBLE)).unwrap_or_default();
        bytes.truncate(COMPATIBLE_MAX);
        let names = bytes.split(|&b| b == 0).filter_map(|name| std::str::from_utf8(name).ok());
        names.filter(|name| !name.is_empty()).map(str::to_owned).collect()
    }

    /// What the clock is worth: trusted when the network has set it, and when it is not behind the image.
    pub fn clock(&self, built: u64) -> Clock {
        let built = time(built);
        let now = time(seconds(SystemTime::now()));
        if local_time::is_set_by_network(&self.root) && now >= built {
            return Clock::Trusted(now);
        }
        let saved = fs::metadata(self.path(SAVED_CLOCK)).and_then(|meta| meta.modified()).ok();
        Clock::Unset { built, saved: saved.map(|saved| time(seconds(saved))) }
    }
}

fn seconds(time: SystemTime) -> u64 {
    time.duration_since(UNIX_EPOCH).map_or(0, |since| since.as_secs())
}

fn time(seconds: u64) -> Time {
    Time::from_seconds(i64::try_from(seconds).unwrap_or(i64::MAX))
}

impl Facts {
    /// `epoch`: security epoch of the running image, from its configuration.
    pub fn new(report: &BootReport, line: &CommandLine, roots: &Roots, epoch: u64) -> Facts {
        Facts {
            image: report.image.clone(),
            verity: line.verity.clone(),
            compatible: roots.compatible(),
            architecture: architecture().into(),
            loader: line.loader.unwrap_or(0).into(),
            epoch,
            clock: roots.clock(report.image.build_time),
        }
    }

    /// Which release runs, as far as the image itself can tell.
    pub fn identity(&self) -> Identity {
        Identity {
            product: self.image.name.clone(),
            board: self.image.board.clone(),
            version: self.image.version.clone(),
            build_id: self.image.build_id.clone(),
            verity: self.verity.as_ref().map(ToString::to_string).unwrap_or_default(),
            manifest: None,
            epoch: self.epoch,
        }
    }

    /// What releases are held against. `epoch`: the highest one that was committed here.
    pub fn node(&self, epoch: u64) -> Node {
        Node {
            product: self.image.name.clone(),
            board: self.image.board.clone(),
            compatible: self.compatible.clone(),
            architecture: self.architecture.clone(),
            epoch: epoch.max(self.epoch),
            bootloader: self.loader,
        }
    }

    /// Seconds since 1970 for the history, as far as the node knows.
    pub fn now(&self, newest_signed: Option<i64>) -> u64 {
        u64::try_from(self.clock.now(newest_signed.map(Time::from_seconds)).seconds()).unwrap_or_default()
    }
}

/// Debian's name of the architecture that this program was built for, which is that of the image.
pub const fn architecture() -> &'static str {
    if cfg!(target_arch = "aarch64") {
        "arm64"
    } else if cfg!(target_arch = "arm") {
        "armhf"
    } else if cfg!(target_arch = "x86_64") {
        "amd64"
    } else {
        std::env::consts::ARCH
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_clock_is_trusted_when_the_network_has_set_it() {
        let root = tempfile::tempdir().unwrap();
        let roots = Roots::below(root.path());
        assert_eq!(roots.clock(1000), Clock::Unset { built: Time::from_seconds(1000), saved: None });
        let touch = |path: &str| {
            let path = root.path().join(path);
            fs::create_dir_all(path.parent().unwrap()).unwrap();
            fs::write(path, "").unwrap();
        };
        touch(SAVED_CLOCK);
        assert!(matches!(roots.clock(1000), Clock::Unset { saved: Some(_), .. }));
        touch("run/systemd/timesync/synchronized");
        assert!(roots.clock(1000).is_trusted());
        assert!(!roots.clock(u64::MAX).is_trusted(), "a clock that is behind the image is wrong");
    }

    #[test]
    fn compatible_strings_are_split_at_their_ends() {
        let root = tempfile::tempdir().unwrap();
        fs::create_dir_all(root.path().join("proc/device-tree")).unwrap();
        fs::write(root.path().join(COMPATIBLE), b"raspberrypi,3-model-b\0brcm,bcm2837\0").unwrap();
        assert_eq!(Roots::below(root.path()).compatible(), ["raspberrypi,3-model-b", "brcm,bcm2837"]);
    }
}
