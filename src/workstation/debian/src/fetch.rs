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

/// What a server answered.
#[derive(Clone, Debug)]
pub struct Answer {
    pub status: u16,
    /// As the server wrote it; empty if it did not.
    pub content_type: String,
    /// Values of `WWW-Authenticate`.
    pub challenges: Vec<String>,
    pub bytes: Vec<u8>,
}

/// A file whose size and hash nobody vouches for.
pub(crate) enum Pinned {
    /// The server has the state that it was asked about.
    Unchanged,
    New {
        validators: Validators,
    },
}

/// Keeps the state of a file before its first byte is written.
pub(crate) type Noted<'a> = &'a dyn Fn(&Validators) -> Result<()>;

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
            let validators = Validators::of(url, &response);
            let mut bytes = Vec::new();
            let mut body = response.body_mut().with_config().limit(u64::MAX).reader().take(limit + 1);
            body.read_to_end(&mut bytes).map_err(|e| Failure::Passing(e.to_string()))?;
            within(bytes.len() as u64, limit).and_then(|()| no_page(&bytes)).map_err(Failure::Final)?;
            Ok(Fetched::New { bytes, validators })
        })
    }

    /// One GET, retried where that may help; whatever status the server answers with, and at most `limit` bytes of its body.
    pub(crate) fn answer(
        &self,
        url: &str,
        headers: &[(header::HeaderName, String)],
        limit: u64,
        progress: &dyn Progress,
    ) -> Result<Answer> {
        retry(url, progress, || {
            let mut response = self.network.get(url, headers)?;
            let status = response.status().as_u16();
            if is_passing(status) {
                return Err(Failure::Passing(format!("the server answered {}", response.status())));
            }
            if let Some(why) = portal_status(status) {
                return Err(Failure::Final(why));
            }
            let text = |name: header::HeaderName| -> Vec<String> {
                let all = response.headers().get_all(name).iter();
                all.filter_map(|value| value.to_str().ok()).map(str::to_owned).collect()
            };
            let (content_type, challenges) = (text(header::CONTENT_TYPE), text(header::WWW_AUTHENTICATE));
            let mut bytes = Vec::new();
            let mut body = response.body_mut().with_config().limit(u64::MAX).reader().take(limit + 1);
            body.read_to_end(&mut bytes).map_err(|e| Failure::Passing(e.to_string()))?;
            within(bytes.len() as u64, limit).map_err(Failure::Final)?;
            let content_type = content_type.into_iter().next().unwrap_or_default();
            Ok(Answer { status, content_type, challenges, bytes })
        })
    }

    /// Fills `part`, which may hold the beginning of the file already, until it is what `expected` says.
    pub(crate) fn large(
        &self,
        url: &str,
        authorization: Option<&str>,
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
                let mut response = self.request_from(url, authorization, have)?;
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

    /// Fills `part` with a file of at most `limit` bytes of which nothing is known, and rewinds it; `known` is the state of one
    /// that is there whole. What `part` holds already is gone on with only if it is of `of_part`, the same state of the file:
    /// `noted` keeps that before the first byte is written, for an attempt of another process.
    pub(crate) fn unknown(
        &self,
        url: &str,
        known: Option<&Validators>,
        of_part: Option<Validators>,
        part: &mut File,
        limit: u64,
        (noted, progress): (Noted<'_>, &dyn Progress),
    ) -> Result<Pinned> {
        let mut state = of_part.filter(|validators| validators.url == url && validators.if_range().is_some());
        if let Some(path) = file_path(url) {
            let mut source = File::open(path).map_err(|e| match e.kind() {
                io::ErrorKind::NotFound => Failure::Missing(e.to_string()).into_error(url),
                _ => Failure::Final(e.to_string()).into_error(url),
            })?;
            let attempt = restart(part).and_then(|()| receive_up_to(&mut source, part, limit, progress));
            attempt.map_err(|failure| failure.into_error(url))?;
            state = None;
        } else {
            let changed = retry(url, progress, || {
                let mut have = part.seek(SeekFrom::End(0)).map_err(disk)?;
                let mut headers = Vec::new();
                match state.as_ref().and_then(Validators::if_range).filter(|_| have > 0) {
                    Some(range) => {
                        headers.extend([(header::RANGE, format!("bytes={have}-")), (header::IF_RANGE, range)])
                    }
                    None => {
                        restart(part)?;
                        have = 0;
                        headers.extend(known.and_then(|k| k.etag.clone()).map(|etag| (header::IF_NONE_MATCH, etag)));
                        headers.extend(
                            known.and_then(|k| k.last_modified.clone()).map(|t| (header::IF_MODIFIED_SINCE, t)),
                        );
                    }
                }
                let mut response = self.network.get(url, &headers)?;
                match response.status() {
                    StatusCode::NOT_MODIFIED if known.is_some() => return Ok(false),
                    // The part is whole, or longer than the file is now.
                    StatusCode::RANGE_NOT_SATISFIABLE if have > 0 => {
                        restart(part)?;
                        state = None;
                        return Err(Failure::Passing("the file changed while it was fetched".to_owned()));
                    }
                    status => check_status(status)?,
                }
                if response.status() == StatusCode::PARTIAL_CONTENT {
                    check_range(&response, have)?;
                } else {
                    restart(part)?;
                    have = 0;
                }
                if response.body().content_length().is_some_and(|more| more > limit.saturating_sub(have)) {
                    return Err(Failure::Final(format!("is larger than {limit} bytes")));
                }
                let fresh = Validators::of(url, &response);
                if have == 0 {
                    noted(&fresh).map_err(|error| Failure::Final(error.to_string()))?;
                }
                state = Some(fresh);
                let expected = response.body().content_length().and_then(|more| more.checked_add(have));
                let mut body = response.body_mut().with_config().limit(u64::MAX).reader();
                let size = receive_up_to(&mut body, part, limit, progress)?;
                match expected.filter(|expected| *expected != size) {
                    Some(expected) => Err(Failure::Passing(format!("ended after {size} of {expected} bytes"))),
                    None => Ok(true),
                }
            })?;
            if !changed {
                return Ok(Pinned::Unchanged);
            }
        }
        let mut head = Vec::new();
        let read =
            part.rewind().and_then(|()| (&*part).take(LOOKED_AT).read_to_end(&mut head)).and_then(|_| part.rewind());
        read.map_err(|e| disk(e).into_error(url))?;
        if let Err(failure) = no_page(&head).map_err(Failure::Final) {
            let _ = restart(part);
            return Err(failure.into_error(url));
        }
        Ok(Pinned::New { validators: state.unwrap_or_default() })
    }

    fn request_from(&self, url: &str, authorization: Option<&str>, have: u64) -> Result<Response<ureq::Body>, Failure> {
        let mut headers = Vec::new();
        headers.extend((have > 0).then(|| (header::RANGE, format!("bytes={have}-"))));
        headers.extend(authorization.map(|value| (header::AUTHORIZATION, value.to_owned())));
        let response = self.network.get(url, &headers)?;
        check_status(response.status())?;
        if response.status() == StatusCode::PARTIAL_CONTENT {
            check_range(&response, have)?;
        }
        Ok(response)
    }
}

impl Validators {
    fn of(url: &str, response: &Response<ureq::Body>) -> Validators {
        let text = |name: header::HeaderName| response.headers().get(name).and_then(|v| v.to_str().ok());
        Validators {
            url: url.to_owned(),
            etag: text(header::ETAG).map(str::to_owned),
            last_modified: text(header::LAST_MODIFIED).map(str::to_owned),
        }
    }

    /// What If-Range takes: an entity tag that means the very bytes, or the date (RFC 9110, section 13.1.5).
    fn if_range(&self) -> Option<String> {
        self.etag.clone().filter(|etag| !etag.starts_with("W/")).or_else(|| self.last_modified.clone())
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

/// Bytes from where `part` stands, to the end of what comes; how many it holds then.
fn receive_up_to(source: &mut dyn Read, part: &mut File, limit: u64, progress: &dyn Progress) -> Result<u64, Failure> {
    let mut have = part.stream_position().map_err(disk)?;
    let mut buf = vec![0; 64 << 10];
    loop {
        let n = match source.read(&mut buf) {
            Ok(0) => return Ok(have),
            Ok(n) => n,
            Err(e) if e.kind() == io::ErrorKind::Interrupted => continue,
            Err(e) => return Err(Failure::Passing(e.to_string())),
        };
        have = have.saturating_add(n as u64);
        if have > limit {
            restart(part)?;
            return Err(Failure::Final(format!("is larger than {limit} bytes")));
        }
        part.write_all(&buf[..n]).map_err(disk)?;
        progress.advance(Step::Download, n as u64);
    }
}

fn check_range(response: &Response<ureq::Body>, have: u64) -> Result<(), Failure> {
    let range = response.headers().get(header::CONTENT_RANGE).and_then(|v| v.to_str().ok()).unwrap_or("");
    if range.starts_with(&format!("bytes {have}-")) {
        return Ok(());
    }
    Err(Failure::Final(format!("the server sent the range {range:?}, asked for was {have}-")))
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
