//! Images that the kernel mounts.

use std::path::Path;

use crate::checker;

/// A loop mount that ends with its scope.
pub struct Mount {
    dir: tempfile::TempDir,
}

impl Mount {
    pub fn new(image: &Path) -> Mount {
        let dir = tempfile::tempdir().unwrap();
        let args = ["-t".as_ref(), "erofs".as_ref(), "-o".as_ref(), "loop,ro".as_ref(), image.as_os_str()];
        let text = checker::run("mount", "mount", args.into_iter().chain([dir.path().as_os_str()]));
        let why = String::from_utf8_lossy(&text.stderr);
        assert!(text.status.success(), "this test mounts an image: it needs root and EROFS in the kernel: {why}");
        Mount { dir }
    }

    pub fn path(&self) -> &Path {
        self.dir.path()
    }
}

impl Drop for Mount {
    fn drop(&mut self) {
        checker::run("mount", "umount", [self.dir.path()]);
    }
}
