use std::collections::BTreeMap;

use fruit_image::tree::Kind;

use crate::Error;
use crate::edit::Root;

const STORE: &str = "usr/share/ca-certificates";

/// update-ca-certificates: `/etc/ssl/certs/ca-certificates.crt` holds every enabled certificate, in the order of
/// `/etc/ca-certificates.conf` (byte order of the paths) and then local ones. The per-certificate links, which only
/// OpenSSL's directory lookup uses, are made by name; their hash names need OpenSSL and are left out, since every
/// OpenSSL program reads the bundle first.
pub(crate) fn bundle(root: &mut Root) -> Result<(), Error> {
    let mut found = BTreeMap::new();
    for dir in [STORE, "usr/local/share/ca-certificates"] {
        for (path, _, inode) in root.tree.below(dir) {
            if path.ends_with(".crt") && matches!(inode.kind, Kind::File(_)) {
                found.insert((dir != STORE, path.to_owned()), ());
            }
        }
    }
    if found.is_empty() {
        return Ok(());
    }
    root.dir("usr/local/share/ca-certificates", 0o755, 0, 0)?;
    let mut bundle = String::new();
    let mut conf = String::new();
    for (_, path) in found.keys() {
        let text = root.text(path)?.unwrap_or_default();
        bundle += text.trim_end_matches('\n');
        bundle.push('\n');
        let name = path.rsplit('/').next().unwrap_or(path).replace([' ', ','], "_").replace(['(', ')'], "=");
        let name = name.trim_end_matches(".crt");
        root.symlink(&format!("/{path}"), &format!("etc/ssl/certs/{name}.pem"))?;
        if let Some(listed) = path.strip_prefix(&format!("{STORE}/")) {
            conf += &format!("{listed}\n");
        }
    }
    root.write_new("etc/ca-certificates.conf", conf, 0o644)?;
    root.write("etc/ssl/certs/ca-certificates.crt", bundle, 0o644)
}
