//! One connection: frames in and out, pieces asked for and handed on.

use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering::Relaxed};
use std::time::Duration;

use fruit_release::local::{AnswerHead, Request, RequestHead, Status};
use iroh::endpoint::{Connection, RecvStream, SendStream, VarInt};
use tokio::sync::{Semaphore, mpsc};
use tokio::time::timeout;

use super::message::{Admitted, Counters, Event, Shared};
use super::repository::{Repositories, find};
use crate::machine::link::LinkId;
use crate::wire::{FRAME, Frame};

/// Time for the stream of frames to be opened.
const OPENING: Duration = Duration::from_secs(10);
/// Time without progress of a piece.
const STALL: Duration = Duration::from_secs(8);
/// Time for the last frames to go out.
const PARTING: Duration = Duration::from_secs(1);
/// Pieces that are handed on at once over one connection.
const UPLOADS: usize = 4;
/// Bytes that may wait for a neighbour that reads slowly.
const BACKLOG: usize = 96 << 20;
/// Bytes of a frame that are set aside before they have come.
const AHEAD: usize = 4 << 10;

/// What goes out.
enum Out {
    Frame(Vec<u8>),
    Close(String),
}

/// The way to a neighbour.
#[derive(Clone)]
pub struct Line {
    out: mpsc::UnboundedSender<Out>,
    backlog: Arc<AtomicUsize>,
    pub connection: Connection,
    pub admitted: Admitted,
}

impl Line {
    pub fn send(&self, frame: &Frame) {
        let bytes = frame.encode();
        let waiting = self.backlog.fetch_add(bytes.len(), Relaxed) + bytes.len();
        if waiting > BACKLOG {
            self.connection.close(VarInt::from_u32(1), b"too slow");
        }
        // Who is gone is told nothing.
        let _ = self.out.send(Out::Frame(bytes));
    }

    /// Ends the connection, after what was sent.
    pub fn close(&self, why: &str) {
        self.admitted.store(false, Relaxed);
        let _ = self.out.send(Out::Close(why.into()));
    }
}

/// Begins to talk over a connection.
pub fn begin(
    shared: &Shared,
    repositories: &Repositories,
    link: LinkId,
    connection: &Connection,
    dialed: bool,
) -> Line {
    let (out, queue) = mpsc::unbounded_channel();
    let (backlog, admitted) = (Arc::new(AtomicUsize::new(0)), Admitted::default());
    let line = Line { out, backlog: backlog.clone(), connection: connection.clone(), admitted: admitted.clone() };
    let (connection, shared, repositories) = (connection.clone(), shared.clone(), repositories.clone());
    tokio::task::spawn_local(async move {
        talk((&shared, &repositories), link, &connection, dialed, queue, backlog, admitted).await;
        connection.close(VarInt::from_u32(0), b"");
        let _ = shared.events.send(Event::Closed(link)).await;
    });
    line
}

async fn talk(
    (shared, repositories): (&Shared, &Repositories),
    link: LinkId,
    connection: &Connection,
    dialed: bool,
    queue: mpsc::UnboundedReceiver<Out>,
    backlog: Arc<AtomicUsize>,
    admitted: Admitted,
) {
    let opened = timeout(OPENING, async {
        if dialed { connection.open_bi().await.ok() } else { connection.accept_bi().await.ok() }
    });
    let Ok(Some((tx, rx))) = opened.await else { return };
    let writer = tokio::task::spawn_local(write(tx, queue, backlog, connection.clone()));
    let server = tokio::task::spawn_local(serve(shared.clone(), repositories.clone(), connection.clone(), admitted));
    read(shared, link, rx).await;
    server.abort();
    // What is queued goes out, if the connection still stands.
    let _ = timeout(PARTING, writer).await;
}

