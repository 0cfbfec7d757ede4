//! Streams to services of nodes. One command of a person is connected with the fleet at a time; it listens on a socket in the fleet's
//! folder, by which all others, and the ssh programs that they start, get their streams.
//!
//! ```text
//! question   one line: ID TARGET
//! answer     one line: `open`, and then the service's own bytes; or why not
//! ```

use super::contact::Contact;
use super::session::{Part, Session};
use crate::failure::{Code, Failure};
use crate::fleet::{Known, Options, at};
use fruit_peer::engine::{Engine, Local, NotOpened};
use fruit_peer::hand::Target;
use fruit_record::{Body, Class, Key, KeyId, Labels, Name};
use std::io::{self, Read, Write};
use std::os::unix::fs::PermissionsExt;
use std::os::unix::net::{UnixListener, UnixStream};
use std::path::{Path, PathBuf};
use std::sync::{Arc, Weak};
use std::time::{Duration, Instant};

const SOCKET: &str = "hand.sock";
/// What is said before the service's bytes.
const OPEN: &[u8] = b"open\n";
/// Bytes of a line.
const LINE: usize = 1024;
/// Time for a question.
const PROMPT: Duration = Duration::from_secs(5);
/// Time for the last bytes of a stream.
const PARTING: Duration = Duration::from_secs(3);
/// Between two tries to reach a node, and two looks whether others still use this contact.
const AGAIN: Duration = Duration::from_millis(300);

/// The end that is connected with the fleet.
pub struct Host {
    path: PathBuf,
    guard: Arc<()>,
}

/// What a stream is made of.
struct Carrier {
    engine: Weak<Engine>,
    folder: PathBuf,
    /// Addresses that the command line names.
    named: Vec<(KeyId, String)>,
    wait: Duration,
    guard: Arc<()>,
}

impl Host {
    /// Listens for as long as it lives. Whoever calls this has locked the network's file.
    pub fn start(session: &Session<'_>, named: Vec<(KeyId, String)>, wait: Duration) -> Result<Host, Failure> {
        let path = session.folder.join(SOCKET);
        match std::fs::remove_file(&path) {
            Err(error) if error.kind() != io::ErrorKind::NotFound => return Err(at(&path)(error)),
            _ => {}
        }
        let listener = UnixListener::bind(&path).map_err(at(&path))?;
        std::fs::set_permissions(&path, std::fs::Permissions::from_mode(0o600)).map_err(at(&path))?;
        let guard = Arc::new(());
        let (engine, folder) = (Arc::downgrade(&session.engine), session.folder.clone());
        let carrier = Arc::new(Carrier { engine, folder, named, wait, guard: guard.clone() });
        std::thread::spawn(move || {
            for stream in listener.incoming().flatten() {
                let carrier = carrier.clone();
                std::thread::spawn(move || {
                    // Who goes away in the middle wants no answer.
                    let _ = carrier.carry(stream);
                });
            }
        });
        Ok(Host { path, guard })
    }

    /// Whether streams are open. (Two more hold the guard: this one, and the carrier.)
    fn is_used(&self) -> bool {
        Arc::strong_count(&self.guard) > 2
    }
}

impl Drop for Host {
    fn drop(&mut self) {
        let _ = std::fs::remove_file(&self.path);
    }
}

/// One line, and no byte more.
fn line(stream: &mut UnixStream) -> io::Result<String> {
    let (mut line, mut byte) = (Vec::new(), [0]);
    while line.len() < LINE && stream.read(&mut byte)? == 1 && byte != *b"\n" {
        line.extend(byte);
    }
    Ok(String::from_utf8_lossy(&line).into_owned())
}

impl Carrier {
    fn carry(&self, mut stream: UnixStream) -> io::Result<()> {
        stream.set_read_timeout(Some(PROMPT))?;
        stream.set_write_timeout(Some(PROMPT))?;
        let question = line(&mut stream)?;
        let words = question.split_once(' ').and_then(|(id, target)| Some((KeyId::parse(id)?, target.parse().ok()?)));
        let (mut answer, opened) = (stream.try_clone()?, words.map(|(node, target)| self.open(node, target, stream)));
        match opened {
            Some(Ok(())) => Ok(()),
            Some(Err(why)) => answer.write_all(format!("{why}\n").as_bytes()),
            None => answer.write_all(b"a node's id and a target are expected\n"),
        }
    }

