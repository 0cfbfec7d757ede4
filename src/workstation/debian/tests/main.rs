//! Repositories and packages. One program: each one more would be linked with everything that it needs.

mod craft;

mod apt;
mod archive;
mod archives;
mod hostile;
mod resolver;
mod signature;
mod store;
