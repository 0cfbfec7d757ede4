//! Streams of the remote hand, at both of their ends: see [`crate::hand`].

use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use fruit_record::KeyId;
use iroh::endpoint::{Connection, RecvStream, SendStream, VarInt};
use iroh::{Endpoint, EndpointAddr};
use tokio::io::{AsyncRead, AsyncWrite, AsyncWriteExt, copy_bidirectional, join};
use tokio::net::{TcpStream, UnixStream};
use tokio::sync::{OwnedSemaphorePermit, Semaphore};
use tokio::time::{sleep, timeout};

use super::message::{Command, Shared};
use crate::hand::{Local, NotOpened, PASS, PROTOCOL, Services, TEXT, Target, answer, question};

/// Streams that a node carries at once, and callers that it hears out at once: who may do nothing takes no stream from others.
const STREAMS: usize = 64;
const CALLERS: usize = 64;
/// Time for a caller to say who wants what. It is short, for anybody can call.
const QUESTION: Duration = Duration::from_secs(4);
/// Time for a call, and for an answer.
const CALL: Duration = Duration::from_secs(7);
const PROMPT: Duration = Duration::from_secs(12);
/// Between two looks whether the operator may still do what is going on.
const LOOK: Duration = Duration::from_secs(2);
/// Time for the last bytes to arrive.
const PARTING: Duration = Duration::from_secs(2);

/// A node's end of all streams.
#[derive(Clone)]
pub struct Hands {
    services: Arc<Services>,
    streams: Arc<Semaphore>,
    callers: Arc<Semaphore>,
}

/// What a caller asked.
struct Call {
    tx: SendStream,
    rx: RecvStream,
    pass: Vec<u8>,
    target: String,
    /// Whether it may, or why not.
    allowed: Result<(), String>,
}

impl Hands {
    pub fn new(services: Services) -> Hands {
        let [streams, callers] = [STREAMS, CALLERS].map(|most| Arc::new(Semaphore::new(most)));
        Hands { services: Arc::new(services), streams, callers }
    }

    /// Carries the one stream of a connection, for as long as its operator may.
    pub async fn serve(self, shared: Shared, connection: Connection) {
        let Ok(calling) = self.callers.clone().try_acquire_owned() else {
            return connection.close(VarInt::from_u32(1), b"too many");
        };
        let machine = KeyId(*connection.remote_id().as_bytes());
        let heard = timeout(QUESTION, hear(&shared, machine, &connection)).await;
        if let Ok(Some(mut call)) = heard {
            match self.open(&call).await {
                Ok((service, _stream)) => {
                    drop(calling);
                    if call.tx.write_all(&answer(Ok(()))).await.is_ok() {
                        carry(&shared, machine, call.pass, service, join(call.rx, call.tx)).await;
                    }
                }
                Err(why) => {
                    let _ = call.tx.write_all(&answer(Err(&why))).await;
                    let _ = call.tx.finish();
                }
            }
            // The other end closes when it has everything.
            let _ = timeout(PARTING, connection.closed()).await;
        }
        connection.close(VarInt::from_u32(0), b"");
    }

    /// Opens what a caller wants, and takes one of the streams for it. Who may not is not told what there is.
    async fn open(&self, call: &Call) -> Result<(TcpStream, OwnedSemaphorePermit), String> {
        call.allowed.clone()?;
        let address = call.target.parse::<Target>().and_then(|target| self.services.address(target))?;
        let stream = self.streams.clone().try_acquire_owned();
        let stream = stream.map_err(|_| format!("it carries {STREAMS} streams already; end some"))?;
        Ok((connect(address).await?, stream))
    }
}

/// Hears who wants what; nothing for who does not ask as the protocol says.
async fn hear(shared: &Shared, machine: KeyId, connection: &Connection) -> Option<Call> {
    let (tx, mut rx) = connection.accept_bi().await.ok()?;
    let mut length = [0; 2];
    rx.read_exact(&mut length).await.ok()?;
    let length = usize::from(u16::from_be_bytes(length));
    if length > PASS {
        return None;
    }
    let mut pass = vec![0; length];
    rx.read_exact(&mut pass).await.ok()?;
    let target = text(&mut rx).await?;
    let allowed = may(shared, machine, pass.clone()).await?;
    Some(Call { tx, rx, pass, target, allowed })
}

