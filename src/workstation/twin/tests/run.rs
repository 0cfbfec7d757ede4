//! Scripts of a package made here run among those of a real base system: what they do well is carried over, and what they do
//! badly ends in an error that says whose fault it is.

use std::collections::BTreeMap;
use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

use fruit_base::now;
use fruit_debian::index::Priority;
use fruit_debian::resolve::Reason;
use fruit_debian::{
    Keyring, Lock, LockedPackage, LockedTwin, MirrorSources, Mirrors, Repository, Request, Sha256, Silent, Store,
    Universe, unpack_all,
};
use fruit_image::tree::{Kind, Tree};
use fruit_twin::{Error, Limits, Made, Run, Sandbox, Templates, of_workstation};

/// A file of an archive: path, mode, content.
type File<'f> = (&'f str, u32, &'f str);

fn tar(files: &[File]) -> Vec<u8> {
    let mut tar = tar::Builder::new(Vec::new());
    for (path, mode, text) in files {
        let mut header = tar::Header::new_gnu();
        header.set_mode(*mode);
        header.set_mtime(1_700_000_000);
        header.set_size(text.len() as u64);
        tar.append_data(&mut header, path, text.as_bytes()).unwrap();
    }
    tar.into_inner().unwrap()
}

/// A package with these control files and this file in /usr/share/odd.
fn deb(name: &str, scripts: &[File]) -> Vec<u8> {
    let control = format!(
        "Package: {name}\nVersion: 1.0\nArchitecture: all\nMaintainer: x\nDepends: passwd, debconf\nDescription: y\n"
    );
    let mut all = vec![("./control", 0o644, control.as_str())];
    all.extend(scripts);
    let data = tar(&[("./usr/share/odd/file", 0o644, "shipped\n")]);
    let member = |name: &str, data: &[u8]| {
        let head = format!("{name:<16}{:<12}{:<6}{:<6}{:<8}{:<10}`\n", 0, 0, 0, 100_644, data.len());
        let padding = if data.len() % 2 == 1 { &b"\n"[..] } else { b"" };
        [head.as_bytes(), data, padding].concat()
    };
    let parts = [member("debian-binary", b"2.0\n"), member("control.tar", &tar(&all)), member("data.tar", &data)];
    [b"!<arch>\n".to_vec(), parts.concat()].concat()
}

/// A base system of this machine's architecture, and where packages made here lie.
struct Base {
    store: Store,
    mirrors: Mirrors,
    folder: tempfile::TempDir,
    lock: Lock,
}

impl Base {
    fn new() -> Base {
        let folder = tempfile::tempdir().unwrap();
        let store = Store::open(&Path::new(env!("CARGO_TARGET_TMPDIR")).join("scripts-store"), false).unwrap();
        let environment = std::env::var(fruit_debian::mirror::ENVIRONMENT).ok();
        let sources = MirrorSources {
            options: &[],
            environment: environment.as_deref(),
            configuration: &BTreeMap::new(),
            etc_apt: Path::new("/etc/apt"),
        };
        let mut mirrors = Mirrors::find(&sources).unwrap();
        mirrors.set("craft", &format!("file://{}", folder.path().display())).unwrap();
        let repository = Repository {
            archive: "debian".into(),
            suite: "trixie".into(),
            components: vec!["main".into()],
            keyring: Arc::new(Keyring::debian_archive().unwrap()),
            allow_expired: false,
        };
        let host = of_workstation().unwrap();
        let universe = Universe::load(&[repository], host, &store, &mirrors, now(), &Silent).unwrap();
        let packages =
            ["debconf", "dpkg", "init-system-helpers", "passwd", "adduser", "tar"].map(str::to_owned).to_vec();
        let request = Request { packages, essential: true, ..Request::default() };
        let resolution = universe.resolve(&request, &BTreeMap::new()).unwrap();
        let lock = Lock::new(&request, &universe, &resolution, &store, &mirrors, &Silent).unwrap();
        store.ensure(&lock.packages, &mirrors, &Silent).unwrap();
        Base { store, mirrors, folder, lock }
    }

    fn offer(&self, name: &str, deb: &[u8]) -> LockedPackage {
        std::fs::write(self.folder.path().join(format!("{name}.deb")), deb).unwrap();
        let package = LockedPackage {
            name: name.to_owned(),
            version: "1.0".parse().unwrap(),
            architecture: "all".to_owned(),
            archive: "craft".to_owned(),
            path: format!("{name}.deb"),
            size: deb.len() as u64,
            sha256: Sha256::of(deb),
            sha512: None,
            section: String::new(),
            priority: Priority::Optional,
            reason: Reason::Requested,
        };
        self.store.ensure(std::slice::from_ref(&package), &self.mirrors, &Silent).unwrap();
        package
    }

