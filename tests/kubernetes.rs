//! The recipes of Kubernetes, built from repositories as upstream's are: an archive, a program and Debian packages that the tests
//! make, served from the loopback. In the image is what a node needs to join, and no program runs before it may.

#[path = "harness/built.rs"]
mod built;
mod harness;
#[path = "harness/server.rs"]
mod server;

use std::fs::{self, File};
use std::io::Write;
use std::os::unix::fs::{MetadataExt, PermissionsExt};
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

use built::Built;
use fruit_image::sums::Sum;
use harness::{fruitbuild, succeed, tool, top};
use serde_json::Value;
use server::Server;

/// What compiles for arm64.
const COMPILER: &str = if cfg!(target_arch = "aarch64") { "gcc" } else { "aarch64-linux-gnu-gcc" };

/// What an ELF file for arm64 has at byte 18 (`e_machine`).
const AARCH64: [u8; 2] = [183, 0];

/// A recipe that extends one of ours, as a person writes it, and a server with what upstream has.
struct Kitchen {
    folder: tempfile::TempDir,
    server: Server,
}

impl Kitchen {
    fn of(base: &str) -> Kitchen {
        let folder = tempfile::tempdir().unwrap();
        let server = Server::start(&folder.path().join("upstream"));
        let kitchen = Kitchen { folder, server };
        kitchen.write("recipes/node.yaml", format!("extends: {base}.yaml\nname: node\noutputs: {{zst: false}}\n"));
        kitchen
    }

    fn path(&self, below: &str) -> PathBuf {
        self.folder.path().join(below)
    }

    fn write(&self, below: &str, bytes: impl AsRef<[u8]>) -> PathBuf {
        let path = self.path(below);
        fs::create_dir_all(path.parent().unwrap()).unwrap();
        fs::write(&path, bytes).unwrap();
        path
    }

    /// A static program for arm64 that tells its version.
    fn program(&self, below: &str, version: &str) -> PathBuf {
        let source = format!("#include <stdio.h>\nint main(void) {{ return puts(\"{version}\") < 0; }}\n");
        let (source, program) = (self.write("program.c", source), self.path(below));
        fs::create_dir_all(program.parent().unwrap()).unwrap();
        succeed(Command::new(COMPILER).args(["-static", "-s", "-o"]).arg(&program).arg(source));
        program
    }

    /// `--set NAME=ADDRESS` of the server, and `more` of them.
    fn build(&self, address: &str, more: &[String]) -> Command {
        let mut command = fruitbuild();
        command.arg("build").arg(self.path("recipes/node.yaml")).arg("--out").arg(self.path("out"));
        command.args(["--set", &format!("{address}=http://127.0.0.1:{}", self.server.port())]);
        command.args(more.iter().flat_map(|setting| ["--set", setting]));
        command
    }

    fn built(&self) -> Built {
        Built::at(&self.path("out/node-0.1.0-raspberrypi4.img"))
    }
}

fn text(root: &Path, path: &str) -> String {
    fs::read_to_string(root.join(path)).unwrap_or_else(|error| panic!("{path}: {error}"))
}

fn mode(root: &Path, path: &str) -> u32 {
    let meta = fs::symlink_metadata(root.join(path)).unwrap_or_else(|error| panic!("{path}: {error}"));
    assert!(!rustix::process::geteuid().is_root() || (meta.uid(), meta.gid()) == (0, 0), "{path}");
    meta.mode() & 0o7777
}

/// Names of units that start with `target`.
fn wanted_by(root: &Path, target: &str) -> Vec<String> {
    let folders = ["etc", "usr/lib"].map(|top| root.join(format!("{top}/systemd/system/{target}.wants")));
    let entries = folders.iter().flat_map(|folder| fs::read_dir(folder).into_iter().flatten().flatten());
    entries.map(|entry| entry.file_name().into_string().unwrap()).collect()
}

