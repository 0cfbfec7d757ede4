//! One file per verb of the command: parse, call, print.

pub mod build;
pub mod check;
pub mod diff;
pub mod discard;
pub mod flash;
pub mod init;
pub mod inspect;
pub mod keys;
pub mod lock;
pub mod prune;
pub mod publish;
pub mod run;
pub mod schema;
pub mod setup;
pub mod shell;
pub mod sign;
pub mod signatures;
pub mod verify;
pub mod why;
