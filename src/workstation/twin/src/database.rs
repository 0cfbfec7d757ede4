//! dpkg's database (dpkg(1), FILES) of a root in which all packages are unpacked and none is configured.

use std::collections::{BTreeMap, BTreeSet};
use std::fmt::Write as _;

use fruit_debian::control::Paragraph;
use fruit_debian::package::Control;
use fruit_debian::unpack::dependency_order;
use fruit_debian::{LockedTwin, PackageContents};
use fruit_image::tree::{Inode, Kind, Tree};
use fruit_root::scripts::Diversion;
use md5::{Digest, Md5};

use crate::error::Error;
use crate::resolve::SUPPLIED;

pub(crate) const DIR: &str = "var/lib/dpkg";

/// The order in which scripts run that come before dpkg's own.
pub(crate) struct Order {
    /// Packages that have a `preinst`, dependencies first.
    pub preinst: Vec<String>,
    pub essential: Vec<String>,
}

/// Writes the database of `packages` into `tree`, in which they are unpacked. Packages of the image that the twin takes for
/// configured are entered as installed, `image` has their control files.
///
/// # Errors
/// A tree in which the database has no place.
pub(crate) fn write(
    tree: &mut Tree,
    packages: &[PackageContents],
    image: &[PackageContents],
    twin: &LockedTwin,
    diversions: &[Diversion],
    epoch: i64,
) -> Result<Order, Error> {
    let mut database = Database { tree, epoch };
    for dir in ["info", "triggers", "updates", "parts", "alternatives"] {
        database.tree.make_dirs(&format!("{DIR}/{dir}"), 0o755, epoch)?;
    }
    database.tree.make_dirs("var/cache/debconf", 0o755, epoch)?;
    let mut status = String::new();
    let mut triggers = Triggers::default();
    for package in packages {
        status += &database.unpacked(package)?;
        triggers.add(&package.control);
    }
    for package in image.iter().filter(|p| twin.configured.contains(&p.name)) {
        status += &database.installed(&package.control, &twin.architecture)?;
    }
    status += &database.supplied(&twin.architecture)?;
    database.file("status", status, 0o644)?;
    database.file("available", "", 0o644)?;
    database.file("statoverride", "", 0o644)?;
    database.file("info/format", "1\n", 0o644)?;
    let lines = diversions.iter().map(|d| {
        let by = if d.by.is_empty() { ":" } else { &d.by };
        format!("{}\n{}\n{by}\n", d.from, d.to)
    });
    database.file("diversions", lines.collect::<String>(), 0o644)?;
    database.file("triggers/File", triggers.files, 0o644)?;
    database.file("triggers/Unincorp", "", 0o644)?;
    for (name, who) in triggers.named {
        database.file(&format!("triggers/{name}"), who, 0o644)?;
    }
    Ok(order(packages))
}

struct Database<'t> {
    tree: &'t mut Tree,
    epoch: i64,
}

