//! The mark of what the verifier vouches for.

use std::ops::Deref;

/// A value that was signed by whom it takes. Only [`crate::Trust`] makes one; it cannot be changed, only read.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Verified<T>(T);

impl<T> Verified<T> {
    pub(crate) fn vouch(value: T) -> Verified<T> {
        Verified(value)
    }

    /// The value without its mark.
    #[must_use]
    pub fn into_inner(self) -> T {
        self.0
    }
}

impl<T> Deref for Verified<T> {
    type Target = T;

    fn deref(&self) -> &T {
        &self.0
    }
}
