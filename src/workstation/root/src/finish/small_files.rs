//! Small files that postinst scripts write from here-documents or templates, a line or two each.

use crate::Error;
use crate::edit::TreeEditor;

pub(crate) fn apply(root: &mut TreeEditor) -> Result<(), Error> {
    debianutils(root)?;
    readline_common(root)?;
    netbase(root)?;
    libwrap(root)?;
    libpam_modules(root)?;
    openssl(root)?;
    systemd(root)
}

/// debianutils' `/etc/shells`, with the shells that packages list in `shells.d` (update-shells(8)).
fn debianutils(root: &mut TreeEditor) -> Result<(), Error> {
    let Some(mut text) = root.text("usr/share/debianutils/shells")? else {
        // Without debianutils: login programs refuse a shell that is not listed.
        let mut text = String::new();
        for shell in ["bin/sh", "usr/bin/sh", "bin/bash", "usr/bin/bash"] {
            if root.exists(shell) {
                text += &format!("/{shell}\n");
            }
        }
        return root.write_new("etc/shells", text, 0o644);
    };
    let dir = "usr/share/debianutils/shells.d";
    let lists = crate::edit::names(root.tree, dir).into_iter().map(|name| format!("{dir}/{name}"));
    for list in std::iter::once("usr/share/debianutils/shells".to_owned()).chain(lists) {
        let listed = root.text(&list)?.unwrap_or_default();
        for shell in listed.lines().map(|l| l.split('#').next().unwrap_or("").trim()).filter(|l| l.starts_with('/')) {
            // The shell and, through the links of the merged /usr, the file that it is.
            let (dir, name) = shell.rsplit_once('/').unwrap_or(("", shell));
            let other = match root.tree.resolve(dir.trim_start_matches('/')) {
                Ok(real) => format!("/{real}/{name}"),
                Err(_) => shell.to_owned(),
            };
            for path in [shell, &other] {
                if !text.lines().any(|l| l == path) {
                    text += &format!("{path}\n");
                }
            }
        }
    }
    root.write_new("etc/shells", text, 0o644)
}

fn readline_common(root: &mut TreeEditor) -> Result<(), Error> {
    root.copy_new("usr/share/readline/inputrc", "etc/inputrc", 0o644)
}

fn netbase(root: &mut TreeEditor) -> Result<(), Error> {
    if root.exists("etc/protocols") {
        root.write_new("etc/networks", "default\t\t0.0.0.0\nloopback\t127.0.0.0\nlink-local\t169.254.0.0\n\n", 0o644)?;
    }
    Ok(())
}

/// libwrap0: empty lists mean no restriction; only comments are lost.
fn libwrap(root: &mut TreeEditor) -> Result<(), Error> {
    if super::library(root, "libwrap.so.0") {
        root.write_new(
            "etc/hosts.allow",
            "# /etc/hosts.allow: hosts that may use services; see hosts_access(5).\n",
            0o644,
        )?;
        root.write_new("etc/hosts.deny", "# /etc/hosts.deny: hosts that may not; see hosts_access(5).\n", 0o644)?;
    }
    Ok(())
}

fn libpam_modules(root: &mut TreeEditor) -> Result<(), Error> {
    if root.exists("etc/security") {
        root.write_new("etc/security/opasswd", "", 0o600)?;
        root.write_new("etc/environment", "", 0o644)?;
    }
    Ok(())
}

fn openssl(root: &mut TreeEditor) -> Result<(), Error> {
    if root.exists("usr/bin/openssl") && !root.exists("usr/lib/ssl") {
        root.symlink("/etc/ssl", "usr/lib/ssl")?;
    }
    Ok(())
}

/// Places for systemd's state. `/var/log/journal` is left out on purpose: journald keeps its journal in `/run` as long as
/// that folder is missing, and on the data partition once the recipe makes it a state path.
fn systemd(root: &mut TreeEditor) -> Result<(), Error> {
    if root.exists("usr/lib/systemd/systemd") {
        root.dir("var/lib/systemd", 0o755, 0, 0)?;
        // A file, so that it can be a state path: what is missing becomes a folder there.
        root.write_new("var/lib/systemd/random-seed", "", 0o600)?;
    }
    Ok(())
}
