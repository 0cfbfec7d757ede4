//! Odd repositories and packages as they are found in the wild: what apt and dpkg say of them, beside what we do. Where the two
//! differ the table says why. Repositories are made here and signed by GnuPG; apt runs in a folder of its own.

use std::fs;
use std::path::{Path, PathBuf};
use std::process::{Command, Output, Stdio};
use std::sync::{Arc, Mutex};
use std::time::{SystemTime, UNIX_EPOCH};

use crate::craft;
use crate::craft::{TarEntry, ar, control, dir, file, member, tar};
use fruit_debian::package::read_deb;
use fruit_debian::{
    Diversions, Keyring, Lock, Mirrors, Progress, Repository, Request, Sha256, Store, Universe, unpack_all,
};

/// A program that the test cannot do without, and the Debian package that brings it.
fn tool(program: &str, package: &str) -> Command {
    let found = std::env::split_paths(&std::env::var_os("PATH").unwrap_or_default()).any(|d| d.join(program).is_file());
    assert!(found, "{program} is missing; install the Debian package {package} (or run: fruitbuild setup --tests)");
    Command::new(program)
}

fn succeed(command: &mut Command) -> Output {
    let output = command.output().unwrap();
    assert!(output.status.success(), "{command:?}: {}", String::from_utf8_lossy(&output.stderr));
    output
}

/// What becomes of the sound package `good` and of the package `odd` of the same repository.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
enum Verdict {
    /// Both can be had.
    Taken,
    /// `good` can be had, `odd` cannot.
    LeftOut,
    /// Nothing can be had.
    Refused,
}
use Verdict::{LeftOut, Refused, Taken};

/// One odd repository.
struct Row {
    name: &'static str,
    make: fn(&mut TestRepository),
    apt: Verdict,
    ours: Verdict,
    /// Part of what we say of it, on the way or in the end.
    says: &'static str,
    /// Why our verdict is another than apt's; empty where it is not.
    why: &'static str,
}

const fn row(name: &'static str, make: fn(&mut TestRepository), both: Verdict, says: &'static str) -> Row {
    Row { name, make, apt: both, ours: both, says, why: "" }
}

const fn differs(mut row: Row, ours: Verdict, why: &'static str) -> Row {
    row.ours = ours;
    row.why = why;
    row
}

const ONE_ENTRY: &str = "what is wrong with an entry costs no other one";

