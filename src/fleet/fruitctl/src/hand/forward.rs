//! `fruitctl forward`

use crate::failure::{Code, EXIT_CODES, Failure};
use crate::fleet::{Opened, Options, candidates};
use crate::net::{Contact, open_way, stream};
use crate::output::print;
use clap::Args;
use clap_complete::engine::ArgValueCandidates;
use fruit_device::termination;
use fruit_peer::hand::Target;
use rustix::event::{PollFd, PollFlags, poll};
use rustix::io::Errno;
use std::io;
use std::net::{Ipv4Addr, Shutdown, SocketAddr, TcpListener, TcpStream};
use std::os::unix::net::UnixStream;

#[derive(Args)]
#[command(after_help = EXIT_CODES)]
pub struct ForwardArgs {
    #[command(flatten)]
    options: Options,
    #[command(flatten)]
    contact: Contact,
    /// Node: its name, its id, or 8 digits of its beginning.
    #[arg(add = ArgValueCandidates::new(candidates::nodes))]
    node: String,
    /// Port here, and port on the node: `8080:80`; or addresses too: `127.0.0.1:8080:192.0.2.7:80`. Port 0: any that is free. The node's
    /// `forward:` in peer.yaml names what it allows.
    #[arg(value_name = "LOCAL:REMOTE", value_parser = Ports::read)]
    ports: Ports,
}

/// What is listened on, and what is reached by it.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
struct Ports {
    local: SocketAddr,
    remote: SocketAddr,
}

fn at(text: &str) -> Option<SocketAddr> {
    let loopback = |port| SocketAddr::from((Ipv4Addr::LOCALHOST, port));
    text.parse::<u16>().map(loopback).ok().or_else(|| text.parse().ok())
}

impl Ports {
    fn read(text: &str) -> Result<Ports, String> {
        // Addresses have colons in them: the one between the two is that with an address or a port on either side.
        let mut splits = text.match_indices(':').filter_map(|(colon, _)| {
            let (local, remote) = (at(&text[..colon])?, at(&text[colon + 1..])?);
            Some(Ports { local, remote }).filter(|ports| ports.remote.port() != 0)
        });
        splits.next_back().ok_or_else(|| "expected LOCAL:REMOTE, such as 8080:80".to_owned())
    }
}

impl ForwardArgs {
    pub fn run(self) -> Result<(), Failure> {
        // Before threads are started, which take the mask over.
        let end = termination::descriptor()?;
        let node = Opened::read(&self.options)?.member_named(&self.node)?;
        let Ports { local, remote } = self.ports;
        let listener = TcpListener::bind(local);
        let listener = listener.map_err(|error| Failure::new(Code::Port, format!("{local}: {error}")))?;
        let way = open_way(&self.options, &self.contact)?;
        // Whether it is allowed is known before anybody connects.
        stream(&self.options, &node, Target::Address(remote)).map(drop)?;
        print(format_args!("{} leads to {remote} of {}; end with Ctrl-C", listener.local_addr()?, self.node));
        loop {
            match poll(&mut [PollFd::new(&end, PollFlags::IN), PollFd::new(&listener, PollFlags::IN)], None) {
                Err(Errno::INTR) => continue,
                Err(error) => return Err(io::Error::from(error).into()),
                Ok(_) => {}
            }
            if poll(&mut [PollFd::new(&end, PollFlags::IN)], Some(&Default::default())).is_ok_and(|ready| ready > 0) {
                // Whoever is connected here is cut off: it was asked for.
                drop(way);
                return Ok(());
            }
            let Ok((taken, _)) = listener.accept() else { continue };
            match stream(&self.options, &node, Target::Address(remote)) {
                Ok(stream) => drop(std::thread::spawn(move || carry(&taken, &stream))),
                Err(failure) => drop(failure.report()),
            }
        }
    }
}

/// Both ways, each until its end.
fn carry(here: &TcpStream, there: &UnixStream) {
    std::thread::scope(|scope| {
        scope.spawn(move || {
            let _ = io::copy(&mut &*here, &mut &*there);
            let _ = there.shutdown(Shutdown::Write);
        });
        let _ = io::copy(&mut &*there, &mut &*here);
        let _ = here.shutdown(Shutdown::Write);
    });
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn ports_are_read_with_and_without_addresses() {
        for (text, local, remote) in [
            ("8080:80", "127.0.0.1:8080", "127.0.0.1:80"),
            ("0:80", "127.0.0.1:0", "127.0.0.1:80"),
            ("0.0.0.0:8080:80", "0.0.0.0:8080", "127.0.0.1:80"),
            ("8080:192.0.2.7:80", "127.0.0.1:8080", "192.0.2.7:80"),
            ("[::1]:8080:[::1]:80", "[::1]:8080", "[::1]:80"),
        ] {
            let read = Ports::read(text).unwrap();
            assert_eq!((read.local.to_string(), read.remote.to_string()), (local.into(), remote.into()), "{text}");
        }
        for text in ["80", "80:0", "a:80", "80:", "localhost:80"] {
            assert!(Ports::read(text).is_err(), "{text}");
        }
    }
}