/// What all nodes of Kubernetes have, whoever packs it; the root. `state`: what is kept besides.
fn node(built: &Built, state: &[&str]) -> PathBuf {
    let root = &built.root();
    let release = built.manifest["kernel"]["release"].as_str().unwrap();
    let modules = text(root, &format!("usr/lib/modules/{release}/modules.dep"));
    for name in ["overlay", "br_netfilter", "veth", "vxlan", "nft_compat", "nft_masq", "xt_MASQUERADE", "xt_statistic"]
    {
        let has =
            modules.lines().any(|line| line.split(':').next().is_some_and(|f| f.contains(&format!("/{name}.ko"))));
        assert!(has, "{name} is not among the modules");
    }
    assert!(!modules.contains("/nfsd.ko"));
    let loaded: String = ["etc", "usr/lib"]
        .iter()
        .flat_map(|top| fs::read_dir(root.join(top).join("modules-load.d")).into_iter().flatten().flatten())
        .filter_map(|entry| fs::read_to_string(entry.path()).ok())
        .collect();
    assert!(loaded.contains("br_netfilter\n") && loaded.contains("overlay\n"), "{loaded}");
    let sysctl = text(root, "etc/sysctl.d/90-fruitbuild.conf");
    for setting in ["net.ipv4.ip_forward = 1\n", "net.bridge.bridge-nf-call-iptables = 1\n"] {
        assert!(sysctl.contains(setting), "{sysctl}");
    }
    for program in ["usr/sbin/nft", "usr/sbin/conntrack", "usr/bin/curl", "usr/lib/kubernetes/ready"] {
        assert_eq!(mode(root, program), 0o755, "{program}");
    }
    assert_eq!(mode(root, "var/lib/k8s"), 0o700);
    let updater = text(root, "etc/fruit/update.yaml");
    assert!(updater.contains("/usr/lib/kubernetes/ready"), "{updater}");
    let initramfs = File::open(built.initramfs()).unwrap();
    let extract = ["-i", "--quiet", "--to-stdout", "etc/fruit/init.json"];
    let settings = succeed(tool("cpio", "cpio").args(extract).stdin(initramfs)).stdout;
    let settings: Value = serde_json::from_slice(&settings).unwrap();
    for path in [&["/var/lib/k8s", "/var/lib/kubelet", "/var/log/pods"], state].concat() {
        assert!(settings["state_paths"].as_array().unwrap().contains(&path.into()), "{path}: {settings}");
    }
    root.clone()
}

#[test]
fn upstreams_archive_becomes_a_node_that_waits_for_its_cluster() {
    let kitchen = Kitchen::of("kubernetes");
    let programs = ["kubelet", "kube-proxy", "kube-apiserver"]
        .map(|name| kitchen.program(&format!("archive/kubernetes/server/bin/{name}"), "Kubernetes v9.8.7"));
    let archive = kitchen.write("upstream/v9.8.7/kubernetes-server-linux-arm64.tar.gz", "");
    let mut tar = tool("tar", "tar");
    succeed(tar.arg("-czf").arg(&archive).arg("-C").arg(kitchen.path("archive")).arg("kubernetes"));
    let sum = succeed(tool("sha512sum", "coreutils").arg(&archive)).stdout;
    let sum = String::from_utf8(sum[..128].to_vec()).unwrap();

    let settings = |sum: &str, arguments: &str| {
        let all = ["kubernetes=9.8.7", &format!("sha512_arm64={sum}"), &format!("kubelet_arguments={arguments}")];
        all.map(str::to_owned)
    };
    let refused = kitchen.build("releases", &settings(&"ab".repeat(64), "")).output().unwrap();
    let said = String::from_utf8(refused.stderr).unwrap();
    assert!(refused.status.code() == Some(4) && said.contains("SHA-512"), "{said}");
    succeed(&mut kitchen.build("releases", &settings(&sum, "--container-runtime=remote")));
    // The lock names the file by both hashes, so nothing is fetched again.
    let lock: Value = serde_json::from_str(&text(kitchen.folder.path(), "recipes/node.lock")).unwrap();
    let download = &lock["downloads"][0];
    assert_eq!(download["sha512"], sum.as_str());
    assert_eq!(download["sha256"], Sum::of(&fs::read(&archive).unwrap()).to_string());
    let sent = kitchen.server.sent();
    succeed(kitchen.build("releases", &settings(&sum, "--container-runtime=remote")).args(["--locked", "--offline"]));
    assert_eq!(kitchen.server.sent(), sent);
    let other = kitchen.build("releases", &settings(&"ab".repeat(64), "")).arg("--locked").output().unwrap();
    assert_eq!(other.status.code(), Some(3), "{}", String::from_utf8_lossy(&other.stderr));

    let built = kitchen.built();
    let root = node(&built, &["/var/lib/containerd", "/var/lib/cni"]);
    for program in &programs[..2] {
        let path = format!("usr/bin/{}", program.file_name().unwrap().to_str().unwrap());
        let bytes = fs::read(root.join(&path)).unwrap();
        assert!(bytes == fs::read(program).unwrap() && bytes[18..20] == AARCH64, "{path}");
        assert_eq!(mode(&root, &path), 0o755);
    }
    assert!(!root.join("usr/bin/kube-apiserver").exists());
    assert_eq!(text(&root, "etc/default/kubelet"), "KUBELET_EXTRA_ARGS=--container-runtime=remote\n");
    assert!(text(&root, "etc/containerd/config.toml").contains("SystemdCgroup = true"));
    assert_eq!(mode(&root, "usr/lib/cni/bridge"), 0o755);
    let paths = wanted_by(&root, "paths.target");
    assert!(["kubelet.path", "kube-proxy.path"].iter().all(|unit| paths.contains(&(*unit).to_owned())), "{paths:?}");
    let started = wanted_by(&root, "multi-user.target");
    assert!(started.contains(&"containerd.service".to_owned()), "{started:?}");
    assert!(!started.iter().any(|unit| unit.starts_with("kube") && unit != "kubernetes-images.service"), "{started:?}");
}

