//! What goes out with fruitbuild itself: the reference pages of its documentation.

pub mod reference;
pub mod source;
