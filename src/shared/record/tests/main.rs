//! Records of a fleet: what counts, and what does not. One program: each one more would be linked with everything that it needs.

mod fleet;

mod attacks;
mod converge;
mod golden;
mod hostile;
mod seal;
mod threats;
mod trust;