#[test]
fn k3s_is_one_program_that_is_server_or_agent() {
    let kitchen = Kitchen::of("k3s");
    let program = kitchen.program("upstream/v9.8.7+k3s1/k3s-arm64", "k3s version v9.8.7+k3s1");
    let sum = Sum::of(&fs::read(&program).unwrap());
    succeed(&mut kitchen.build("releases", &["k3s=9.8.7+k3s1".to_owned(), format!("sha256_arm64={sum}")]));

    let built = kitchen.built();
    let root = node(&built, &["/var/lib/rancher", "/etc/rancher/node"]);
    let bytes = fs::read(root.join("usr/bin/k3s")).unwrap();
    assert!(bytes == fs::read(&program).unwrap() && bytes[18..20] == AARCH64);
    assert_eq!(mode(&root, "usr/bin/k3s"), 0o755);
    assert!(mode(&root, "usr/bin/kubectl") == 0o755 && text(&root, "usr/bin/kubectl").contains("exec k3s kubectl"));
    assert_eq!(built.manifest["downloads"][0]["sha256"], sum.to_string());
    // It brings its own.
    assert!(!root.join("usr/bin/containerd").exists() && !root.join("usr/lib/cni").exists());
    let mut paths = wanted_by(&root, "paths.target");
    paths.retain(|unit| unit.starts_with("k3s"));
    paths.sort();
    assert_eq!(paths, ["k3s@agent.path", "k3s@server.path"]);
    assert!(text(&root, "usr/lib/systemd/system/k3s@.service").contains("/usr/bin/k3s %i --config"));
}

/// A package of upstream's, as its specification makes it, with the programs that it has.
fn package(kitchen: &Kitchen, name: &str, depends: &str, files: &[(&str, u32)], script: Option<&str>) -> String {
    let below = format!("packages/{name}");
    for (file, mode) in files {
        let path = match file.contains("bin/") {
            true => kitchen.program(&format!("{below}/{file}"), name),
            false => kitchen.write(
                &format!("{below}/{file}"),
                "[Service]\nExecStart=/usr/bin/kubelet\n[Install]\nWantedBy=multi-user.target\n",
            ),
        };
        fs::set_permissions(path, fs::Permissions::from_mode(*mode)).unwrap();
    }
    let control = format!(
        "Package: {name}\nVersion: 9.8.7-1.1\nArchitecture: arm64\nMaintainer: Nobody <nobody@example.org>\n{depends}Description: {name}\n"
    );
    kitchen.write(&format!("{below}/DEBIAN/control"), &control);
    if let Some(script) = script {
        let path = kitchen.write(&format!("{below}/DEBIAN/postinst"), script);
        fs::set_permissions(path, fs::Permissions::from_mode(0o755)).unwrap();
    }
    let file = format!("arm64/{name}_9.8.7-1.1_arm64.deb");
    let deb = kitchen.write(&format!("upstream/v9.8/deb/{file}"), "");
    let mut build = tool("dpkg-deb", "dpkg");
    succeed(build.args(["--root-owner-group", "--build"]).arg(kitchen.path(&below)).arg(&deb));
    let bytes = fs::read(deb).unwrap();
    format!("{control}Filename: {file}\nSize: {}\nSHA256: {}\n\n", bytes.len(), Sum::of(&bytes))
}

