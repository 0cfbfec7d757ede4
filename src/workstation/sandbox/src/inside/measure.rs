//! How much a run uses.

use std::fs;
use std::time::{Duration, Instant};

use rustix::fs::{Mode, OFlags, StatVfs, fstatvfs, open, statvfs};

use super::usage::usage;
use crate::command::{Cause, Ended, Limits};
use crate::protocol::{Disk, During, Failure, Outcome, SPARE, Step, Usage};

/// Work of the processor that counts as a sign of life.
const WORK: Duration = Duration::from_millis(50);
/// Where programs write into memory.
const IN_MEMORY: [&str; 3] = ["/dev/shm", "/run", "/tmp"];
/// Part of a bound by which the disk must have filled before anybody counts what is in the root.
const PART: u64 = 8;

/// What a run has used so far.
pub struct Measure<'a> {
    limits: &'a Limits,
    root: std::os::fd::OwnedFd,
    disk: Disk,
    /// Room on the disk at the start.
    before: StatVfs,
    /// By how much it had filled when anything last counted.
    counted: Usage,
    memory: u64,
    processes: u32,
    grown: u64,
    cpu: Duration,
    /// When something last happened, and what the processor had done until then.
    alive: (Instant, Duration),
}

/// Processes, as `/proc` has them.
#[derive(Default)]
struct Processes {
    number: u64,
    /// Bytes that are theirs alone.
    memory: u64,
    ticks: u64,
    /// One of them waits for the disk.
    wait_for_disk: bool,
}

impl Measure<'_> {
    pub fn new(limits: &Limits, mut disk: Disk) -> Outcome<Measure<'_>> {
        let root =
            open("/", OFlags::RDONLY | OFlags::DIRECTORY | OFlags::CLOEXEC, Mode::empty()).during(Step::Tree, "/")?;
        let before = fstatvfs(&root).during(Step::Tree, "/")?;
        if room(&before) < SPARE {
            return Err(Failure::new(Step::Full, "starting the program", "the disk has less than 256 MiB left"));
        }
        if disk.base.is_none() {
            disk.base = Some(usage(&root).during(Step::Tree, "counting what is in the root")?);
        }
        Ok(Measure {
            limits,
            root,
            disk,
            before,
            counted: Usage::default(),
            memory: 0,
            processes: 0,
            grown: 0,
            cpu: Duration::ZERO,
            alive: (Instant::now(), Duration::ZERO),
        })
    }

    /// Something happened that nobody needs to look for.
    pub fn happened(&mut self) {
        self.alive = (Instant::now(), self.cpu);
    }

    /// Looks at everything, and tells which bound has been passed.
    pub fn look(&mut self) -> Option<Cause> {
        let found = processes();
        let ticks = rustix::param::clock_ticks_per_second().max(1);
        let work = Duration::from_millis(found.ticks.saturating_mul(1000) / ticks) + of_the_dead();
        self.cpu = self.cpu.max(work);
        let written = IN_MEMORY.iter().filter_map(|path| statvfs(*path).ok());
        let written: u64 = written.map(|fs| fs.f_blocks.saturating_sub(fs.f_bfree).saturating_mul(fs.f_frsize)).sum();
        let memory = found.memory.saturating_add(written);
        self.memory = self.memory.max(memory);
        self.processes = self.processes.max(u32::try_from(found.number).unwrap_or(u32::MAX));
        if found.wait_for_disk || self.cpu.saturating_sub(self.alive.1) >= WORK {
            self.happened();
        }
        if found.number > u64::from(self.limits.processes) {
            return Some(Cause::Processes);
        }
        if memory > self.limits.memory {
            return Some(Cause::Memory);
        }
        if let Some(cause) = self.look_at_disk() {
            return Some(cause);
        }
        (self.alive.0.elapsed() > self.limits.silence).then_some(Cause::Silence)
    }

    fn look_at_disk(&mut self) -> Option<Cause> {
        let now = fstatvfs(&self.root).ok()?;
        let filled = Usage {
            bytes: room(&self.before).saturating_sub(room(&now)),
            files: self.before.f_ffree.saturating_sub(now.f_ffree),
        };
        self.grown = self.grown.max(filled.bytes);
        if room(&now) < SPARE {
            return Some(Cause::Disk);
        }
        let unseen = |before: u64, filled: u64, counted: u64| before.saturating_add(filled.saturating_sub(counted));
        let bytes = unseen(self.disk.unseen.bytes, filled.bytes, self.counted.bytes);
        let files = unseen(self.disk.unseen.files, filled.files, self.counted.files);
        if bytes <= self.limits.disk / PART && files <= self.limits.files / PART {
            return None;
        }
        let base = self.disk.base.unwrap_or_default();
        // What cannot be counted is nested deeper than anything of a distribution.
        let Ok(is) = usage(&self.root) else { return Some(Cause::Files) };
        self.disk.unseen = Usage::default();
        self.counted = filled;
        if is.bytes.saturating_sub(base.bytes) > self.limits.disk {
            return Some(Cause::Disk);
        }
        (is.files.saturating_sub(base.files) > self.limits.files).then_some(Cause::Files)
    }

    /// What was used at the end, when all are dead.
    pub fn ended(mut self, cause: Cause, time: Duration) -> (Ended, Disk) {
        self.cpu = self.cpu.max(of_the_dead());
        if let Ok(now) = fstatvfs(&self.root) {
            let bytes = room(&self.before).saturating_sub(room(&now)).saturating_sub(self.counted.bytes);
            let files = self.before.f_ffree.saturating_sub(now.f_ffree).saturating_sub(self.counted.files);
            self.disk.unseen.bytes = self.disk.unseen.bytes.saturating_add(bytes);
            self.disk.unseen.files = self.disk.unseen.files.saturating_add(files);
        }
        let Measure { cpu, memory, processes, grown, disk, .. } = self;
        (Ended { cause, time, cpu, memory, processes, disk: grown }, disk)
    }
}

