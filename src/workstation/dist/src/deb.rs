//! A Debian package: an `ar` archive of the format's version, control files and files (deb(5)).

use fruitbuild::failure::Failure;

use crate::Host;
use crate::archive::tar_gz;
use crate::source::Source;
use crate::stage::{File, Files};

/// The package of a host's files.
///
/// # Errors
/// Paths that tar cannot hold.
pub fn package(source: &Source, host: Host, files: &Files) -> Result<Vec<u8>, Failure> {
    let installed: Files = files.iter().map(|(path, file)| (format!("usr/{path}"), file.clone())).collect();
    let kib: usize = installed.values().map(|file| file.bytes.len().div_ceil(1024)).sum();
    let control = format!(
        "Package: fruitbuild\n\
         Version: {}\n\
         Architecture: {}\n\
         Maintainer: fruitbuild maintainers <fruitbuild@localhost.invalid>\n\
         Installed-Size: {kib}\n\
         Recommends: ca-certificates\n\
         Suggests: qemu-system-arm, qemu-system-x86\n\
         Section: admin\n\
         Priority: optional\n\
         Description: lean A/B images and signed updates for clusters of small boards\n \
         Builds read-only card images for Raspberry Pis and other boards from Debian\n \
         packages, without root, and releases and deltas for nodes that update\n \
         themselves and fall back when an update is bad.\n",
        source.version,
        host.debian(),
    );
    let control = Files::from([("control".to_owned(), File::plain(control.into_bytes()))]);
    let mut ar = b"!<arch>\n".to_vec();
    member(&mut ar, "debian-binary", b"2.0\n", source.epoch);
    member(&mut ar, "control.tar.gz", &tar_gz(".", &control, source.epoch)?, source.epoch);
    member(&mut ar, "data.tar.gz", &tar_gz(".", &installed, source.epoch)?, source.epoch);
    Ok(ar)
}

/// Name, time, owner, group, mode, size, end of the head; data is padded to an even length.
fn member(ar: &mut Vec<u8>, name: &str, bytes: &[u8], epoch: u64) {
    ar.extend(format!("{name:<16}{epoch:<12}{:<6}{:<6}{:<8}{:<10}`\n", 0, 0, "100644", bytes.len()).bytes());
    ar.extend(bytes);
    if bytes.len() % 2 == 1 {
        ar.push(b'\n');
    }
}
