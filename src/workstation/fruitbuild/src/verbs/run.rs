//! `fruitbuild run`: an image in QEMU, as its board file says.

use std::io::IsTerminal;
use std::net::TcpStream;
use std::process::Command;
use std::time::{Duration, Instant};

use fruit_emulate::{Options, Plan, Prepared};

use crate::cli;
use crate::failure::Failure;
use crate::progress::Progress;

/// How long `--ssh` waits for the guest; an emulated Pi 3 on a busy machine takes minutes.
const PATIENCE: Duration = Duration::from_secs(600);

impl From<&cli::Run> for Options {
    fn from(options: &cli::Run) -> Options {
        let cli::Run { what, image, machine, out, disk, config, .. } = options.clone();
        let sources = (&options.sources).into();
        Options { recipe: what, image, machine, out, disk, config, sources }
    }
}

/// Boots an image in QEMU: `fruitbuild run`.
///
/// # Errors
/// An image or board that QEMU cannot run, or an emulator that is missing or ends with an error.
pub fn run(options: &cli::Run, progress: &Progress) -> Result<(), Failure> {
    let prepared = Prepared::new(&options.into(), progress)?;
    let port = match (options.ssh, options.ssh_port) {
        (_, Some(port)) => Some(port),
        _ => Some(fruit_emulate::free_port().map_err(|error| Failure::general(error.to_string()))?),
    };
    let plan = prepared.plan(port);
    if let Some(port) = port {
        progress.say(format!("ssh to the guest: ssh -p {port} root@127.0.0.1"));
    }
    if options.ssh { with_ssh(&plan, options, progress) } else { on_terminal(&plan, progress) }
}

fn on_terminal(plan: &Plan<'_>, progress: &Progress) -> Result<(), Failure> {
    progress.say(if std::io::stdin().is_terminal() {
        "the console follows; end the machine with `poweroff` in it, or with Ctrl-C"
    } else {
        "the console follows"
    });
    let status = plan.command().status();
    let status = status.map_err(|error| missing(plan, &error))?;
    if status.success() { Ok(()) } else { Err(Failure::general(format!("{} ended with {status}", plan.program()))) }
}

fn missing(plan: &Plan<'_>, error: &std::io::Error) -> Failure {
    Failure::general(format!(
        "cannot start {}: {error}; install it with: fruitbuild setup   (or: apt-get install {})",
        plan.program(),
        plan.package()
    ))
}

fn with_ssh(plan: &Plan<'_>, options: &cli::Run, progress: &Progress) -> Result<(), Failure> {
    let port = plan.ssh_port.unwrap_or_default();
    let mut console = plan.start().map_err(|error| Failure::general(error.to_string()))?;
    progress.say("waiting for ssh");
    let started = Instant::now();
    while !answers_ssh(port) {
        if started.elapsed() > PATIENCE {
            return Err(Failure::general(format!(
                "no ssh after {} s; the console said:\n{}",
                PATIENCE.as_secs(),
                console.text()
            )));
        }
        std::thread::sleep(Duration::from_secs(1));
    }
    let mut ssh = Command::new("ssh");
    // An emulated card has a new host key each time.
    ssh.args(["-o", "StrictHostKeyChecking=no", "-o", "UserKnownHostsFile=/dev/null", "-o", "LogLevel=ERROR"]);
    if let Some(identity) = &options.identity {
        ssh.arg("-i").arg(identity);
    }
    let status = ssh.args(["-p", &port.to_string(), "root@127.0.0.1"]).status();
    let status =
        status.map_err(|error| Failure::general(format!("cannot run ssh: {error} (Debian: openssh-client)")))?;
    console.cut_power().map_err(|error| Failure::general(error.to_string()))?;
    if status.success() { Ok(()) } else { Err(Failure::general(format!("ssh ended with {status}"))) }
}

/// QEMU accepts connections before the guest does; only the guest sends a banner.
fn answers_ssh(port: u16) -> bool {
    use std::io::Read;
    let Ok(mut stream) = TcpStream::connect(("127.0.0.1", port)) else { return false };
    let mut banner = [0; 4];
    stream.set_read_timeout(Some(Duration::from_secs(5))).is_ok()
        && stream.read_exact(&mut banner).is_ok()
        && &banner == b"SSH-"
}
