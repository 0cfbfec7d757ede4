//! What a recipe brings besides packages: the example's files, downloads, accounts, settings and variables in an image.

#[path = "harness/built.rs"]
mod built;
mod harness;
#[path = "harness/project.rs"]
mod project;

use std::fs;
use std::os::unix::fs::{MetadataExt, PermissionsExt};
use std::path::Path;
use std::process::Command;

use built::Built;
use fruit_image::sums::Sum;
use harness::{succeed, tool, top};
use project::Project;
use serde_json::Value;

/// A project with the example, and node exporter's release as its address would give it.
fn project() -> Project {
    let project = Project::of("minimal");
    let recipe = fs::read_to_string(top().join("examples/recipes/exporter.yaml")).unwrap();
    project.write("recipes/exporter.yaml", &recipe);
    fs::copy(project.path("recipes/minimal.lock"), project.path("recipes/exporter.lock")).unwrap();
    archive(&project, "node exporter");
    project
}

/// Makes the release with `program` as its program.
fn archive(project: &Project, program: &str) {
    let name = "node_exporter-1.9.1.linux-arm64";
    let folder = project.path("releases/v1.9.1");
    project.write(&format!("releases/v1.9.1/{name}/node_exporter"), program);
    project.write(&format!("releases/v1.9.1/{name}/LICENSE"), "may be used\n");
    project.write(&format!("releases/v1.9.1/{name}/NOTICE"), "of people\n");
    fs::set_permissions(folder.join(name).join("node_exporter"), fs::Permissions::from_mode(0o755)).unwrap();
    let mut tar = tool("tar", "tar");
    succeed(tar.args(["--sort=name", "--mtime=@0", "-czf", &format!("{name}.tar.gz"), name]).current_dir(&folder));
}

fn set(project: &Project) -> String {
    format!("releases=file://{}", project.path("releases").display())
}

fn build(project: &Project, more: &[&str]) -> project::Answer {
    let releases = set(project);
    let all = ["build", "recipes/exporter.yaml", "--offline", "--set", &releases];
    project.run(&[&all[..], more].concat())
}

fn built(project: &Project, name: &str, version: &str) -> Built {
    Built::at(&project.path(&format!("out/{name}-{version}-raspberrypi3.img")))
}

fn owner_and_mode(path: &Path) -> (u32, u32, u32) {
    let meta = fs::symlink_metadata(path).unwrap();
    (meta.uid(), meta.gid(), meta.mode() & 0o7777)
}

#[test]
fn the_example_is_built_from_the_cache_and_the_image_holds_what_it_says() {
    let project = project();
    // Not in the lock yet: --locked changes nothing, and says what to do.
    let answer = build(&project, &["--locked"]);
    assert_eq!(answer.code, 3, "{}", answer.stderr);
    assert!(answer.stderr.contains("fruitbuild lock"), "{}", answer.stderr);

    let releases = set(&project);
    let first = ["build", "recipes/exporter.yaml", "--set", &releases, "--set", "version=1.4.2"];
    let answer = project.succeed(&first);
    assert!(answer.stderr.contains("node-exporter: pinned"), "{}", answer.stderr);
    let read = |name: &str| -> Value { serde_json::from_slice(&fs::read(project.path(name)).unwrap()).unwrap() };
    let manifest = read("out/exporter-1.4.2-raspberrypi3.manifest.json");
    assert_eq!(manifest["variables"]["version"], "1.4.2");
    assert_eq!(manifest["variables"]["channel"], "stable");
    let archive_path = project.path("releases/v1.9.1/node_exporter-1.9.1.linux-arm64.tar.gz");
    let sum = Sum::of(&fs::read(&archive_path).unwrap()).to_string();
    assert_eq!(manifest["downloads"][0]["sha256"], sum.as_str());
    assert_eq!(manifest["downloads"][0]["files"].as_array().unwrap().len(), 3);
    let sbom = fs::read_to_string(project.path("out/exporter-1.4.2-raspberrypi3.spdx.json")).unwrap();
    assert!(sbom.contains(&sum) && sbom.contains("SPDXRef-download-node-exporter"));

    let built = built(&project, "exporter", "1.4.2");
    let root = built.root();
    let text = |path: &str| fs::read_to_string(root.join(path)).unwrap();
    assert_eq!(text("usr/bin/node_exporter"), "node exporter");
    assert_eq!(text("usr/share/doc/node-exporter/NOTICE"), "of people\n");
    assert_eq!(text("etc/fruit/channel"), "stable\n");
    assert!(text("etc/sysctl.d/90-fruitbuild.conf").contains("vm.swappiness = 10\n"));
    assert!(text("etc/group").contains("metrics:x:910:"));
    let passwd = text("etc/passwd");
    let exporter: Vec<&str> = passwd.lines().find(|line| line.starts_with("exporter:")).unwrap().split(':').collect();
    assert_eq!((exporter[3], exporter[6]), ("910", "/usr/sbin/nologin"));
    assert!(text("etc/fruit/start.d/60-exporter").contains("$(cat /etc/fruit/exporter.conf)"));
    if rustix::process::geteuid().is_root() {
        assert_eq!(owner_and_mode(&root.join("usr/bin/node_exporter")), (0, 0, 0o755));
        let uid = exporter[2].parse().unwrap();
        assert_eq!(owner_and_mode(&root.join("etc/fruit/exporter.conf")), (uid, 910, 0o640));
    }

    // From the cache alone: the address is gone, and the build is the same.
    fs::remove_file(&archive_path).unwrap();
    let answer = build(&project, &["--locked", "--force", "--set", "version=1.4.2"]);
    assert_eq!(answer.code, 0, "{}", answer.stderr);
    let again = read("out/exporter-1.4.2-raspberrypi3.manifest.json");
    assert_eq!(again, manifest);
    // Another value is another build.
    let answer = build(&project, &["--locked", "--set", "channel=testing"]);
    assert_eq!(answer.code, 0, "{}", answer.stderr);
    assert_ne!(read("out/exporter-0.1.0-raspberrypi3.manifest.json")["build_id"], manifest["build_id"]);
}

