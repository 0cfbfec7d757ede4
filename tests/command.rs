//! The command as a person at a terminal or a script meets it: what each verb answers, where, and with which exit code.

mod harness;
#[path = "harness/project.rs"]
mod project;

use std::fs;
use std::process::{Command, Stdio};

use harness::{image_of, recipe_path, tool};
use project::Project;
use serde_json::Value;

const KEY: &str = "ssh-ed25519 AAAAC3NzaC1lZDI1NTE5AAAAIDd5YVJXwMrAU8kTXYqVhB3mVnXqJnOTUmeuwn3Pn3lF somebody@example";

#[test]
fn init_starts_a_recipe_that_passes_the_check_and_overwrites_nothing() {
    let project = Project::empty();
    let answer = project.succeed(&["init", "--name", "kiosk", "--board", "raspberrypi4", "--ssh-key", KEY]);
    assert_eq!(answer.stdout, "recipes/kiosk.yaml\n");
    assert!(answer.stderr.contains("fruitbuild build recipes/kiosk.yaml"), "{}", answer.stderr);
    let text = fs::read_to_string(project.path("recipes/kiosk.yaml")).unwrap();
    assert!(text.contains("board: raspberrypi4\n") && text.contains(KEY), "{text}");
    project.succeed(&["check", "recipes/kiosk.yaml"]);
    project.fail(&["init", "--name", "kiosk"], 7, &["recipes/kiosk.yaml", "--force"]);
    assert_eq!(fs::read_to_string(project.path("recipes/kiosk.yaml")).unwrap(), text);
    project.succeed(&["init", "--name", "kiosk", "--force"]);

    // The key may be in a file; the file's name may give the image's; every base there is passes.
    let key = project.write("id.pub", &format!("# mine\n{KEY}\n"));
    for base in ["systemd", "minimal"] {
        let file = format!("recipes/by-{base}.yaml");
        project.succeed(&["init", &file, "--base", base, "--ssh-key", key.to_str().unwrap()]);
        let merged = project.succeed(&["check", "--json", &file]).json().to_string();
        assert!(merged.contains(KEY) && merged.contains(&format!("by-{base}")), "{merged}");
        // The overlay is what starts ssh.
        assert!(merged.contains(if base == "minimal" { "\"busybox\"" } else { "\"systemd\"" }), "{merged}");
    }
    // At the question no shell puts the home folder in; a file that is not there is no key.
    project.write("home/.ssh/id.pub", &format!("{KEY}\n"));
    project.succeed(&["init", "recipes/home.yaml", "--ssh-key", "~/.ssh/id.pub"]);
    assert!(fs::read_to_string(project.path("recipes/home.yaml")).unwrap().contains(KEY));
    project.fail(&["init", "recipes/x.yaml", "--ssh-key", "~/.ssh/none.pub"], 3, &[".ssh/none.pub: no such file"]);
    let wrong = ["init", "recipes/x.yaml", "--board", "raspberypi3"];
    project.fail(&wrong, 3, &["there is no board raspberypi3", "did you mean raspberrypi3?"]);
    assert!(!project.path("recipes/x.yaml").exists());
}

#[test]
fn check_underlines_the_mistake_and_says_what_was_meant() {
    let project = Project::empty();
    project.write("recipes/bad.yaml", "extends: base.yaml\nname: bad\nboard: raspberypi3\nhostnam: x\nversion: 1\n");
    let words =
        ["recipes/bad.yaml:3:8", "^^^^^^^^^^^", "did you mean `raspberrypi3`?", "recipes/bad.yaml:4:1", "`hostname`"];
    let answer = project.fail(&["check", "recipes/bad.yaml"], 3, &words);
    assert_eq!(answer.stdout, "");
    let json = project.run(&["check", "--json", "recipes/bad.yaml"]);
    assert_eq!((json.code, json.stderr.as_str()), (3, ""));
    let value = json.json();
    assert_eq!((&value["exit"], &value["details"][0]["suggestion"]), (&3.into(), &"raspberrypi3".into()));
    assert_eq!(value["details"][1]["at"]["line"], 4);

    let mistakes = [
        ("overlays: [buzybox]\n", "did you mean `busybox`?"),
        ("partitions: {root: 3}\n", "16MiB to 64GiB"),
        ("packages: busybox-static\n", "expected"),
        ("hostname: 'a b'\n", "recipes/bad.yaml:4"),
        ("extends: [bas.yaml]\n", "bas"),
        ("first_boot: {hostnme: x}\n", "hostname"),
    ];
    for (line, word) in mistakes {
        project.write("recipes/bad.yaml", &format!("name: bad\nboard: raspberrypi3\nversion: 1\n{line}"));
        project.fail(&["check", "recipes/bad.yaml"], 3, &["recipes/bad.yaml:4", word]);
    }
    project.fail(&["check", "recipes/none.yaml"], 3, &["recipes/none.yaml"]);
}

