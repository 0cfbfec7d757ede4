//! The directories that must be there before the first package is unpacked.

use fruit_image::tree::Tree;

use crate::Error;
use crate::edit::TreeEditor;

/// Makes the merged-`/usr` links (`/bin` → `usr/bin`, …) and their directories, as debootstrap does before it unpacks.
/// Without them an older package that ships `/bin/x` would make a real `/bin`.
///
/// # Errors
/// Something else than a directory or the link in the way.
pub fn seed(tree: &mut Tree, architecture: &str, epoch: i64) -> Result<(), Error> {
    // From debootstrap's setup_merged_usr: which library directories an architecture has besides /lib.
    let libraries: &[&str] = match architecture {
        "amd64" => &["lib64"],
        "i386" | "x32" | "mips64el" => &["lib32", "lib64", "libx32"],
        "ppc64el" | "loong64" | "s390x" => &["lib64"],
        _ => &[],
    };
    let mut root = TreeEditor::new(tree, epoch);
    for name in ["bin", "sbin", "lib"].iter().chain(libraries) {
        root.dir(&format!("usr/{name}"), 0o755, 0, 0)?;
        root.symlink(&format!("usr/{name}"), name)?;
    }
    Ok(())
}
