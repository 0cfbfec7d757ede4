//! The mark of what the verifier vouches for.

use std::ops::Deref;

/// A value that follows from signed metadata. Only the verifier makes one; it cannot be changed, only read.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Verified<T>(T);

impl<T> Verified<T> {
    pub(in crate::tuf) fn vouch(value: T) -> Verified<T> {
        Verified(value)
    }

    /// The value without its mark.
    #[must_use]
    pub fn into_inner(self) -> T {
        self.0
    }
}

impl Verified<Vec<u8>> {
    /// What verified bytes say. `read` is a plain function, so that the result can depend on nothing but the bytes.
    ///
    /// # Errors
    /// Those of `read`.
    pub fn read<T, E>(&self, read: fn(&[u8]) -> Result<T, E>) -> Result<Verified<T>, E> {
        read(&self.0).map(Verified)
    }
}

impl<T> Deref for Verified<T> {
    type Target = T;

    fn deref(&self) -> &T {
        &self.0
    }
}
