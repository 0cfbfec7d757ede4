//! Images made by real tools, served by a real registry, and started by the real Podman from the store that we lay.

use std::fs;
use std::net::TcpListener;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

use crate::craft;
use crate::craft::{busybox_image, on_disk, succeed, tool};
use fruit_containers::{Named, Origin, Platform, Registries, Wanted, ensure, lay, pin};
use fruit_debian::{LockedContainer, Silent, Store};
use fruit_image::tree::Tree;

const EPOCH: i64 = 1_767_225_600;

/// Debian's registry on a port of this machine, until it is dropped.
struct Registry {
    program: Child,
    name: String,
}

impl Registry {
    fn start(folder: &Path) -> Registry {
        let port = TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap().port();
        let settings = folder.join("registry.yml");
        let text = format!(
            "version: 0.1\nlog: {{level: error, accesslog: {{disabled: true}}}}\n\
             storage: {{filesystem: {{rootdirectory: {}}}}}\nhttp: {{addr: '127.0.0.1:{port}'}}\n",
            folder.join("registry").display()
        );
        fs::write(&settings, text).unwrap();
        let mut command = tool("docker-registry", "docker-registry");
        let program = command.arg("serve").arg(&settings).stderr(Stdio::null()).stdout(Stdio::null()).spawn().unwrap();
        let registry = Registry { program, name: format!("127.0.0.1:{port}") };
        let start = Instant::now();
        while std::net::TcpStream::connect(&registry.name).is_err() {
            assert!(start.elapsed() < Duration::from_secs(60), "docker-registry does not listen");
            std::thread::sleep(Duration::from_millis(50));
        }
        registry
    }

    fn push(&self, layout: &Path, reference: &str) {
        let to = format!("docker://{}/{reference}", self.name);
        let from = format!("oci:{}", layout.display());
        succeed(tool("skopeo", "skopeo").args(["copy", "--quiet", "--dest-tls-verify=false", &from, &to]));
    }
}

impl Drop for Registry {
    fn drop(&mut self) {
        let _ = self.program.kill();
        let _ = self.program.wait();
    }
}

fn platform() -> Platform {
    Platform::of_debian("amd64").unwrap()
}

fn pinned(wanted: &Wanted, store: &Store) -> LockedContainer {
    let all = pin(std::slice::from_ref(wanted), &[], platform(), store, &Registries::default(), &Silent);
    all.unwrap().remove(0)
}

fn from_registry(registry: &Registry, tag: &str) -> Wanted {
    Wanted {
        name: "app".into(),
        image: Some(format!("{}/team/app:{tag}", registry.name)),
        archive: None,
        origin: Origin::Registry {
            registry: registry.name.clone(),
            repository: "team/app".into(),
            tag: Some(tag.into()),
            digest: None,
        },
    }
}

fn from_archive(path: PathBuf, image: Option<&str>) -> Wanted {
    let image = image.map(str::to_owned);
    let archive = Some(path.display().to_string());
    Wanted { name: "app".into(), image: image.clone(), archive, origin: Origin::Archive { path, image } }
}

/// Runs Podman with its own storage in `folder` and `store` as an additional one. Nothing of it reaches a network; cgroups are those
/// that its runtime understands, whatever this machine has.
fn podman(folder: &Path, store: &Path, arguments: &str) -> String {
    let settings = folder.join("storage.conf");
    let text = format!(
        "[storage]\ndriver = \"overlay\"\nrunroot = \"{0}/run\"\ngraphroot = \"{0}/graph\"\n\
         [storage.options]\nadditionalimagestores = [\"{1}\"]\n",
        folder.display(),
        store.display()
    );
    fs::write(&settings, text).unwrap();
    tool("podman", "podman");
    tool("crun", "crun");
    let script =
        format!("umount -R /sys/fs/cgroup 2>/dev/null; mount -t cgroup2 none /sys/fs/cgroup; exec podman {arguments}");
    let mut command = Command::new("unshare");
    command.args(["--mount", "--net", "sh", "-c", &script]).env("CONTAINERS_STORAGE_CONF", &settings);
    String::from_utf8(succeed(&mut command).stdout).unwrap()
}