    /// Runs the scripts of the base and of a package with these; a second time gives what was kept. Gives the root as well.
    fn run(&self, name: &str, scripts: &[File], answers: &[(&str, &str)]) -> Result<(Made, Tree), Error> {
        let odd = self.offer(name, &deb(name, scripts));
        let host = of_workstation().unwrap();
        let mut all: Vec<LockedPackage> = self.lock.packages.clone();
        all.push(odd);
        all.sort_by(|a, b| a.name.cmp(&b.name));
        let (mut tree, contents) =
            unpack_all(&self.store, host, &all, &fruit_debian::Diversions::default(), 1_700_000_000, &Silent).unwrap();
        let templates = Templates::of(&contents);
        let answers: Vec<_> = answers.iter().map(|(q, a)| templates.check(q, a).unwrap()).collect();
        let twin = LockedTwin {
            architecture: host.to_owned(),
            packages: Vec::new(),
            tools: Vec::new(),
            configured: Vec::new(),
        };
        let installed: Vec<&LockedPackage> = all.iter().collect();
        let run = Run {
            installed: &installed,
            image: &contents,
            twin: &twin,
            architecture: host,
            answers: &answers,
            epoch: 1_700_000_000,
            limits: Limits { silence: Duration::from_secs(8), ..Limits::default() },
            diversions: &|_| Vec::new(),
        };
        let made = run.layer(&self.store, &|| Ok(Sandbox::probe()?), &Silent)?;
        made.layer.lay(&mut tree, host, host, 1_700_000_000)?;
        Ok((made, tree))
    }

    /// Nothing has run before.
    fn forget(&self) {
        let _ = std::fs::remove_dir_all(self.store.root().join("layers"));
    }
}

fn text(tree: &Tree, path: &str) -> String {
    String::from_utf8(tree.read(path).unwrap()).unwrap()
}

fn what_scripts_do_is_carried_over_and_a_second_run_gives_the_same(base: &Base) {
    let postinst = "#!/bin/sh\nset -e\n. /usr/share/debconf/confmodule\ndb_get odd/name\nname=$RET\n\
        adduser --quiet --system --group --no-create-home --home /var/lib/odd odd\n\
        install -d -o odd -g odd -m 750 /var/lib/odd\necho \"$name\" > /var/lib/odd/name\nchown odd:odd /var/lib/odd/name\n\
        chmod 640 /var/lib/odd/name\nrm /usr/share/odd/file\nln -s ../odd/name /usr/share/odd/link\n\
        chgrp odd /usr/bin/tac\nchmod 2755 /usr/bin/tac\ncp /usr/bin/true /usr/bin/odd\n\
        dpkg-divert --quiet --package odd --rename --divert /usr/bin/tail.real --add /usr/bin/tail\n\
        update-alternatives --quiet --install /usr/bin/pick pick /usr/bin/cat 10\n\
        date > /var/log/odd.log\necho $$ > /var/cache/odd\necho x > /run/odd\nip link add dummy0 2>/dev/null || true\n\
        head -c 16 /dev/urandom > /etc/machine-id\n";
    let templates = "Template: odd/name\nType: string\nDefault: nobody\nDescription: Name?\n";
    let scripts = [("./postinst", 0o755, postinst), ("./templates", 0o644, templates)];
    let answers = [("odd/name", "somebody")];
    base.forget();
    let (first, tree) = base.run("odd", &scripts, &answers).unwrap_or_else(|error| panic!("{error}"));
    assert!(first.took.is_some());
    assert_eq!(text(&tree, "var/lib/odd/name"), "somebody\n");
    let meta = &tree.get("var/lib/odd/name").unwrap().meta;
    let passwd = text(&tree, "etc/passwd");
    let line = passwd.lines().find(|line| line.starts_with("odd:")).unwrap();
    assert_eq!(line.split(':').nth(2).unwrap(), meta.uid.to_string(), "{line}");
    assert!(meta.uid >= 200 && meta.mode == 0o640, "{meta:?}");
    assert!(!tree.contains("usr/share/odd/file"));
    assert!(matches!(&tree.get("usr/share/odd/link").unwrap().kind, Kind::Symlink(to) if to == "../odd/name"));
    assert_eq!(tree.get("usr/bin/tac").unwrap().meta.mode, 0o2755);
    assert_eq!(tree.get("usr/bin/tac").unwrap().meta.gid, meta.gid);
    assert_eq!(tree.read("usr/bin/odd").unwrap(), tree.read("usr/bin/true").unwrap());
    assert!(tree.contains("usr/bin/tail.real") && !tree.contains("usr/bin/tail"));
    assert!(matches!(&tree.get("etc/alternatives/pick").unwrap().kind, Kind::Symlink(to) if to == "/usr/bin/cat"));
    for path in
        ["var/log/odd.log", "var/cache/odd", "run/odd", "etc/machine-id", "var/lib/dpkg/status", "usr/sbin/policy-rc.d"]
    {
        assert!(!tree.contains(path), "{path}");
    }
    let (again, _) = base.run("odd", &scripts, &answers).unwrap_or_else(|error| panic!("{error}"));
    assert!(again.took.is_none() && again.sha256 == first.sha256, "the layer was not kept");
    base.forget();
    let (second, _) = base.run("odd", &scripts, &answers).unwrap_or_else(|error| panic!("{error}"));
    assert!(second.took.is_some());
    assert_eq!(second.sha256, first.sha256, "two runs gave two layers");
}

