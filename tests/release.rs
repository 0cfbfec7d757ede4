//! Releases of real images on the workstation: published, packed, looked at, checked, and what is refused.

mod harness;
#[path = "harness/releases.rs"]
mod releases;

use std::collections::BTreeSet;
use std::fs;
use std::path::Path;
use std::process::{Command, Output};

use harness::{succeed, tool};
use releases::{Releases, Version, releases_of_minimal};
use serde_json::Value;

const HEALTH: &str = "{soak: 1s}";
const ONE: Version = Version { version: "1.0", files: &[], health: HEALTH };
const TWO: Version = Version { version: "2.0", files: &[("etc/two", 0o644, "second release\n")], health: HEALTH };
const THREE: Version = Version { version: "3.0", files: &[("etc/three", 0o755, "third release\n")], health: HEALTH };

/// Exit codes of the README.
const MISTAKE: i32 = 3;
const UNTRUSTED: i32 = 4;

fn fails(command: &mut Command, code: i32) -> String {
    let output = command.output().unwrap();
    let said = String::from_utf8_lossy(&output.stderr).into_owned();
    assert_eq!(output.status.code(), Some(code), "{said}");
    said
}

fn text(output: Output) -> String {
    String::from_utf8(output.stdout).unwrap()
}

fn json(command: &mut Command) -> Value {
    serde_json::from_slice(&succeed(command.arg("--json")).stdout).unwrap()
}

fn verify(releases: &Releases, path: &Path) -> Command {
    let mut command = releases.command("verify");
    command.arg(path);
    command
}

#[test]
fn a_delta_bundle_verifies_applies_and_says_what_it_is() {
    let releases = releases_of_minimal();
    let notes = releases.path("notes.txt");
    fs::write(&notes, "What is new:\n- a file\n").unwrap();
    let (old, new) = (releases.image(&ONE), releases.image(&TWO));
    let bundle = releases.path("noted.fruit");
    succeed(
        releases.command("delta").arg("--publish").args([&old, &new]).arg("--notes").arg(&notes).arg("-o").arg(&bundle),
    );
    assert!(fs::metadata(&bundle).unwrap().len() < 100_000, "a delta of one small file");

    let checked = json(verify(releases, &bundle).arg("--from").arg(&old));
    let found = &checked["releases"][0]["found"];
    assert_eq!(found["deltas"][0]["whole"], true, "{checked:#}");
    assert_eq!(found["deltas"][0]["applied"], true, "{checked:#}");
    assert_eq!(checked["freshness"], "fresh");

    let seen = json(releases.command("inspect").arg(&bundle));
    let release = &seen["releases"][0];
    assert_eq!((&release["version"], &release["deltas"][0]["from"]), (&"2.0".into(), &"1.0".into()), "{seen:#}");
    assert_eq!(release["product"], "node");
    assert!(release["compatible"].as_array().unwrap().contains(&"raspberrypi,3-model-b".into()), "{seen:#}");

    // Metadata first, then manifest and delta, then blobs: GNU tar's list of it.
    let names = text(succeed(tool("tar", "tar").arg("-tf").arg(&bundle)));
    let kinds: Vec<&str> = names.lines().map(|name| name.split('/').next().unwrap()).collect();
    let mut order = kinds.clone();
    order.dedup();
    assert_eq!(order, ["metadata", "targets", "blobs"], "{names}");
}

#[test]
fn whatever_is_altered_cut_off_or_signed_by_others_is_refused() {
    let releases = releases_of_minimal();
    let bundle = releases.full(&ONE);
    succeed(&mut verify(releases, &bundle));
    let bytes = fs::read(&bundle).unwrap();
    let changed = releases.path("changed.fruit");
    // Somewhere in the metadata, in the manifest, in a blob's head and in a blob.
    for at in [600, 9000, bytes.len() / 3, bytes.len() / 2] {
        let mut altered = bytes.clone();
        altered[at] ^= 0x10;
        fs::write(&changed, &altered).unwrap();
        fails(&mut verify(releases, &changed), UNTRUSTED);
    }
    for cut in [0, 300, 5000, bytes.len() / 2] {
        fs::write(&changed, &bytes[..cut]).unwrap();
        fails(&mut verify(releases, &changed), UNTRUSTED);
    }
    // A whole and well signed repository, of somebody else.
    let other = releases.path("other");
    fs::create_dir_all(&other).unwrap();
    succeed(releases.command("keys").current_dir(&other).args(["init", "--root", "1/1"]));
    let said =
        fails(verify(releases, &bundle).arg("--root").arg(other.join("releases/metadata/1.root.json")), UNTRUSTED);
    assert!(said.contains("root"), "{said}");
}

