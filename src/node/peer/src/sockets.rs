//! Local sockets: pieces for the updater, status for whoever asks.

use std::fs::{self, Permissions};
use std::io;
use std::os::unix::fs::PermissionsExt;
use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

use fruit_base::AtPath;
use fruit_base::prometheus::CONTENT_TYPE;
use fruit_contract::peer::config::{PIECES_SOCKET, STATUS_SOCKET};
use fruit_release::local::{Answer, LocalError, MAGIC, Request, RequestHead};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{UnixListener, UnixStream};
use tokio::sync::Semaphore;
use tokio::task::spawn_local;
use tokio::time::timeout;

use crate::engine::Handle;
use crate::metrics;

/// Connections to one socket at once.
const CONNECTIONS: usize = 16;
/// Time for what has to come at once, and for what may take its time: the updater thinks between two pieces.
const PROMPT: Duration = Duration::from_secs(5);
const IDLE: Duration = Duration::from_secs(300);
/// Time for an answer to be taken.
const TAKEN: Duration = Duration::from_secs(30);
/// Bytes of a question over HTTP.
const QUESTION: usize = 4 << 10;

/// The two sockets, before anybody may connect.
pub struct Sockets {
    pieces: std::os::unix::net::UnixListener,
    status: std::os::unix::net::UnixListener,
}

fn bind(path: &Path, mode: u32) -> io::Result<std::os::unix::net::UnixListener> {
    let bound = || {
        match fs::remove_file(path) {
            Err(error) if error.kind() != io::ErrorKind::NotFound => return Err(error),
            _ => {}
        }
        let listener = std::os::unix::net::UnixListener::bind(path)?;
        fs::set_permissions(path, Permissions::from_mode(mode))?;
        listener.set_nonblocking(true)?;
        Ok(listener)
    };
    Ok(bound().at(path)?)
}

impl Sockets {
    /// Makes them in a folder. Pieces are for the group of the socket, status for everybody on the node.
    ///
    /// # Errors
    /// Those of the file system.
    pub fn bind(folder: &Path) -> io::Result<Sockets> {
        fs::create_dir_all(folder).at(folder)?;
        Ok(Sockets {
            pieces: bind(&folder.join(PIECES_SOCKET), 0o660)?,
            status: bind(&folder.join(STATUS_SOCKET), 0o666)?,
        })
    }

    /// Answers from now on. Within the engine's runtime.
    ///
    /// # Errors
    /// The runtime does not take them.
    pub fn answer(self, handle: &Handle) -> io::Result<()> {
        let (pieces, status) = (UnixListener::from_std(self.pieces)?, UnixListener::from_std(self.status)?);
        let (for_pieces, for_status) = (handle.clone(), handle.clone());
        spawn_local(listen(pieces, move |stream| {
            let handle = for_pieces.clone();
            async move { drop(pieces_of(handle, stream).await) }
        }));
        spawn_local(listen(status, move |stream| {
            let handle = for_status.clone();
            async move { drop(status_of(handle, stream).await) }
        }));
        Ok(())
    }
}

async fn listen<F: Future<Output = ()> + 'static>(listener: UnixListener, talk: impl Fn(UnixStream) -> F) {
    let connections = Arc::new(Semaphore::new(CONNECTIONS));
    loop {
        let Ok(permit) = connections.clone().acquire_owned().await else { return };
        match listener.accept().await {
            Ok((stream, _)) => {
                let talking = talk(stream);
                spawn_local(async move {
                    talking.await;
                    drop(permit);
                });
            }
            // Too many open files, say: they may become fewer.
            Err(_) => tokio::time::sleep(Duration::from_millis(200)).await,
        }
    }
}

/// One connection of the updater.
async fn pieces_of(handle: Handle, mut stream: UnixStream) -> Result<(), LocalError> {
    let mut magic = [0; MAGIC.len()];
    prompt(stream.read_exact(&mut magic)).await?;
    if magic != MAGIC {
        return Err(LocalError::Magic);
    }
    loop {
        let mut head = [0; RequestHead::LEN];
        // Who is done closes the connection, here.
        timeout(IDLE, stream.read_exact(&mut head)).await.map_err(|_| late())??;
        let head = RequestHead::parse(&head)?;
        let mut name = vec![0; head.name_len()];
        prompt(stream.read_exact(&mut name)).await?;
        let answer = match head.with_name(&name) {
            Ok(Request::Give { repository, name }) => handle.give(repository, name).await,
            Ok(Request::Refresh { repository }) => {
                handle.refresh(repository).await;
                Answer::Here(Vec::new())
            }
            Err(LocalError::Name(_)) => Answer::Refused,
            Err(error) => return Err(error),
        };
        let (head, bytes) = answer.frame();
        timeout(TAKEN, async {
            stream.write_all(&head).await?;
            stream.write_all(bytes).await
        })
        .await
        .map_err(|_| late())??;
    }
}

fn late() -> io::Error {
    io::ErrorKind::TimedOut.into()
}

async fn prompt<T>(work: impl Future<Output = io::Result<T>>) -> io::Result<T> {
    timeout(PROMPT, work).await.map_err(|_| late())?
}

/// One question over HTTP.
async fn status_of(handle: Handle, mut stream: UnixStream) -> io::Result<()> {
    let mut question = Vec::new();
    let mut part = [0; 512];
    while !question.windows(4).any(|four| four == b"\r\n\r\n") {
        let read = prompt(stream.read(&mut part)).await?;
        question.extend_from_slice(&part[..read]);
        if read == 0 || question.len() > QUESTION {
            return Ok(());
        }
    }
    let of = |path: &str| question.starts_with(format!("GET {path} ").as_bytes());
    let (status, kind, body) = match handle.status().await {
        Some(status) if of("/metrics") => ("200 OK", CONTENT_TYPE, metrics::text(&status)),
        Some(status) if of("/status") => match serde_json::to_string(&status) {
            Ok(body) => ("200 OK", "application/json", body + "\n"),
            Err(error) => ("500 Internal Server Error", "text/plain", format!("{error}\n")),
        },
        Some(_) => ("404 Not Found", "text/plain", "there are /status and /metrics\n".to_owned()),
        None => ("503 Service Unavailable", "text/plain", "the engine has ended\n".to_owned()),
    };
    let length = body.len();
    let head = format!("HTTP/1.1 {status}\r\nContent-Type: {kind}\r\nContent-Length: {length}\r\n");
    let answer = format!("{head}Connection: close\r\n\r\n{body}");
    prompt(stream.write_all(answer.as_bytes())).await?;
    prompt(stream.shutdown()).await
}