    /// Tries until the node is reached, for so long as somebody wants to wait.
    fn open(&self, node: KeyId, target: Target, stream: UnixStream) -> Result<(), String> {
        let begun = Instant::now();
        loop {
            let engine = self.engine.upgrade().ok_or("the contact with the fleet has ended")?;
            let stream = stream.try_clone().map_err(|error| error.to_string())?;
            let local = Local { stream, first: OPEN, guard: self.guard.clone() };
            match engine.reach(node, self.addresses(&node), target, local).map_err(|ended| ended.to_string())? {
                Err(NotOpened::Unreachable(_)) if begun.elapsed() < self.wait => {}
                opened => return opened.map_err(|why| why.to_string()),
            }
            drop(engine);
            std::thread::sleep(AGAIN);
        }
    }

    /// Where the node may be: as named, as it was before, and as it says of itself.
    fn addresses(&self, node: &KeyId) -> Vec<String> {
        let known = Known::read(&self.folder).addresses();
        let mut all: Vec<String> =
            self.named.iter().chain(&known).filter(|(id, _)| id == node).map(|(_, address)| address.clone()).collect();
        let key = Key { class: Class::Beacon, name: Name::Id(*node), domain: Labels::default() };
        let replica = self.engine.upgrade().and_then(|engine| engine.replica().ok().flatten());
        if let Some(Body::Beacon(beacon)) = replica.as_ref().and_then(|replica| Some(replica.get(&key)?.body())) {
            all.extend(beacon.addresses.iter().cloned());
        }
        all
    }
}

/// How this command gets its streams.
pub enum Way<'o> {
    /// Its own contact with the fleet, which others use too.
    Own(Box<Session<'o>>, Host),
    /// Another command is connected.
    Other,
}

impl Way<'_> {
    /// Ends the contact, as soon as no other command uses it.
    pub fn end(self, options: &Options) -> Result<(), Failure> {
        let Way::Own(session, host) = self else { return Ok(()) };
        // The last bytes of a stream may be on their way.
        let begun = Instant::now();
        while host.is_used() && begun.elapsed() < PARTING {
            std::thread::sleep(AGAIN);
        }
        if host.is_used() {
            options.say(format_args!("other commands use this contact with the fleet: it ends after them"));
        }
        while host.is_used() {
            std::thread::sleep(AGAIN);
        }
        drop(host);
        session.end().map(drop)
    }
}

fn is_there(folder: &Path) -> bool {
    UnixStream::connect(folder.join(SOCKET)).is_ok()
}

/// Gets connected with the fleet, unless another command of this person is.
pub fn open<'o>(options: &'o Options, contact: &Contact) -> Result<Way<'o>, Failure> {
    let folder = options.folder()?;
    if is_there(&folder) {
        return Ok(Way::Other);
    }
    match Session::begin(options, contact, false)? {
        Part::Own(session) => {
            let host = Host::start(&session, contact.peers.clone(), contact.wait)?;
            Ok(Way::Own(session, host))
        }
        Part::Served(_) if is_there(&folder) => Ok(Way::Other),
        Part::Served(_) => Err(Failure::new(
            Code::Refused,
            "`fruitctl serve` of this fleet gives no streams: end it, and start it anew",
        )),
    }
}

/// A stream to a service of a node, opened.
pub fn stream(options: &Options, node: &KeyId, target: Target) -> Result<UnixStream, Failure> {
    let path = options.folder()?.join(SOCKET);
    let mut stream = UnixStream::connect(&path).map_err(at(&path))?;
    let asked = stream.write_all(format!("{node} {target}\n").as_bytes()).and_then(|()| line(&mut stream));
    let answer = asked.map_err(at(&path))?;
    if answer.as_bytes() == OPEN.trim_ascii_end() {
        return Ok(stream);
    }
    let code = if answer.starts_with("the node refuses") { Code::Untrusted } else { Code::NoAnswer };
    Err(Failure::new(code, format!("node {}: {answer}", node.short())))
}