#[test]
fn every_recipe_of_the_repository_passes_the_check() {
    let project = Project::empty();
    for recipe in ["pistack", "minimal", "qemu-arm64", "qemu-x86_64", "raspberrypi2", "raspberrypi4"] {
        let answer = project.succeed(&["check", &format!("recipes/{recipe}.yaml")]);
        assert!(answer.stderr.contains("no mistakes") && answer.stdout.is_empty(), "{}", answer.stderr);
        assert_eq!(project.succeed(&["check", "--quiet", &format!("recipes/{recipe}.yaml")]).stderr, "");
    }
}

/// Packages, units and modules are known only with the packages at hand: from the shared store, over its mirror.
#[test]
fn unknown_packages_units_and_modules_are_mistakes_on_their_lines() {
    let project = Project::of("pistack");
    let cache = project::shared_cache();
    let arguments = |verb, recipe| [verb, recipe, "--cache", cache.to_str().unwrap()];
    let recipe = |lines: &str| {
        project.write("recipes/wrong.yaml", &format!("extends: minimal.yaml\nname: wrong\n{lines}"));
    };
    recipe("packages:\n  - busybox-static\n  - drobear-bin\n");
    project.fail(&arguments("lock", "recipes/wrong.yaml"), 3, &["recipes/wrong.yaml:5", "drobear-bin", "did you mean"]);
    assert!(!project.path("recipes/wrong.lock").exists());
    recipe("exclude: [libc6]\n");
    project.fail(&arguments("lock", "recipes/wrong.yaml"), 6, &["cannot be installed", "libc6", "excluded"]);
    recipe("kernel:\n  modules: [ext5]\n");
    project.fail(
        &arguments("build", "recipes/wrong.yaml"),
        3,
        &["recipes/wrong.yaml:4", "has no module `ext5`", "did you mean"],
    );
    project
        .write("recipes/wrong.yaml", "extends: pistack.yaml\nname: wrong\nservices:\n  enable:\n    - shh.service\n");
    let words = ["recipes/wrong.yaml:5", "has the unit `shh.service`", "did you mean `ssh.service`?"];
    project.fail(&arguments("build", "recipes/wrong.yaml"), 3, &words);
    assert!(!project.path("out/SHA256SUMS").exists());
}

#[test]
fn lock_again_changes_nothing_and_a_lock_that_does_not_fit_is_told() {
    let project = Project::of("minimal");
    let cache = project::shared_cache();
    let lock = ["lock", "recipes/minimal.yaml", "--cache", cache.to_str().unwrap()];
    fs::remove_file(project.path("recipes/minimal.lock")).unwrap();
    let first = project.succeed(&lock);
    assert!(first.stderr.contains("recipes/minimal.lock: "), "{}", first.stderr);
    let text = fs::read(project.path("recipes/minimal.lock")).unwrap();
    assert_eq!(project.succeed(&lock).stdout, "no package changed\n");
    assert_eq!(fs::read(project.path("recipes/minimal.lock")).unwrap(), text);

    // The recipe asks for more than the lock has.
    let recipe = fs::read_to_string(project.path("recipes/minimal.yaml")).unwrap();
    project.write("recipes/minimal.yaml", &recipe.replace("packages:\n", "packages:\n  - less\n"));
    let locked = ["build", "recipes/minimal.yaml", "--locked", "--offline"];
    project.fail(&locked, 3, &["recipes/minimal.lock", "fruitbuild lock recipes/minimal.yaml"]);
    fs::write(project.path("old.lock"), &text).unwrap();
    let changed = project.succeed(&lock).stdout;
    assert!(changed.lines().any(|line| line.starts_with("+ less ")), "{changed}");
    assert!(project.succeed(&["diff", "old.lock", "recipes/minimal.lock"]).stdout.contains("+ less "));
    let json = project.succeed(&["diff", "--json", "recipes/minimal.lock", "old.lock"]).json();
    assert!(json["packages"].as_array().unwrap().iter().any(|p| p["name"] == "less"), "{json}");

    project.write("recipes/minimal.lock", "not a lock");
    project.fail(&["why", "libc6", "recipes/minimal.yaml"], 3, &["recipes/minimal.lock"]);
}

