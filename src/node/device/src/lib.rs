//! What the programs of a node share: its block devices and the disk that it runs from, systemd and the system bus, the
//! journal, signals that end a program, local sockets.

pub mod block;
pub mod disk;
pub mod gpt;
pub mod journal;
pub mod socket;
pub mod systemd;
pub mod termination;
