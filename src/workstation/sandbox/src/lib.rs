//! Runs programs of a Debian root file system natively, without root, with nothing of the workstation visible.
//!
//! ```no_run
//! # use fruit_sandbox::{Command, Limits, Sandbox};
//! # fn main() -> Result<(), Box<dyn std::error::Error>> {
//! // First of all in `main`: the sandbox starts this very program again.
//! fruit_sandbox::entry();
//! let sandbox = Sandbox::probe()?;
//! let root = sandbox.root("/home/me/.cache/work".as_ref())?;
//! root.unpack(std::fs::File::open("root.tar")?)?;
//! let command = Command { argv: vec!["dpkg".into(), "--audit".into()], cwd: "/".into(), ..Command::default() };
//! let ended = root.run(&command, &Limits::default(), &mut |output| { let _ = output; })?;
//! root.export(std::fs::File::create("after.tar")?)?;
//! root.remove()?;
//! # Ok(())
//! # }
//! ```
//!
//! A root's users are ids of the workstation that belong to nobody. Its programs live in namespaces of their own for
//! users, mounts, processes, network (with a loopback and nothing else), names, IPC and control groups, with the few capabilities
//! that packages' scripts need, and with system calls that only widen what the kernel offers to be attacked refused. They are
//! bounded in time, memory, processes and room. All of them die with the first one, with the helper that started it, and with the program that asked.
//!
//! Programs with the set-user-id bit and files with capabilities start without either (`no_new_privs`): scripts run as the root's uid 0
//! and gain nothing by them, and a program whose file asks for capabilities that are not to be had would otherwise not start at all.

mod command;
mod error;
mod helper;
mod ids;
mod inside;
mod protocol;
mod root;
mod sandbox;
mod unavailable;

pub use command::{Cause, Command, Ended, Limits};
pub use error::Error;
pub use protocol::{Failure, Step, Unpacked};
pub use root::Root;
pub use sandbox::Sandbox;
pub use unavailable::{Tried, Unavailable};

/// Must come first in the `main` of a program that uses a sandbox: where the program has been started as the sandbox's helper, it does that
/// work and does not return. In any other case it does nothing.
pub fn entry() {
    if std::env::args_os().next().is_some_and(|name| name == protocol::NAME) {
        inside::helper();
    }
}
