//! Signed releases: metadata, keys, repositories. One program: each one more would be linked with everything that it needs.

mod harness;

mod attacks;
mod python_tuf;
mod signing;
