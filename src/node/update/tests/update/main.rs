//! The updater from end to end: small releases, signed and published as real ones, installed on cards made of files or
//! on a disk whose power is cut.

mod card;
mod disk;
mod kit;

mod attacks;
mod install;
mod outcomes;
mod power;
