//! From a recipe to a card image, and what a person does with one. The command is in `main.rs`; tests and benches use
//! the parts.

#[macro_use]
extern crate fruit_output;

pub mod cli;
pub mod failure;
pub mod progress;
pub mod verbs;