#[test]
fn why_leads_from_a_package_to_what_the_recipe_names() {
    let project = Project::of("minimal");
    let answer = project.succeed(&["why", "libc6", "recipes/minimal.yaml"]);
    let lines: Vec<&str> = answer.stdout.lines().collect();
    assert_eq!(lines[0], "recipes/minimal.lock:");
    assert!(lines[1].ends_with("(requested)") && lines.last().unwrap().contains("libc6 "), "{}", answer.stdout);
    // Without a recipe, in all locks.
    assert_eq!(project.succeed(&["why", "libc6"]).stdout, answer.stdout);
    let chain = project.succeed(&["why", "libc6", "--json"]).json();
    assert_eq!(chain[0]["chain"][0]["reason"], "requested");
    project.fail(&["why", "systemd", "recipes/minimal.yaml"], 1, &["systemd is not in recipes/minimal.lock"]);
    project.fail(&["why", "libc6", "recipes/pistack.yaml"], 3, &["fruitbuild lock recipes/pistack.yaml"]);
    fs::remove_file(project.path("recipes/minimal.lock")).unwrap();
    project.fail(&["why", "libc6"], 3, &["fruitbuild lock"]);
}

#[test]
fn inspect_and_diff_show_what_is_in_images() {
    let (minimal, pistack) = (image_of("minimal"), image_of("pistack"));
    let path = |path: &std::path::Path| path.to_str().unwrap().to_owned();
    let project = Project::empty();
    let text = project.succeed(&["inspect", &path(&minimal), "--largest", "3"]).stdout;
    for word in ["FAT FRUITOS", "EROFS minimal", "ext4 data", "boot-control block", "slots: active a", "dropbear-bin "]
    {
        assert!(text.contains(word), "no {word:?} in:\n{text}");
    }
    let value = project.succeed(&["inspect", "--json", &path(&pistack)]).json();
    assert_eq!((&value["slots"]["active"], &value["slots"]["filled"]["b"]), (&"a".into(), &false.into()));
    assert_eq!((value["partitions"].as_array().unwrap().len(), value["largest"].as_array().unwrap().len()), (7, 20));
    assert!(value["packages"].as_array().unwrap().iter().any(|p| p["name"] == "systemd"));
    project.fail(&["inspect", "recipes/minimal.yaml"], 1, &["recipes/minimal.yaml", "partition table"]);
    project.fail(&["inspect", "none.img"], 1, &["none.img"]);

    assert_eq!(project.succeed(&["diff", &path(&minimal), &path(&minimal)]).stdout, "the roots hold the same files\n");
    let manifest = |image: &std::path::Path| path(&image.with_extension("manifest.json"));
    let text = project.succeed(&["diff", &manifest(&minimal), &manifest(&pistack)]).stdout;
    assert!(text.lines().any(|l| l.starts_with("systemd  — → ")) && text.contains("root-a  +"), "{text}");
    let value = project.succeed(&["diff", "--json", &path(&minimal), &path(&pistack)]).json();
    let added =
        value["files"].as_array().unwrap().iter().any(|f| f["path"] == "/usr/bin/bash" && f["change"] == "added");
    assert!(added, "{value:#}");
    project.fail(&["diff", &path(&minimal), &manifest(&minimal)], 3, &["not of one kind"]);
}

