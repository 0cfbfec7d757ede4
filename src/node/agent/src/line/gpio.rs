//! Lines of a GPIO chip by the kernel's character device, `Documentation/userspace-api/gpio/chardev.rst`.

use std::fs::{File, OpenOptions};
use std::io;
use std::os::fd::{AsFd, BorrowedFd};
use std::os::unix::fs::OpenOptionsExt;
use std::path::{Path, PathBuf};
use std::time::Duration;

use gpiocdev_uapi::v2;
use rustix::event::{PollFd, PollFlags, Timespec, poll};

use super::{CONSUMER, Edge, InputLine, OutputLine};

/// Labels of the chips that drive the 40-pin header: Pi 0 to 3, Pi 4, Pi 5 (drivers/pinctrl/bcm/pinctrl-bcm2835.c,
/// drivers/pinctrl/pinctrl-rp1.c).
const HEADER_CHIPS: [&str; 4] = ["pinctrl-bcm2835", "pinctrl-bcm2711", "pinctrl-rp1", "raspberrypi,rp1-gpio"];
/// Chips looked at; a Pi has four at most.
const CHIPS_MAX: u32 = 16;
/// Events taken in one read.
const EVENTS: usize = 16;
/// Words of 8 bytes of one `gpio_v2_line_event` (linux/gpio.h: 48 bytes).
const EVENT_WORDS: usize = 6;
/// The only line of each request.
const FIRST: u64 = 1;

fn os(error: gpiocdev_uapi::Error) -> io::Error {
    match error {
        gpiocdev_uapi::Error::Os(errno) => io::Error::from_raw_os_error(errno.0),
        other => io::Error::other(other.to_string()),
    }
}

fn open_chip(path: &Path) -> io::Result<File> {
    OpenOptions::new().read(true).write(true).custom_flags(libc::O_CLOEXEC | libc::O_NONBLOCK).open(path)
}

/// The chip of the Pi's header.
///
/// # Errors
/// No chip with a known label below `dev`.
pub fn header_chip(dev: &Path) -> io::Result<PathBuf> {
    let mut seen = String::new();
    for number in 0..CHIPS_MAX {
        let path = dev.join(format!("gpiochip{number}"));
        match open_chip(&path).and_then(|chip| v2::get_chip_info(&chip).map_err(os)) {
            Ok(info) => {
                let label = info.label.as_os_str().to_string_lossy();
                if HEADER_CHIPS.contains(&label.as_ref()) {
                    return Ok(path);
                }
                seen.push_str(&format!(" {}={label}", path.display()));
            }
            Err(error) if error.kind() == io::ErrorKind::NotFound => {}
            Err(error) => seen.push_str(&format!(" {}: {error}", path.display())),
        }
    }
    let seen = if seen.is_empty() { " none".to_owned() } else { seen };
    Err(io::Error::new(
        io::ErrorKind::NotFound,
        format!("no GPIO chip of a Pi's header, found:{seen}; name one as lines.chip in the configuration"),
    ))
}

fn request(path: &Path, number: u8, config: v2::LineConfig) -> io::Result<File> {
    let chip = open_chip(path)?;
    let request = v2::LineRequest {
        offsets: v2::Offsets::from_slice(&[u32::from(number)]),
        consumer: v2::Name::from_bytes(CONSUMER.as_bytes()),
        config,
        num_lines: 1,
        ..Default::default()
    };
    v2::get_line(&chip, request).map_err(os)
}

/// An input without a pull: the board has one, and what the chip was left with (by the firmware, `config.txt` or another
/// program) would fight it. A driver that knows no pulls takes the flag and does nothing.
fn input_without_pull() -> v2::LineConfig {
    v2::LineConfig { flags: v2::LineFlags::INPUT | v2::LineFlags::BIAS_DISABLED, ..Default::default() }
}

fn output_low() -> v2::LineConfig {
    let mut config = v2::LineConfig { flags: v2::LineFlags::OUTPUT, ..Default::default() };
    config.add_values(&v2::LineValues { bits: 0, mask: FIRST });
    config
}

