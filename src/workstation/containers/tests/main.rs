//! Images of containers. One program: each one more would be linked with everything that it needs.

mod craft;

mod podman;
mod registry;
