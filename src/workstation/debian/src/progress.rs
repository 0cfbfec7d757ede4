//! How far long work has come, for whoever shows it.

/// What is being done.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Step {
    /// Repository metadata is fetched.
    Indices,
    /// Packages are fetched.
    Download,
    /// Packages are decompressed into the store.
    Decompress,
    /// Packages are checked and read.
    Read,
}

/// Called from several threads.
pub trait Progress: Sync {
    /// `items` things of `bytes` bytes altogether are about to be worked on.
    fn start(&self, step: Step, items: usize, bytes: u64) {
        let _ = (step, items, bytes);
    }

    /// `bytes` more bytes are done.
    fn advance(&self, step: Step, bytes: u64) {
        let _ = (step, bytes);
    }

    /// One item is done.
    fn item_done(&self, step: Step, item: &str) {
        let _ = (step, item);
    }

    /// All items are done, or the work ended with an error.
    fn finish(&self, step: Step) {
        let _ = step;
    }

    /// Something that a person may want to know, such as a retry.
    fn note(&self, text: &str) {
        let _ = text;
    }
}

/// Shows nothing.
pub struct Silent;

impl Progress for Silent {}
