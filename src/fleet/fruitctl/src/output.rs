//! Lines for the operator. A reader that has gone away has heard enough, and must not stop Pis from being switched; a
//! full disk is told at the end.

pub use fruit_output::{line as print, talk};
