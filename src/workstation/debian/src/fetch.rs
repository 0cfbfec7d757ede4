//! Brings files from a mirror, over HTTP or from a folder: with retries, resumed where the last attempt ended, bounded
//! by the size that is expected.

use std::fs::File;
use std::io::{self, Read, Seek, SeekFrom, Write};
use std::thread;
use std::time::Duration;

use ureq::http::{Response, StatusCode, header};

use crate::digest::hash_all;
use crate::error::{Error, Result};
use crate::network::{Network, Trouble, is_passing, page_instead_of_file, portal_status};
use crate::progress::{Progress, Step};
use crate::release::Vouched;

/// Attempts for one file, and the pause after the first; it doubles each time.
const ATTEMPTS: u32 = 4;
const FIRST_PAUSE: Duration = Duration::from_millis(400);

/// Bytes of a wrong file that are looked at.
const LOOKED_AT: u64 = 4096;

#[derive(Debug, Default)]
pub(crate) struct Fetcher {
    network: Network,
}

/// Tells a server which state we have, so that it need not send it again.
#[derive(Clone, Debug, Default, PartialEq, Eq, serde::Serialize, serde::Deserialize)]
pub(crate) struct Validators {
    pub(crate) url: String,
    pub(crate) etag: Option<String>,
    pub(crate) last_modified: Option<String>,
}

pub(crate) enum Fetched {
    NotModified,
    New { bytes: Vec<u8>, validators: Validators },
}

/// What an attempt ended with.
enum Failure {
    /// Another attempt may succeed.
    Passing(String),
    /// It will not.
    Final(String),
    /// The mirror has no such file, or does not say whether it has.
    Missing(String),
    /// What came cannot be kept.
    Disk(io::Error),
}

impl Fetcher {
    /// A file of at most `limit` bytes, unless it is the one that `known` describes.
    pub(crate) fn small(
        &self,
        url: &str,
        known: Option<&Validators>,
        limit: u64,
        progress: &dyn Progress,
    ) -> Result<Fetched> {
        if let Some(path) = file_path(url) {
            let read = || {
                let mut bytes = Vec::new();
                File::open(path)?.take(limit + 1).read_to_end(&mut bytes)?;
                Ok::<_, io::Error>(bytes)
            };
            let bytes = read().map_err(|e| match e.kind() {
                io::ErrorKind::NotFound => Failure::Missing(e.to_string()).into_error(url),
                _ => Failure::Final(e.to_string()).into_error(url),
            })?;
            let fit = within(bytes.len() as u64, limit).and_then(|()| no_page(&bytes));
            fit.map_err(|why| Error::Fetch { url: url.to_owned(), why })?;
            return Ok(Fetched::New { bytes, validators: Validators::default() });
        }
        retry(url, progress, || {
            let mut headers = Vec::new();
            if let Some(known) = known.filter(|known| known.url == url) {
                headers.extend(known.etag.clone().map(|etag| (header::IF_NONE_MATCH, etag)));
                headers.extend(known.last_modified.clone().map(|time| (header::IF_MODIFIED_SINCE, time)));
            }
            let mut response = self.network.get(url, &headers)?;
            if response.status() == StatusCode::NOT_MODIFIED && known.is_some() {
                return Ok(Fetched::NotModified);
            }
            check_status(response.status())?;
            let text = |name: header::HeaderName| response.headers().get(name).and_then(|v| v.to_str().ok());
            let validators = Validators {
                url: url.to_owned(),
                etag: text(header::ETAG).map(str::to_owned),
                last_modified: text(header::LAST_MODIFIED).map(str::to_owned),
            };
            let mut bytes = Vec::new();
            let mut body = response.body_mut().with_config().limit(u64::MAX).reader().take(limit + 1);
            body.read_to_end(&mut bytes).map_err(|e| Failure::Passing(e.to_string()))?;
            within(bytes.len() as u64, limit).and_then(|()| no_page(&bytes)).map_err(Failure::Final)?;
            Ok(Fetched::New { bytes, validators })
        })
    }

    /// Fills `part`, which may hold the beginning of the file already, until it is what `expected` says.
    pub(crate) fn large(
        &self,
        url: &str,
        expected: Vouched,
        part: &mut File,
        step: Step,
        progress: &dyn Progress,
    ) -> Result<()> {
        if let Some(path) = file_path(url) {
            let mut source = File::open(path).map_err(|e| Error::Fetch { url: url.to_owned(), why: e.to_string() })?;
            let attempt = restart(part).and_then(|()| receive(&mut source, part, expected.size, step, progress));
            attempt.and_then(|()| check(part, expected, url)).map_err(|failure| failure.into_error(url))?;
            return Ok(());
        }
        let mut counted = 0;
        retry(url, progress, || {
            let have = part.seek(SeekFrom::End(0)).map_err(disk)?;
            if have > expected.size {
                restart(part)?;
            }
            let have = part.seek(SeekFrom::End(0)).map_err(disk)?;
            if have > counted {
                progress.advance(step, have - counted); // what an earlier attempt or program left
            }
            if have < expected.size {
                let mut response = self.request_from(url, have)?;
                if have > 0 && response.status() != StatusCode::PARTIAL_CONTENT {
                    restart(part)?;
                }
                check_length(&mut response, expected.size)?;
                let mut body = response.body_mut().with_config().limit(u64::MAX).reader();
                let received = receive(&mut body, part, expected.size, step, progress);
                counted = part.stream_position().unwrap_or(0).max(counted);
                received?;
            }
            check(part, expected, url)
        })
    }

