//! A web server for one folder, as plain as servers are: GET, HEAD, ranges.

#![allow(dead_code)] // each test program uses its own part

use std::fs;
use std::io::{BufRead, BufReader, Write};
use std::net::{TcpListener, TcpStream};
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};

pub struct Server {
    port: u16,
    shared: Arc<Shared>,
}

struct Shared {
    folder: PathBuf,
    stopped: AtomicBool,
    /// Bytes of bodies sent.
    sent: AtomicU64,
    /// Each answer is cut off after so many bytes of its body; 0 for never.
    cut_after: AtomicU64,
}

impl Server {
    /// Serves on a free port of the loopback until it is dropped.
    pub fn start(folder: &Path) -> Server {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let port = listener.local_addr().unwrap().port();
        let shared = Arc::new(Shared {
            folder: folder.to_owned(),
            stopped: AtomicBool::new(false),
            sent: AtomicU64::new(0),
            cut_after: AtomicU64::new(0),
        });
        let of_thread = shared.clone();
        std::thread::spawn(move || {
            for stream in listener.incoming() {
                if of_thread.stopped.load(Ordering::Relaxed) {
                    return;
                }
                let shared = of_thread.clone();
                let Ok(stream) = stream else { continue };
                std::thread::spawn(move || drop(shared.serve(&stream)));
            }
        });
        Server { port, shared }
    }

    pub fn port(&self) -> u16 {
        self.port
    }

    pub fn sent(&self) -> u64 {
        self.shared.sent.load(Ordering::Relaxed)
    }

    /// From now on each answer breaks off after so many bytes.
    pub fn cut_after(&self, bytes: u64) {
        self.shared.cut_after.store(bytes, Ordering::Relaxed);
    }
}

impl Drop for Server {
    fn drop(&mut self) {
        self.shared.stopped.store(true, Ordering::Relaxed);
        let _ = TcpStream::connect(("127.0.0.1", self.port));
    }
}

impl Shared {
    fn serve(&self, stream: &TcpStream) -> std::io::Result<()> {
        let mut reader = BufReader::new(stream);
        loop {
            let mut request = String::new();
            if reader.read_line(&mut request)? == 0 {
                return Ok(());
            }
            let mut range = None;
            loop {
                let mut line = String::new();
                reader.read_line(&mut line)?;
                let line = line.trim_end().to_ascii_lowercase();
                if line.is_empty() {
                    break;
                }
                if let Some(spec) = line.strip_prefix("range: bytes=") {
                    let (from, to) = spec.split_once('-').unwrap_or((spec, ""));
                    range = from.parse::<u64>().ok().map(|from| (from, to.parse::<u64>().ok()));
                }
            }
            let mut words = request.split(' ');
            let (method, path) = (words.next().unwrap_or_default(), words.next().unwrap_or_default());
            let path = path.trim_start_matches('/');
            let body = (!path.contains("..")).then(|| fs::read(self.folder.join(path)).ok()).flatten();
            let Some(body) = body else {
                write!(&mut &*stream, "HTTP/1.1 404 Not Found\r\nContent-Length: 0\r\n\r\n")?;
                continue;
            };
            let all = body.len() as u64;
            let (from, end) = range.map_or((0, all), |(from, to)| (from, to.map_or(all, |to| (to + 1).min(all))));
            if from > end || (from == all && all > 0) {
                write!(
                    &mut &*stream,
                    "HTTP/1.1 416 Range Not Satisfiable\r\nContent-Range: bytes */{all}\r\nContent-Length: 0\r\n\r\n"
                )?;
                continue;
            }
            let status = if range.is_some() { "206 Partial Content" } else { "200 OK" };
            let mut head = format!("HTTP/1.1 {status}\r\nContent-Length: {}\r\nAccept-Ranges: bytes\r\n", end - from);
            if range.is_some() {
                head.push_str(&format!("Content-Range: bytes {from}-{}/{all}\r\n", end.max(1) - 1));
            }
            write!(&mut &*stream, "{head}\r\n")?;
            if method == "HEAD" {
                continue;
            }
            let mut piece = &body[from as usize..end as usize];
            let cut = self.cut_after.load(Ordering::Relaxed);
            let breaks = cut > 0 && piece.len() as u64 > cut;
            if breaks {
                piece = &piece[..cut as usize];
            }
            (&mut &*stream).write_all(piece)?;
            self.sent.fetch_add(piece.len() as u64, Ordering::Relaxed);
            if breaks {
                return Ok(());
            }
        }
    }
}
