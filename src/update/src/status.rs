//! What the updater is doing, in a sentence.
