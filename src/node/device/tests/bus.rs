//! Our D-Bus client against the reference bus daemon.

use std::path::Path;
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

use fruit_device::systemd::Systemd;
use fruit_device::systemd::bus::{Bus, Call, Fault, Reader, Writer};

const PATIENCE: Duration = Duration::from_secs(20);

struct Daemon(Child);

impl Drop for Daemon {
    fn drop(&mut self) {
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}

fn daemon(socket: &Path) -> Daemon {
    let child = Command::new("dbus-daemon")
        .args(["--session", "--nofork", "--nopidfile", "--nosyslog"])
        .arg(format!("--address=unix:path={}", socket.display()))
        .stdout(Stdio::null())
        .stderr(Stdio::null())
        .spawn();
    let daemon = Daemon(child.expect("dbus-daemon does not start; install the Debian package dbus-daemon"));
    let end = Instant::now() + PATIENCE;
    // The file is there before anybody listens.
    while std::os::unix::net::UnixStream::connect(socket).is_err() {
        assert!(Instant::now() < end, "dbus-daemon does not listen");
        std::thread::sleep(Duration::from_millis(10));
    }
    daemon
}

fn call<'a>(member: &'a str, signature: &'a str, body: &'a [u8]) -> Call<'a> {
    let name = "org.freedesktop.DBus";
    Call { destination: name, path: "/org/freedesktop/DBus", interface: name, member, signature, body }
}

#[test]
fn the_reference_daemon_understands_us_and_we_understand_it() {
    let folder = tempfile::tempdir().unwrap();
    let socket = folder.path().join("bus");
    let _daemon = daemon(&socket);
    let mut bus = Bus::connect(&socket, false, PATIENCE).unwrap();
    let answer = bus.call(&call("ListNames", "", &[]), PATIENCE).unwrap();
    let mut names = Reader::new(&answer);
    let end = names.array(4).unwrap();
    assert_eq!(names.string().unwrap(), "org.freedesktop.DBus");
    assert!(names.string().unwrap().starts_with(":1."));
    assert_eq!(names.position(), end);

    let mut body = Writer::default();
    body.string("org.example.Nobody");
    let refused = bus.call(&call("GetNameOwner", "s", body.bytes()), PATIENCE).unwrap_err();
    let Fault::Refused { member, error } = refused else { panic!("{refused}") };
    assert_eq!((member.as_str(), error.as_str()), ("GetNameOwner", "org.freedesktop.DBus.Error.NameHasNoOwner"));

    // Still in step after an error.
    assert!(bus.call(&call("GetId", "", &[]), PATIENCE).is_ok());
}

#[test]
fn a_bus_without_systemd_is_an_error_in_words() {
    let folder = tempfile::tempdir().unwrap();
    let socket = folder.path().join("bus");
    let _daemon = daemon(&socket);
    let error = Systemd::at(&socket, PATIENCE).state().unwrap_err().to_string();
    assert!(error.contains("Get was refused: org.freedesktop.DBus.Error"), "{error}");
    let error = Systemd::at(&folder.path().join("nothing"), PATIENCE).state().unwrap_err().to_string();
    assert!(error.contains("nothing: No such file"), "{error}");
}
