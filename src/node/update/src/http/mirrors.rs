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
    /// The one that gave the last piece.
    served: Option<usize>,
}

impl Mirrors {
    pub(super) fn new(client: Client, urls: Vec<String>) -> Mirrors {
        let folder = |url: String| if url.ends_with('/') { url } else { url + "/" };
        let mirrors = urls.into_iter().map(|url| Mirror { url: folder(url), last_until: None }).collect();
        Mirrors { client, mirrors, served: None }
    }

    /// What came was not what it should have been: the mirror that gave it comes last for a while.
    pub fn distrust(&mut self) {
        if let Some(served) = self.served.take() {
            self.punish(served);
        }
    }

    fn punish(&mut self, mirror: usize) {
        self.mirrors[mirror].last_until = Some(Instant::now() + self.client.limits.penalty);
    }

    /// Mirrors in the order of the configuration, those that failed lately behind the others.
    fn order(&self) -> Vec<usize> {
        let now = Instant::now();
        let mut order: Vec<usize> = (0..self.mirrors.len()).collect();
        order.sort_by_key(|&i| self.mirrors[i].last_until.is_some_and(|until| until > now));
        order
    }

    /// Asks each mirror once.
    fn round(&mut self, name: &Name, limit: u64) -> Result<Option<Vec<u8>>, SourceError> {
        let (mut missing, mut error) = (false, None);
        for i in self.order() {
            let url = format!("{}{name}", self.mirrors[i].url);
            match self.client.fetch(&url, limit) {
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
        match error {
            // A root that does not exist yet is asked for each time; no mirror has to be waited for to know that.
            Some(error) if !(missing && matches!(name, Name::Root(_))) => Err(error),
            _ => Ok(None),
        }
    }
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

    fn place(&self) -> String {
        let best = self.served.or_else(|| self.order().first().copied());
        best.map_or_else(|| "no server".to_owned(), |i| self.mirrors[i].url.clone())
    }
}
