//! A small HTTP/1.1 server on the loopback that answers as a test tells it, well or badly.

use std::io::{BufRead, BufReader, Write};
use std::net::{Shutdown, SocketAddr, TcpListener, TcpStream};
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::sync::{Arc, Mutex};
use std::thread::JoinHandle;
use std::time::Duration;

#[allow(dead_code)] // each test program uses its own part
/// What a client asked.
#[derive(Clone, Debug)]
pub struct Request {
    pub path: String,
    headers: Vec<(String, String)>,
}

impl Request {
    /// By its name in small letters.
    pub fn header(&self, name: &str) -> Option<String> {
        self.headers.iter().find(|(n, _)| n == name).map(|(_, value)| value.clone())
    }
}

/// How to answer.
#[derive(Clone)]
pub struct Answer {
    pub status: u16,
    pub location: Option<String>,
    pub tag: &'static str,
    pub body: Vec<u8>,
    /// Knows ranges.
    pub ranges: bool,
    pub heeds_if_range: bool,
    /// Added to the first byte of a range.
    pub shift: u64,
    /// Closes the connection after so many bytes of the body.
    pub cut_after: Option<usize>,
    /// Sends no more after so many bytes of the body.
    pub stall_after: Option<usize>,
    /// Sends a byte now and then.
    pub trickle: bool,
    pub trickle_head: bool,
    /// Does not say how long the body is.
    pub chunked: bool,
    /// The body never ends.
    pub endless: bool,
}

impl Answer {
    pub fn file(body: &[u8]) -> Answer {
        Answer {
            status: 200,
            location: None,
            tag: "\"1\"",
            body: body.to_vec(),
            ranges: true,
            heeds_if_range: true,
            shift: 0,
            cut_after: None,
            stall_after: None,
            trickle: false,
            trickle_head: false,
            chunked: false,
            endless: false,
        }
    }
}

type Respond = dyn Fn(usize, &Request) -> Answer + Send + Sync;

pub struct Server {
    address: SocketAddr,
    requests: Arc<Mutex<Vec<Request>>>,
    end: Arc<AtomicBool>,
    thread: Option<JoinHandle<()>>,
}

impl Server {
    /// `respond`: the number of the request, from 0, and what it is.
    pub fn start(respond: impl Fn(usize, &Request) -> Answer + Send + Sync + 'static) -> Server {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let address = listener.local_addr().unwrap();
        let (requests, end) = (Arc::new(Mutex::new(Vec::new())), Arc::new(AtomicBool::new(false)));
        let (respond, count): (Arc<Respond>, _) = (Arc::new(respond), Arc::new(AtomicUsize::new(0)));
        let thread = std::thread::spawn({
            let (requests, end) = (Arc::clone(&requests), Arc::clone(&end));
            move || {
                for stream in listener.incoming() {
                    if end.load(Ordering::Relaxed) {
                        return;
                    }
                    let (requests, respond, count, end) =
                        (Arc::clone(&requests), Arc::clone(&respond), Arc::clone(&count), Arc::clone(&end));
                    std::thread::spawn(move || {
                        // A client that goes away is none of the server's business.
                        let _ = serve(stream.unwrap(), &requests, &*respond, &count, &end);
                    });
                }
            }
        });
        Server { address, requests, end, thread: Some(thread) }
    }

    pub fn url(&self, path: &str) -> String {
        format!("http://{}/{path}", self.address)
    }

    pub fn requests(&self) -> Vec<Request> {
        self.requests.lock().unwrap().clone()
    }
}

impl Drop for Server {
    fn drop(&mut self) {
        self.end.store(true, Ordering::Relaxed);
        let _ = TcpStream::connect(self.address);
        let _ = self.thread.take().unwrap().join();
    }
}

fn serve(
    stream: TcpStream,
    requests: &Mutex<Vec<Request>>,
    respond: &Respond,
    count: &AtomicUsize,
    end: &AtomicBool,
) -> std::io::Result<()> {
    let mut reader = BufReader::new(stream.try_clone()?);
    loop {
        let mut line = String::new();
        if reader.read_line(&mut line)? == 0 {
            return Ok(());
        }
        let path = line.split(' ').nth(1).unwrap_or("/").to_owned();
        let mut headers = Vec::new();
        loop {
            let mut line = String::new();
            reader.read_line(&mut line)?;
            let Some((name, value)) = line.trim_end().split_once(": ") else { break };
            headers.push((name.to_ascii_lowercase(), value.to_owned()));
        }
        let request = Request { path, headers };
        requests.lock().unwrap().push(request.clone());
        let answer = respond(count.fetch_add(1, Ordering::Relaxed), &request);
        if !send(&stream, &request, &answer, end)? {
            return stream.shutdown(Shutdown::Both);
        }
    }
}

/// Whether the connection can be gone on with.
fn send(mut stream: &TcpStream, request: &Request, answer: &Answer, end: &AtomicBool) -> std::io::Result<bool> {
    let total = answer.body.len();
    let range =
        request.header("range").and_then(|r| r.strip_prefix("bytes=")?.strip_suffix('-')?.parse::<usize>().ok());
    let same = !answer.heeds_if_range || request.header("if-range").is_none_or(|tag| tag == answer.tag);
    let from = range.filter(|_| answer.ranges && same).unwrap_or(0);
    let body = &answer.body[from.min(total)..];
    let mut head = match from {
        0 => format!("HTTP/1.1 {} X\r\n", answer.status),
        _ => format!("HTTP/1.1 206 X\r\nContent-Range: bytes {}-{}/{total}\r\n", from as u64 + answer.shift, total - 1),
    };
    head += &format!("ETag: {}\r\n", answer.tag);
    if let Some(location) = &answer.location {
        head += &format!("Location: {location}\r\n");
    }
    let chunked = answer.chunked || answer.endless;
    head += &if chunked {
        "Transfer-Encoding: chunked\r\n\r\n".to_owned()
    } else {
        format!("Content-Length: {}\r\n\r\n", body.len())
    };
    let pause = || std::thread::sleep(Duration::from_millis(100));
    if answer.trickle_head {
        for byte in head.bytes() {
            stream.write_all(&[byte])?;
            pause();
        }
    } else {
        stream.write_all(head.as_bytes())?;
    }
    if chunked {
        loop {
            stream.write_all(format!("{:x}\r\n", body.len()).as_bytes())?;
            stream.write_all(body)?;
            stream.write_all(b"\r\n")?;
            if !answer.endless {
                break;
            }
        }
        stream.write_all(b"0\r\n\r\n")?;
        return Ok(true);
    }
    if answer.trickle {
        for byte in body {
            stream.write_all(&[*byte])?;
            pause();
        }
    }
    let some = answer.cut_after.or(answer.stall_after).unwrap_or(body.len()).min(body.len());
    stream.write_all(&body[..some])?;
    if answer.stall_after.is_some() && some < body.len() {
        while !end.load(Ordering::Relaxed) {
            pause();
        }
        return Ok(false);
    }
    Ok(some == body.len())
}
