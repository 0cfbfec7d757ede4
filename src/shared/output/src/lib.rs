//! What our commands print: results to standard output, talk to standard error.
//!
//! `println!` panics when standard output cannot be written: a full disk behind `> file` would end a command with a
//! backtrace and exit code 101, possibly halfway through its work. Here the first failure is kept, the work goes on, and
//! [`finish`] tells of it at the end.

use std::fmt::Arguments;
use std::io::{self, Write};
use std::sync::Mutex;

/// The first failure to write standard output.
static FAILURE: Mutex<Option<io::Error>> = Mutex::new(None);

/// Prints a line of the result; takes what `println!` takes.
#[macro_export]
macro_rules! outln {
    ($($text:tt)*) => { $crate::line(::std::format_args!($($text)*)) };
}

/// Prints a line of the result.
pub fn line(text: Arguments<'_>) {
    keep(writeln!(io::stdout().lock(), "{text}"));
}

/// Prints a part of the result as it is.
pub fn text(text: impl AsRef<[u8]>) {
    keep(io::stdout().lock().write_all(text.as_ref()));
}

/// Remembers that somebody else's code, such as an argument parser, could not print the result.
pub fn failed(error: io::Error) {
    keep(Err(error));
}

/// Says a line on standard error. Nothing can be said about a failure here.
pub fn talk(text: Arguments<'_>) {
    let _ = writeln!(io::stderr().lock(), "{text}");
}

/// Asks on standard error: the answer comes on the same line.
pub fn ask(question: Arguments<'_>) {
    let mut to = io::stderr().lock();
    let _ = write!(to, "{question}").and_then(|()| to.flush());
}

/// What became of the result.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Finished {
    Written,
    /// The reader closed the pipe (`| head`): it has heard enough.
    ReaderGone,
    /// It is incomplete, and that was said on standard error.
    Incomplete,
}

/// Writes what is left of the result of `program`, and tells of the first failure since it began.
pub fn finish(program: &str) -> Finished {
    keep(io::stdout().lock().flush());
    let failure = FAILURE.lock().unwrap_or_else(std::sync::PoisonError::into_inner).take();
    match failure {
        None => Finished::Written,
        Some(error) if error.kind() == io::ErrorKind::BrokenPipe => Finished::ReaderGone,
        Some(error) => {
            talk(format_args!("{program}: standard output cannot be written: {error}; the output is incomplete"));
            Finished::Incomplete
        }
    }
}

fn keep(result: io::Result<()>) {
    if let Err(error) = result {
        FAILURE.lock().unwrap_or_else(std::sync::PoisonError::into_inner).get_or_insert(error);
    }
}
