//! Archives made by hand, so that a test can make each mistake on purpose.
#![allow(dead_code)] // each test file uses some of it

use std::path::{Path, PathBuf};

use fruit_debian::index::Priority;
use fruit_debian::resolve::Reason;
use fruit_debian::{LockedPackage, Mirrors, Sha256, Silent, Store};
use fruit_image::tree::Tree;

/// One header and its data, as the format has them; every field may lie.
#[derive(Clone)]
pub struct TarEntry {
    pub name: Vec<u8>,
    pub kind: u8,
    pub mode: u32,
    pub uid: u32,
    pub gid: u32,
    pub mtime: u64,
    pub link: Vec<u8>,
    pub data: Vec<u8>,
    /// What the header claims, if not the truth.
    pub claimed: Option<u64>,
    pub device: (u32, u32),
}

pub fn entry(kind: u8, name: &str) -> TarEntry {
    TarEntry {
        name: name.into(),
        kind,
        mode: 0o644,
        uid: 0,
        gid: 0,
        mtime: 1_700_000_000,
        link: Vec::new(),
        data: Vec::new(),
        claimed: None,
        device: (0, 0),
    }
}

pub fn dir(name: &str) -> TarEntry {
    TarEntry { mode: 0o755, ..entry(b'5', name) }
}

pub fn file(name: &str, data: &str) -> TarEntry {
    TarEntry { data: data.into(), ..entry(b'0', name) }
}

pub fn symlink(name: &str, target: &str) -> TarEntry {
    TarEntry { link: target.into(), mode: 0o777, ..entry(b'2', name) }
}

pub fn hard_link(name: &str, target: &str) -> TarEntry {
    TarEntry { link: target.into(), ..entry(b'1', name) }
}

pub fn pax(records: &[(&str, &[u8])]) -> TarEntry {
    let mut data = Vec::new();
    for (key, value) in records {
        let rest = key.len() + value.len() + 3;
        let mut length = rest + 1;
        while length.to_string().len() + rest != length {
            length = length.to_string().len() + rest;
        }
        data.extend(format!("{length} {key}=").bytes());
        data.extend(*value);
        data.push(b'\n');
    }
    TarEntry { data, ..entry(b'x', "PaxHeader") }
}

pub fn gnu_long(kind: u8, text: &str) -> TarEntry {
    let mut data = text.as_bytes().to_vec();
    data.push(0);
    TarEntry { data, ..entry(kind, "././@LongLink") }
}

impl TarEntry {
    pub fn bytes(&self) -> Vec<u8> {
        let mut block = vec![0u8; 512];
        let mut put = |at: usize, bytes: &[u8]| block[at..at + bytes.len()].copy_from_slice(bytes);
        put(0, &self.name[..self.name.len().min(100)]);
        put(100, format!("{:07o}", self.mode).as_bytes());
        put(108, format!("{:07o}", self.uid).as_bytes());
        put(116, format!("{:07o}", self.gid).as_bytes());
        put(124, format!("{:011o}", self.claimed.unwrap_or(self.data.len() as u64)).as_bytes());
        put(136, format!("{:011o}", self.mtime).as_bytes());
        put(148, b"        ");
        put(156, &[self.kind]);
        put(157, &self.link[..self.link.len().min(100)]);
        put(257, b"ustar  \0");
        put(329, format!("{:07o}", self.device.0).as_bytes());
        put(337, format!("{:07o}", self.device.1).as_bytes());
        let sum: u32 = block.iter().map(|b| u32::from(*b)).sum();
        block[148..156].copy_from_slice(format!("{sum:06o}\0 ").as_bytes());
        block.extend(&self.data);
        block.resize(block.len().next_multiple_of(512), 0);
        block
    }
}

pub fn tar(entries: &[TarEntry]) -> Vec<u8> {
    let mut bytes: Vec<u8> = entries.iter().flat_map(TarEntry::bytes).collect();
    bytes.resize((bytes.len() + 1024).next_multiple_of(10240), 0);
    bytes
}

pub fn member(name: &str, data: &[u8]) -> Vec<u8> {
    let mut bytes = format!("{name:<16}{:<12}{:<6}{:<6}{:<8}{:<10}`\n", 0, 0, 0, 100_644, data.len()).into_bytes();
    bytes.extend(data);
    if data.len() % 2 == 1 {
        bytes.push(b'\n');
    }
    bytes
}

pub fn ar(members: &[Vec<u8>]) -> Vec<u8> {
    [b"!<arch>\n".to_vec(), members.concat()].concat()
}

pub fn control(name: &str, more: &str) -> Vec<u8> {
    let text = format!("Package: {name}\nVersion: 1.0\nArchitecture: arm64\nMaintainer: x\nDescription: y\n{more}");
    tar(&[dir("./"), file("./control", &text)])
}

/// A .deb whose data.tar has these entries.
pub fn deb(name: &str, more: &str, entries: &[TarEntry]) -> Vec<u8> {
    deb_of(&control(name, more), &tar(entries))
}

pub fn deb_of(control: &[u8], data: &[u8]) -> Vec<u8> {
    ar(&[member("debian-binary", b"2.0\n"), member("control.tar", control), member("data.tar", data)])
}

/// A mirror in a folder, and a store that uses it.
pub struct Bench {
    pub dir: tempfile::TempDir,
    pub store: Store,
    pub mirrors: Mirrors,
}

impl Bench {
    pub fn new() -> Bench {
        let dir = tempfile::tempdir().unwrap();
        std::fs::create_dir(dir.path().join("mirror")).unwrap();
        let store = Store::open(&dir.path().join("store"), false).unwrap();
        let mut mirrors = Mirrors::none();
        mirrors.set("debian", &format!("file://{}", dir.path().join("mirror").display())).unwrap();
        Bench { dir, store, mirrors }
    }

    pub fn mirror(&self) -> PathBuf {
        self.dir.path().join("mirror")
    }

    /// Puts a package on the mirror.
    pub fn offer(&self, name: &str, deb: &[u8]) -> LockedPackage {
        offer(&self.mirror(), name, deb)
    }

    pub fn unpack(&self, packages: &[LockedPackage]) -> fruit_debian::Result<Tree> {
        self.store.ensure(packages, &self.mirrors, &Silent)?;
        let none = fruit_debian::Diversions::default();
        fruit_debian::unpack_all(&self.store, "arm64", packages, &none, 0, &Silent).map(|(tree, _)| tree)
    }

    /// Unpacks one package of these entries.
    pub fn unpack_entries(&self, entries: &[TarEntry]) -> fruit_debian::Result<Tree> {
        self.unpack(&[self.offer("crafted", &deb("crafted", "", entries))])
    }
}

pub fn offer(mirror: &Path, name: &str, deb: &[u8]) -> LockedPackage {
    let path = format!("{name}.deb");
    std::fs::write(mirror.join(&path), deb).unwrap();
    LockedPackage {
        name: name.to_owned(),
        version: "1.0".parse().unwrap(),
        architecture: "arm64".to_owned(),
        archive: "debian".to_owned(),
        path,
        size: deb.len() as u64,
        sha256: Sha256::of(deb),
        sha512: None,
        section: String::new(),
        priority: Priority::Optional,
        reason: Reason::Requested,
    }
}
