//! What a person is told while a card is written.

#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Stage {
    /// The image is read before the target is touched.
    Check,
    Write,
    Verify,
}

/// How far it is.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Progress {
    pub stage: Stage,
    /// Bytes of this stage.
    pub done: u64,
    pub total: u64,
}
