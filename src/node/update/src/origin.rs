//! What an operator names on the command line: a bundle, a folder, a URL, standard input.

use std::fs::File;
use std::io::{self, BufReader};
use std::os::fd::AsFd;
use std::path::Path;

use fruit_release::bundle::{ENDING, Stream};
use fruit_release::{Folder, Source};

use crate::folder::{self, Content};
use crate::http::{self, HttpError, Settings};
use crate::pipe::{Patience, Patient};

/// Bytes of a bundle that are read at once.
const BUFFER: usize = 64 << 10;

/// Why nothing can be taken from there.
#[derive(Debug, thiserror::Error)]
pub enum OriginError {
    #[error("{place}: {source}")]
    Open { place: String, source: io::Error },
    #[error("{0}: neither a release repository nor bundles in it")]
    Nothing(String),
    #[error(transparent)]
    Http(#[from] HttpError),
}

/// Opens `text`: `-` for a bundle from standard input, a URL of a bundle (it ends in `.fruit`) or of a repository, a
/// bundle's file, a repository's folder, a folder with bundles (the newest file counts).
///
/// A pipe that stalls or trickles is given up after a minute, see [`Patience`]; what is stopped by `settings.stop` ends
/// within a moment.
///
/// # Errors
/// There is nothing of the kind.
pub fn open<'s>(text: &str, settings: &'s Settings<'_>) -> Result<Box<dyn Source + 's>, OriginError> {
    if text == "-" {
        // Not the locked standard input, whose buffer hides bytes from whoever waits for them.
        let input = io::stdin().as_fd().try_clone_to_owned();
        let input = input.map_err(|source| OriginError::Open { place: "standard input".into(), source })?;
        return Ok(bundle(File::from(input), "standard input", settings));
    }
    if text.starts_with("http://") || text.starts_with("https://") {
        let path = text.split(['?', '#']).next().unwrap_or(text);
        if path.strip_suffix(ENDING).is_some_and(|rest| rest.ends_with('.')) {
            return Ok(Box::new(Stream::new(http::download(text, settings)?, text)));
        }
        return Ok(Box::new(http::mirrors(vec![text.trim_end_matches('/').to_owned()], settings)?));
    }
    let failed = |source| OriginError::Open { place: text.to_owned(), source };
    let path = Path::new(text);
    if !path.is_dir() {
        return Ok(bundle(File::open(path).map_err(failed)?, text, settings));
    }
    match folder::inspect(path).map_err(failed)? {
        Content::Repository => Ok(Box::new(Folder::new(path))),
        Content::Bundles(bundles) => {
            let newest = bundles.first().ok_or_else(|| OriginError::Nothing(text.into()))?;
            let place = newest.display().to_string();
            let file = File::open(newest).map_err(|source| OriginError::Open { place: place.clone(), source })?;
            Ok(bundle(file, &place, settings))
        }
        Content::Nothing => Err(OriginError::Nothing(text.into())),
    }
}

fn bundle<'s>(file: File, place: &str, settings: &'s Settings<'_>) -> Box<dyn Source + 's> {
    let reader = Patient::new(file, &settings.stop, Patience::default());
    Box::new(Stream::new(BufReader::with_capacity(BUFFER, reader), place))
}