#[test]
fn flash_writes_a_file_reads_it_back_and_refuses_what_would_do_harm() {
    let image = image_of("minimal");
    let image_path = image.to_str().unwrap();
    let project = Project::empty();
    // A longer file that held something else; and one that is too short.
    fs::write(project.path("card.img"), vec![0xAA; 4096]).unwrap();
    project.fail(&["flash", image_path, "card.img"], 7, &["card.img", "--yes"]);
    assert_eq!(fs::metadata(project.path("card.img")).unwrap().len(), 4096, "not touched");
    let answer = project.succeed(&["flash", "--yes", image_path, "card.img"]);
    assert!(answer.stderr.contains("written and read back") && answer.stdout.is_empty(), "{}", answer.stderr);
    harness::succeed(tool("cmp", "diffutils").arg(&image).arg(project.path("card.img")));
    let packed = format!("{image_path}.zst");
    let json = project.succeed(&["flash", "--json", &packed, "second.img"]).json();
    harness::succeed(tool("cmp", "diffutils").arg(&image).arg(project.path("second.img")));
    let manifest: Value = serde_json::from_slice(&fs::read(image.with_extension("manifest.json")).unwrap()).unwrap();
    // Only what holds something is written.
    assert!(
        json["written"].as_u64().unwrap() <= manifest["image"]["bytes_to_write"].as_u64().unwrap() + (1 << 20),
        "{json}"
    );

    project.write("fruit.yaml", "hostname: kitchen\n");
    project.succeed(&["flash", "--yes", image_path, "card.img", "--config", "fruit.yaml"]);
    let start = manifest["partitions"][0]["start"].as_u64().unwrap();
    let drive = format!("{}@@{start}", project.path("card.img").display());
    let config = harness::succeed(tool("mtype", "mtools").args(["-i", &drive, "::fruit.yaml"])).stdout;
    assert_eq!(String::from_utf8(config).unwrap(), "hostname: kitchen\n");
    project.write("fruit.yaml", "hostnam: kitchen\n");
    fs::write(project.path("card.img"), "precious").unwrap();
    for (config, exit, says) in [("fruit.yaml", 3, "hostnam"), ("missing.yaml", 1, "missing.yaml")] {
        project.fail(&["flash", "--yes", image_path, "card.img", "--config", config], exit, &[config, says]);
        project.fail(&["flash", image_path, "third.img", "--config", config], exit, &[config, says]);
    }
    // What is no image, by its extension or not.
    fs::write(project.path("page.img"), "<!DOCTYPE html>\n").unwrap();
    let map = format!("{image_path}.bmap");
    for (file, says) in [("page.img", "web page"), (&map, "block map")] {
        project.fail(&["flash", "--yes", file, "card.img"], 3, &[file, says]);
    }
    assert_eq!(fs::read(project.path("card.img")).unwrap(), b"precious");
    assert!(!project.path("third.img").exists());

    project.fail(&["flash", image_path, image_path], 7, &[image_path]);
    project.fail(&["flash", "none.img", "new.img"], 1, &["none.img"]);
    assert!(!project.path("new.img").exists());
    project.fail(&["flash", image_path, "/dev/no-such-disk"], 1, &["/dev/no-such-disk"]);
    project.fail(&["flash", image_path, "/dev/null"], 1, &["/dev/null"]);
    project.fail(&["flash", image_path], 2, &["TARGET"]);
    // Bytes that do not fit the map: a damaged image.
    let bytes = fs::read(&image).unwrap();
    let mut damaged = bytes;
    let middle = usize::try_from(manifest["partitions"][3]["start"].as_u64().unwrap()).unwrap() + 4096;
    damaged[middle] ^= 1;
    fs::write(project.path("damaged.img"), damaged).unwrap();
    fs::copy(format!("{image_path}.bmap"), project.path("damaged.img.bmap")).unwrap();
    project.fail(&["flash", "--yes", "damaged.img", "card.img"], 4, &["damaged.img"]);
    assert_eq!(fs::read(project.path("card.img")).unwrap(), b"precious");
}

#[test]
fn flash_lists_disks() {
    let project = Project::empty();
    project.succeed(&["flash", "--list"]);
    assert!(project.succeed(&["flash", "--list", "--json"]).json().is_array());
}

#[test]
fn run_says_what_is_missing() {
    let project = Project::empty();
    let words = ["out/minimal-0.1.0-raspberrypi3.img", "fruitbuild build recipes/minimal.yaml"];
    project.fail(&["run", "recipes/minimal.yaml"], 3, &words);
    let image = image_of("minimal");
    let image = image.to_str().unwrap();
    let machine = ["run", "recipes/minimal.yaml", "--image", image, "--machine", "vrt"];
    project.fail(&machine, 3, &["no emulated machine vrt", "raspi3b, virt"]);
    project.fail(&["run", image], 3, &["give the recipe of the image"]);
}

#[test]
fn schemas_name_every_key() {
    let project = Project::empty();
    for (kind, keys) in [
        ("recipe", ["extends", "packages", "first_boot"]),
        ("board", ["architecture", "bootloader", "qemu"]),
        ("node", ["hostname", "network", "labels"]),
    ] {
        let schema = project.succeed(&["schema", kind]).json();
        for key in keys {
            assert!(schema["properties"][key].is_object(), "{kind}: no {key} in {:#}", schema["properties"]);
        }
        assert!(schema["$schema"].is_string(), "{kind}");
    }
}

