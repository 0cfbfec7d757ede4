//! Who and where the machine is: host name, name resolution, time zone, locale, machine id, file systems, release.

use crate::Error;
use crate::edit::TreeEditor;
use crate::error::candidates;

/// What a recipe says about the identity of its nodes.
#[derive(Clone, Debug, Default)]
pub struct Identity {
    /// Static host name until fruit-init sets the node's own; placeholders are not for here.
    pub hostname: String,
    /// Name in the tz database, `Europe/Berlin`; empty means UTC.
    pub timezone: String,
    /// `LANG`, such as `C.UTF-8` or `de_DE.UTF-8`; empty means `C.UTF-8`.
    pub locale: String,
    /// os-release(5) fields.
    pub release: Release,
}

/// Fields added to os-release(5).
#[derive(Clone, Debug, Default)]
pub struct Release {
    pub image_id: String,
    pub image_version: String,
    pub variant: String,
    pub variant_id: String,
    pub build_id: String,
}

pub(crate) fn apply(root: &mut TreeEditor, identity: &Identity) -> Result<(), Error> {
    names(root, &identity.hostname)?;
    resolver(root)?;
    timezone(root, &identity.timezone)?;
    locale(root, &identity.locale)?;
    // fruit-init and the initramfs mount everything; systemd would complain of a missing file.
    root.write_new(
        "etc/fstab",
        "# Mounted by fruit-init: /, /boot/firmware, the data partition and the state paths.\n",
        0o644,
    )?;
    // Empty, so that fruit-init's bind mount has a place; it writes the node's stable id before systemd starts.
    root.write("etc/machine-id", "", 0o444)?;
    os_release(root, &identity.release)
}

fn names(root: &mut TreeEditor, hostname: &str) -> Result<(), Error> {
    let hostname = if hostname.is_empty() { "fruit" } else { hostname };
    root.write("etc/hostname", format!("{hostname}\n"), 0o644)?;
    let hosts = format!(
        "127.0.0.1\tlocalhost\n127.0.1.1\t{hostname}\n::1\t\tlocalhost ip6-localhost ip6-loopback\nff02::1\t\tip6-allnodes\nff02::2\t\tip6-allrouters\n"
    );
    root.write("etc/hosts", hosts, 0o644)
}

/// systemd-resolved's stub file, where it is installed; else a link to what fruit-init or a DHCP client writes.
fn resolver(root: &mut TreeEditor) -> Result<(), Error> {
    if root.exists("usr/lib/systemd/systemd-resolved") {
        root.symlink("../run/systemd/resolve/stub-resolv.conf", "etc/resolv.conf")
    } else {
        root.symlink("../run/resolv.conf", "etc/resolv.conf")
    }
}

fn timezone(root: &mut TreeEditor, zone: &str) -> Result<(), Error> {
    let zone = if zone.is_empty() { "Etc/UTC" } else { zone };
    let path = format!("usr/share/zoneinfo/{zone}");
    if root.exists("usr/share/zoneinfo") && !root.exists(&path) {
        let known: Vec<String> = root
            .tree
            .below("usr/share/zoneinfo")
            .filter(|(.., inode)| !inode.is_dir())
            .filter_map(|(p, ..)| p.strip_prefix("usr/share/zoneinfo/").map(str::to_owned))
            .collect();
        let candidates = candidates(zone, known.iter().map(String::as_str));
        return Err(Error::UnknownTimeZone { zone: zone.to_owned(), candidates });
    }
    root.symlink(&format!("/{path}"), "etc/localtime")
}

fn locale(root: &mut TreeEditor, locale: &str) -> Result<(), Error> {
    let locale = if locale.is_empty() { "C.UTF-8" } else { locale };
    root.write("etc/locale.conf", format!("LANG={locale}\n"), 0o644)?;
    root.symlink("../locale.conf", "etc/default/locale")
}

/// os-release with the image's own fields in place of any that the distribution set. `/usr/lib/os-release` stays the
/// distribution's; `/etc/os-release` becomes a file, as os-release(5) allows.
fn os_release(root: &mut TreeEditor, release: &Release) -> Result<(), Error> {
    let fields = [
        ("IMAGE_ID", &release.image_id),
        ("IMAGE_VERSION", &release.image_version),
        ("VARIANT", &release.variant),
        ("VARIANT_ID", &release.variant_id),
        ("BUILD_ID", &release.build_id),
    ];
    let set: Vec<_> = fields.iter().filter(|(_, value)| !value.is_empty()).collect();
    if set.is_empty() {
        return Ok(());
    }
    let base = root.text("usr/lib/os-release")?.unwrap_or_default();
    let mut text = String::new();
    for line in base.lines() {
        if !set.iter().any(|(name, _)| line.split_once('=').is_some_and(|(key, _)| key == *name)) {
            text += &format!("{line}\n");
        }
    }
    for (name, value) in set {
        text += &format!("{name}={}\n", quoted(value));
    }
    root.write("etc/os-release", text, 0o644)
}

/// os-release(5): values with anything but letters, digits and a few signs go into double quotes, with the shell's
/// special characters escaped.
fn quoted(value: &str) -> String {
    if value.chars().all(|c| c.is_ascii_alphanumeric() || "._-+~".contains(c)) {
        return value.to_owned();
    }
    let mut out = String::from("\"");
    for c in value.chars().filter(|c| !c.is_control()) {
        if matches!(c, '"' | '$' | '`' | '\\') {
            out.push('\\');
        }
        out.push(c);
    }
    out + "\""
}

#[cfg(test)]
mod tests {
    use super::*;
    use fruit_image::tree::Tree;

    #[test]
    fn os_release_carries_the_image_and_keeps_the_distribution() {
        let mut tree = Tree::new(0);
        let mut root = TreeEditor::new(&mut tree, 0);
        root.write("usr/lib/os-release", "ID=debian\nVERSION_ID=\"13\"\nBUILD_ID=old\n", 0o644).unwrap();
        let release = Release {
            image_id: "pistack".into(),
            variant: "Pi \"Stack\"".into(),
            build_id: "b1".into(),
            ..Release::default()
        };
        os_release(&mut root, &release).unwrap();
        let text = root.text("etc/os-release").unwrap().unwrap();
        assert_eq!(text, "ID=debian\nVERSION_ID=\"13\"\nIMAGE_ID=pistack\nVARIANT=\"Pi \\\"Stack\\\"\"\nBUILD_ID=b1\n");
    }

    #[test]
    fn an_unknown_time_zone_is_refused_with_what_it_may_mean() {
        let mut tree = Tree::new(0);
        let mut root = TreeEditor::new(&mut tree, 0);
        root.write("usr/share/zoneinfo/Europe/Berlin", "TZif", 0o644).unwrap();
        let error = timezone(&mut root, "Europe/Berlinn").unwrap_err().to_string();
        assert!(error.contains("did you mean Europe/Berlin?"), "{error}");
    }
}