    fn request_from(&self, url: &str, have: u64) -> Result<Response<ureq::Body>, Failure> {
        let range = (have > 0).then(|| (header::RANGE, format!("bytes={have}-")));
        let response = self.network.get(url, range.as_slice())?;
        check_status(response.status())?;
        if response.status() == StatusCode::PARTIAL_CONTENT {
            let range = response.headers().get(header::CONTENT_RANGE).and_then(|v| v.to_str().ok()).unwrap_or("");
            if !range.starts_with(&format!("bytes {have}-")) {
                return Err(Failure::Final(format!("the server sent the range {range:?}, asked for was {have}-")));
            }
        }
        Ok(response)
    }
}

impl From<Trouble> for Failure {
    fn from(trouble: Trouble) -> Failure {
        if trouble.passing { Failure::Passing(trouble.why) } else { Failure::Final(trouble.why) }
    }
}

impl Failure {
    fn into_error(self, url: &str) -> Error {
        let url = url.to_owned();
        match self {
            Failure::Passing(why) | Failure::Final(why) => Error::Fetch { url, why },
            Failure::Missing(why) => Error::Missing { url, why },
            Failure::Disk(source) => Error::Store { url, source },
        }
    }
}

/// A server that announces another length than the signed one need not be read at all.
fn check_length(response: &mut Response<ureq::Body>, expected: u64) -> Result<(), Failure> {
    let whole = response.status() == StatusCode::OK;
    let Some(length) = response.body().content_length().filter(|length| whole && *length != expected) else {
        return Ok(());
    };
    let mut head = Vec::new();
    let body = response.body_mut().with_config().limit(u64::MAX).reader();
    let _ = body.take(LOOKED_AT).read_to_end(&mut head); // what came of it is enough
    no_page(&head).map_err(Failure::Final)?;
    Err(Failure::Final(format!(
        "size: expected {expected} bytes, found {length} (is the mirror out of date, or being updated?)"
    )))
}

fn retry<T>(url: &str, progress: &dyn Progress, mut attempt: impl FnMut() -> Result<T, Failure>) -> Result<T> {
    let mut pause = FIRST_PAUSE;
    for number in 1.. {
        match attempt() {
            Ok(done) => return Ok(done),
            Err(Failure::Passing(why)) if number < ATTEMPTS => {
                progress.note(&format!("{url}: {why}; trying again"));
                thread::sleep(pause);
                pause *= 2;
            }
            Err(failure) => return Err(failure.into_error(url)),
        }
    }
    Err(Error::Fetch { url: url.to_owned(), why: "no attempt was made".to_owned() })
}

fn receive(
    source: &mut dyn Read,
    part: &mut File,
    size: u64,
    step: Step,
    progress: &dyn Progress,
) -> Result<(), Failure> {
    let broken = |e: io::Error| Failure::Passing(e.to_string());
    let mut have = part.stream_position().map_err(disk)?;
    let mut buf = vec![0; 64 << 10];
    loop {
        let n = source.read(&mut buf).map_err(broken)?;
        if n == 0 {
            break;
        }
        have += n as u64;
        if have > size {
            restart(part)?;
            no_page(&buf[..n]).map_err(Failure::Final)?;
            return Err(Failure::Final(format!("is longer than the {size} bytes that are expected")));
        }
        part.write_all(&buf[..n]).map_err(disk)?;
        progress.advance(step, n as u64);
    }
    if have < size {
        return Err(Failure::Passing(format!("ended after {have} of {size} bytes")));
    }
    Ok(())
}

/// A wrong file is not resumed from.
fn check(part: &mut File, expected: Vouched, url: &str) -> Result<(), Failure> {
    part.rewind().map_err(disk)?;
    let hashes = hash_all(&mut *part, &expected.digest).map_err(disk)?;
    if hashes.digest == expected.digest && hashes.size == expected.size {
        return Ok(());
    }
    let mut head = Vec::new();
    part.rewind().and_then(|()| (&*part).take(LOOKED_AT).read_to_end(&mut head)).map_err(disk)?;
    restart(part)?;
    no_page(&head).map_err(Failure::Final)?;
    let (what, wanted, found) = expected.digest.mismatch(&hashes.digest);
    let mismatch = Error::Mismatch { file: url.to_owned(), what, expected: wanted, found };
    Err(Failure::Passing(mismatch.to_string()))
}

/// Errors of our own disk.
fn disk(error: io::Error) -> Failure {
    Failure::Disk(error)
}

fn no_page(head: &[u8]) -> Result<(), String> {
    page_instead_of_file(head).map_or(Ok(()), Err)
}

fn restart(part: &mut File) -> Result<(), Failure> {
    part.set_len(0).and_then(|()| part.rewind()).map_err(disk)
}

fn within(size: u64, limit: u64) -> Result<(), String> {
    if size > limit { Err(format!("is larger than {limit} bytes")) } else { Ok(()) }
}

fn check_status(status: StatusCode) -> Result<(), Failure> {
    match status.as_u16() {
        200 | 206 => Ok(()),
        // Object stores answer so when a file is not there and may not be listed.
        401 | 403 => Err(Failure::Missing(format!("the server answered {status}"))),
        404 | 410 => Err(Failure::Missing(
            "the mirror has no such file (superseded by a newer version? then refresh the lock, or use a snapshot mirror)"
                .to_owned(),
        )),
        code if is_passing(code) => Err(Failure::Passing(format!("the server answered {status}"))),
        code if portal_status(code).is_some() => Err(Failure::Final(portal_status(code).unwrap_or_default())),
        _ => Err(Failure::Final(format!("the server answered {status}"))),
    }
}

fn file_path(url: &str) -> Option<&str> {
    url.strip_prefix("file://")
}