#[test]
fn mistakes_are_told_on_their_line() {
    let project = project();
    let releases = set(&project);
    let recipe = fs::read_to_string(project.path("recipes/exporter.yaml")).unwrap();
    let with = |from: &str, to: &str| {
        assert!(recipe.contains(from), "{from}");
        project.write("recipes/exporter.yaml", &recipe.replace(from, to));
        let answer = project.run(&["build", "recipes/exporter.yaml", "--set", &releases]);
        assert_eq!(answer.code, 3, "{from} -> {to}: {}{}", answer.stdout, answer.stderr);
        answer.stderr
    };
    for (from, to, words) in [
        ("/etc/fruit/channel:", "/etc/inittab:", &["/etc/inittab is there already", "replace: true"][..]),
        ("/etc/fruit/channel:", "/usr/bin/node_exporter:", &["is there already"]),
        ("/etc/fruit/channel:", "/etc/fruit:", &["/etc/fruit is a folder"]),
        ("/etc/fruit/channel:", "/var/run/channel:", &["made anew at each boot"]),
        ("owner: \"exporter:metrics\"", "owner: \"exporter:metric\"", &["no group `metric`", "exporter:metrics"]),
        ("group: metrics}", "group: metrics, groups: [gpoi]}", &["no group `gpoi`", "groups: {gpoi: {}}"]),
        ("metrics: {gid: 910}", "metrics: {gid: 4}", &["has the number 4 already", "choose another"]),
        ("from: \"*/node_exporter\"", "from: \"*/node_exprter\"", &["has no `*/node_exprter`", "at its top"]),
        (
            "\"*/node_exporter\", to: /usr/bin/node_exporter",
            "\"*/*\", to: /usr/bin/x",
            &["matches 3 files", "/usr/bin/x/"],
        ),
        ("from: \"*/node_exporter\"", "from: node_exporter-1.9.1.linux-arm64", &["is a folder", "/**"]),
        ("to: /usr/bin/node_exporter", "to: /etc/passwd", &["written by fruitbuild"]),
        ("to: /usr/bin/node_exporter", "to: /etc/inittab", &["/etc/inittab is there already"]),
        ("linux-${arch}.tar.gz\"\n", "linux-${arhc}.tar.gz\"\n", &["no variable `arhc`", "${arch}"]),
    ] {
        let said = with(from, to);
        for word in words {
            assert!(said.contains(word), "{from} -> {to}: expected {word:?} in:\n{said}");
        }
        assert!(said.contains("exporter.yaml:"), "{from} -> {to}: {said}");
    }
    // A hash counts in either case of its digits.
    let address = "linux-${arch}.tar.gz\"\n";
    let sum = Sum::of(&fs::read(project.path("releases/v1.9.1/node_exporter-1.9.1.linux-arm64.tar.gz")).unwrap());
    for (sha256, code) in [("AB".repeat(32), 4), (sum.to_string().to_uppercase(), 0)] {
        let hashed = format!("{address}    sha256: \"{sha256}\"\n");
        project.write("recipes/exporter.yaml", &recipe.replace(address, &hashed));
        let answer = project.run(&["build", "recipes/exporter.yaml", "--set", &releases]);
        assert_eq!(answer.code, code, "{sha256}: {}", answer.stderr);
        assert!(code == 0 || answer.stderr.contains("SHA-256"), "{}", answer.stderr);
    }
    // Another file at the address of a locked one, which the cache does not have.
    project.write("recipes/exporter.yaml", &recipe);
    archive(&project, "another program");
    fs::remove_dir_all(project.path("cache/urls")).unwrap();
    for entry in fs::read_dir(project.path("cache/blobs")).unwrap().flatten() {
        for file in fs::read_dir(entry.path()).unwrap().flatten() {
            if file.path().extension().is_some_and(|e| e == "file") {
                fs::remove_file(file.path()).unwrap();
            }
        }
    }
    let answer = project.run(&["build", "recipes/exporter.yaml", "--locked", "--set", &releases]);
    assert!(answer.code == 4 || answer.code == 5, "{}: {}", answer.code, answer.stderr);
    assert!(answer.stderr.contains("SHA-256") || answer.stderr.contains("longer"), "{}", answer.stderr);
}

