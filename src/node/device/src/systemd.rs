//! Questions to systemd, over the system bus (any user) or over systemd's own socket (root; answers even when the bus
//! daemon is gone). No program is started for them: a look every few seconds must cost next to nothing.

pub mod bus;

use std::path::{Path, PathBuf};
use std::time::Duration;

use bus::{Bus, Call, Fault, Reader, Writer};

/// The bus of the system (D-Bus specification, well-known bus instances).
pub const SYSTEM_BUS: &str = "/run/dbus/system_bus_socket";
/// systemd's own socket: the same protocol without a bus daemon in between.
pub const PRIVATE_SOCKET: &str = "/run/systemd/private";

const NAME: &str = "org.freedesktop.systemd1";
const PATH: &str = "/org/freedesktop/systemd1";
const MANAGER: &str = "org.freedesktop.systemd1.Manager";

/// State of a unit as systemd tells it.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct UnitState {
    pub name: String,
    /// `active`, `failed`, `activating`, …
    pub active: String,
    /// `start`, `stop`, …; empty without a job.
    pub job: String,
}

/// A connection that comes back by itself.
#[derive(Debug)]
pub struct Systemd {
    socket: PathBuf,
    bus: Option<Bus>,
    /// Time that one question may take.
    patience: Duration,
}

impl Systemd {
    /// `socket` is a bus or systemd's own. Does not connect yet.
    pub fn at(socket: &Path, patience: Duration) -> Systemd {
        Systemd { socket: socket.to_owned(), bus: None, patience }
    }

    fn call(&mut self, call: &Call) -> Result<Vec<u8>, Fault> {
        // systemd's socket is a peer, not a bus: there is no name to be given.
        let peer = self.socket.ends_with("private");
        let mut bus = match self.bus.take() {
            Some(bus) => bus,
            None => Bus::connect(&self.socket, peer, self.patience)?,
        };
        let answer = bus.call(call, self.patience);
        // After an error that systemd sent the connection is still in step; after any other it is not.
        if matches!(answer, Ok(_) | Err(Fault::Refused { .. })) {
            self.bus = Some(bus);
        }
        answer
    }

    /// State of the system: `running`, `degraded`, `starting`, `stopping`, `maintenance`, … (systemctl(1),
    /// is-system-running).
    ///
    /// # Errors
    /// No answer, in words.
    pub fn state(&mut self) -> Result<String, Fault> {
        let mut body = Writer::default();
        body.string(MANAGER);
        body.string("SystemState");
        let call = Call {
            destination: NAME,
            path: PATH,
            interface: "org.freedesktop.DBus.Properties",
            member: "Get",
            signature: "ss",
            body: body.bytes(),
        };
        let answer = self.call(&call)?;
        let mut answer = Reader::new(&answer);
        if answer.signature()? != "s" {
            return Err(Fault::Garbled("the system's state is not a string"));
        }
        Ok(answer.string()?.to_owned())
    }

    /// States of the named units; one that systemd does not know is `inactive`.
    ///
    /// # Errors
    /// No answer, in words.
    pub fn units(&mut self, names: &[&str]) -> Result<Vec<UnitState>, Fault> {
        let mut body = Writer::default();
        body.strings(names);
        let call = Call {
            destination: NAME,
            path: PATH,
            interface: MANAGER,
            member: "ListUnitsByNames",
            signature: "as",
            body: body.bytes(),
        };
        unit_states(&self.call(&call)?)
    }

    /// Names of the units that have failed.
    ///
    /// # Errors
    /// No answer, in words.
    pub fn failed(&mut self) -> Result<Vec<String>, Fault> {
        let mut body = Writer::default();
        body.strings(&["failed"]);
        let call = Call {
            destination: NAME,
            path: PATH,
            interface: MANAGER,
            member: "ListUnitsFiltered",
            signature: "as",
            body: body.bytes(),
        };
        let units = unit_states(&self.call(&call)?)?;
        Ok(units.into_iter().map(|unit| unit.name).collect())
    }
}

/// a(ssssssouso): name, description, load state, active state, sub state, followed unit, object, job id, job type, job
/// object (org.freedesktop.systemd1(5)).
fn unit_states(answer: &[u8]) -> Result<Vec<UnitState>, Fault> {
    let mut answer = Reader::new(answer);
    let end = answer.array(8)?;
    let mut units = Vec::new();
    while answer.position() < end {
        answer.align(8)?;
        let name = answer.string()?.to_owned();
        answer.string()?;
        answer.string()?;
        let active = answer.string()?.to_owned();
        answer.string()?;
        answer.string()?;
        answer.string()?;
        answer.u32()?;
        let job = answer.string()?.to_owned();
        answer.string()?;
        units.push(UnitState { name, active, job });
    }
    Ok(units)
}