/// A text with its length before it.
async fn text(rx: &mut RecvStream) -> Option<String> {
    let mut length = [0; 1];
    rx.read_exact(&mut length).await.ok()?;
    let mut text = [0; TEXT];
    let text = &mut text[..usize::from(length[0])];
    rx.read_exact(text).await.ok()?;
    String::from_utf8(text.to_vec()).ok()
}

async fn connect(address: SocketAddr) -> Result<TcpStream, String> {
    let connected = timeout(CALL, TcpStream::connect(address)).await;
    let connected = connected.unwrap_or_else(|_| Err(std::io::ErrorKind::TimedOut.into()));
    connected.map_err(|error| format!("{address} of the node: {error}"))
}

async fn may(shared: &Shared, machine: KeyId, pass: Vec<u8>) -> Option<Result<(), String>> {
    shared.question(|reply| Command::Authorize { machine, pass, reply }).await
}

/// Carries bytes until one end has no more, or the operator may no longer.
async fn carry(
    shared: &Shared,
    machine: KeyId,
    pass: Vec<u8>,
    mut service: TcpStream,
    mut stream: impl AsyncRead + AsyncWrite + Unpin,
) {
    let ends = async {
        while let Some(Ok(())) = may(shared, machine, pass.clone()).await {
            sleep(LOOK).await;
        }
    };
    tokio::select! {
        _ = copy_bidirectional(&mut service, &mut stream) => {}
        () = ends => {}
    }
}

/// Opens a stream to a service of another node, and carries it.
///
/// # Errors
/// A sentence: the node was not reached, or refuses.
pub async fn reach(
    endpoint: Endpoint,
    address: EndpointAddr,
    pass: Vec<u8>,
    target: Target,
    local: Local,
) -> Result<(), NotOpened> {
    let called = timeout(CALL, endpoint.connect(address, PROTOCOL)).await;
    let connection = match called {
        Ok(Ok(connection)) => connection,
        Ok(Err(why)) => return Err(NotOpened::Unreachable(why.to_string())),
        Err(_) => return Err(NotOpened::Unreachable("it does not answer".into())),
    };
    let opened = timeout(PROMPT, ask(&connection, &pass, target)).await;
    let silent = || NotOpened::Unreachable("it takes too long to answer".into());
    let (tx, rx) = opened.map_err(|_| silent())??;
    let Local { stream, first, guard } = local;
    let local = stream.set_nonblocking(true).and_then(|()| UnixStream::from_std(stream));
    let mut local = local.map_err(|error| NotOpened::Unreachable(error.to_string()))?;
    tokio::task::spawn_local(async move {
        let _guard = guard;
        let mut stream = join(rx, tx);
        if local.write_all(first).await.is_ok() {
            let _ = copy_bidirectional(&mut local, &mut stream).await;
        }
        let (_, tx) = stream.into_inner();
        let _ = timeout(PARTING, tx.stopped()).await;
        connection.close(VarInt::from_u32(0), b"");
    });
    Ok(())
}

async fn ask(connection: &Connection, pass: &[u8], target: Target) -> Result<(SendStream, RecvStream), NotOpened> {
    let broken = |why: &dyn std::fmt::Display| NotOpened::Unreachable(why.to_string());
    let (mut tx, mut rx) = connection.open_bi().await.map_err(|why| broken(&why))?;
    tx.write_all(&question(pass, target)).await.map_err(|why| broken(&why))?;
    let mut head = [0; 1];
    rx.read_exact(&mut head).await.map_err(|why| broken(&why))?;
    if head == [0] {
        return Ok((tx, rx));
    }
    let why = text(&mut rx).await.unwrap_or_default();
    let why = why.chars().filter(|c| !c.is_control() && fruit_base::invisible::name(*c).is_none()).collect();
    Err(NotOpened::Refused(why))
}
