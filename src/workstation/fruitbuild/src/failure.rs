//! What ends a command: a message for the person, and an exit code for the script.

use std::fmt;

/// Exit codes, as documented in the README and the man page. 2 is clap's own for a wrong command line.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
#[repr(u8)]
pub enum Exit {
    /// Anything that has no code of its own.
    General = 1,
    /// A mistake in a recipe, a board, an overlay or a lock.
    Input = 3,
    /// A signature, hash or checksum that does not fit: nothing was used.
    Untrusted = 4,
    /// Something could not be fetched.
    Network = 5,
    /// The package set cannot be satisfied.
    Unsatisfiable = 6,
    /// The person said no, or the target was refused.
    Refused = 7,
}

pub struct Failure {
    pub exit: Exit,
    /// Whole text, ready to print.
    pub message: String,
    /// Machine-readable details for `--json`, if there are any.
    pub details: Option<serde_json::Value>,
}

impl Failure {
    pub fn new(exit: Exit, message: impl Into<String>) -> Failure {
        Failure { exit, message: message.into(), details: None }
    }

    pub fn general(message: impl Into<String>) -> Failure {
        Failure::new(Exit::General, message)
    }

    /// Says what to do about a full disk, or too few open files. Errors of all crates end here as texts that name the file; what they share is the
    /// system's own wording, with the number of ENOSPC, EDQUOT or EFBIG. What writes where the caches are not says it itself.
    #[must_use]
    pub fn with_remedy(mut self) -> Failure {
        let full = ["(os error 28)", "(os error 122)", "(os error 27)", "no space left on the disk"];
        if full.iter().any(|words| self.message.contains(words)) && !self.message.contains("make room") {
            self.message = format!(
                "{}; make room there, or name folders on another disk: --cache DIR (or FRUITBUILD_CACHE) for packages and \
                 compiled programs, --out DIR for images, TMPDIR for what is temporary",
                self.message.trim_end()
            );
        }
        // EMFILE.
        if self.message.contains("(os error 24)") {
            self.message = format!("{}; allow more in this shell: ulimit -n 1024", self.message.trim_end());
        }
        self
    }

    pub fn input(message: impl Into<String>) -> Failure {
        Failure::new(Exit::Input, message)
    }
}

impl fmt::Debug for Failure {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}", self.message)
    }
}

impl fmt::Display for Failure {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}", self.message)
    }
}

impl From<fruit_base::PathError> for Failure {
    fn from(error: fruit_base::PathError) -> Failure {
        Failure::general(error.to_string())
    }
}

impl From<fruit_recipe::Diagnostics> for Failure {
    fn from(found: fruit_recipe::Diagnostics) -> Failure {
        use std::io::IsTerminal;
        let colour = std::io::stderr().is_terminal() && std::env::var_os("NO_COLOR").is_none_or(|v| v.is_empty());
        Failure { exit: Exit::Input, message: found.render(colour), details: Some(found.to_json()) }
    }
}

impl From<fruit_debian::Error> for Failure {
    fn from(error: fruit_debian::Error) -> Failure {
        use fruit_debian::Error;
        let exit = match &error {
            Error::Signature { .. } | Error::Expired { .. } | Error::Mismatch { .. } | Error::Entry { .. } => {
                Exit::Untrusted
            }
            Error::Deb { .. } | Error::TwoOwners { .. } => Exit::Untrusted,
            Error::Fetch { .. } | Error::Missing { .. } | Error::Offline { .. } | Error::NoMirror { .. } => {
                Exit::Network
            }
            Error::Unsatisfiable(_) => Exit::Unsatisfiable,
            Error::Lock { .. } | Error::BadMirror { .. } => Exit::Input,
            _ => Exit::General,
        };
        Failure::new(exit, error.to_string())
    }
}

impl From<fruit_root::Error> for Failure {
    fn from(error: fruit_root::Error) -> Failure {
        Failure::input(error.to_string())
    }
}

impl From<fruit_emulate::Error> for Failure {
    fn from(error: fruit_emulate::Error) -> Failure {
        use fruit_emulate::Error;
        match error {
            Error::Recipe(found) => found.into(),
            Error::Packages(error) => error.into(),
            Error::Pipeline(error) => error.into(),
            Error::Config(error) => error.into(),
            Error::Input(message) => Failure::input(message),
            Error::Path(_) | Error::Other(_) => Failure::general(error.to_string()),
        }
    }
}

impl From<fruit_flash::node_config::ConfigError> for Failure {
    fn from(error: fruit_flash::node_config::ConfigError) -> Failure {
        use fruit_flash::node_config::ConfigError;
        match error {
            ConfigError::Mistakes(lines) => Failure::input(lines),
            ConfigError::Card { .. } | ConfigError::Path(_) => Failure::general(error.to_string()),
        }
    }
}

impl From<fruit_publish::Error> for Failure {
    fn from(error: fruit_publish::Error) -> Failure {
        use fruit_publish::Error;
        let exit = match error {
            Error::Keys(error) => return error.into(),
            Error::Source(error) => return error.into(),
            Error::Input(_) => Exit::Input,
            Error::Untrusted(_) => Exit::Untrusted,
            Error::Refused(_) => Exit::Refused,
            Error::Path(_) | Error::Other(_) => Exit::General,
        };
        Failure::new(exit, error.to_string())
    }
}

impl From<fruit_release::SourceError> for Failure {
    fn from(error: fruit_release::SourceError) -> Failure {
        use fruit_release::SourceError;
        let exit = match &error {
            SourceError::Unreachable { .. } => Exit::Network,
            SourceError::Broken { .. } => Exit::Untrusted,
            SourceError::Stopped => Exit::General,
        };
        Failure::new(exit, error.to_string())
    }
}

impl From<fruit_release::keys::KeyError> for Failure {
    fn from(error: fruit_release::keys::KeyError) -> Failure {
        let exit = if error.is_untrusted() { Exit::Untrusted } else { Exit::General };
        Failure::new(exit, error.to_string())
    }
}

impl From<fruit_pipeline::Error> for Failure {
    fn from(error: fruit_pipeline::Error) -> Failure {
        use fruit_pipeline::Error;
        match error {
            Error::Recipe(found) => found.into(),
            Error::Packages(error) => error.into(),
            Error::Root(error) => error.into(),
            Error::Input(message) => Failure::input(message),
            Error::About { file, error } => {
                let failure = Failure::from(*error);
                Failure::new(failure.exit, format!("{}: {failure}", file.display()))
            }
            Error::Containers(_) | Error::Programs(_) | Error::Path(_) | Error::Other(_) => {
                Failure::general(error.to_string())
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_the_system_lacks_is_told_with_one_remedy() {
        let told = |error: &str| Failure::general(error).with_remedy().message;
        assert!(told("a.deb: Too many open files (os error 24)").ends_with("ulimit -n 1024"));
        assert!(told("a.img: No space left on device (os error 28)").contains("make room there, or name folders"));
        let said = "keys/a.key: No space left on device (os error 28); make room there and give the same command again";
        assert_eq!(told(said), said);
        assert_eq!(told("a: not found (os error 2)"), "a: not found (os error 2)");
    }
}
