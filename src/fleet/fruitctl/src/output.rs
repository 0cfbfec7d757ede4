//! Lines for the operator. A reader that has gone away has heard enough, and must not stop Pis from being switched.

use std::fmt::Arguments;
use std::io::Write;

/// Prints one line of a result.
pub fn print(line: Arguments<'_>) {
    let _ = writeln!(std::io::stdout().lock(), "{line}");
}

/// Says one line on standard error.
pub fn talk(line: Arguments<'_>) {
    let _ = writeln!(std::io::stderr().lock(), "{line}");
}
