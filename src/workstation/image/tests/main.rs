//! Formats of images. One program: each one more would be linked with everything that it needs.

mod checker;
mod kernel;
mod mounted;
mod trees;

mod card;
mod cpio;
mod erofs;
mod erofs_reader;
mod ext4;
mod fat;
mod gpt;
mod inspect;
mod uboot;
mod verity;
