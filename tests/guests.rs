//! Everything that starts emulators. One program, as test programs run one after another: so there is always a second
//! guest beside one that has the last tests of its file.

#[path = "../src/shared/record/tests/fleet/mod.rs"]
mod fleet;
mod harness;
#[path = "harness/laptop.rs"]
mod laptop;
#[path = "harness/monitor.rs"]
mod monitor;
#[path = "harness/node.rs"]
mod node;
#[path = "harness/releases.rs"]
mod releases;
#[path = "harness/rig.rs"]
mod rig;
#[path = "harness/server.rs"]
mod server;

#[path = "boot.rs"]
mod boot;
#[path = "pistack.rs"]
mod pistack;
#[path = "update.rs"]
mod update;