#[test]
fn what_a_registry_and_archives_give_is_started_by_podman_with_no_network() {
    let dir = tempfile::tempdir().unwrap();
    let registry = Registry::start(dir.path());
    let layout = busybox_image(&dir.path().join("one"), "first");
    registry.push(&layout, "team/app:1");
    let store = Store::open(&dir.path().join("store"), false).unwrap();
    let wanted = from_registry(&registry, "1");
    let locked = pinned(&wanted, &store);

    // The tag moves; what is locked does not.
    registry.push(&busybox_image(&dir.path().join("two"), "second"), "team/app:1");
    assert_ne!(pinned(&wanted, &store).config, locked.config);
    let fresh = Store::open(&dir.path().join("fresh"), false).unwrap();
    let all = [locked.clone()];
    ensure(std::slice::from_ref(&wanted), &all, &fresh, &Registries::default(), &Silent).unwrap();
    drop(registry);
    let offline = Store::open(&dir.path().join("fresh"), true).unwrap();
    ensure(std::slice::from_ref(&wanted), &all, &offline, &Registries::default(), &Silent).unwrap();

    // Archives of the same image, by the tools that people make them with.
    let copy = |to: &str| {
        let from = format!("oci:{}", layout.display());
        succeed(tool("skopeo", "skopeo").args(["copy", "--quiet", &from, to]));
    };
    let saved = dir.path().join("saved.tar");
    copy(&format!("docker-archive:{}:team.test/app:1", saved.display()));
    let oci = dir.path().join("oci.tar");
    copy(&format!("oci-archive:{}", oci.display()));
    let of_save = pinned(&from_archive(saved.clone(), Some("team.test/app:1")), &offline);
    let of_oci = pinned(&from_archive(oci, None), &offline);
    let of_folder = pinned(&from_archive(layout.clone(), None), &offline);
    assert_eq!((&of_oci.config, &of_oci.layers), (&locked.config, &locked.layers));
    assert_eq!((&of_folder.manifest, &of_folder.config), (&of_oci.manifest, &of_oci.config));
    let none = pin(
        &[from_archive(saved, Some("team.test/app:2"))],
        &[],
        platform(),
        &offline,
        &Registries::default(),
        &Silent,
    );
    let none = none.unwrap_err().to_string();
    assert!(none.contains("has no image team.test/app:2; it has team.test/app:1"), "{none}");

    let make = || {
        let mut tree = Tree::new(EPOCH);
        let images = [
            Named { locked: &locked, name: "registry.test/team/app:1".into() },
            Named { locked: &of_save, name: "localhost/saved:latest".into() },
        ];
        let laid = lay(&images, platform(), &offline, (&mut tree, "usr/lib/containers/storage"), EPOCH).unwrap();
        (tree, laid)
    };
    let (tree, laid) = make();
    assert_eq!(laid[0].layers, laid[1].layers, "layers that two images share are there once");
    assert_eq!(craft::listing(&tree), craft::listing(&make().0), "the same lock gives the same store");

    if !rustix::process::geteuid().is_root() {
        return; // layers have owners, devices and trusted attributes
    }
    let root = dir.path().join("root");
    on_disk(&tree, &root);
    let additional = root.join("usr/lib/containers/storage");
    let own = dir.path().join("podman");
    fs::create_dir_all(&own).unwrap();
    let images = podman(&own, &additional, "images --format '{{.Repository}}:{{.Tag}} {{.ReadOnly}}'");
    assert!(images.contains("registry.test/team/app:1 true"), "{images}");
    let run = "run --rm --pull=never --network=none --cgroups=disabled --ulimit nofile=512:512 --ulimit nproc=512:512";
    for image in ["registry.test/team/app:1", "localhost/saved:latest"] {
        let inside = "/bin/busybox sh -c 'cat /etc/which; ls /etc /dir; ls -i /hard /bin/busybox | wc -l; stat -c %u:%a /dir/b; echo x >/dir/new'";
        let said = podman(&own, &additional, &format!("{run} {image} {inside}"));
        let lines: Vec<&str> = said.lines().map(str::trim).filter(|line| !line.is_empty()).collect();
        assert_eq!(lines[0], "first", "{said}");
        assert!(!said.contains("old") && said.contains("keep"), "a whiteout hides its file: {said}");
        let dir = lines.iter().position(|line| *line == "/dir:").unwrap();
        assert_eq!(lines[dir + 1], "b", "an opaque folder hides all below it: {said}");
        assert!(lines.contains(&"1000:600"), "{said}");
    }
    let id = podman(&own, &additional, "image inspect --format '{{.Id}} {{.Digest}}' registry.test/team/app:1");
    assert_eq!(id.trim(), format!("{} sha256:{}", locked.config.sha256, locked.manifest.sha256));
}