fn rows() -> Vec<Row> {
    vec![
        row("nothing odd", |_| {}, Taken, ""),
        // Entries.
        row("entry with MD5 only", |s| s.odd_entry("SHA256", "MD5sum"), LeftOut, "\"odd\" (has no SHA256)"),
        row("entry with SHA512 only", |s| s.odd_sha512(""), Taken, ""),
        row(
            "entry with SHA512, and a SHA256 that is none",
            |s| s.odd_sha512("SHA256: 00"),
            LeftOut,
            "is not a SHA-256",
        ),
        differs(
            row(
                "entry with SHA512, and an MD5 of another file",
                |s| s.odd_sha512("MD5sum: d41d8cd98f00b204e9800998ecf8427e"),
                LeftOut,
                "",
            ),
            Taken,
            "MD5 proves nothing, and is not looked at",
        ),
        row(
            "entry with a SHA512 that is another file's",
            |s| s.odd_entry("SHA256: ", &format!("SHA512: {}\nSHA1: ", "5".repeat(128))),
            LeftOut,
            "SHA-512: expected 5555",
        ),
        row(
            "entry with a SHA512 that is cut short",
            |s| s.odd_entry("SHA256: ", &format!("SHA512: {}\nSHA1: ", "5".repeat(100))),
            LeftOut,
            "is not a SHA-512 value",
        ),
        row(
            "entry with SHA512, and a SHA256 of another file",
            |s| s.odd_sha512(&format!("SHA256: {}", "0".repeat(64))),
            LeftOut,
            "SHA-256: expected 0000",
        ),
        row(
            "entry with SHA256, and a SHA512 of another file",
            |s| s.odd_entry("SHA256: ", &format!("SHA512: {}\nSHA256: ", "5".repeat(128))),
            LeftOut,
            "SHA-512: expected 5555",
        ),
        row(
            "entry with SHA256, and a SHA512 that is cut short",
            |s| s.odd_entry("SHA256: ", &format!("SHA512: {}\nSHA256: ", "5".repeat(100))),
            LeftOut,
            "is not a SHA-512 value",
        ),
        row(
            "entry with both hashes",
            |s| {
                let sha256 = sum("sha256sum", &s.root.join("pool/odd.deb"));
                s.odd_sha512(&format!("SHA256: {sha256}"));
            },
            Taken,
            "",
        ),
        differs(
            row(
                "version with an underscore",
                |s| s.odd_entry("Version: 1.0", "Version: 1.0_b"),
                Taken,
                "\"1.0_b\" is not a version",
            ),
            LeftOut,
            "dpkg refuses to install such a package",
        ),
        differs(
            row("comment before the entry", |s| s.odd_bytes(b"# made by a script\n"), Refused, "is not `Field: value`"),
            LeftOut,
            ONE_ENTRY,
        ),
        differs(
            row("byte-order mark before the entry", |s| s.odd_bytes(b"\xef\xbb\xbf"), Refused, "has no Package"),
            LeftOut,
            ONE_ENTRY,
        ),
        row("line of blanks before the entry", |s| s.odd_bytes(b"  \n"), Taken, ""),
        row("line of a tab before the entry", |s| s.odd_bytes(b"\t\n"), Taken, ""),
        row(
            "no line end at the end",
            |s| {
                let text = s.odd_text().trim_end().to_owned();
                s.index.truncate(s.sound);
                s.index.extend(text.bytes());
            },
            Taken,
            "",
        ),
        row("null byte in a field", |s| s.odd_entry("Maintainer: x", "Maintainer: x\0y"), Taken, ""),
        row("field names in capitals", |s| s.odd_entry("Filename: ", "FILENAME: "), Taken, ""),
        row("tab after the colon", |s| s.odd_entry(": ", ":\t"), Taken, ""),
        row("nothing after the colon", |s| s.odd_entry(": ", ":"), Taken, ""),
        row("blank before the colon", |s| s.odd_entry("Size: ", "Size : "), Taken, ""),
        row("field without a name", |s| s.odd_entry("Maintainer: ", ": "), Taken, ""),
        row("field name with a blank", |s| s.odd_entry("Maintainer: ", "Main tainer: "), Taken, ""),
        differs(
            row(
                "hash in capitals",
                |s| {
                    let text = s.odd_text();
                    let hash = text.split("SHA256: ").nth(1).unwrap().trim().to_owned();
                    s.odd_entry(&hash, &hash.to_uppercase());
                },
                LeftOut,
                "",
            ),
            Taken,
            "the same number",
        ),
        row("size with zeros in front", |s| s.odd_entry("Size: ", "Size: 000"), Taken, ""),
        row("architecture any", |s| s.odd_entry("Architecture: arm64", "Architecture: any"), LeftOut, ""),
        row(
            "entry twice",
            |s| {
                let text = s.odd_text();
                s.index.extend(text.bytes());
            },
            Taken,
            "",
        ),
        row(
            "line of 300 kB",
            |s| s.odd_entry("Maintainer: x", &format!("Maintainer: {}", "x".repeat(300_000))),
            Taken,
            "",
        ),
        row("version with epoch 0", |s| s.odd_entry("Version: 1.0", "Version: 0:1.0"), Taken, ""),
        differs(
            row(
                "version that is not the package's",
                |s| s.odd_entry("Version: 1.0", "Version: v1.0"),
                Taken,
                "version: expected v1.0",
            ),
            LeftOut,
            "the package is of another version than the index says",
        ),
        differs(
            row(
                "relation that is none",
                |s| s.odd_entry("Maintainer: x", "Maintainer: x\nDepends: good (> = 1), , |"),
                Refused,
                "is not a relation",
            ),
            LeftOut,
            ONE_ENTRY,
        ),
        row("relation to nothing", |s| s.odd_entry("Maintainer: x", "Maintainer: x\nDepends: "), Taken, ""),
        row(
            "relation with a comma at the end",
            |s| s.odd_entry("Maintainer: x", "Maintainer: x\nDepends: good,"),
            Taken,
            "",
        ),
        row(
            "relation with < and >",
            |s| s.odd_entry("Maintainer: x", "Maintainer: x\nDepends: good (< 2), good (> 0)"),
            Taken,
            "",
        ),
        row(
            "relation without blanks",
            |s| s.odd_entry("Maintainer: x", "Maintainer: x\nDepends:good(>=1.0)"),
            Taken,
            "",
        ),
        row(
            "relation over lines",
            |s| s.odd_entry("Maintainer: x", "Maintainer: x\nDepends: good,\n good (>= 1)"),
            Taken,
            "",
        ),
        row("file name with / in front", |s| s.odd_entry("pool/odd.deb", "/pool/odd.deb"), Taken, ""),
        row("file name with //", |s| s.odd_entry("pool/odd.deb", "pool//odd.deb"), Taken, ""),
        row("file name with a blank", |s| s.odd_file("pool/an odd.deb"), Taken, ""),
        row("file name with plus and percent", |s| s.odd_file("pool/o+1%3a.deb"), Taken, ""),
        row("file name with ./", |s| s.odd_file("./pool/./odd.deb"), Taken, ""),
        differs(
            row("file name that leads out", |s| s.odd_file("../beside.deb"), Taken, "is not a path inside the archive"),
            LeftOut,
            "a repository names its own files; on a file system these would be anybody's",
        ),
        row("field twice", |s| s.odd_entry("Size: ", "Section: a\nSection: b\nSize: "), Taken, ""),
        row(
            "file name twice, the last is right",
            |s| s.odd_entry("Filename: ", "Filename: no.deb\nFilename: "),
            Taken,
            "",
        ),
        row(
            "line of blanks in the description",
            |s| s.odd_entry("Size: ", "Description: x\n one\n \n two\nSize: "),
            Taken,
            "",
        ),
        row("lines ended by CRLF", |s| s.odd_entry("\n", "\r\n"), Taken, ""),
        row("no size", |s| s.odd_without("Size"), LeftOut, "has no Size"),
        row("unknown Multi-Arch", |s| s.odd_entry("Size: ", "Multi-Arch: odd\nSize: "), Taken, ""),
        row("Latin-1 in the maintainer's name", |s| s.odd_bytes(b"Maintainer: Jos\xe9\n"), Taken, ""),
        row(
            "name with a blank",
            |s| s.odd_entry("Package: odd", "Package: Odd App"),
            LeftOut,
            "\"Odd App\" is not a package name",
        ),
        row("no file name", |s| s.odd_without("Filename"), LeftOut, "has no Filename"),
        differs(
            row("several empty lines", |s| s.index = [b"\n\n", &s.index[..], b"\n\n\n"].concat(), Refused, ""),
            Taken,
            "nothing is lost by them",
        ),
        // Repositories.
        row("flat, /", |s| s.flat("/"), Taken, ""),
        row("flat, ./", |s| s.flat("./"), Taken, ""),
        row("flat, path/", |s| s.flat("deb/arm64/"), Taken, ""),
        row(
            "flat, without Architectures and Components",
            |s| {
                s.flat("/");
                s.header = s.header.replace("Architectures: arm64 all\nComponents: main\n", "");
            },
            Taken,
            "",
        ),
        row("Release and Release.gpg, armoured", |s| s.signing = Signing::Detached { armour: true }, Taken, ""),
        differs(
            row("Release and Release.gpg, binary", |s| s.signing = Signing::Detached { armour: false }, Refused, ""),
            Taken,
            "it is the same signature without armour",
        ),
        row("no signature", |s| s.signing = Signing::None, Refused, "Release.gpg"),
        row(
            "Release lists files by SHA256, and by a SHA512 of others",
            |s| {
                let (wrong, size) = ("5".repeat(128), s.index.len());
                s.tail = format!("SHA512:\n {wrong} {size} main/binary-arm64/Packages\n");
            },
            Refused,
            "SHA-512: expected 5555",
        ),
        row("Release lists files by SHA512 only", |s| s.lists_by = ("SHA512", "sha512sum"), Taken, ""),
        row("Release lists files by MD5Sum only", |s| s.lists_by = ("MD5Sum", "md5sum"), Refused, "only MD5Sum"),
        row("index in bzip2", |s| s.packed = Some(("bz2", "bzip2", "bzip2", &[])), Taken, ""),
        row("index in lzma", |s| s.packed = Some(("lzma", "xz", "xz-utils", &["--format=lzma"])), Taken, ""),
        row("index in zstd", |s| s.packed = Some(("zst", "zstd", "zstd", &["-q"])), Taken, ""),
        // Fields of Release.
        row(
            "another suite",
            |s| s.change("Suite: stable", "Suite: bookworm"),
            Taken,
            "suite: expected stable, found bookworm",
        ),
        row("date with an offset", |s| s.date("Fri, 27 Nov 2020 12:17:34 +0800"), Taken, ""),
        row("date that is none", |s| s.date("yesterday"), Taken, "is not a date; taken is that of its signature"),
        row(
            "no date",
            |s| s.header = s.header.lines().filter(|l| !l.starts_with("Date")).map(|l| format!("{l}\n")).collect(),
            Taken,
            "has no Date",
        ),
        row("date in capitals", |s| s.date(&fruit_debian::date::format(now() - 60).to_uppercase()), Taken, ""),
        row("date with GMT", |s| s.date(&fruit_debian::date::format(now() - 60).replace("UTC", "GMT")), Taken, ""),
        row(
            "date with blanks around",
            |s| s.date(&format!("  {} ", fruit_debian::date::format(now() - 60))),
            Taken,
            "",
        ),
        differs(
            row("date tomorrow", |s| s.date(&fruit_debian::date::format(now() + 86_400)), Refused, ""),
            Taken,
            "what is held against this clock is the time of the signature",
        ),
        row("field names of Release in small letters", |s| s.change("Suite: ", "suite: "), Taken, ""),
        row("comment in Release", |s| s.change("Origin: x\n", "# x\nOrigin: x\n"), Taken, ""),
        differs(
            row(
                "blank lines around InRelease",
                |s| s.signing = Signing::Changed(|text| format!("\n\n{text}\n\n")),
                Refused,
                "",
            ),
            Taken,
            "nothing in them is taken",
        ),
        row("InRelease with CRLF", |s| s.signing = Signing::Changed(|text| text.replace('\n', "\r\n")), Taken, ""),
        row(
            "text after the signature",
            |s| s.signing = Signing::Changed(|text| format!("{text}evil: y\n")),
            Refused,
            "",
        ),
        row(
            "byte-order mark before InRelease",
            |s| s.signing = Signing::Changed(|text| format!("\u{feff}{text}")),
            Refused,
            "",
        ),
        row("signature of text", |s| s.signing = Signing::Text, Taken, ""),
        row("no Architectures", |s| s.change("Architectures: arm64 all\n", ""), Taken, ""),
        row("Architectures: all, and an index of arm64", |s| s.change("arm64 all", "all"), Taken, ""),
        row("Architectures: amd64, and an index of arm64", |s| s.change("arm64 all", "amd64"), Taken, ""),
        row("no Components", |s| s.change("Components: main\n", ""), Taken, ""),
        row("field twice in Release", |s| s.change("Origin: x\n", "Origin: x\nOrigin: y\n"), Taken, ""),
        row("Latin-1 in Release", |s| s.label = b"Label: Jos\xe9\n".to_vec(), Taken, ""),
        row("CRLF in Release", |s| s.change("\n", "\r\n"), Taken, ""),
        differs(
            row("odd line among the hashes", |s| s.tail = " nonsense\n".to_owned(), Refused, ""),
            Taken,
            "a line that vouches for nothing takes nothing from the others",
        ),
        row(
            "Valid-Until has passed",
            |s| s.change("Origin: x\n", "Origin: x\nValid-Until: Fri, 27 Nov 2020 12:17:34 UTC\n"),
            Refused,
            "check_valid_until: false",
        ),
        row(
            "Valid-Until has passed, and that is allowed",
            |s| {
                s.change("Origin: x\n", "Origin: x\nValid-Until: Fri, 27 Nov 2020 12:17:34 UTC\n");
                s.allow_expired = true;
            },
            Taken,
            "",
        ),
        // Signatures.
        row("hint of the hash is wrong", |s| s.signing = Signing::WrongHint, Taken, ""),
        row("signature is wrong", |s| s.signing = Signing::WrongNumber, Refused, "bad signature"),
        row("signed by a stranger as well", |s| s.signing = Signing::WithStranger, Taken, ""),
        row("signed by a stranger only", |s| s.signing = Signing::Stranger, Refused, "is not in the keyring"),
        row("altered text", |s| s.signing = Signing::Altered, Refused, "bad signature"),
        row("text before the message", |s| s.signing = Signing::Before, Refused, "does not start with"),
        // Keys.
        row("two armoured keys", |s| s.key("two.asc", |a, b| format!("{b}{a}").into_bytes()), Taken, ""),
        row(
            "words around the key",
            |s| s.key("text.asc", |a, _| format!("pub ed25519 Case\n\n{a}\nend\n").into_bytes()),
            Taken,
            "",
        ),
        differs(
            row("key with CRLF", |s| s.key("crlf.asc", |a, _| a.replace('\n', "\r\n").into_bytes()), Refused, ""),
            Taken,
            "the same key, as editors and mail write it",
        ),
        row(
            "web page as key",
            |s| s.key("html.asc", |_, _| b"<html>not found</html>".to_vec()),
            Refused,
            "is a web page",
        ),
        row("empty key", |s| s.key("empty.gpg", |_, _| Vec::new()), Refused, "is empty"),
    ]
}

