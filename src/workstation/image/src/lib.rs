//! The formats a card is made of, each a pure function from a [`tree::Tree`] or plain values to bytes,
//! each with a reader beside its writer.

pub mod bmap;
pub mod card;
pub mod cpio;
pub mod disk;
pub mod draft;
pub mod erofs;
pub mod ext4;
pub mod fat;
pub mod gpt;
pub mod inspect;
pub mod sparse;
pub mod storage;
pub mod sums;
pub mod tree;
pub mod uboot;
pub mod zst;

pub use fruit_verity as verity;