#[test]
fn completions_and_man_pages_cover_every_verb() {
    let project = Project::empty();
    let verbs = [
        "setup",
        "init",
        "check",
        "lock",
        "build",
        "why",
        "diff",
        "inspect",
        "run",
        "flash",
        "schema",
        "shell-completions",
        "man",
    ];
    for shell in ["bash", "zsh", "fish"] {
        let script = project.succeed(&["shell-completions", shell]).stdout;
        for verb in verbs {
            assert!(script.contains(verb), "{shell}: {verb}");
        }
        if shell == "bash" {
            let path = project.write("completions.bash", &script);
            harness::succeed(Command::new("bash").arg("-n").arg(path));
        }
    }
    project.succeed(&["man", "pages"]);
    let page = |name: &str| fs::read_to_string(project.path(&format!("pages/{name}.1"))).unwrap();
    let main = page("fruitbuild");
    assert!(main.contains(".TH FRUITBUILD 1") && main.contains("Exit codes"), "{main}");
    for verb in verbs {
        assert!(page(&format!("fruitbuild-{verb}")).contains(&format!(".TH FRUITBUILD-{} 1", verb.to_uppercase())));
    }
}

#[test]
fn talk_goes_to_stderr_data_to_stdout_and_quiet_means_quiet() {
    image_of("minimal");
    let project = Project::of("minimal");
    let build = ["build", "recipes/minimal.yaml", "--locked", "--offline"];
    let quiet = project.succeed(&[&build[..], &["--quiet"]].concat());
    assert_eq!(quiet.stderr, "");
    let files: Vec<&str> = quiet.stdout.lines().collect();
    assert_eq!(files.len(), 5);
    assert!(files.iter().all(|file| project.path(file).is_file()), "{files:?}");
    // No escapes anywhere, since stderr is no terminal.
    let loud = project.succeed(&[&build[..], &["--force"]].concat());
    assert!(loud.stderr.contains("MiB to write to a card") && !loud.stderr.contains('\x1b'), "{}", loud.stderr);
    assert_eq!(loud.stdout, quiet.stdout);
    let json = project.succeed(&[&build[..], &["--json"]].concat());
    assert_eq!((&json.json()["changed"], json.stderr.as_str()), (&false.into(), ""));
}

#[test]
fn exit_codes_are_those_of_the_help() {
    let project = Project::empty();
    let help = project.succeed(&["--help"]).stdout;
    for (code, word) in [
        (0, "done"),
        (2, "command line"),
        (3, "recipe"),
        (4, "signature"),
        (5, "download"),
        (6, "dependencies"),
        (7, "refused"),
    ] {
        let line = help.lines().find(|line| line.trim_start().starts_with(&format!("{code}  ")));
        assert!(line.is_some_and(|line| line.contains(word)), "{code}: {help}");
    }
    project.fail(&["buid"], 2, &["'build'"]);
    project.fail(&["build"], 2, &["RECIPE"]);
    assert!(project.succeed(&["--version"]).stdout.starts_with("fruitbuild 0."));

    // Kept signed files that somebody changed are not believed, offline or not.
    image_of("minimal");
    let lists = project.path("cache/lists");
    fs::create_dir_all(&lists).unwrap();
    for entry in fs::read_dir(project::shared_cache().join("lists")).unwrap() {
        let entry = entry.unwrap();
        let mut bytes = fs::read(entry.path()).unwrap();
        if entry.file_name().to_string_lossy().ends_with(".InRelease") {
            let text = String::from_utf8(bytes).unwrap();
            bytes = text.replacen("Origin: Debian", "Origin: Nobody", 1).into_bytes();
        }
        fs::write(lists.join(entry.file_name()), bytes).unwrap();
    }
    project.fail(&["lock", "recipes/minimal.yaml", "--offline"], 4, &["InRelease"]);
    // Nothing answers at this address.
    let closed = ["lock", "recipes/qemu-arm64.yaml", "--mirror", "http://127.0.0.1:9/debian"];
    project.fail(&closed, 5, &["http://127.0.0.1:9/debian"]);
    assert!(recipe_path("minimal").is_file());
}

#[test]
fn output_that_nobody_reads_to_its_end_is_no_failure_worth_a_word() {
    let mut child =
        harness::fruitbuild().args(["schema", "recipe"]).stdout(Stdio::piped()).stderr(Stdio::piped()).spawn().unwrap();
    drop(child.stdout.take());
    let output = child.wait_with_output().unwrap();
    assert_eq!(
        (output.status.code(), output.stderr.len()),
        (Some(141), 0),
        "{}",
        String::from_utf8_lossy(&output.stderr)
    );
}

