//! The bundle of certificate authorities.

use std::collections::BTreeMap;

use fruit_image::tree::{Kind, Tree};

use crate::Error;
use crate::edit::TreeEditor;

const STORE: &str = "usr/share/ca-certificates";
/// Where a person puts authorities of their own.
pub const LOCAL: &str = "usr/local/share/ca-certificates";
const BUNDLE: &str = "etc/ssl/certs/ca-certificates.crt";

/// update-ca-certificates: `/etc/ssl/certs/ca-certificates.crt` holds every enabled certificate, in the order of
/// `/etc/ca-certificates.conf` (byte order of the paths) and then local ones. The per-certificate links, which only
/// OpenSSL's directory lookup uses, are made by name; their hash names need OpenSSL and are left out, since every
/// OpenSSL program reads the bundle first.
pub(crate) fn bundle(root: &mut TreeEditor) -> Result<(), Error> {
    let mut found = BTreeMap::new();
    for dir in [STORE, LOCAL] {
        for (path, _, inode) in root.tree.below(dir) {
            if path.ends_with(".crt") && matches!(inode.kind, Kind::File(_)) {
                found.insert((dir != STORE, path.to_owned()), ());
            }
        }
    }
    if found.is_empty() {
        return Ok(());
    }
    root.dir(LOCAL, 0o755, 0, 0)?;
    let mut bundle = String::new();
    let mut conf = String::new();
    for (_, path) in found.keys() {
        let text = root.text(path)?.unwrap_or_default();
        if path.starts_with(LOCAL) && !text.contains("-----BEGIN CERTIFICATE-----") {
            let what = "is no certificate in PEM form; convert it: openssl x509 -inform der -in FILE -out FILE.crt";
            return Err(Error::Invalid { path: format!("/{path}"), what: what.to_owned() });
        }
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
    root.write(BUNDLE, bundle, 0o644)
}

/// Makes the bundle of `tree` anew after overlays that brought `paths`, if an authority is among them. A bundle that an
/// overlay brings itself stays as it is.
///
/// # Errors
/// A local authority that is not in PEM form.
pub fn after_overlays(tree: &mut Tree, paths: &[String], epoch: i64) -> Result<(), Error> {
    let authority = |path: &String| path.ends_with(".crt") && (path.starts_with(LOCAL) || path.starts_with(STORE));
    if !paths.iter().any(authority) || paths.iter().any(|path| path == BUNDLE) {
        return Ok(());
    }
    bundle(&mut TreeEditor::new(tree, epoch))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn pem(name: &str) -> String {
        format!("-----BEGIN CERTIFICATE-----\n{name}\n-----END CERTIFICATE-----\n")
    }

    #[test]
    fn an_authority_that_an_overlay_brings_is_in_the_bundle() {
        let mut tree = Tree::new(0);
        let mut root = TreeEditor::new(&mut tree, 0);
        root.write(&format!("{STORE}/mozilla/A.crt"), pem("public"), 0o644).unwrap();
        bundle(&mut root).unwrap();
        let own = format!("{LOCAL}/fleet.crt");
        root.write(&own, pem("fleet"), 0o644).unwrap();
        after_overlays(&mut tree, &["etc/motd".to_owned()], 0).unwrap();
        let text = |tree: &mut Tree| TreeEditor::new(tree, 0).text(BUNDLE).unwrap().unwrap();
        assert!(!text(&mut tree).contains("fleet"));
        after_overlays(&mut tree, std::slice::from_ref(&own), 0).unwrap();
        assert_eq!(text(&mut tree), pem("public") + &pem("fleet"));
        assert!(tree.contains("etc/ssl/certs/fleet.pem"));
        // Who brings a bundle has said what is in it.
        TreeEditor::new(&mut tree, 0).write(BUNDLE, "mine", 0o644).unwrap();
        after_overlays(&mut tree, &[own.clone(), BUNDLE.to_owned()], 0).unwrap();
        assert_eq!(text(&mut tree), "mine");
        TreeEditor::new(&mut tree, 0).write(&own, "0\u{1}DER", 0o644).unwrap();
        let error = after_overlays(&mut tree, &[own], 0).unwrap_err().to_string();
        assert!(error.contains("fleet.crt") && error.contains("openssl x509"), "{error}");
    }
}
