//! `fruitctl proxy`: what ssh calls as its ProxyCommand.

use crate::failure::Failure;
use crate::fleet::{Opened, Options};
use crate::net::{Contact, open_way, stream};
use clap::Args;
use fruit_peer::hand::Target;
use std::io::{self, Write};
use std::net::Shutdown;
use std::os::unix::net::UnixStream;

#[derive(Args)]
pub struct ProxyArgs {
    #[command(flatten)]
    options: Options,
    #[command(flatten)]
    contact: Contact,
    /// Node: its name, its id, or 8 digits of its beginning.
    node: String,
    /// What of it: `ssh`, or an address such as 127.0.0.1:8080.
    #[arg(default_value = "ssh")]
    target: Target,
}

impl ProxyArgs {
    pub fn run(self) -> Result<(), Failure> {
        let node = Opened::read(&self.options)?.member_named(&self.node)?;
        let way = open_way(&self.options, &self.contact)?;
        let carried = stream(&self.options, &node, self.target).and_then(|stream| Ok(carry(stream)?));
        way.end(&self.options)?;
        carried
    }
}

/// Until the node has no more to say.
fn carry(mut stream: UnixStream) -> io::Result<()> {
    let mut up = stream.try_clone()?;
    std::thread::spawn(move || {
        // Who has gone takes nothing more.
        let _ = io::copy(&mut io::stdin().lock(), &mut up);
        let _ = up.shutdown(Shutdown::Write);
    });
    let mut out = io::stdout().lock();
    let mut bytes = [0; 16 << 10];
    loop {
        match io::Read::read(&mut stream, &mut bytes)? {
            0 => return Ok(()),
            read => {
                out.write_all(&bytes[..read])?;
                out.flush()?;
            }
        }
    }
}
