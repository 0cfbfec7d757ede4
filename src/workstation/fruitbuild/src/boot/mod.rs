//! What makes a card start: the loader's script and environment, the files of a slot's boot partition.

pub mod script;