/// `/dev/full` answers every write with "No space left on device".
#[test]
fn a_full_disk_behind_standard_output_is_an_error_and_no_panic() {
    let project = Project::empty();
    let commands: [&[&str]; 7] = [
        &["schema", "recipe"],
        &["flash", "--list", "--json"],
        &["check", "recipes/minimal.yaml", "--json"],
        &["shell-completions", "bash"],
        &["--help"],
        &["--version"],
        &["help", "build"],
    ];
    for arguments in commands {
        let full = fs::File::options().write(true).open("/dev/full").unwrap();
        let output = project.command(arguments).stdout(full).stderr(Stdio::piped()).output().unwrap();
        let said = String::from_utf8(output.stderr).unwrap();
        assert_eq!(output.status.code(), Some(1), "{arguments:?}: {said}");
        assert!(said.contains("standard output cannot be written: No space left on device"), "{arguments:?}: {said}");
        assert!(!said.contains("panicked"), "{arguments:?}: {said}");
    }
    // What cannot be said on standard error changes no exit code.
    let full = fs::File::options().write(true).open("/dev/full").unwrap();
    let missing = project.command(&["check", "recipes/none.yaml"]).stderr(full).status().unwrap();
    assert_eq!(missing.code(), Some(3));
}

/// Runs a command with a disk of one mebibyte at `full`, in a mount namespace of its own; then lists what is on it.
fn on_a_small_disk(project: &Project, full: &str, arguments: &[&str]) -> (Option<i32>, String, String) {
    let folder = project.path(full);
    fs::create_dir_all(&folder).unwrap();
    let script = "mount -t tmpfs -o size=1m tmpfs \"$0\" || exit 99; \"$@\"; code=$?; ls -A \"$0\"; exit $code";
    let run = project.command(arguments);
    let mut command = tool("unshare", "util-linux");
    command.args(["--mount", "--map-root-user", "sh", "-c", script]).arg(&folder);
    command.arg(run.get_program()).args(run.get_args()).current_dir(project.path(""));
    command.envs(run.get_envs().filter_map(|(name, value)| Some((name, value?))));
    let output = command.output().unwrap();
    let text = |bytes: Vec<u8>| String::from_utf8(bytes).unwrap();
    assert_ne!(output.status.code(), Some(99), "no tmpfs can be mounted here; the test needs root or user namespaces");
    (output.status.code(), text(output.stdout), text(output.stderr))
}

#[test]
fn a_full_disk_is_named_with_the_remedy_and_holds_nothing_half_written() {
    let project = Project::of("minimal");
    let build = ["build", "recipes/minimal.yaml", "--locked", "--offline", "--out"];
    // Where packages are decompressed, and where the image goes.
    for (full, out) in [("cache/tmp", "elsewhere"), ("small", "small")] {
        let (code, left, said) = on_a_small_disk(&project, full, &[&build[..], &[out]].concat());
        assert_eq!((code, left.as_str()), (Some(1), ""), "{said}");
        let words = [full, "No space left on device", "--cache DIR", "--out DIR"];
        assert!(words.iter().all(|word| said.contains(word)), "{said}");
    }
}

/// As cron and services of CI start it: no Rust on a short PATH.
#[test]
fn without_rust_compiled_programs_are_used_and_else_the_remedy_is_named() {
    let project = Project::of("minimal");
    let build = ["build", "recipes/minimal.yaml", "--locked", "--offline"];
    let bare = |cache: &std::path::Path| {
        let mut command = project.command(&build);
        command
            .env_clear()
            .env("PATH", "/usr/bin:/bin")
            .env("HOME", project.path("home"))
            .env("FRUITBUILD_CACHE", cache);
        project::Answer::of(command.output().unwrap())
    };
    let answer = bare(&project::shared_cache());
    assert_eq!(answer.code, 0, "{}", answer.stderr);
    let answer = bare(&project.path("cache"));
    assert_eq!(answer.code, 1, "{}", answer.stderr);
    for word in ["there is no Rust compiler", "rustup.rs", "PATH", "FRUITBUILD_DEVICE_PROGRAMS"] {
        assert!(answer.stderr.contains(word), "{word}: {}", answer.stderr);
    }
}
