//! One repository at several addresses.

use std::time::Instant;

use fruit_release::{Name, Source, SourceError};

use super::Client;

/// Times that all mirrors are gone through for one piece.
const ROUNDS: u32 = 3;

struct Mirror {
    /// Ends in `/`.
    url: String,
    /// It failed, and comes last until then.
    last_until: Option<Instant>,
}

/// Pieces from the first mirror that works. One that fails comes last for a while, then its turn comes again.
pub struct Mirrors {
    client: Client,
    mirrors: Vec<Mirror>,
    /// The one that has the newest timestamp, as far as is known.
    first: usize,
    /// The one that gave the last piece.
    served: Option<usize>,
}

impl Mirrors {
    pub(super) fn new(client: Client, urls: Vec<String>) -> Mirrors {
        let folder = |url: String| if url.ends_with('/') { url } else { url + "/" };
        let mirrors = urls.into_iter().map(|url| Mirror { url: folder(url), last_until: None }).collect();
        Mirrors { client, mirrors, first: 0, served: None }
    }

    fn punish(&mut self, mirror: usize) {
        self.mirrors[mirror].last_until = Some(Instant::now() + self.client.limits.penalty);
    }

    fn failed_lately(&self, mirror: usize) -> bool {
        self.mirrors[mirror].last_until.is_some_and(|until| until > Instant::now())
    }

    /// Mirrors in the order of the configuration, those that failed lately behind the others.
    fn order(&self) -> Vec<usize> {
        let mut order: Vec<usize> = (0..self.mirrors.len()).collect();
        order.sort_by_key(|&i| (self.failed_lately(i), i != self.first));
        order
    }

    /// Asks each mirror once: until one has the piece, or for the timestamp all that work, since a mirror that is behind the
    /// others has one too.
    fn round(&mut self, name: &Name, limit: u64) -> Result<Option<Vec<u8>>, SourceError> {
        let (mut missing, mut error) = (false, None);
        let mut newest: Option<(u64, usize, Vec<u8>)> = None;
        if *name == Name::Timestamp {
            self.first = 0;
        }
        for i in self.order() {
            if newest.is_some() && self.failed_lately(i) {
                break;
            }
            let url = format!("{}{name}", self.mirrors[i].url);
            match self.client.fetch(&url, limit) {
                Ok(Some(bytes)) if *name == Name::Timestamp => {
                    let version = claimed_version(&bytes);
                    if newest.as_ref().is_none_or(|(newest, ..)| version > *newest) {
                        newest = Some((version, i, bytes));
                    }
                }
                Ok(Some(bytes)) => {
                    self.served = Some(i);
                    return Ok(Some(bytes));
                }
                // Another one may be further than this one.
                Ok(None) => missing = true,
                Err(SourceError::Stopped) => return Err(SourceError::Stopped),
                Err(one) => {
                    self.punish(i);
                    error = Some(one);
                }
            }
        }
        if let Some((_, i, bytes)) = newest {
            (self.first, self.served) = (i, Some(i));
            return Ok(Some(bytes));
        }
        match error {
            // A root that does not exist yet is asked for each time; no mirror has to be waited for to know that.
            Some(error) if !(missing && matches!(name, Name::Root(_))) => Err(error),
            _ => Ok(None),
        }
    }
}

/// The version that metadata says it has. Nobody has verified that: it decides only what is verified first.
fn claimed_version(bytes: &[u8]) -> u64 {
    let metadata = serde_json::from_slice::<serde_json::Value>(bytes).unwrap_or_default();
    metadata["signed"]["version"].as_u64().unwrap_or(0)
}

impl Source for Mirrors {
    fn get(&mut self, name: &Name, limit: u64) -> Result<Option<Vec<u8>>, SourceError> {
        let limit = limit.min(name.limit());
        let mut failures = 0;
        loop {
            match self.round(name, limit) {
                Err(SourceError::Unreachable { .. }) if failures + 1 < ROUNDS => {
                    failures += 1;
                    self.client.pause(failures)?;
                }
                result => return result,
            }
        }
    }

    fn distrust(&mut self) -> bool {
        if let Some(served) = self.served.take() {
            self.punish(served);
        }
        (0..self.mirrors.len()).any(|i| !self.failed_lately(i))
    }

    fn place(&self) -> String {
        let best = self.served.or_else(|| self.order().first().copied());
        best.map_or_else(|| "no server".to_owned(), |i| self.mirrors[i].url.clone())
    }
}
