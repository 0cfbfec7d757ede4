//! Shells ask the program itself what to offer.

use clap_complete::env::{CompleteEnv, Shells};

/// The variable with which a shell asks.
pub const VARIABLE: &str = "FRUITCTL_COMPLETE";

/// Answers a shell that asks, and ends the program then.
pub fn answer(command: impl Fn() -> clap::Command) {
    CompleteEnv::with_factory(command).var(VARIABLE).complete();
}

/// The script that lets a shell ask.
pub fn script(shell: clap_complete::Shell, text: &mut Vec<u8>) -> std::io::Result<()> {
    match Shells::builtins().completer(&shell.to_string()) {
        Some(completer) => completer.write_registration(VARIABLE, "fruitctl", "fruitctl", "fruitctl", text),
        None => Ok(()),
    }
}
