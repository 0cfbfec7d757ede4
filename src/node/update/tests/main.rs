//! The updater from end to end: small releases, signed and published as real ones, installed on cards made of files or on a disk
//! whose power is cut; its daemon, and servers that misbehave. One program: each one more would be linked with everything that it
//! needs.

#[path = "update/card.rs"]
mod card;
#[path = "../../../shared/record/tests/fleet/mod.rs"]
mod charters;
#[path = "update/disk.rs"]
mod disk;
#[path = "update/kit.rs"]
mod kit;
mod server;

#[path = "update/attacks.rs"]
mod attacks;
mod daemon;
mod fleet;
mod http;
mod https;
#[path = "update/install.rs"]
mod install;
#[path = "update/outcomes.rs"]
mod outcomes;
mod output;
#[path = "update/power.rs"]
mod power;
