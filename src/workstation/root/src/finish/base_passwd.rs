use super::accounts::Accounts;
use crate::Error;
use crate::edit::TreeEditor;

/// base-passwd's postinst: the fixed accounts of every Debian system, from its master files. A root without base-passwd
/// gets at least root and nobody, so that ids have names.
pub(crate) fn accounts(root: &mut TreeEditor) -> Result<Accounts, Error> {
    if root.exists("etc/passwd") {
        return Accounts::load(root);
    }
    let master = "usr/share/base-passwd/passwd.master";
    if root.exists(master) {
        return Accounts::parse(root, master, "usr/share/base-passwd/group.master", "etc/shadow");
    }
    root.write(
        "etc/passwd",
        "root:x:0:0:root:/root:/bin/sh\nnobody:x:65534:65534:nobody:/nonexistent:/bin/false\n",
        0o644,
    )?;
    root.write("etc/group", "root:x:0:\nshadow:x:42:\nnogroup:x:65534:\n", 0o644)?;
    Accounts::load(root)
}