/// Bytes that are free for somebody who is not root.
fn room(fs: &StatVfs) -> u64 {
    fs.f_bavail.saturating_mul(fs.f_frsize)
}

/// All processes of this namespace but the first, which is this one.
fn processes() -> Processes {
    let mut all = Processes::default();
    let Ok(entries) = fs::read_dir("/proc") else { return all };
    let page = rustix::param::page_size() as u64;
    for entry in entries.flatten() {
        let Some(pid) = entry.file_name().to_str().and_then(|name| name.parse::<u32>().ok()) else { continue };
        if pid == 1 {
            continue;
        }
        // A process that is gone meanwhile counts no more.
        let Ok(stat) = fs::read_to_string(format!("/proc/{pid}/stat")) else { continue };
        // proc(5): the name may have anything in it, spaces and brackets too. The first field after it is the third.
        let Some((_, fields)) = stat.rsplit_once(')') else { continue };
        let fields: Vec<&str> = fields.split_whitespace().collect();
        let number = |index: usize| fields.get(index - 3).and_then(|field| field.parse::<u64>().ok()).unwrap_or(0);
        all.ticks = (14..=17).fold(all.ticks, |sum, index| sum.saturating_add(number(index)));
        all.number += number(20).max(1);
        all.wait_for_disk |= fields.first() == Some(&"D");
        let statm = fs::read_to_string(format!("/proc/{pid}/statm")).unwrap_or_default();
        let mut pages = statm.split_whitespace().skip(1).map(|field| field.parse::<u64>().unwrap_or(0));
        let (resident, shared) = (pages.next().unwrap_or(0), pages.next().unwrap_or(0));
        all.memory = all.memory.saturating_add(resident.saturating_sub(shared).saturating_mul(page));
    }
    all
}

/// What the processor did for processes that have been waited for.
fn of_the_dead() -> Duration {
    // SAFETY: all zeros is a valid value, and the call writes no more than it.
    let mut usage: libc::rusage = unsafe { std::mem::zeroed() };
    // SAFETY: as above.
    if unsafe { libc::getrusage(libc::RUSAGE_CHILDREN, &raw mut usage) } != 0 {
        return Duration::ZERO;
    }
    let of = |time: libc::timeval| {
        Duration::from_secs(u64::try_from(time.tv_sec).unwrap_or(0))
            + Duration::from_micros(u64::try_from(time.tv_usec).unwrap_or(0))
    };
    of(usage.ru_utime) + of(usage.ru_stime)
}
