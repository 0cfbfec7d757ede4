use crate::Error;
use crate::edit::TreeEditor;

/// openssh-server's postinst: sshd_config from its template. Host keys are not made: a key in an image is the same key
/// on every node; `fruit-ssh-keys.service` makes them on the data partition.
pub(crate) fn sshd_config(root: &mut TreeEditor) -> Result<(), Error> {
    root.copy_new("usr/share/openssh/sshd_config", "etc/ssh/sshd_config", 0o644)
}
