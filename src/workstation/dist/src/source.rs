//! The repository that this program was built from.

use std::path::{Path, PathBuf};

use fruitbuild::failure::{Failure, at};

/// Top of the repository.
///
/// # Errors
/// It is gone.
pub fn top() -> Result<PathBuf, Failure> {
    let top = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../..");
    top.canonicalize().map_err(at(&top))
}
