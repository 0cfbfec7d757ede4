//! Records of the installed packages where scanners of images look for them: `/var/lib/dpkg/status.d`, one file per
//! package, as in images without a package manager.

use fruit_image::tree::Tree;

use crate::Error;
use crate::edit::TreeEditor;

/// One package's record.
#[derive(Clone, Debug)]
pub struct Record {
    pub name: String,
    /// The binary package's control paragraph.
    pub control: String,
    /// The control member `md5sums`, if the package has one.
    pub md5sums: Option<String>,
}

/// Writes the records.
///
/// # Errors
/// A package name that is no file name.
pub fn write(tree: &mut Tree, records: &[Record], epoch: i64) -> Result<(), Error> {
    let mut root = TreeEditor::new(tree, epoch);
    for record in records {
        let legal = |c: char| c.is_ascii_alphanumeric() || "+-.:".contains(c);
        if record.name.is_empty() || record.name.starts_with('.') || !record.name.chars().all(legal) {
            let what = format!("{:?} is not a package name", record.name);
            return Err(Error::Invalid { path: "var/lib/dpkg/status.d".to_owned(), what });
        }
        let path = format!("var/lib/dpkg/status.d/{}", record.name);
        root.write(&path, format!("{}\n", record.control.trim_end()), 0o644)?;
        if let Some(sums) = &record.md5sums {
            root.write(&format!("{path}.md5sums"), sums.clone(), 0o644)?;
        }
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_package_has_its_record_and_sums() {
        let mut tree = Tree::new(0);
        let record = Record {
            name: "bash".into(),
            control: "Package: bash\nVersion: 5\n\n".into(),
            md5sums: Some("0  bin/bash\n".into()),
        };
        write(&mut tree, &[record], 1).unwrap();
        assert_eq!(tree.read("var/lib/dpkg/status.d/bash").unwrap(), b"Package: bash\nVersion: 5\n");
        assert_eq!(tree.read("var/lib/dpkg/status.d/bash.md5sums").unwrap(), b"0  bin/bash\n");
        let bad = Record { name: "../etc".into(), control: String::new(), md5sums: None };
        assert!(write(&mut tree, &[bad], 1).is_err());
    }
}
