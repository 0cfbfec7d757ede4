//! Questions before what cannot be taken back.

use crate::failure::{Code, Failure};
use std::fmt::Arguments;
use std::io::IsTerminal;

/// What the person at the terminal answers to `question`. `nobody`: what is said where there is none.
///
/// # Errors
/// [`Code::NotConfirmed`] without a terminal; one that cannot be read.
pub fn answer(question: Arguments<'_>, nobody: &str) -> Result<String, Failure> {
    if !std::io::stdin().is_terminal() {
        return Err(Failure::new(Code::NotConfirmed, nobody));
    }
    fruit_output::ask(format_args!("{question} [y/N] "));
    let mut answer = String::new();
    std::io::stdin().read_line(&mut answer)?;
    Ok(answer.trim().to_owned())
}
