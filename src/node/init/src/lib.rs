//! fruit-init: the first process of the initramfs. It finds its slot's root, opens it checked (dm-verity) and read-only,
//! lays a RAM overlay over it, makes the data partition usable, binds the state paths, applies `fruit.yaml`, and hands
//! over to the root's init.

pub mod apply;
pub mod board;
pub mod boot;
pub mod data;
pub mod ext4;
pub mod handover;
mod ioctl;
pub mod log;
pub mod machine;
pub mod modules;
pub mod root;
pub mod state;
pub mod verity;