/// Runs GnuPG with its files in `home`; what it prints.
fn gpg(home: &Path, arguments: &[&str], input: &str) -> Vec<u8> {
    let mut command = tool("gpg", "gnupg");
    command.arg("--homedir").arg(home).args(["--batch", "--quiet", "--passphrase", "", "--pinentry-mode", "loopback"]);
    let mut child = command.args(arguments).stdin(Stdio::piped()).stdout(Stdio::piped()).spawn().unwrap();
    child.stdin.take().unwrap().write_all(input.as_bytes()).unwrap();
    let output = child.wait_with_output().unwrap();
    assert!(output.status.success(), "gpg {arguments:?}: {}", output.status);
    output.stdout
}

#[test]
fn upstreams_packages_wait_for_kubeadm() {
    let kitchen = Kitchen::of("kubeadm-packages");
    // What the macro that upstream builds packages with makes of `%systemd_post kubelet.service`, and where it puts units.
    let enable = "#!/bin/sh\nif [ \"$1\" = \"configure\" ] ; then\n        systemctl preset kubelet.service >/dev/null 2>&1 || :\nfi\n";
    let unit = ("lib/systemd/system/kubelet.service", 0o600);
    let index = [
        package(
            &kitchen,
            "kubelet",
            "Depends: iptables (>= 1.4.21), kubernetes-cni (>= 1.2.0), libc6, mount, util-linux\n",
            &[("usr/bin/kubelet", 0o755), unit, ("etc/kubernetes/manifests/.kubelet-keep", 0o644)],
            Some(enable),
        ),
        package(
            &kitchen,
            "kubeadm",
            "",
            &[("usr/bin/kubeadm", 0o755), ("lib/systemd/system/kubelet.service.d/10-kubeadm.conf", 0o644)],
            None,
        ),
        package(&kitchen, "kubernetes-cni", "", &[("opt/cni/bin/bridge", 0o755)], None),
    ]
    .concat();
    kitchen.write("upstream/v9.8/deb/Packages", &index);
    let date = succeed(tool("date", "coreutils").env("LC_ALL", "C").args(["-u", "+%a, %d %b %Y %H:%M:%S UTC"])).stdout;
    let release = format!(
        "Origin: obs://build.example.org/isv:kubernetes\nDate: {}SHA256:\n {} {} Packages\n",
        String::from_utf8(date).unwrap(),
        Sum::of(index.as_bytes()),
        index.len()
    );
    let home = kitchen.path("gnupg");
    fs::create_dir(&home).unwrap();
    fs::set_permissions(&home, fs::Permissions::from_mode(0o700)).unwrap();
    // As upstream's, its key ends some day.
    gpg(&home, &["--quick-gen-key", "isv:kubernetes <packages@example.org>", "rsa2048", "sign", "2y"], "");
    kitchen.write("upstream/v9.8/deb/InRelease", gpg(&home, &["--clearsign"], &release));
    let key = kitchen.write("keys/Release.key", gpg(&home, &["--armor", "--export"], ""));

    // Nobody chose a key.
    let answer = kitchen.build("packages", &["kubernetes=9.8".to_owned()]).output().unwrap();
    let said = String::from_utf8(answer.stderr).unwrap();
    assert!(answer.status.code() == Some(3) && said.contains("--set key=VALUE"), "{said}");
    let settings = ["kubernetes=9.8".to_owned(), format!("key={}", key.display())];
    succeed(&mut kitchen.build("packages", &settings));

    let built = kitchen.built();
    let root = node(&built, &["/var/lib/containerd", "/etc/kubernetes"]);
    for program in ["usr/bin/kubelet", "usr/bin/kubeadm", "opt/cni/bin/bridge"] {
        assert_eq!(mode(&root, program), 0o755);
        assert_eq!(fs::read(root.join(program)).unwrap()[18..20], AARCH64);
    }
    assert!(text(&root, "etc/containerd/config.toml").contains("/opt/cni/bin") && !root.join("usr/lib/cni").exists());
    assert!(root.join("usr/lib/systemd/system/kubelet.service.d/10-kubeadm.conf").is_file());
    // The package enables its service; the recipe does not let it start before it has a configuration.
    let started = wanted_by(&root, "multi-user.target");
    assert!(!started.contains(&"kubelet.service".to_owned()), "{started:?}");
    let paths = wanted_by(&root, "paths.target");
    assert!(["kubelet.path", "kubeadm-join.path"].iter().all(|unit| paths.contains(&(*unit).to_owned())), "{paths:?}");
    assert_eq!(built.manifest["scripts_not_reproduced"], Value::Array(Vec::new()));
}

