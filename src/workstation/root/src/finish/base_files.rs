use super::accounts::Accounts;
use crate::Error;
use crate::edit::TreeEditor;

/// base-files' postinst: default files from their templates, empty directories of the FHS, compatibility links.
pub(crate) fn apply(root: &mut TreeEditor, accounts: &Accounts) -> Result<(), Error> {
    for (template, path) in [
        ("dot.profile", "root/.profile"),
        ("dot.bashrc", "root/.bashrc"),
        ("profile", "etc/profile"),
        ("motd", "etc/motd"),
    ] {
        root.copy_new(&format!("usr/share/base-files/{template}"), path, 0o644)?;
    }
    for dir in ["mnt", "srv", "opt", "etc/opt", "var/opt", "media", "proc", "sys", "dev", "run", "boot", "home"] {
        root.dir(dir, 0o755, 0, 0)?;
    }
    root.dir("root", 0o700, 0, 0)?;
    root.dir("tmp", 0o1777, 0, 0)?;
    root.dir("var/tmp", 0o1777, 0, 0)?;
    root.dir("var/mail", 0o2775, 0, accounts.gid("mail").unwrap_or(0))?;
    if !root.exists("var/spool/mail") {
        root.symlink("../mail", "var/spool/mail")?;
    }
    link_dir(root, "var/run", "/run")?;
    link_dir(root, "var/lock", "/run/lock")?;
    for dir in ["", "/share", "/share/man", "/bin", "/games", "/lib", "/libexec", "/include", "/sbin", "/src", "/etc"] {
        root.dir(&format!("usr/local{dir}"), 0o755, 0, 0)?;
    }
    root.symlink("share/man", "usr/local/man")?;
    let utmp = accounts.gid("utmp").unwrap_or(0);
    for (log, mode) in [("wtmp", 0o664), ("btmp", 0o660), ("lastlog", 0o664)] {
        let path = format!("var/log/{log}");
        if !root.exists(&path) {
            root.write_owned(&path, "", mode, 0, utmp)?;
        }
    }
    if root.exists("etc/dpkg/origins/debian") {
        root.symlink("debian", "etc/dpkg/origins/default")?;
    }
    if root.exists("usr/share/base-files/info.dir") && root.exists("usr/share/info") {
        root.copy_new("usr/share/base-files/info.dir", "usr/share/info/dir", 0o644)?;
    }
    Ok(())
}

/// Replaces an (empty) directory by a link.
fn link_dir(root: &mut TreeEditor, path: &str, target: &str) -> Result<(), Error> {
    root.tree.remove(path);
    root.symlink(target, path)
}