/// What `docker save` would write of an image for arm64 with one layer, whose one file says `text`.
fn saved_image(project: &Project, text: &str) {
    let folder = project.path("saved");
    project.write("saved/layer/etc/says", text);
    succeed(tool("tar", "tar").args(["--mtime=@0", "-cf", "layer.tar", "-C", "layer", "."]).current_dir(&folder));
    let diff_id = Sum::of(&fs::read(folder.join("layer.tar")).unwrap());
    let config = serde_json::json!({
        "architecture": "arm64", "os": "linux",
        "rootfs": {"type": "layers", "diff_ids": [format!("sha256:{diff_id}")]},
    });
    project.write("saved/config.json", &config.to_string());
    let manifest = serde_json::json!([{"Config": "config.json", "RepoTags": null, "Layers": ["layer.tar"]}]);
    project.write("saved/manifest.json", &manifest.to_string());
    let mut tar = tool("tar", "tar");
    succeed(
        tar.args(["--mtime=@0", "-cf", "../recipes/app.tar", "manifest.json", "config.json", "layer.tar"])
            .current_dir(&folder),
    );
}

#[test]
fn an_image_of_a_container_is_in_the_root_for_podman_and_follows_its_archive() {
    let project = Project::of("minimal");
    fs::copy(project.path("recipes/minimal.lock"), project.path("recipes/exporter.lock")).unwrap();
    let recipe = "extends: minimal.yaml\nname: exporter\nboard: raspberrypi3\nstate: [/var/lib/containers]\n\
        files: {/usr/bin/podman: {content: \"#!/bin/sh\\n\", mode: \"0755\"}}\ncontainers:\n  app: {archive: app.tar}\n";
    project.write("recipes/exporter.yaml", recipe);
    saved_image(&project, "one\n");
    let all = ["build", "recipes/exporter.yaml", "--offline"];
    project.succeed(&all);
    let read = |name: &str| -> Value { serde_json::from_slice(&fs::read(project.path(name)).unwrap()).unwrap() };
    let manifest = read("out/exporter-0.1.0-raspberrypi3.manifest.json");
    let container = &manifest["containers"][0];
    assert_eq!(container["image"], "localhost/app:latest");
    let config = Sum::of(&fs::read(project.path("saved/config.json")).unwrap());
    assert_eq!(container["id"], format!("sha256:{config}"));
    let sbom = fs::read_to_string(project.path("out/exporter-0.1.0-raspberrypi3.spdx.json")).unwrap();
    assert!(sbom.contains(container["digest"].as_str().unwrap()) && sbom.contains("SPDXRef-container-app"));
    let built = built(&project, "exporter", "0.1.0");
    let root = built.root();
    let settings = fs::read_to_string(root.join("etc/containers/storage.conf")).unwrap();
    assert!(settings.contains("\"/run/fruit/root/usr/lib/containers/storage\""), "{settings}");
    let store = root.join("usr/lib/containers/storage");
    assert_eq!(owner_and_mode(&store).2, 0o700);
    let layer = Sum::of(&fs::read(project.path("saved/layer.tar")).unwrap());
    assert_eq!(fs::read_to_string(store.join(format!("overlay/{layer}/diff/etc/says"))).unwrap(), "one\n");

    // The same archive is the same lock; another one is told in CI, and taken by a person's build.
    let locked = project.run(&[&all[..], &["--locked"]].concat());
    assert_eq!(locked.code, 0, "{}", locked.stderr);
    saved_image(&project, "two\n");
    let locked = project.run(&[&all[..], &["--locked"]].concat());
    assert!(locked.code == 3 && locked.stderr.contains("fruitbuild lock"), "{}: {}", locked.code, locked.stderr);
    project.succeed(&all);
    let again = read("out/exporter-0.1.0-raspberrypi3.manifest.json");
    assert_ne!(again["containers"][0]["digest"], container["digest"]);

    // Without Podman, and for another machine.
    let said = |text: String| {
        project.write("recipes/exporter.yaml", &text);
        let answer = project.run(&all);
        assert_eq!(answer.code, 3, "{}", answer.stderr);
        answer.stderr
    };
    let docker = said(recipe.replace("/usr/bin/podman", "/usr/bin/docker"));
    assert!(docker.contains("it has no Podman") && docker.contains("Docker and containerd"), "{docker}");
    let unkept = said(recipe.replace("state: [/var/lib/containers]\n", ""));
    assert!(unkept.contains("state: [/var/lib/containers]"), "{unkept}");
}