#[test]
fn blobs_are_stored_once_and_the_same_release_gives_the_same_bundle() {
    let releases = Releases::of("minimal", "blobs");
    let (one, three) = (releases.full(&ONE), releases.full(&THREE));
    let blobs = |bundle: &Path| -> BTreeSet<String> {
        let names = text(succeed(tool("tar", "tar").arg("-tf").arg(bundle)));
        names.lines().filter(|name| name.starts_with("blobs/")).map(str::to_owned).collect()
    };
    let (first, second) = (blobs(&one), blobs(&three));
    assert!(first.intersection(&second).count() > first.len() / 2, "chunks that did not change have the same name");
    let stored = walk(&releases.repository().join("blobs"));
    assert_eq!(stored.len(), first.union(&second).count(), "each once");

    // Publishing again changes nothing, and packing again gives the same bytes.
    let before = (fs::read(&three).unwrap(), walk(&releases.repository()));
    releases.full(&THREE);
    assert_eq!((fs::read(&three).unwrap(), walk(&releases.repository())), before);

    // Deltas from several at once, and from published versions instead of images.
    let both = releases.path("both.fruit");
    releases.full(&TWO);
    succeed(releases.command("delta").arg("--publish").args(["1.0", "2.0", "3.0"]).arg("-o").arg(&both));
    let seen = json(releases.command("inspect").arg(&both));
    assert_eq!(seen["releases"][0]["deltas"].as_array().unwrap().len(), 2, "{seen:#}");
    let checked = json(verify(&releases, &both).arg("--from").arg(releases.image(&TWO)));
    let deltas = checked["releases"][0]["found"]["deltas"].as_array().unwrap().clone();
    assert!(deltas.iter().all(|delta| delta["whole"] == true), "{checked:#}");
    let changes = json(releases.command("diff").args([&one, &three]));
    assert_eq!((&changes["old"], &changes["new"]), (&"1.0".into(), &"3.0".into()));
    assert!(changes["volumes"][0]["new_chunks"].as_u64().unwrap() > 0, "{changes:#}");
}

#[test]
fn what_a_delta_starts_from_is_named_by_image_manifest_version_or_folder() {
    let releases = Releases::of("minimal", "named");
    let (one, two, three) = (releases.image(&ONE), releases.image(&TWO), releases.image(&THREE));
    let manifest = |image: &Path| image.with_extension("manifest.json");
    let bundle = releases.path("named.fruit");
    let starts = |from: &[&Path], to: &Path| -> BTreeSet<String> {
        succeed(releases.command("delta").arg("--publish").args(from).arg(to).arg("-o").arg(&bundle));
        let seen = json(releases.command("inspect").arg(&bundle));
        let deltas = seen["releases"][0]["deltas"].as_array().unwrap();
        deltas.iter().map(|delta| delta["from"].as_str().unwrap().to_owned()).collect()
    };
    let both: BTreeSet<String> = ["1.0".to_owned(), "2.0".to_owned()].into();
    assert_eq!(starts(&[&manifest(&one), &manifest(&two)], &manifest(&three)), both);
    // The folder holds the new one as well, which nothing starts from.
    assert_eq!(starts(&[one.parent().unwrap()], &three), both);
    assert_eq!(starts(&[&one, &manifest(&two)], &three), both);
    // Of what was published, the images are not needed any more.
    releases.full(&ONE);
    releases.full(&TWO);
    let apart = releases.path("apart");
    fs::create_dir_all(&apart).unwrap();
    for image in [&one, &two] {
        for file in [image.clone(), manifest(image)] {
            fs::rename(&file, apart.join(file.file_name().unwrap())).unwrap();
        }
    }
    assert_eq!(starts(&[&releases.repository()], &three), both);
    assert_eq!(starts(&[Path::new("1.0"), &apart], &three), both);
    assert!(fs::metadata(&bundle).unwrap().len() < 200_000, "two deltas of small files");
}

