//! `fruitctl serve`: this machine's part of the network, for as long as it runs.

use super::contact::Contact;
use super::holders::survey;
use super::session::{Exchanged, Part, Session, is_reached};
use super::{socket, unit};
use crate::failure::{Code, EXIT_CODES, Failure};
use crate::fleet::Options;
use clap::Args;
use fruit_device::termination;
use fruit_peer::engine::Engine;
use rustix::event::{PollFd, PollFlags, Timespec, poll};
use rustix::io::Errno;
use std::os::fd::OwnedFd;
use std::os::unix::net::UnixListener;
use std::path::Path;
use std::sync::{Arc, Weak};

/// Stay connected with the fleet: exchange records, take in nodes whose invites allow it, hand releases on.
#[derive(Args)]
#[command(after_help = EXIT_CODES)]
pub struct ServeArgs {
    #[command(flatten)]
    options: Options,
    #[command(flatten)]
    contact: Contact,
    /// Print a systemd unit that runs this for you, instead of running it.
    #[arg(long)]
    print_unit: bool,
    /// Write that unit to ~/.config/systemd/user, instead of running it.
    #[arg(long, conflicts_with = "print_unit")]
    install_unit: bool,
}

impl ServeArgs {
    pub fn run(self) -> Result<(), Failure> {
        if self.print_unit || self.install_unit {
            return unit::write(&self.options, &self.contact, self.install_unit);
        }
        // Before threads are started, which take the mask over.
        let end = termination::descriptor()?;
        let Part::Own(mut session) = Session::begin(&self.options, &self.contact, true)? else {
            return Err(Failure::new(Code::Refused, "`fruitctl serve` runs already for this fleet on this machine"));
        };
        let path = socket::path(&session.folder);
        let (engine, folder) = (Arc::downgrade(&session.engine), session.folder.clone());
        match socket::listen(&session.folder) {
            Ok(listener) => drop(std::thread::spawn(move || answer(&listener, &engine, &folder))),
            // The path is too long for a socket, say: what other commands would ask can be done without.
            Err(error) => {
                self.options.say(format_args!("note: {}: {error}; other commands wait for this one", path.display()))
            }
        }
        let addresses = self.contact.peers.clone();
        let hands = super::tunnel::Host::start(&session, addresses, self.contact.wait);
        if let Err(error) = &hands {
            self.options.say(format_args!("note: {error}; `fruitctl ssh` waits for this one"));
        }
        self.options.say(format_args!("connected as a machine of {}; end with Ctrl-C", session.operator));
        let served = serve(&mut session, &end, &self.options);
        let _ = std::fs::remove_file(path);
        served.and(session.end().map(drop))
    }
}

/// Exchanges until it is told to stop.
fn serve(session: &mut Session<'_>, end: &OwnedFd, options: &Options) -> Result<(), Failure> {
    let (mut was_reached, mut trouble) = (false, String::new());
    loop {
        match session.exchange() {
            Ok(done) => {
                trouble.clear();
                tell(done, options);
            }
            // A full disk, or a folder that somebody else is repairing: it may be better the next time. Said once.
            Err(failure) if failure.to_string() != trouble => {
                trouble = failure.to_string();
                options.say(format_args!("fruitctl: {trouble}; it is tried again"));
            }
            Err(_) => {}
        }
        let status = session.engine.status().map_err(super::session::ended)?;
        let reached = is_reached(&status);
        if reached != std::mem::replace(&mut was_reached, reached) {
            let now = if reached { "nodes of the fleet are connected" } else { "no node of the fleet is connected" };
            options.say(format_args!("{now}"));
        }
        let second = Timespec { tv_sec: 1, tv_nsec: 0 };
        match poll(&mut [PollFd::new(end, PollFlags::IN)], Some(&second)) {
            Ok(0) | Err(Errno::INTR) => {}
            Ok(_) => return Ok(()),
            Err(error) => return Err(std::io::Error::from(error).into()),
        }
    }
}

fn tell(done: Exchanged, options: &Options) {
    let Exchanged { received, sent, requests, .. } = done;
    if requests > 0 {
        options.say(format_args!("{requests} nodes ask to become members: `fruitctl node pending`"));
    }
    if received + sent > 0 {
        options.say(format_args!("{received} records received, {sent} sent"));
    }
}

/// Answers other commands, one after the other.
fn answer(listener: &UnixListener, engine: &Weak<Engine>, folder: &Path) {
    for stream in listener.incoming().flatten() {
        let Some(engine) = engine.upgrade() else { return };
        // Who goes away in the middle wants no answer.
        let _ = socket::answer(&stream, |question| match question {
            "status" => serde_json::to_string(&engine.status().ok()?).ok(),
            "holders" => serde_json::to_string(&survey(&engine, folder).ok()?).ok(),
            _ => None,
        });
    }
}