/// A node as far as the health check sees it: its paths below a folder, and programs that play the others.
struct Checked {
    folder: tempfile::TempDir,
}

impl Checked {
    fn write(&self, below: &str, text: &str) {
        let path = self.folder.path().join(below);
        fs::create_dir_all(path.parent().unwrap()).unwrap();
        fs::write(&path, text).unwrap();
        fs::set_permissions(path, fs::Permissions::from_mode(0o755)).unwrap();
    }

    /// Whether the node is well, and what the check says.
    fn says(&self) -> (bool, String) {
        let folder = self.folder.path().display().to_string();
        let script = fs::read_to_string(top().join("overlays/kubernetes-base/usr/lib/kubernetes/ready")).unwrap();
        let script = script.replace("/var/lib/", &format!("{folder}/")).replace("/etc/", &format!("{folder}/etc/"));
        let path = format!("{folder}/bin:/usr/bin:/bin");
        let output = Command::new("sh").args(["-c", &script]).env("PATH", path).output().unwrap();
        (output.status.success(), String::from_utf8(output.stderr).unwrap())
    }

    fn is_well(&self) {
        let (well, said) = self.says();
        assert!(well, "{said}");
    }

    fn is_ill(&self, why: &str) {
        let (well, said) = self.says();
        assert!(!well && said.contains(why), "{said}");
    }
}

#[test]
fn a_node_is_well_when_it_is_ready_or_in_no_cluster() {
    let node = Checked { folder: tempfile::tempdir().unwrap() };
    fs::create_dir_all(node.folder.path().join("k8s")).unwrap();
    // As the kubelet writes it after it has joined, with the authority in a file or in the text itself.
    let config = |authority: &str| {
        let user = "users:\n- name: default-auth\n  user:\n    client-certificate: /pki/now.pem\n    client-key: /pki/now.key\n";
        format!("clusters:\n- cluster:\n    {authority}\n    server: https://10.1.2.3:6443\n  name: c\n{user}")
    };
    let answers = |status: &str| {
        let conditions = format!("{{\"type\": \"Ready\",\n \"status\": \"{status}\"}}");
        // The node's own certificate, the cluster's authority, the name of node.env.
        let asked = "case \"$*\" in *'--cert /pki/now.pem --key /pki/now.key https://10.1.2.3:6443/api/v1/nodes/n1') ;; *) exit 3 ;; esac";
        let script = format!("#!/bin/sh\n{asked}\n[ \"$(cat)\" = authority ] || exit 60\necho '{conditions}'\n");
        node.write("bin/curl", &script);
    };
    node.write("k8s/node.env", "NODE_NAME=n1\nNODE_IP=10.1.2.4\n");
    node.is_well(); // no kubelet: another release brings it
    node.write("bin/kubelet", "#!/bin/sh\n");
    node.write("bin/systemctl", "#!/bin/sh\nexit 3\n");
    node.is_ill("the kubelet is not active");
    fs::rename(node.folder.path().join("k8s/node.env"), node.folder.path().join("node.env")).unwrap();
    node.is_well(); // no cluster
    fs::rename(node.folder.path().join("node.env"), node.folder.path().join("k8s/node.env")).unwrap();
    node.write("bin/systemctl", "#!/bin/sh\nexit 0\n");
    node.is_ill("has not joined yet");
    node.write("ca.crt", "authority");
    node.write(
        "kubelet/kubeconfig",
        &config(&format!("certificate-authority: {}/ca.crt", node.folder.path().display())),
    );
    answers("True");
    node.is_well();
    answers("False");
    node.is_ill("node n1 is not Ready");
    node.write("bin/curl", "#!/bin/sh\necho refused >&2\nexit 7\n");
    node.is_ill("the API server does not show node n1");
    fs::remove_dir_all(node.folder.path().join("kubelet")).unwrap();
    node.write("etc/kubernetes/kubelet.conf", &config("certificate-authority-data: YXV0aG9yaXR5"));
    answers("True");
    node.is_well();
}
