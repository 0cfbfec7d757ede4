//! Configuration files of our programs on a node (`agent.yaml`, `update.yaml`): one reader, whose errors name the place of
//! the mistake.

use std::path::Path;

use serde::Serialize;
use serde::de::DeserializeOwned;

/// A configuration that cannot be used, with the place of the mistake.
#[derive(Debug, thiserror::Error)]
pub enum ConfigError {
    #[error("{path}: cannot be read: {source}")]
    Read { path: String, source: std::io::Error },
    #[error("{path}:{line}:{column}: {message}")]
    Invalid { path: String, line: u64, column: u64, message: String },
}

/// The text of the file at `path`, and what errors call it.
pub(crate) fn text_of(path: &Path) -> Result<(String, String), ConfigError> {
    let shown = path.display().to_string();
    match std::fs::read_to_string(path) {
        Ok(text) => Ok((text, shown)),
        Err(source) => Err(ConfigError::Read { path: shown, source }),
    }
}

/// Reads a configuration out of `text`; `path` is what errors call it.
pub(crate) fn parse<T: DeserializeOwned>(text: &str, path: &str) -> Result<T, ConfigError> {
    serde_saphyr::from_str(text).map_err(|error| {
        let error = error.without_snippet();
        let at = error.location();
        ConfigError::Invalid {
            path: path.to_owned(),
            line: at.map_or(1, |at| at.line()),
            column: at.map_or(1, |at| at.column()),
            message: message_alone(&error.to_string()),
        }
    })
}

/// The text of a file that [`parse`] reads back to an equal value.
pub(crate) fn to_yaml<T: Serialize>(config: &T) -> String {
    // Strings, numbers, lists and maps only: nothing here that YAML cannot say.
    serde_saphyr::to_string(config).unwrap_or_default()
}

/// The parser's message ends with its own idea of the place, which the error says at its front already.
fn message_alone(message: &str) -> String {
    match message.rfind(" at line ") {
        Some(at) => message[..at].trim_end_matches(':').to_owned(),
        None => message.to_owned(),
    }
}