/// An output line.
pub struct Output(File);

impl Output {
    /// Takes the line, low.
    ///
    /// # Errors
    /// Those of `open(2)` and of the request.
    pub fn open(path: &Path, number: u8) -> io::Result<Output> {
        request(path, number, output_low()).map(Output)
    }
}

impl OutputLine for Output {
    fn set(&mut self, high: bool) -> io::Result<()> {
        v2::set_line_values(&self.0, &v2::LineValues { bits: u64::from(high), mask: FIRST }).map_err(os)
    }
}

fn watched() -> v2::LineConfig {
    let mut config = input_without_pull();
    config.flags |= v2::LineFlags::EDGE_RISING | v2::LineFlags::EDGE_FALLING;
    config
}

/// An input line with both edges.
pub struct Input(File);

impl Input {
    /// Takes the line, without a pull: the board has one.
    ///
    /// # Errors
    /// Those of `open(2)` and of the request.
    pub fn open(path: &Path, number: u8) -> io::Result<Input> {
        request(path, number, watched()).map(Input)
    }
}

impl InputLine for Input {
    fn fd(&self) -> BorrowedFd<'_> {
        self.0.as_fd()
    }

    fn edges(&mut self, take: &mut dyn FnMut(Edge, u64)) -> io::Result<()> {
        let mut events = [0u64; EVENTS * EVENT_WORDS];
        // The descriptor of a line request is a blocking one: ask before each read.
        while poll(&mut [PollFd::new(&self.0, PollFlags::IN)], Some(&Timespec { tv_sec: 0, tv_nsec: 0 }))? > 0 {
            let words = v2::read_event(&self.0, &mut events).map_err(os)?;
            for event in events[..words.min(events.len())].chunks_exact(EVENT_WORDS) {
                let event = v2::LineEdgeEvent::from_slice(event).map_err(os)?;
                let edge = match v2::LineEdgeEventKind::try_from(event.kind) {
                    Ok(v2::LineEdgeEventKind::FallingEdge) => Edge::Falling,
                    _ => Edge::Rising,
                };
                take(edge, event.timestamp_ns);
            }
        }
        Ok(())
    }

    fn level(&mut self) -> io::Result<bool> {
        let mut values = v2::LineValues { bits: 0, mask: FIRST };
        v2::get_line_values(&self.0, &mut values).map_err(os)?;
        Ok(values.bits & FIRST != 0)
    }
}

/// See [`super::Port::pull_low`].
///
/// # Errors
/// Those of `open(2)` and of the request.
pub fn pull_low(path: &Path, number: u8, width: Duration) -> io::Result<()> {
    let line = request(path, number, output_low())?;
    std::thread::sleep(width);
    // Whether a chip keeps a released line driven is up to its driver: say it.
    v2::set_line_config(&line, input_without_pull()).map_err(os)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_event_has_the_kernels_size() {
        assert_eq!(v2::LineEdgeEvent::u64_size(), EVENT_WORDS);
    }

    #[test]
    fn the_pull_of_a_listened_to_or_released_line_is_switched_off() {
        let pulls = v2::LineFlags::BIAS_PULL_UP | v2::LineFlags::BIAS_PULL_DOWN;
        for config in [watched(), input_without_pull()] {
            assert!(config.flags.contains(v2::LineFlags::INPUT | v2::LineFlags::BIAS_DISABLED), "{:?}", config.flags);
            assert!(!config.flags.intersects(pulls | v2::LineFlags::OUTPUT), "{:?}", config.flags);
        }
        assert!(watched().flags.contains(v2::LineFlags::EDGE_RISING | v2::LineFlags::EDGE_FALLING));
    }

    #[test]
    fn a_node_without_chips_says_what_to_configure() {
        let dev = tempfile::tempdir().unwrap();
        std::fs::write(dev.path().join("gpiochip0"), "").unwrap();
        let error = header_chip(dev.path()).unwrap_err().to_string();
        assert!(error.contains("gpiochip0") && error.contains("lines.chip"), "{error}");
    }
}