#[test]
fn releases_are_taken_out_and_their_pieces_go_after_their_grace() {
    let releases = Releases::of("minimal", "pruned");
    releases.delta(&ONE, &TWO);
    releases.full(&ONE);
    releases.delta(&TWO, &THREE);
    let repository = releases.repository();
    let prune = |words: &[&str]| json(releases.command("prune").args(words));
    let blobs = || walk(&repository.join("blobs"));
    let before = blobs();
    let said = fails(releases.command("prune").arg("9.9"), MISTAKE);
    assert!(said.contains("9.9") && said.contains("1.0, 2.0, 3.0"), "{said}");

    let would = prune(&["--keep", "2", "--dry-run"]);
    assert_eq!(would["removed"].as_array().unwrap().len(), 1, "{would:#}");
    assert_eq!(json(releases.command("inspect").arg(&repository))["releases"].as_array().unwrap().len(), 3);
    let done = prune(&["--keep", "2"]);
    assert_eq!((&would["removed"], &would["cleared"]["pieces"]), (&done["removed"], &0.into()));
    assert!(done["cleared"]["later_pieces"].as_u64().unwrap() > 0, "{done:#}");
    assert_eq!(blobs(), before, "nodes may be about to fetch them");
    let cleared = prune(&["--grace", "0"]);
    assert!(cleared["cleared"]["pieces"].as_u64() > Some(0), "{cleared:#}");
    assert!(blobs().len() < before.len());

    // What is left is whole, the way from the release that was taken out as well.
    let checked = json(verify(&releases, &repository).arg("--from").arg(releases.image(&ONE)));
    let left = checked["releases"].as_array().unwrap();
    assert_eq!(left.len(), 2, "{checked:#}");
    for release in left {
        assert_eq!(
            (&release["whole"], &release["found"]["deltas"][0]["whole"]),
            (&true.into(), &true.into()),
            "{checked:#}"
        );
    }
    assert_eq!(left[0]["found"]["deltas"][0]["applied"], true, "{checked:#}");
}

#[test]
fn mistakes_are_named_with_their_remedy() {
    let releases = releases_of_minimal();
    let image = releases.image(&ONE);
    releases.full(&ONE);
    let said = fails(releases.command("bundle").arg("9.9"), MISTAKE);
    assert!(said.contains("9.9") && said.contains("1.0"), "the versions that are there: {said}");
    let said = fails(releases.command("delta").args([&image, &image]), MISTAKE);
    assert!(said.contains("itself"), "{said}");
    let said = fails(releases.command("bundle").arg(image.with_extension("img.zst")), MISTAKE);
    assert!(said.contains("zstd -d"), "{said}");
    let alone = releases.path("alone.img");
    fs::copy(&image, &alone).unwrap();
    let said = fails(releases.command("bundle").arg(&alone), MISTAKE);
    assert!(said.contains("alone.manifest.json"), "{said}");

    // Another content under a version that is out there already.
    let recipe = releases.path("recipes/again.yaml");
    let text = fs::read_to_string(releases.recipe(&ONE)).unwrap();
    fs::write(&recipe, text.replace("health:", "tries: 2\n  health:")).unwrap();
    fs::copy(releases.recipe(&ONE).with_extension("lock"), recipe.with_extension("lock")).unwrap();
    succeed(releases.command("build").arg(&recipe).args(["--out", "again"]));
    let said = fails(releases.command("bundle").arg("again/node-1.0-raspberrypi3.img"), MISTAKE);
    assert!(said.contains("version"), "{said}");
}

/// Files below a folder.
fn walk(folder: &Path) -> BTreeSet<String> {
    let mut found = BTreeSet::new();
    let mut todo = vec![folder.to_owned()];
    while let Some(dir) = todo.pop() {
        for entry in fs::read_dir(dir).unwrap() {
            let path = entry.unwrap().path();
            if path.is_dir() {
                todo.push(path);
            } else {
                found.insert(path.strip_prefix(folder).unwrap().display().to_string());
            }
        }
    }
    found
}