async fn write(
    mut tx: SendStream,
    mut queue: mpsc::UnboundedReceiver<Out>,
    backlog: Arc<AtomicUsize>,
    connection: Connection,
) {
    while let Some(out) = queue.recv().await {
        match out {
            Out::Frame(bytes) => {
                if tx.write_all(&bytes).await.is_err() {
                    return;
                }
                backlog.fetch_sub(bytes.len(), Relaxed);
            }
            Out::Close(why) => {
                let _ = tx.finish();
                let _ = timeout(PARTING, tx.stopped()).await;
                connection.close(VarInt::from_u32(0), why.as_bytes());
                return;
            }
        }
    }
}

async fn read(shared: &Shared, link: LinkId, mut rx: RecvStream) {
    loop {
        let mut length = [0; 4];
        if rx.read_exact(&mut length).await.is_err() {
            return;
        }
        let length = usize::try_from(u32::from_be_bytes(length)).unwrap_or(usize::MAX);
        // What is too long goes to the machine too, as far as it shows that: it knows whom to blame.
        let mut bytes = Vec::with_capacity(length.min(AHEAD));
        let wanted = length.min(FRAME + 1);
        while bytes.len() < wanted {
            match rx.read_chunk(wanted - bytes.len()).await {
                Ok(Some(chunk)) => bytes.extend_from_slice(&chunk),
                _ => return,
            }
        }
        if shared.events.send(Event::Frame { link, bytes }).await.is_err() {
            return;
        }
    }
}

/// Hands pieces on.
async fn serve(shared: Shared, repositories: Repositories, connection: Connection, admitted: Admitted) {
    let uploads = Arc::new(Semaphore::new(UPLOADS));
    while let Ok((tx, rx)) = connection.accept_bi().await {
        // Strangers get nothing, not even an answer.
        if !admitted.load(Relaxed) {
            continue;
        }
        let (shared, repositories) = (shared.clone(), repositories.clone());
        let (uploads, admitted) = (uploads.clone(), admitted.clone());
        tokio::task::spawn_local(async move {
            let _ = upload((shared, repositories), uploads, admitted, tx, rx).await;
        });
    }
}

async fn upload(
    (shared, repositories): (Shared, Repositories),
    uploads: Arc<Semaphore>,
    admitted: Admitted,
    mut tx: SendStream,
    mut rx: RecvStream,
) -> Option<()> {
    let request = timeout(STALL, request(&mut rx)).await.ok()??;
    let answer = |status: Status, len: u64| AnswerHead { status, len }.encode();
    let (Request::Give { repository, name }, Ok(_permit)) = (request, uploads.try_acquire()) else {
        tx.write_all(&answer(Status::Later, 0)).await.ok()?;
        tx.finish().ok()?;
        return Some(());
    };
    if name.is_metadata() {
        repositories.look(&shared, repository).await;
    }
    let found = find(&shared, repository, name).await;
    let Some(bytes) = found else {
        tx.write_all(&answer(Status::Nobody, 0)).await.ok()?;
        tx.finish().ok()?;
        return Some(());
    };
    tx.write_all(&answer(Status::Here, bytes.len() as u64)).await.ok()?;
    for part in bytes.chunks(64 << 10) {
        // Whoever was revoked in the meantime gets no more.
        if !admitted.load(Relaxed) {
            let _ = tx.reset(VarInt::from_u32(1));
            return None;
        }
        timeout(STALL, tx.write_all(part)).await.ok()?.ok()?;
    }
    tx.finish().ok()?;
    Counters::add(&shared.counters.served, 1);
    Counters::add(&shared.counters.served_bytes, bytes.len() as u64);
    // The permit lasts until it has arrived.
    let _ = timeout(STALL, tx.stopped()).await;
    Some(())
}

async fn request(rx: &mut RecvStream) -> Option<Request> {
    let mut head = [0; RequestHead::LEN];
    rx.read_exact(&mut head).await.ok()?;
    let head = RequestHead::parse(&head).ok()?;
    let mut name = vec![0; head.name_len()];
    rx.read_exact(&mut name).await.ok()?;
    head.with_name(&name).ok()
}
