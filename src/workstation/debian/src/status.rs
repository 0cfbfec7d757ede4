//! Package records of an image without dpkg: `/var/lib/dpkg/status.d/NAME` and `NAME.md5sums`, where scanners of
//! images look (the layout that distroless images introduced).

use crate::package::Control;

/// The record of an installed package: its control file with a Status field, one paragraph.
pub fn status_stanza(control: &Control) -> String {
    let mut paragraph = control.paragraph.clone();
    paragraph.set("Status", "install ok installed", "Package");
    paragraph.to_string()
}

/// Names (below `/var/lib/dpkg/status.d`) and contents of a package's record files.
pub fn record_files(control: &Control) -> Vec<(String, Vec<u8>)> {
    let name = control.name();
    let mut files = vec![(name.to_owned(), status_stanza(control).into_bytes())];
    if let Some(md5sums) = &control.md5sums {
        files.push((format!("{name}.md5sums"), md5sums.clone()));
    }
    files
}
