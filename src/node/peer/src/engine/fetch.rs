//! Asking one neighbour for a piece.

use std::time::Duration;

use fruit_base::Sha256;
use fruit_release::local::{AnswerHead, Request, Status};
use fruit_release::name::Name;
use iroh::endpoint::Connection;
use tokio::time::timeout;

use crate::machine::Fetched;

/// Time without progress.
const STALL: Duration = Duration::from_secs(8);

/// Asks a neighbour for a piece.
pub async fn fetch(connection: &Connection, repository: Sha256, name: Name) -> Fetched {
    match fetch_bytes(connection, Request::Give { repository, name }).await {
        Some(fetched) => fetched,
        None => Fetched::Failed,
    }
}

async fn fetch_bytes(connection: &Connection, request: Request) -> Option<Fetched> {
    let (mut tx, mut rx) = timeout(STALL, connection.open_bi()).await.ok()?.ok()?;
    tx.write_all(&request.encode()).await.ok()?;
    tx.finish().ok()?;
    let mut head = [0; AnswerHead::LEN];
    timeout(STALL, rx.read_exact(&mut head)).await.ok()?.ok()?;
    let head = AnswerHead::parse(&head, request.answer_limit()).ok()?;
    match head.status {
        Status::Here => {}
        Status::Nobody | Status::Refused => return Some(Fetched::Nothing),
        Status::Later => return Some(Fetched::Busy),
    }
    let length = usize::try_from(head.len).ok()?;
    let mut bytes = Vec::new();
    while bytes.len() < length {
        let chunk = timeout(STALL, rx.read_chunk(length - bytes.len())).await.ok()?.ok()??;
        bytes.extend_from_slice(&chunk);
    }
    Some(Fetched::Bytes(bytes))
}