impl Database<'_> {
    fn file(&mut self, path: &str, content: impl Into<Vec<u8>>, mode: u16) -> Result<(), Error> {
        self.tree.insert(&format!("{DIR}/{path}"), Inode::file(content.into(), mode, self.epoch))?;
        Ok(())
    }

    /// The files of `info/` and the paragraph of `status`.
    fn unpacked(&mut self, package: &PackageContents) -> Result<String, Error> {
        let control = &package.control;
        let stem = stem(control);
        let list: String = package.paths.iter().filter(|p| !p.is_empty()).map(|path| format!("/{path}\n")).collect();
        self.file(&format!("info/{stem}.list"), format!("/.\n{list}"), 0o644)?;
        for (name, script) in &control.scripts {
            self.file(&format!("info/{stem}.{name}"), script.clone(), 0o755)?;
        }
        let texts = [("templates", &control.templates), ("triggers", &control.triggers)];
        for (name, text) in texts.into_iter().filter_map(|(name, text)| Some((name, text.as_ref()?))) {
            self.file(&format!("info/{stem}.{name}"), text.clone(), 0o644)?;
        }
        // dpkg's audit misses the file where a package brings none.
        self.file(&format!("info/{stem}.md5sums"), control.md5sums.clone().unwrap_or_default(), 0o644)?;
        let mut sums = String::new();
        if !control.conffiles.is_empty() {
            let list: String = control.conffiles.iter().map(|path| format!("/{path}\n")).collect();
            self.file(&format!("info/{stem}.conffiles"), list, 0o644)?;
            for path in &control.conffiles {
                if let Some(sum) = self.md5(path)? {
                    let _ = write!(sums, "\n /{path} {sum}");
                }
            }
        }
        let mut paragraph = control.paragraph.clone();
        paragraph.set("Status", "install ok unpacked", "Package");
        if !sums.is_empty() {
            paragraph.set("Conffiles", sums, "");
        }
        Ok(format!("{paragraph}\n"))
    }

    fn md5(&self, path: &str) -> Result<Option<String>, Error> {
        let Some(Kind::File(content)) = self.tree.resolve(path).ok().and_then(|p| self.tree.get(&p)).map(|i| &i.kind)
        else {
            return Ok(None);
        };
        let bytes = content.to_vec().map_err(|e| Error::Other(format!("/{path}: {e}")))?;
        Ok(Some(fruit_base::hex::encode(&Md5::digest(bytes))))
    }

    fn installed(&mut self, control: &Control, architecture: &str) -> Result<String, Error> {
        let mut paragraph = Paragraph::default();
        // Whatever they need is not looked for.
        let needs = ["Pre-Depends", "Depends", "Conflicts", "Breaks", "Recommends", "Replaces"];
        for (name, value) in control.paragraph.fields().filter(|(name, _)| !needs.contains(name)) {
            paragraph.set(name, value, "");
        }
        paragraph.set("Status", "install ok installed", "Package");
        if control.architecture() != "all" {
            paragraph.set("Architecture", architecture, "Package");
        }
        let stem = if control.paragraph.get("Multi-Arch") == Some("same") {
            format!("{}:{architecture}", control.name())
        } else {
            control.name().to_owned()
        };
        self.file(&format!("info/{stem}.list"), "/.\n", 0o644)?;
        self.file(&format!("info/{stem}.md5sums"), "", 0o644)?;
        Ok(format!("{paragraph}\n"))
    }

    /// A package that stands for those whose work is fruitbuild's.
    fn supplied(&mut self, architecture: &str) -> Result<String, Error> {
        let name = "fruitbuild-supplied";
        self.file(&format!("info/{name}.list"), "/.\n", 0o644)?;
        self.file(&format!("info/{name}.md5sums"), "", 0o644)?;
        let provides = SUPPLIED.map(|name| format!("{name} (= 9999)")).join(", ");
        Ok(format!(
            "Package: {name}\nStatus: install ok installed\nMaintainer: fruitbuild\nArchitecture: {architecture}\nVersion: 1\nProvides: {provides}\nDescription: what the image's builder does itself\n\n"
        ))
    }
}

/// Packages of which several architectures can be installed have it in their files' names.
fn stem(control: &Control) -> String {
    match control.paragraph.get("Multi-Arch") {
        Some("same") => format!("{}:{}", control.name(), control.architecture()),
        _ => control.name().to_owned(),
    }
}

/// Who wants to be told of what (deb-triggers(5)).
#[derive(Default)]
struct Triggers {
    files: String,
    named: BTreeMap<String, String>,
}

impl Triggers {
    fn add(&mut self, control: &Control) {
        for line in control.triggers.as_deref().unwrap_or_default().lines() {
            let line = line.split('#').next().unwrap_or_default();
            let words: Vec<&str> = line.split_whitespace().collect();
            let [verb @ ("interest" | "interest-await" | "interest-noawait"), name] = words.as_slice() else {
                continue;
            };
            let who = format!("{}{}", stem(control), if *verb == "interest-noawait" { "/noawait" } else { "" });
            if name.starts_with('/') {
                let _ = writeln!(self.files, "{name} {who}");
            } else if !name.contains('/') && !name.starts_with('.') {
                let _ = writeln!(self.named.entry((*name).to_owned()).or_default(), "{who}");
            }
        }
    }
}

