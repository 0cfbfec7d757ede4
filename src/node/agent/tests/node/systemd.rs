//! As much of systemd's side of D-Bus as the agent asks: states of the system and of units.

use std::collections::BTreeMap;
use std::io::{BufRead, BufReader, Read, Write};
use std::os::unix::net::{UnixListener, UnixStream};
use std::path::Path;
use std::sync::{Arc, Mutex};
use std::thread;

use fruit_device::systemd::bus::{Reader, lengths};

/// What it answers. Units: active state and type of the job.
#[derive(Clone, Default)]
pub struct Answers {
    pub state: String,
    pub units: BTreeMap<String, (String, String)>,
    /// Takes calls and says nothing.
    pub mute: bool,
}

pub struct FakeSystemd(pub Arc<Mutex<Answers>>);

fn pad(bytes: &mut Vec<u8>, to: usize) {
    bytes.resize(bytes.len().next_multiple_of(to), 0);
}

fn string(bytes: &mut Vec<u8>, text: &str) {
    pad(bytes, 4);
    bytes.extend((text.len() as u32).to_le_bytes());
    bytes.extend(text.as_bytes());
    bytes.push(0);
}

fn signature(bytes: &mut Vec<u8>, text: &str) {
    bytes.push(text.len() as u8);
    bytes.extend(text.as_bytes());
    bytes.push(0);
}

/// A method return; the reply serial is the last field, behind the signature.
fn reply(serial: u32, kind: &str, body: &[u8]) -> Vec<u8> {
    let mut message = vec![b'l', 2, 1, 1];
    message.extend((body.len() as u32).to_le_bytes());
    message.extend(1u32.to_le_bytes());
    message.extend([0; 4]);
    message.push(8);
    signature(&mut message, "g");
    signature(&mut message, kind);
    pad(&mut message, 8);
    message.push(5);
    signature(&mut message, "u");
    message.extend(serial.to_le_bytes());
    let fields = (message.len() - 16) as u32;
    message[12..16].copy_from_slice(&fields.to_le_bytes());
    pad(&mut message, 8);
    message.extend(body);
    message
}

fn contains(bytes: &[u8], text: &str) -> bool {
    bytes.windows(text.len()).any(|window| window == text.as_bytes())
}

/// The strings of an `as`.
fn names(body: &[u8]) -> Vec<String> {
    let mut reader = Reader::new(body);
    let end = reader.array(4).unwrap();
    let mut names = Vec::new();
    while reader.position() < end {
        names.push(reader.string().unwrap().to_owned());
    }
    names
}

fn serve(stream: UnixStream, answers: &Mutex<Answers>) -> std::io::Result<()> {
    let mut reader = BufReader::new(stream.try_clone()?);
    let mut stream = stream;
    let mut line = String::new();
    reader.read_line(&mut line)?;
    assert!(line.starts_with("\0AUTH EXTERNAL "), "{line:?}");
    line.clear();
    reader.read_line(&mut line)?;
    assert_eq!(line, "NEGOTIATE_UNIX_FD\r\n");
    line.clear();
    reader.read_line(&mut line)?;
    assert_eq!(line, "BEGIN\r\n");
    stream.write_all(b"OK 0123456789abcdef0123456789abcdef\r\nAGREE_UNIX_FD\r\n")?;
    loop {
        let mut fixed = [0; 16];
        reader.read_exact(&mut fixed)?;
        let serial = u32::from_le_bytes(fixed[8..12].try_into().unwrap());
        let (fields, body) = lengths(&fixed).unwrap();
        let mut rest = vec![0; fields + body];
        reader.read_exact(&mut rest)?;
        let (header, body) = rest.split_at(fields);
        let answers = answers.lock().unwrap().clone();
        let mut answer = Vec::new();
        let kind = if contains(header, "Hello") {
            string(&mut answer, ":1.7");
            "s"
        } else if contains(header, "ListUnitsByNames") {
            answer.extend([0; 8]);
            for name in names(body) {
                let (active, job) = answers.units.get(&name).cloned().unwrap_or(("inactive".into(), String::new()));
                pad(&mut answer, 8);
                for text in [&name, "a unit", "loaded", &active, "x", "", "/unit"] {
                    string(&mut answer, text);
                }
                pad(&mut answer, 4);
                answer.extend(u32::from(!job.is_empty()).to_le_bytes());
                string(&mut answer, &job);
                string(&mut answer, "/job");
            }
            let length = (answer.len() - 8) as u32;
            answer[..4].copy_from_slice(&length.to_le_bytes());
            "a(ssssssouso)"
        } else {
            assert!(contains(body, "SystemState"));
            signature(&mut answer, "s");
            string(&mut answer, &answers.state);
            "v"
        };
        if !answers.mute {
            stream.write_all(&reply(serial, kind, &answer))?;
        }
    }
}

impl FakeSystemd {
    pub fn listen(socket: &Path, answers: Answers) -> FakeSystemd {
        let listener = UnixListener::bind(socket).unwrap();
        let answers = Arc::new(Mutex::new(answers));
        let shared = Arc::clone(&answers);
        thread::spawn(move || {
            for stream in listener.incoming() {
                let shared = Arc::clone(&shared);
                thread::spawn(move || serve(stream.unwrap(), &shared));
            }
        });
        FakeSystemd(answers)
    }

    pub fn set(&self, change: impl FnOnce(&mut Answers)) {
        change(&mut self.0.lock().unwrap());
    }
}
