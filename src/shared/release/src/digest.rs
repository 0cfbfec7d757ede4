//! SHA-256 of something that travels, as text 64 lower-case hexadecimal digits: one text for each, since names of files
//! are made of it.

pub use fruit_base::{NotSha256 as NotADigest, Sha256 as Digest};