fn order(packages: &[PackageContents]) -> Order {
    let controls: Vec<&Control> = packages.iter().map(|p| &p.control).collect();
    let is_essential = |control: &&Control| control.paragraph.get("Essential") == Some("yes");
    let essential: BTreeSet<&str> = controls.iter().copied().filter(|c| is_essential(c)).map(Control::name).collect();
    let mut all: Vec<&Control> = dependency_order(&controls).into_iter().map(|number| controls[number]).collect();
    all.sort_by_key(|control| match control.name() {
        "base-passwd" => 0,
        "base-files" => 1,
        name if essential.contains(name) => 2,
        _ => 3,
    });
    let names = |wanted: &dyn Fn(&Control) -> bool| {
        all.iter().filter(|control| wanted(control)).map(|control| control.name().to_owned()).collect()
    };
    Order {
        preinst: names(&|control| control.scripts.contains_key("preinst")),
        essential: names(&|control| essential.contains(control.name())),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn package(control: &str, triggers: Option<&str>) -> PackageContents {
        let paragraph = Paragraph::parse_one(control.as_bytes(), "t").unwrap();
        let control = Control {
            paragraph,
            triggers: triggers.map(str::to_owned),
            conffiles: vec!["etc/a".into(), "etc/gone".into()],
            scripts: [("preinst".to_owned(), b"#!/bin/sh\n".to_vec())].into(),
            ..Control::default()
        };
        PackageContents {
            name: control.name().to_owned(),
            version: control.version().to_owned(),
            architecture: control.architecture().to_owned(),
            control,
            paths: vec!["etc".into(), "etc/a".into()],
            bytes: 0,
        }
    }

    #[test]
    fn every_package_is_unpacked_and_what_is_not_run_is_installed() {
        let mut tree = Tree::new(0);
        tree.make_dirs("etc", 0o755, 0).unwrap();
        tree.insert("etc/a", Inode::file("x", 0o644, 0)).unwrap();
        let text = "Package: a\nVersion: 1\nArchitecture: amd64\nMulti-Arch: same\nEssential: yes\n";
        let one = package(text, Some("# x\ninterest-noawait /usr/lib/x\ninterest ldconfig\nactivate y\n"));
        let kernel = package("Package: linux-image-1\nVersion: 1\nArchitecture: arm64\nDepends: kmod\n", None);
        let twin = LockedTwin {
            architecture: "amd64".into(),
            packages: Vec::new(),
            tools: Vec::new(),
            configured: vec!["linux-image-1".into()],
        };
        let diversion = Diversion { by: "a".into(), from: "/x".into(), to: "/y".into() };
        let order = write(&mut tree, &[one], &[kernel], &twin, &[diversion], 0).unwrap();
        assert_eq!((order.preinst.as_slice(), order.essential.as_slice()), (&["a".into()][..], &["a".into()][..]));
        let text = |path: &str| String::from_utf8(tree.read(&format!("{DIR}/{path}")).unwrap()).unwrap();
        let status = text("status");
        assert!(status.contains("Package: a\nStatus: install ok unpacked\n"), "{status}");
        assert!(status.contains("Conffiles:\n /etc/a 9dd4e461268c8034f5c8564e155c67a6\n"), "{status}");
        assert!(
            status.contains("Status: install ok installed\nArchitecture: amd64\n") || status.contains("linux-image-1")
        );
        assert!(!status.contains("kmod"), "{status}");
        assert_eq!(text("info/a:amd64.list"), "/.\n/etc\n/etc/a\n");
        assert_eq!(text("triggers/File"), "/usr/lib/x a:amd64/noawait\n");
        assert_eq!(text("triggers/ldconfig"), "a:amd64\n");
        assert_eq!(text("diversions"), "/x\n/y\na\n");
        assert_eq!(tree.get(&format!("{DIR}/info/a:amd64.preinst")).unwrap().meta.mode, 0o755);
    }
}