fn a_script_that_fails_is_named_with_its_last_words_and_what_to_do(base: &Base) {
    let postinst = "#!/bin/sh\nprintf '\\033[2Jthe disk is on fire\\n'\nexit 3\n";
    let templates = "Template: bad/fire\nType: boolean\nDescription: Fire?\n";
    let scripts = [("./postinst", 0o755, postinst), ("./templates", 0o644, templates)];
    let error = base.run("bad", &scripts, &[]).err().unwrap().to_string();
    assert!(!error.contains('\u{1b}'), "{error:?}");
    for part in
        ["bad: its postinst failed", "the disk is on fire", "exit status 3", "scripts: never", "bad/fire", ".log"]
    {
        assert!(error.contains(part), "{part}: {error}");
    }
}

fn a_script_that_waits_is_stopped_and_one_that_asks_reads_nothing(base: &Base) {
    let scripts =
        [("./postinst", 0o755, "#!/bin/sh\nread answer || echo nobody is here\necho and now?\nexec sleep 600\n")];
    let error = base.run("waiting", &scripts, &[]).err().unwrap().to_string();
    for part in ["waiting: its postinst was stopped", "nobody is here", "and now?"] {
        assert!(error.contains(part), "{part}: {error}");
    }
}

fn a_key_is_found_and_nothing_outside_is_touched(base: &Base) {
    let outside = base.folder.path().join("outside");
    let place = outside.display();
    let postinst = format!(
        "#!/bin/sh\nmkdir -p /etc/odd\nprintf -- '-----BEGIN PRIVATE KEY-----\\nMII\\n' > /etc/odd/key\n\
         mkdir -p {place} 2>/dev/null; echo x > {place}/x\ncd / && echo x > ../../../../../..{place}/y\n\
         echo 1 > /proc/sys/kernel/panic 2>/dev/null; mknod /dev/odd c 1 3 2>/dev/null; kill -9 1 2>/dev/null\n\
         [ -e {store} ] && exit 9\nexit 0\n",
        store = base.store.root().display()
    );
    let (made, tree) =
        base.run("leaky", &[("./postinst", 0o755, &postinst)], &[]).unwrap_or_else(|error| panic!("{error}"));
    let secrets = &made.layer.report().secrets;
    assert_eq!(secrets.len(), 1, "{secrets:?}");
    assert_eq!((secrets[0].path.as_str(), secrets[0].what.as_str()), ("etc/odd/key", "a private key"));
    assert!(!outside.exists() && !tree.contains("dev/odd"));
}

#[allow(clippy::print_stdout)] // as libtest says it
fn main() {
    fruit_sandbox::entry();
    let base = Base::new();
    type Test = fn(&Base);
    let tests: [(&str, Test); 4] = [
        ("what_scripts_do_is_carried_over", what_scripts_do_is_carried_over_and_a_second_run_gives_the_same),
        ("a_script_that_fails_is_named", a_script_that_fails_is_named_with_its_last_words_and_what_to_do),
        ("a_script_that_waits_is_stopped", a_script_that_waits_is_stopped_and_one_that_asks_reads_nothing),
        ("a_key_is_found", a_key_is_found_and_nothing_outside_is_touched),
    ];
    // The first that fails ends the program with its code.
    for (name, test) in tests {
        test(&base);
        println!("test {name} ... ok");
    }
    println!("\ntest result: ok. {} passed; 0 failed", tests.len());
}
