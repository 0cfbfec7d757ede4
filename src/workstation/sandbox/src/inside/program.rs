//! Starting the program of a run, in the root.

use std::fs::File;
use std::io::{self, Seek, Write};
use std::os::fd::OwnedFd;
use std::os::unix::process::CommandExt;
use std::process::Stdio;

use rustix::fs::{MemfdFlags, Mode, memfd_create};
use rustix::process::{Resource, Rlimit, getrlimit, setrlimit, setsid};

use super::calls::Filters;
use super::identity::{heed_signals, keep_few_capabilities};
use crate::command::{Command, Limits};
use crate::protocol::{During, Outcome, Step};

/// Starts it, and returns its process id. `output` is where it, and nobody else, writes.
pub fn start(command: &Command, limits: &Limits, filters: Filters, output: OwnedFd) -> Outcome<u32> {
    let (name, arguments) = command.argv.split_first().map_or(("", &[][..]), |(name, rest)| (name.as_str(), rest));
    let what = format!("`{name}` in {}", command.cwd);
    rustix::process::umask(Mode::from_raw_mode(0o022));
    let errors = output.try_clone().during(Step::Start, &what)?;
    let mut started = std::process::Command::new(name);
    started.args(arguments).env_clear().envs(command.env.iter().map(|(name, value)| (name, value)));
    started.current_dir(&command.cwd).stdin(input(&command.stdin).during(Step::Start, "giving the program its input")?);
    started.stdout(output).stderr(errors);
    let bounds = bounds(limits);
    let restrict = move || -> io::Result<()> {
        // No terminal, and none to be had.
        setsid()?;
        heed_signals();
        for (resource, most) in &bounds {
            // Nobody but root may raise what the workstation bounds.
            let most = Some(getrlimit(*resource).maximum.map_or(*most, |allowed| allowed.min(*most)));
            setrlimit(*resource, Rlimit { current: most, maximum: most })?;
        }
        keep_few_capabilities()?;
        filters.lay().map_err(io::Error::other)
    };
    // SAFETY: the process that this happens in is a copy of one that has a single thread.
    unsafe { started.pre_exec(restrict) };
    let child = started.spawn().during(Step::Start, &what)?;
    Ok(child.id())
}

/// What the kernel holds each process to. Of all together the first process takes care.
fn bounds(limits: &Limits) -> Vec<(Resource, u64)> {
    vec![
        (Resource::Core, 0),
        (Resource::Data, limits.memory),
        (Resource::Fsize, limits.file_size),
        (Resource::Memlock, 8 << 20),
        (Resource::Nofile, u64::from(limits.open_files)),
        // For each uid: more than all may have together, so that the first process sees it when they pass that.
        (Resource::Nproc, u64::from(limits.processes).saturating_mul(2)),
        (Resource::Msgqueue, 1 << 20),
        (Resource::Stack, 8 << 20),
        (Resource::Rtprio, 0),
    ]
}

/// The text, and then an end.
fn input(text: &[u8]) -> io::Result<Stdio> {
    if text.is_empty() {
        return Ok(Stdio::null());
    }
    let mut file = File::from(memfd_create("stdin", MemfdFlags::CLOEXEC)?);
    file.write_all(text)?;
    file.rewind()?;
    Ok(file.into())
}
