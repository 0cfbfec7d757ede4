use crate::failure::{Code, Failure};
use crate::session::{EVERYTHING, Options, Session};
use crate::span;
use crate::status;
use clap::Args;
use fruit_stack::address::Targets;
use fruit_stack::metrics;
use fruit_stack::status::StackStatus;
use std::io::{self, Read, Write};
use std::net::{SocketAddr, TcpListener, TcpStream};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, Instant};

#[derive(Args)]
pub struct ServeArgs {
    /// Boards to read.
    #[arg(default_value = EVERYTHING)]
    targets: Targets,
    /// Address and port to listen on.
    #[arg(long, default_value = "127.0.0.1:9790")]
    listen: SocketAddr,
    /// Pause between two readings.
    #[arg(long, default_value = "10s", value_parser = span::parse, value_name = "TIME")]
    interval: Duration,
}

type Text = Arc<Mutex<String>>;

/// How long a client may take for its request, and again for taking the answer.
const CLIENT_WITHIN: Duration = Duration::from_secs(2);
/// The longest request head that is read.
const LONGEST_REQUEST: usize = 8192;

impl ServeArgs {
    pub fn run(self, options: &Options) -> Result<(), Failure> {
        let mut sessions = options.sessions(&self.targets, false)?;
        let bound = TcpListener::bind(self.listen)
            .map_err(|error| Failure::new(Code::Port, format!("cannot listen on {}: {error}", self.listen)))?;
        let text: Text = Arc::new(Mutex::new(render(&mut sessions)));
        options.say(format_args!("metrics on http://{}/metrics", bound.local_addr()?));
        let shared = Arc::clone(&text);
        std::thread::spawn(move || {
            loop {
                std::thread::sleep(self.interval);
                let new = render(&mut sessions);
                *shared.lock().unwrap_or_else(PoisonError::into_inner) = new;
            }
        });
        for client in bound.incoming().flatten() {
            // A client that goes away in the middle is its own loss.
            let _ = answer(client, &text);
        }
        Ok(())
    }
}

fn render(sessions: &mut [Session]) -> String {
    let stacks: Vec<StackStatus> = sessions.iter_mut().map(status::read).collect();
    status::tell_failures(&stacks);
    metrics::render(&stacks)
}

fn answer(mut client: TcpStream, text: &Text) -> io::Result<()> {
    let deadline = Instant::now() + CLIENT_WITHIN;
    client.set_write_timeout(Some(CLIENT_WITHIN))?;
    let mut request = Vec::new();
    let mut buffer = [0; 1024];
    while !request.windows(4).any(|end| end == b"\r\n\r\n") && request.len() < LONGEST_REQUEST {
        // Not a time-out for each read: a client that trickles holds up the others no longer than a silent one.
        let left = deadline.saturating_duration_since(Instant::now());
        client.set_read_timeout(Some(left.max(Duration::from_millis(1))))?;
        if left.is_zero() {
            return Err(io::ErrorKind::TimedOut.into());
        }
        match client.read(&mut buffer)? {
            0 => break,
            count => request.extend_from_slice(&buffer[..count]),
        }
    }
    let (status, kind, body) = match request.split(|&byte| byte == b' ').take(2).collect::<Vec<_>>().as_slice() {
        [b"GET", b"/metrics"] => {
            ("200 OK", metrics::CONTENT_TYPE, text.lock().unwrap_or_else(PoisonError::into_inner).clone())
        }
        [b"GET", b"/"] => ("200 OK", "text/plain", "Pi Stacks: see /metrics\n".to_owned()),
        [b"GET", _] => ("404 Not Found", "text/plain", "there is only /metrics\n".to_owned()),
        _ => ("405 Method Not Allowed", "text/plain", "only GET\n".to_owned()),
    };
    let head = format!(
        "HTTP/1.1 {status}\r\nContent-Type: {kind}\r\nContent-Length: {}\r\nConnection: close\r\n\r\n",
        body.len()
    );
    client.write_all(head.as_bytes())?;
    client.write_all(body.as_bytes())
}
