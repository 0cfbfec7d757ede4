//! The formats a card is made of, each a pure function from a [`tree::Tree`] or plain values to bytes,
//! each with a reader beside its writer.

pub mod tree;
