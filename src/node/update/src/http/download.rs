//! One file as a stream that survives cut connections.

use std::io::{self, Read};

use fruit_release::SourceError;
use ureq::BodyReader;

use super::{Answer, Client, PIECE, stopped};

/// Bytes that make a download a successful one, so that its failures are forgotten: a server that cuts every connection
/// after a few bytes must not hold it up for ever.
const PROGRESS: u64 = 64 << 10;

/// Reads what is at a URL from its beginning to its end. When the connection is cut, stalls or slows down too much, the
/// rest is asked for; a server that can't give a part sends all again, and what is known of it is passed over.
pub struct Download {
    client: Client,
    url: String,
    /// Bytes that were handed out.
    position: u64,
    /// Bytes of the whole.
    total: Option<u64>,
    /// What the server calls this state of the file.
    tag: Option<String>,
    body: Option<BodyReader<'static>>,
    /// In a row, with little in between.
    failures: u32,
    /// Where the last failure was.
    failed_at: u64,
    /// How often it was gone on with.
    resumed: u32,
    ended: bool,
}

fn header<'a>(answer: &'a Answer, name: &str) -> Option<&'a str> {
    answer.head.get(name)?.to_str().ok()
}

/// An ETag that stands for exact bytes (RFC 9110 section 8.8.1), else the date of the last change.
fn tag(answer: &Answer) -> Option<String> {
    let strong = header(answer, "etag").filter(|tag| tag.starts_with('"'));
    strong.or_else(|| header(answer, "last-modified")).map(str::to_owned)
}

/// First byte and length of the whole in `bytes 5-9/10` (RFC 9110 section 14.4).
fn content_range(text: &str) -> Option<(u64, Option<u64>)> {
    let (range, total) = text.strip_prefix("bytes ")?.split_once('/')?;
    let (first, _) = range.split_once('-')?;
    let total = if total == "*" { None } else { Some(total.parse().ok()?) };
    Some((first.parse().ok()?, total))
}

/// What is there now is not what the first part came from.
fn changed(what: &str) -> io::Error {
    io::Error::new(io::ErrorKind::InvalidData, format!("the file changed during the download: {what}"))
}

/// Why a connection did not give the next bytes.
enum Trouble {
    /// Worth another try.
    Passing(String),
    Final(io::Error),
}

impl Download {
    pub(super) fn new(client: Client, url: &str) -> Download {
        Download {
            client,
            url: url.to_owned(),
            position: 0,
            total: None,
            tag: None,
            body: None,
            failures: 0,
            failed_at: 0,
            resumed: 0,
            ended: false,
        }
    }

    /// What to call it in messages.
    pub fn place(&self) -> &str {
        &self.url
    }

    /// Bytes of the whole, once they are known.
    pub fn total(&self) -> Option<u64> {
        self.total
    }

    /// How often a cut connection was gone on with.
    pub fn resumed(&self) -> u32 {
        self.resumed
    }

    fn open(&mut self) -> Result<BodyReader<'static>, Trouble> {
        let answer = self.client.ask(&self.url, self.position, self.tag.as_deref()).map_err(|error| match error {
            SourceError::Stopped => Trouble::Final(stopped()),
            SourceError::Unreachable { why, .. } | SourceError::Broken { why, .. } => Trouble::Passing(why),
        })?;
        match answer.status {
            200 if self.position == 0 => {
                self.total = answer.len;
                self.tag = tag(&answer);
                Ok(answer.body)
            }
            200 => self.pass_over(answer),
            206 if self.position > 0 => self.go_on(answer),
            416 if self.total.is_none() && self.position > 0 => Err(Trouble::Final(changed("it became shorter"))),
            status @ (400..=499) if self.position == 0 && !matches!(status, 408 | 425 | 429) => {
                Err(Trouble::Final(io::Error::other(format!("the server answers with status {status}"))))
            }
            status => Err(Trouble::Passing(format!("the server answers with status {status}"))),
        }
    }

    fn go_on(&mut self, answer: Answer) -> Result<BodyReader<'static>, Trouble> {
        let range = header(&answer, "content-range").and_then(content_range);
        let Some((first, total)) = range.filter(|(first, _)| *first == self.position) else {
            let said = header(&answer, "content-range").unwrap_or("nothing").to_owned();
            let why = format!("the server was asked for bytes from {} on and sends {said}", self.position);
            return Err(Trouble::Final(io::Error::new(io::ErrorKind::InvalidData, why)));
        };
        if total.is_some() && self.total.is_some() && total != self.total {
            return Err(Trouble::Final(changed("it has another length")));
        }
        // A server that does not know If-Range sends a part of whatever is there now.
        if self.tag.is_some() && tag(&answer) != self.tag {
            return Err(Trouble::Final(changed("the server gives it another mark")));
        }
        debug_assert_eq!(first, self.position);
        self.total = self.total.or(total);
        Ok(answer.body)
    }

    /// The server begins at the beginning.
    fn pass_over(&mut self, answer: Answer) -> Result<BodyReader<'static>, Trouble> {
        if self.total.is_some() && answer.len != self.total || self.tag.is_some() && tag(&answer) != self.tag {
            return Err(Trouble::Final(changed("the server has another file now")));
        }
        let (mut body, mut left, mut buf) = (answer.body, self.position, [0; PIECE]);
        while left > 0 {
            let most = usize::try_from(left).unwrap_or(PIECE).min(PIECE);
            match self.client.read(&mut body, &mut buf[..most]) {
                Ok(0) => return Err(Trouble::Final(changed("it became shorter"))),
                Ok(count) => left -= count as u64,
                Err(_) if self.client.stopped() => return Err(Trouble::Final(stopped())),
                Err(error) => return Err(Trouble::Passing(error.to_string())),
            }
        }
        Ok(body)
    }

    /// Counts a failure; waits, or gives up.
    fn failed(&mut self, why: &str) -> io::Result<()> {
        self.body = None;
        if self.position - self.failed_at >= PROGRESS {
            self.failures = 0;
        }
        self.failures += 1;
        self.failed_at = self.position;
        if self.client.stopped() {
            return Err(stopped());
        }
        if self.failures >= self.client.limits.failures {
            let Download { position, failures, .. } = self;
            return Err(io::Error::other(format!("{why} (after {position} bytes, {failures} failures in a row)")));
        }
        self.client.pause(self.failures).map_err(|_| stopped())
    }
}

impl Read for Download {
    fn read(&mut self, buf: &mut [u8]) -> io::Result<usize> {
        if buf.is_empty() || self.ended {
            return Ok(0);
        }
        loop {
            let body = match &mut self.body {
                Some(body) => body,
                None => match self.open() {
                    Ok(body) => {
                        self.resumed += u32::from(self.position > 0);
                        self.body.insert(body)
                    }
                    Err(Trouble::Final(error)) => return Err(error),
                    Err(Trouble::Passing(why)) => {
                        self.failed(&why)?;
                        continue;
                    }
                },
            };
            let why = match self.client.read(body, buf) {
                Ok(0) if self.total.is_none_or(|total| self.position >= total) => {
                    self.ended = true;
                    return Ok(0);
                }
                Ok(0) => "the connection ended early".to_owned(),
                Ok(count) => {
                    // A bundle begins with the name of its first entry.
                    if self.position == 0 && super::is_web_page(&buf[..count]) {
                        return Err(io::Error::other(super::WEB_PAGE));
                    }
                    self.position += count as u64;
                    return Ok(count);
                }
                Err(error) => error.to_string(),
            };
            self.failed(&why)?;
        }
    }
}
