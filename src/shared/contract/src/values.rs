//! Values that the configurations of our programs share: times, shares, paths.

mod quantity;
mod text;

pub use quantity::{Percent, Span};
pub use text::AbsolutePath;
