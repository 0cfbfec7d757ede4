//! Looks at the node. Every look is a few system calls; none waits for a disk.

use std::fs;
use std::path::Path;

use fruit_contract::agent::config::{Health, OverlayCondition, Stall, SystemdCondition, Window};
use fruit_device::systemd::{Systemd, UnitState};

/// A measured share, or why there is none.
#[derive(Clone, PartialEq, Debug)]
pub enum Reading {
    Percent(f64),
    Unreadable(String),
}

/// What was seen of the things that the configuration names.
#[derive(Clone, PartialEq, Debug, Default)]
pub struct Observation {
    pub system_state: Option<Result<String, String>>,
    pub units: Option<Result<Vec<UnitState>, String>>,
    pub memory: Option<Reading>,
    pub overlay: Option<Reading>,
}

/// Looks at what `config` names; `proc` is `/proc`.
pub fn observe(config: &Health, proc: &Path, systemd: &mut Systemd) -> Observation {
    let system_state = match config.systemd {
        SystemdCondition::Ignore => None,
        SystemdCondition::Answering | SystemdCondition::NotDegraded => {
            Some(systemd.state().map_err(|error| error.to_string()))
        }
    };
    let names: Vec<&str> = config.units.iter().map(|unit| unit.as_str()).collect();
    let units = match (names.is_empty(), &system_state) {
        (true, _) => None,
        // Do not wait for the same silence twice.
        (false, Some(Err(error))) => Some(Err(error.clone())),
        (false, _) => Some(systemd.units(&names).map_err(|error| error.to_string())),
    };
    let memory = config.memory.as_ref().map(|named| {
        let path = proc.join("pressure/memory");
        match fs::read_to_string(&path) {
            Ok(text) => pressure(&text, named.stall, named.window).map_or_else(
                || Reading::Unreadable(format!("{}: not the kernel's format", path.display())),
                Reading::Percent,
            ),
            Err(error) => Reading::Unreadable(format!("{}: {error}; is the kernel booted with psi=1?", path.display())),
        }
    });
    Observation { system_state, units, memory, overlay: config.overlay.as_ref().map(fill) }
}

/// One figure of a pressure file, in per cent (Documentation/accounting/psi.rst).
pub fn pressure(text: &str, stall: Stall, window: Window) -> Option<f64> {
    let line = match stall {
        Stall::Some => "some ",
        Stall::Full => "full ",
    };
    let key = match window {
        Window::Avg10 => "avg10=",
        Window::Avg60 => "avg60=",
        Window::Avg300 => "avg300=",
    };
    let figures = text.lines().find_map(|l| l.strip_prefix(line))?;
    let figure: f64 = figures.split_ascii_whitespace().find_map(|figure| figure.strip_prefix(key))?.parse().ok()?;
    (0.0..=100.0).contains(&figure).then_some(figure)
}

fn fill(named: &OverlayCondition) -> Reading {
    share_used(named.path.path()).map_or_else(Reading::Unreadable, Reading::Percent)
}

/// Share of blocks or of inodes in use, whichever is larger, as df(1) counts them.
///
/// # Errors
/// Those of `statvfs`, with the path.
pub fn share_used(path: &Path) -> Result<f64, String> {
    let stat = rustix::fs::statvfs(path).map_err(|error| format!("{}: {error}", path.display()))?;
    let share = |used: u64, free: u64| match used.saturating_add(free) {
        0 => 0.0,
        all => 100.0 * used as f64 / all as f64,
    };
    let blocks = share(stat.f_blocks.saturating_sub(stat.f_bfree), stat.f_bavail);
    Ok(blocks.max(share(stat.f_files.saturating_sub(stat.f_ffree), stat.f_ffree)))
}