/// A wheel as a build tool would make it, in a folder that pip takes for an index.
const MAKE_WHEEL: &str = r#"
import base64, hashlib, os, sys, zipfile
folder = os.path.join(sys.argv[1], "blinker")
os.makedirs(folder)
name = "blinker-1.0-py3-none-any.whl"
files = {
    "blinker/__init__.py": "def main():\n    print('blink')\n",
    "blinker-1.0.dist-info/METADATA": "Metadata-Version: 2.1\nName: blinker\nVersion: 1.0\n",
    "blinker-1.0.dist-info/WHEEL": "Wheel-Version: 1.0\nGenerator: test\nRoot-Is-Purelib: true\nTag: py3-none-any\n",
    "blinker-1.0.dist-info/entry_points.txt": "[console_scripts]\nblink = blinker:main\n",
}
def row(path, text):
    digest = base64.urlsafe_b64encode(hashlib.sha256(text.encode()).digest()).rstrip(b"=").decode()
    return f"{path},sha256={digest},{len(text)}\n"
record = "blinker-1.0.dist-info/RECORD"
files[record] = "".join(row(*item) for item in files.items()) + record + ",,\n"
with zipfile.ZipFile(os.path.join(folder, name), "w") as wheel:
    for path, text in files.items():
        wheel.writestr(path, text)
with open(os.path.join(folder, "index.html"), "w") as page:
    page.write(f'<a href="{name}">{name}</a>')
"#;

#[test]
fn a_wheel_is_chosen_by_pip_and_python_finds_it_in_the_image() {
    let project = Project::of("minimal");
    let index = project.path("index");
    succeed(Command::new("python3").args(["-c", MAKE_WHEEL]).arg(&index));
    let recipe = |packages: &str| {
        let python = format!("python: {{packages: [{packages}], index: \"file://{}\"}}", index.display());
        project.write("recipes/wheels.yaml", &format!("extends: minimal.yaml\nname: wheels\n{python}\n"));
    };
    recipe("nothing-of-that-name");
    let answer = project.run(&["build", "recipes/wheels.yaml"]);
    assert_eq!(answer.code, 3, "{}", answer.stderr);
    assert!(
        answer.stderr.contains("pip found no wheels for Python 3") && answer.stderr.contains("wheels.yaml:"),
        "{}",
        answer.stderr
    );
    recipe("Blinker>=1");
    project.succeed(&["build", "recipes/wheels.yaml"]);
    let read = |name: &str| -> Value { serde_json::from_slice(&fs::read(project.path(name)).unwrap()).unwrap() };
    let manifest = read("out/wheels-0.1.0-raspberrypi3.manifest.json");
    assert_eq!(manifest["wheels"][0]["name"], "blinker");
    let sbom = fs::read_to_string(project.path("out/wheels-0.1.0-raspberrypi3.spdx.json")).unwrap();
    assert!(sbom.contains("pkg:pypi/blinker@1.0"));

    let built = built(&project, "wheels", "0.1.0");
    let root = built.root();
    let site = fs::read_dir(root.join("usr/local/lib")).unwrap().next().unwrap().unwrap().path().join("dist-packages");
    let python = |code: &str| {
        let output = succeed(Command::new("python3").args(["-I", "-c", code]).arg(&site));
        String::from_utf8(output.stdout).unwrap()
    };
    let ask = "import sys; sys.path.insert(0, sys.argv[1])\nfrom importlib.metadata import distribution\nd = distribution('blinker')\n";
    assert_eq!(
        python(&format!("{ask}print(d.version, all(f.locate().exists() for f in d.files if '/bin/' not in str(f)))")),
        "1.0 True\n"
    );
    assert_eq!(python(&format!("{ask}[e] = d.entry_points\ne.load()()")), "blink\n");
    let program = fs::read_to_string(root.join("usr/local/bin/blink")).unwrap();
    assert!(program.starts_with("#!/usr/bin/python3\n") && program.contains("from blinker import main"), "{program}");

    // From the cache alone, and without asking pip.
    fs::remove_dir_all(&index).unwrap();
    project.succeed(&["build", "recipes/wheels.yaml", "--offline", "--locked", "--force"]);
    assert_eq!(read("out/wheels-0.1.0-raspberrypi3.manifest.json"), manifest);
}
