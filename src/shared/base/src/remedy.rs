//! What a person can do about an error of the file system.

use std::io::{Error, ErrorKind};

/// The end of a message: `; make room …`. Empty where there is no better advice than the error itself.
pub fn remedy(error: &Error) -> &'static str {
    match error.kind() {
        ErrorKind::StorageFull | ErrorKind::QuotaExceeded => "; make room there and give the same command again",
        ErrorKind::PermissionDenied => {
            "; give the command as the owner of that folder, or give yourself the right to it"
        }
        ErrorKind::ReadOnlyFilesystem => "; that file system is mounted read-only",
        _ => "",
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_can_be_done_about_is_told() {
        for (number, word) in [(28, "make room"), (122, "make room"), (13, "owner"), (30, "read-only"), (2, "")] {
            let error = Error::from_raw_os_error(number);
            assert!(remedy(&error).contains(word), "{error}");
        }
    }
}