enum Signing {
    Inline,
    /// Inline, and then changed.
    Changed(fn(String) -> String),
    /// Detached, of the text in its canonical form.
    Text,
    Detached {
        armour: bool,
    },
    None,
    WrongHint,
    WrongNumber,
    WithStranger,
    Stranger,
    Altered,
    Before,
}

/// How an index is compressed: the ending, the program, its package, and its options.
type Packed = Option<(&'static str, &'static str, &'static str, &'static [&'static str])>;

/// A repository that is being made.
struct TestRepository {
    root: PathBuf,
    gnupg: PathBuf,
    suite: String,
    /// Of Release, below `root`; empty or with `/` at the end.
    folder: String,
    header: String,
    label: Vec<u8>,
    tail: String,
    index: Vec<u8>,
    /// Length of the sound entry at the beginning of the index.
    sound: usize,
    packed: Packed,
    /// The field of Release, and the program that makes its hashes.
    lists_by: (&'static str, &'static str),
    signing: Signing,
    allow_expired: bool,
    key: PathBuf,
}

impl TestRepository {
    fn new(root: &Path, gnupg: &Path) -> TestRepository {
        fs::create_dir_all(root.join("pool")).unwrap();
        let mut index = Vec::new();
        let mut sound = 0;
        for name in ["good", "odd"] {
            let path = format!("pool/{name}.deb");
            let deb = craft::deb(name, "", &[file(&format!("./usr/share/{name}"), name)]);
            fs::write(root.join(&path), &deb).unwrap();
            sound = index.len();
            index.extend(entry(name, &path, &deb).bytes());
        }
        let header = format!(
            "Origin: x\nSuite: stable\nArchitectures: arm64 all\nComponents: main\nDate: {}\n",
            fruit_debian::date::format(now() - 60)
        );
        let key = root.join("key.gpg");
        fs::write(&key, gpg(gnupg, &["--export", "=a"], b"")).unwrap();
        TestRepository {
            root: root.to_owned(),
            gnupg: gnupg.to_owned(),
            suite: "stable".to_owned(),
            folder: "dists/stable/".to_owned(),
            header,
            label: Vec::new(),
            tail: String::new(),
            index,
            sound,
            packed: None,
            lists_by: ("SHA256", "sha256sum"),
            signing: Signing::Inline,
            allow_expired: false,
            key,
        }
    }

    fn odd_text(&self) -> String {
        String::from_utf8(self.index[self.sound..].to_vec()).unwrap()
    }

    fn odd_entry(&mut self, from: &str, to: &str) {
        let text = self.odd_text();
        assert!(text.contains(from), "{from}");
        // Only the line ends of the fields: an empty line ends the entry whatever it looks like.
        let changed = text.replace(from, to);
        self.index.truncate(self.sound);
        self.index.extend(changed.bytes());
    }

    fn odd_without(&mut self, field: &str) {
        let text: String =
            self.odd_text().lines().filter(|l| !l.starts_with(field)).map(|l| format!("{l}\n")).collect();
        self.index.truncate(self.sound);
        self.index.extend(text.bytes());
    }

    /// An entry with the file's SHA-512 behind the lines `before`.
    fn odd_sha512(&mut self, before: &str) {
        let sha512 = sum("sha512sum", &self.root.join("pool/odd.deb"));
        self.odd_without("SHA256");
        let text = self.odd_text();
        self.index.truncate(self.sound);
        let before = if before.is_empty() { String::new() } else { format!("{before}\n") };
        self.index.extend(format!("{}\n{before}SHA512: {sha512}\n\n", text.trim_end()).bytes());
    }

    fn odd_bytes(&mut self, line: &[u8]) {
        let odd = self.index.split_off(self.sound);
        self.index.extend(line);
        self.index.extend(odd);
    }

    fn odd_file(&mut self, path: &str) {
        let to = self.root.join(path);
        fs::create_dir_all(to.parent().unwrap()).unwrap();
        let deb = fs::read(self.root.join("pool/odd.deb")).unwrap();
        fs::write(to, deb).unwrap();
        self.odd_entry("pool/odd.deb", path);
    }

    fn flat(&mut self, suite: &str) {
        self.suite = suite.to_owned();
        self.folder = suite.trim_start_matches(['.', '/']).to_owned();
    }

    fn change(&mut self, from: &str, to: &str) {
        assert!(self.header.contains(from), "{from}");
        self.header = self.header.replace(from, to);
    }

    fn date(&mut self, date: &str) {
        self.header = self
            .header
            .lines()
            .map(|l| if l.starts_with("Date") { format!("Date: {date}\n") } else { format!("{l}\n") })
            .collect();
    }

    /// A key file made of the two armoured keys; the first one signs.
    fn key(&mut self, name: &str, make: fn(&str, &str) -> Vec<u8>) {
        let armoured = |key: &str| String::from_utf8(gpg(&self.gnupg, &["--armor", "--export", key], b"")).unwrap();
        self.key = self.root.join(name);
        fs::write(&self.key, make(&armoured("=a"), &armoured("=b"))).unwrap();
    }

    fn publish(&self) {
        let flat = self.suite.ends_with('/');
        let base = if flat { "Packages" } else { "main/binary-arm64/Packages" };
        let folder = self.root.join(&self.folder);
        let plain = folder.join(base);
        fs::create_dir_all(plain.parent().unwrap()).unwrap();
        fs::write(&plain, &self.index).unwrap();
        let mut path = base.to_owned();
        if let Some((ending, program, package, options)) = self.packed {
            let packed = succeed(tool(program, package).args(options).arg("-c").arg(&plain)).stdout;
            fs::remove_file(&plain).unwrap();
            path = format!("{base}.{ending}");
            fs::write(folder.join(&path), packed).unwrap();
        }
        let bytes = fs::read(folder.join(&path)).unwrap();
        let (field, program) = self.lists_by;
        let hash = sum(program, &folder.join(&path));
        let mut table = format!("{field}:\n {hash} {} {path}\n{}", bytes.len(), self.tail);
        if self.packed.is_some() {
            table += &format!(" {} {} {base}\n", Sha256::of(&self.index), self.index.len());
        }
        let release = [&self.label, self.header.as_bytes(), table.as_bytes()].concat();
        self.sign(&folder, &release);
    }

    fn sign(&self, folder: &Path, release: &[u8]) {
        let gpg = |args: &[&str]| gpg(&self.gnupg, &[&["--digest-algo=SHA512"], args].concat(), release);
        let write = |name: &str, bytes: &[u8]| fs::write(folder.join(name), bytes).unwrap();
        let inline = || gpg(&["-u", "=a", "--clearsign"]);
        match self.signing {
            Signing::Inline => write("InRelease", &inline()),
            Signing::Changed(change) => write("InRelease", change(String::from_utf8(inline()).unwrap()).as_bytes()),
            Signing::Text => {
                write("Release", release);
                write("Release.gpg", &gpg(&["-u", "=a", "--armor", "--textmode", "--detach-sign"]));
            }
            Signing::WithStranger => write("InRelease", &gpg(&["-u", "=b", "-u", "=a", "--clearsign"])),
            Signing::Stranger => write("InRelease", &gpg(&["-u", "=b", "--clearsign"])),
            Signing::Before => write("InRelease", &[b"Origin: evil\n", &inline()[..]].concat()),
            Signing::Altered => {
                let text = String::from_utf8(inline()).unwrap();
                write("InRelease", text.replace("Origin: x", "Origin: evil").as_bytes());
            }
            Signing::None => write("Release", release),
            Signing::Detached { armour } => {
                write("Release", release);
                let how: &[&str] =
                    if armour { &["-u", "=a", "--armor", "--detach-sign"] } else { &["-u", "=a", "--detach-sign"] };
                write("Release.gpg", &gpg(how));
            }
            Signing::WrongHint | Signing::WrongNumber => {
                write("Release", release);
                let mut signature = gpg(&["-u", "=a", "--detach-sign"]);
                let hint = hint_of(&signature);
                let at = if matches!(self.signing, Signing::WrongHint) { hint } else { hint + 20 };
                signature[at] ^= 0x55;
                let armoured = String::from_utf8(self::gpg(&self.gnupg, &["--enarmor"], &signature)).unwrap();
                write("Release.gpg", armoured.replace("ARMORED FILE", "SIGNATURE").as_bytes());
            }
        }
    }
}

fn sum(program: &str, file: &Path) -> String {
    let text = String::from_utf8(succeed(tool(program, "coreutils").arg(file)).stdout).unwrap();
    text.split(' ').next().unwrap().to_owned()
}

/// Where a signature of version 4 has the first 16 bits of the hash (RFC 9580 section 5.2.3).
fn hint_of(signature: &[u8]) -> usize {
    let body = match signature[0] & 0x43 {
        0x40..=0x43 => 2, // a new header, and a short length
        0 => 2,
        1 => 3,
        other => panic!("header {other:#x}"),
    };
    let length = |at: usize| usize::from(signature[at]) << 8 | usize::from(signature[at + 1]);
    let unhashed = body + 4 + 2 + length(body + 4);
    unhashed + 2 + length(unhashed)
}

fn entry(name: &str, path: &str, deb: &[u8]) -> String {
    format!(
        "Package: {name}\nVersion: 1.0\nArchitecture: arm64\nMaintainer: x\nFilename: {path}\nSize: {}\nSHA256: {}\n\n",
        deb.len(),
        Sha256::of(deb)
    )
}

fn gpg(home: &Path, args: &[&str], input: &[u8]) -> Vec<u8> {
    let mut child = tool("gpg", "gpg")
        .arg("--homedir")
        .arg(home)
        .args(["--batch", "--quiet", "--yes", "--pinentry-mode=loopback", "--passphrase="])
        .args(args)
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()
        .unwrap();
    std::io::Write::write_all(&mut child.stdin.take().unwrap(), input).unwrap();
    let output = child.wait_with_output().unwrap();
    assert!(output.status.success(), "gpg {args:?}: {}", String::from_utf8_lossy(&output.stderr));
    output.stdout
}

fn now() -> i64 {
    SystemTime::now().duration_since(UNIX_EPOCH).unwrap().as_secs() as i64
}

/// apt's verdict, and its words.
fn ask_apt(repository: &TestRepository, work: &Path) -> (Verdict, String) {
    for folder in [
        "etc/apt.conf.d",
        "etc/preferences.d",
        "etc/trusted.gpg.d",
        "state/lists/partial",
        "cache/archives/partial",
        "got",
    ] {
        fs::create_dir_all(work.join(folder)).unwrap();
    }
    fs::write(work.join("state/status"), "").unwrap();
    let components = if repository.suite.ends_with('/') { "" } else { "main" };
    let check = if repository.allow_expired { " check-valid-until=no" } else { "" };
    let (key, root) = (repository.key.display(), repository.root.display());
    let source = format!("deb [arch=arm64 signed-by={key}{check}] file://{root} {} {components}\n", repository.suite);
    fs::write(work.join("etc/sources.list"), source).unwrap();
    let w = work.display();
    let configuration = format!(
        "APT::Architecture \"arm64\";\nAPT::Architectures {{ \"arm64\"; }};\nDir \"{w}\";\nDir::Etc \"{w}/etc\";\n\
         Dir::State \"{w}/state\";\nDir::State::status \"{w}/state/status\";\nDir::Cache \"{w}/cache\";\n\
         Acquire::Languages \"none\";\nAPT::Sandbox::User \"\";\n"
    );
    fs::write(work.join("apt.conf"), configuration).unwrap();
    let mut words = String::new();
    let mut run = |args: &[&str]| {
        let mut apt = tool("apt-get", "apt");
        apt.env("APT_CONFIG", work.join("apt.conf")).env("LC_ALL", "C.UTF-8").current_dir(work.join("got"));
        let output = apt.arg("-q").args(args).output().unwrap();
        words += &String::from_utf8_lossy(&output.stderr);
        output.status.success()
    };
    run(&["update"]);
    let verdict = verdict(run(&["download", "good"]), run(&["download", "odd"]));
    (verdict, words)
}

fn verdict(good: bool, odd: bool) -> Verdict {
    match (good, odd) {
        (true, true) => Taken,
        (true, false) => LeftOut,
        (false, _) => Refused,
    }
}

#[derive(Default)]
struct Notes(Mutex<String>);

impl Progress for Notes {
    fn note(&self, text: &str) {
        *self.0.lock().unwrap() += &format!("{text}\n");
    }
}

/// Our verdict, and our words.
fn ask_ours(repository: &TestRepository, work: &Path) -> (Verdict, String) {
    let notes = Notes::default();
    let had = |name: &str| {
        let store = Store::open(&work.join("store"), false)?;
        let mut mirrors = Mirrors::none();
        mirrors.set("odd", &format!("file://{}", repository.root.display()))?;
        let keyring = Keyring::parse(&fs::read(&repository.key).unwrap(), &repository.key.display().to_string())?;
        let configured = Repository {
            archive: "odd".to_owned(),
            suite: repository.suite.clone(),
            components: vec!["main".to_owned()],
            keyring: Arc::new(keyring),
            allow_expired: repository.allow_expired,
        };
        let universe = Universe::load(&[configured], "arm64", &store, &mirrors, now(), &notes)?;
        let request = Request { packages: vec![name.to_owned()], ..Request::default() };
        let resolution = universe.resolve(&request, &Default::default())?;
        let lock = Lock::new(&request, &universe, &resolution, &store, &mirrors, &notes)?;
        let lock = Lock::parse(&lock.to_text()).unwrap();
        store.ensure(&lock.packages, &mirrors, &notes)?;
        let (tree, _) = unpack_all(&store, "arm64", &lock.packages, &Diversions::default(), 0, &notes)?;
        assert!(tree.contains(&format!("usr/share/{name}")));
        // And again without the mirror.
        let offline = Store::open(&work.join("store"), true)?;
        let again = |keyring| Repository {
            archive: "odd".to_owned(),
            suite: repository.suite.clone(),
            components: vec!["main".to_owned()],
            keyring: Arc::new(keyring),
            allow_expired: repository.allow_expired,
        };
        let keyring = Keyring::parse(&fs::read(&repository.key).unwrap(), "key")?;
        Universe::load(&[again(keyring)], "arm64", &offline, &Mirrors::none(), now(), &fruit_debian::Silent)?;
        Ok::<_, fruit_debian::Error>(())
    };
    let ask = |name: &str| had(name).map_err(|e| notes.note(&e.to_string())).is_ok();
    let verdict = verdict(ask("good"), ask("odd"));
    (verdict, notes.0.into_inner().unwrap())
}

#[test]
fn repositories_that_apt_takes_are_taken_and_differences_have_a_reason() {
    let work = tempfile::tempdir().unwrap();
    let gnupg = work.path().join("gnupg");
    fs::create_dir(&gnupg).unwrap();
    fs::set_permissions(&gnupg, std::os::unix::fs::PermissionsExt::from_mode(0o700)).unwrap();
    for key in ["a", "b"] {
        gpg(&gnupg, &["--quick-gen-key", key, "ed25519", "sign", "0"], b"");
    }
    let mut wrong = String::new();
    println!("{:48} {:>8} {:>8}", "", "apt", "ours");
    for (number, row) in rows().into_iter().enumerate() {
        let place = work.path().join(number.to_string());
        let mut repository = TestRepository::new(&place.join("repository"), &gnupg);
        (row.make)(&mut repository);
        repository.publish();
        let (apt, apt_says) = ask_apt(&repository, &place.join("apt"));
        let (ours, we_say) = ask_ours(&repository, &place);
        println!("{:48} {:>8} {:>8}  {}", row.name, format!("{apt:?}"), format!("{ours:?}"), row.why);
        // Another version of apt may see it as we do.
        if apt != row.apt && apt != row.ours {
            wrong += &format!("{}: apt: {apt:?}, expected {:?}\n{apt_says}\n", row.name, row.apt);
        }
        if ours != row.ours || !we_say.contains(row.says) {
            wrong += &format!("{}: ours: {ours:?}, expected {:?} and {:?}\n{we_say}\n", row.name, row.ours, row.says);
        }
        assert_eq!(row.apt != row.ours, !row.why.is_empty(), "{}: a difference needs a reason", row.name);
    }
    let _ = Command::new("gpgconf").arg("--homedir").arg(&gnupg).args(["--kill", "all"]).status();
    assert!(wrong.is_empty(), "{wrong}");
}

/// A .deb file: its name in the table, its bytes, whether dpkg takes it, whether we do, and why that is not the same.
type Deb = (&'static str, Vec<u8>, bool, bool, &'static str);

fn debs() -> Vec<Deb> {
    let format = || member("debian-binary", b"2.0\n");
    let plain = tar(&[file("./f", "hello")]);
    let with = |data: Vec<u8>| ar(&[format(), member("control.tar", &control("odd", "")), member("data.tar", &data)]);
    let of = |entries: &[TarEntry]| with(tar(entries));
    let packed = |ending: &str, data: &[u8]| {
        ar(&[format(), member("control.tar", &control("odd", "")), member(&format!("data.tar.{ending}"), data)])
    };
    let controlled = |text: &[u8]| {
        let text = TarEntry { data: text.to_vec(), ..file("./control", "") };
        ar(&[format(), member("control.tar", &tar(&[text])), member("data.tar", &plain)])
    };
    let pack = |program: &str, package: &str, options: &[&str], data: &[u8]| {
        let work = tempfile::tempdir().unwrap();
        fs::write(work.path().join("in"), data).unwrap();
        succeed(tool(program, package).args(options).arg("-c").arg(work.path().join("in"))).stdout
    };
    let gz = pack("gzip", "gzip", &[], &plain);
    let xz = pack("xz", "xz-utils", &[], &plain);
    let bzip2_control = pack("bzip2", "bzip2", &[], &control("odd", ""));
    let two = [pack("gzip", "gzip", &[], &plain[..512]), pack("gzip", "gzip", &[], &plain[512..])].concat();
    vec![
        ("nothing odd", with(plain.clone()), true, true, ""),
        ("member after data.tar", [with(plain.clone()), member("_gpgorigin", b"signature")].concat(), true, true, ""),
        ("garbage after data.tar", [with(plain.clone()), b"garbage".to_vec()].concat(), true, true, ""),
        (
            "unknown member with _",
            ar(&[format(), member("_x", b"y"), member("control.tar", &control("odd", "")), member("data.tar", &plain)]),
            true,
            true,
            "",
        ),
        (
            "unknown member without _",
            ar(&[format(), member("x", b"y"), member("control.tar", &control("odd", "")), member("data.tar", &plain)]),
            false,
            false,
            "",
        ),
        ("format 2.1", ar(&[member("debian-binary", b"2.1\nmore\n"), member("control.tar", &control("odd", "")), member("data.tar", &plain)]), true, true, ""),
        ("unknown member with _ in front", ar(&[member("_x", b"y"), format(), member("control.tar", &control("odd", "")), member("data.tar", &plain)]), false, false, ""),
        ("unknown member with _ before data.tar", ar(&[format(), member("control.tar", &control("odd", "")), member("_x", b"y"), member("data.tar", &plain)]), true, true, ""),
        ("names of members with /", ar(&[member("debian-binary/", b"2.0\n"), member("control.tar/", &control("odd", "")), member("data.tar/", &plain)]), true, true, ""),
        ("data.tar before control.tar", ar(&[format(), member("data.tar", &plain), member("control.tar", &control("odd", ""))]), false, false, ""),
        ("format 2.0 without a line end", ar(&[member("debian-binary", b"2.0"), member("control.tar", &control("odd", "")), member("data.tar", &plain)]), false, true, "nothing is lost by it"),
        ("xz in two pieces", packed("xz", &[pack("xz", "xz-utils", &[], &plain[..512]), pack("xz", "xz-utils", &[], &plain[512..])].concat()), false, false, ""),
        ("zstd in two pieces", packed("zst", &[pack("zstd", "zstd", &["-q"], &plain[..512]), pack("zstd", "zstd", &["-q"], &plain[512..])].concat()), false, false, ""),
        ("zstd with something after it", packed("zst", &[&pack("zstd", "zstd", &["-q"], &plain)[..], b"garbage!"].concat()), true, true, ""),
        ("bzip2 in two pieces", packed("bz2", &[pack("bzip2", "bzip2", &[], &plain[..512]), pack("bzip2", "bzip2", &[], &plain[512..])].concat()), false, true, "as pbzip2 writes"),
        ("empty data.tar", with(Vec::new()), false, false, ""),
        ("data.tar of zeros", with(vec![0; 1024]), true, true, ""),
        ("control file without a line end", controlled(b"Package: odd\nVersion: 1\nArchitecture: all\nMaintainer: x <x@example.org>\nDescription: d"), false, true, "nothing is lost by it"),
        ("comment in the control file", controlled(b"# c\nPackage: odd\nVersion: 1\nArchitecture: all\nMaintainer: x <x@example.org>\nDescription: d\n"), false, true, "nothing is lost by it"),
        ("empty lines around the control file", controlled(b"\n\nPackage: odd\nVersion: 1\nArchitecture: all\nMaintainer: x <x@example.org>\nDescription: d\n\n\n"), true, true, ""),
        ("CRLF in the control file", controlled(b"Package: odd\r\nVersion: 1\r\nArchitecture: all\r\nMaintainer: x <x@example.org>\r\nDescription: d\r\n"), true, true, ""),
        ("field names of the control file in capitals", controlled(b"PACKAGE: odd\nVERSION: 1\nARCHITECTURE: all\nMaintainer: x <x@example.org>\nDescription: d\n"), true, true, ""),
        ("byte-order mark in the control file", controlled(b"\xef\xbb\xbfPackage: odd\nVersion: 1\nArchitecture: all\nMaintainer: x <x@example.org>\nDescription: d\n"), false, false, ""),
        ("no maintainer", controlled(b"Package: odd\nVersion: 1\nArchitecture: all\nDescription: d\n"), true, true, ""),
        ("path without ./", of(&[dir("usr/"), file("usr/f", "hello")]), true, true, ""),
        ("path that is no UTF-8", of(&[file("./f", "one"), TarEntry { name: b"./f\xe9".to_vec(), ..file("./x", "") }]), true, false, "names in an image are UTF-8"),
        ("format 3.0", ar(&[member("debian-binary", b"3.0\n"), member("control.tar", &control("odd", "")), member("data.tar", &plain)]), false, false, ""),
        ("bzip2", packed("bz2", &pack("bzip2", "bzip2", &[], &plain)), true, true, ""),
        ("lzma", packed("lzma", &pack("xz", "xz-utils", &["--format=lzma"], &plain)), true, true, ""),
        ("control in bzip2", ar(&[format(), member("control.tar.bz2", &bzip2_control), member("data.tar", &plain)]), false, true, "one decoder for both members"),
        ("xz with something after it", packed("xz", &[&xz[..], b"garbage!"].concat()), true, true, ""),
        ("gzip with something after it", packed("gz", &[&gz[..], b"garbage!"].concat()), true, true, ""),
        ("gzip in two pieces", packed("gz", &two), true, true, ""),
        ("xz cut short", packed("xz", &xz[..xz.len() - 20]), false, false, ""),
        ("tar without an end", with(plain[..1024].to_vec()), true, true, ""),
        ("tar with something after its end", with([&plain[..], &[b'x'; 512]].concat()), true, true, ""),
        ("tar cut short", with(plain[..700].to_vec()), false, false, ""),
        ("absolute path", of(&[file("/f", "hello")]), true, true, ""),
        ("path with //", of(&[dir("./a/"), file("./a//f", "hello")]), true, true, ""),
        ("path with ..", of(&[file("./../f", "hello")]), false, false, ""),
        ("folder twice", of(&[dir("./d"), dir("./d")]), true, true, ""),
        ("file twice", of(&[file("./f", "one"), file("./f", "two")]), true, true, ""),
        (
            "Latin-1 in the control file",
            controlled(b"Package: odd\nVersion: 1\nArchitecture: all\nMaintainer: Jos\xe9 <j@example.org>\nDescription: d\n"),
            true,
            true,
            "",
        ),
        (
            "field twice in the control file",
            controlled(b"Package: odd\nVersion: 1\nArchitecture: all\nSection: a\nSection: b\nMaintainer: x <x@example.org>\nDescription: d\n"),
            false,
            false,
            "",
        ),
        (
            "line of blanks in the control file",
            controlled(b"Package: odd\nVersion: 1\nArchitecture: all\nMaintainer: x <x@example.org>\nDescription: d\n one\n \n two\n"),
            false,
            true,
            "nothing but the description is in question",
        ),
    ]
}

#[test]
fn packages_that_dpkg_takes_are_taken_and_differences_have_a_reason() {
    let work = tempfile::tempdir().unwrap();
    let mut wrong = String::new();
    println!("{:40} {:>6} {:>6}", "", "dpkg", "ours");
    for (name, bytes, dpkg, ours, why) in debs() {
        let place = work.path().join(name.replace('/', "_"));
        for folder in ["root/var/lib/dpkg/info", "root/var/lib/dpkg/updates"] {
            fs::create_dir_all(place.join(folder)).unwrap();
        }
        fs::write(place.join("root/var/lib/dpkg/status"), "").unwrap();
        fs::write(place.join("odd.deb"), &bytes).unwrap();
        // Unpacked by dpkg itself, which reads tar in its own way; as an ordinary user it cannot set owners, and goes on.
        let mut unpack = tool("dpkg", "dpkg");
        unpack.arg(format!("--root={}", place.join("root").display()));
        unpack.args(["--force-not-root", "--force-bad-path", "--force-architecture", "--log=/dev/null", "--unpack"]);
        let unpacked = unpack.arg(place.join("odd.deb")).output().unwrap();
        // It passes over what leads out of the root; `tar` under dpkg-deb says so.
        let extracted =
            tool("dpkg-deb", "dpkg").arg("-x").arg(place.join("odd.deb")).arg(place.join("x")).output().unwrap();
        let theirs = unpacked.status.success() && extracted.status.success();
        let read = read_deb(&bytes, "odd.deb");
        println!("{name:40} {theirs:>6} {:>6}  {why}", read.is_ok());
        if theirs != dpkg {
            let words = [unpacked.stderr, extracted.stderr].concat();
            wrong += &format!("{name}: dpkg: {theirs}: {}\n", String::from_utf8_lossy(&words));
        }
        if read.is_ok() != ours {
            wrong += &format!("{name}: ours: {:?}\n", read.map(|_| ()));
        }
        assert_eq!(dpkg != ours, !why.is_empty(), "{name}: a difference needs a reason");
    }
    assert!(wrong.is_empty(), "{wrong}");
}
