//! `variables` and `--set`: what becomes of the texts of a recipe.

use std::path::{Path, PathBuf};

use fruit_recipe::{Diagnostics, Recipe, Search, load_set};

const BOARD: &str = "description: b\narchitecture: arm64\nkernel: {package: linux-image-arm64}\n\
                     bootloader: {tryboot: {}}\nconsole: [ttyS0]\n";

const BASE: &str = "variables: {channel: stable, count: 3}\ndescription: \"${channel} for ${arch}\"\n";

fn read(top: &str, settings: &[&str]) -> Result<Recipe, Diagnostics> {
    let folder = tempfile::tempdir().unwrap();
    let place = |name: &str| -> PathBuf { folder.path().join(name) };
    for (name, text) in [("recipes/top.yaml", top), ("recipes/base.yaml", BASE), ("boards/b.yaml", BOARD)] {
        std::fs::create_dir_all(place(name).parent().unwrap()).unwrap();
        std::fs::write(place(name), text).unwrap();
    }
    let settings: Vec<String> = settings.iter().map(|setting| (*setting).to_owned()).collect();
    load_set(Path::new(&place("recipes/top.yaml")), &Search::default(), &settings)
}

const TOP: &str = "extends: base.yaml\nname: t\nboard: \"${where}\"\nversion: ${release}\noutputs: {zstd_level: \"${count}\"}\n\
                   variables: {where: b, release: {kind: text, default: 1.10, description: of CI}}\n\
                   files: {/etc/x: \"${HOME} $${count} ${count}${count} ${machine} ${board}\\n\"}\n";

#[test]
fn a_value_comes_from_the_command_line_then_from_the_recipe_then_from_its_base() {
    let recipe = read(TOP, &["release=2.0~rc1", "count=19"]).unwrap();
    assert_eq!(recipe.version.as_str(), "2.0~rc1");
    assert_eq!(recipe.description.as_deref(), Some("stable for arm64"));
    assert_eq!(recipe.outputs.zstd_level.get(), 19);
    assert_eq!(recipe.files.get("/etc/x").unwrap().0.content, "${HOME} ${count} 1919 aarch64 b\n");
    let values: Vec<_> = recipe.variables.iter().map(|(name, value)| format!("{name}={value}")).collect();
    assert_eq!(values, ["channel=stable", "count=19", "release=2.0~rc1", "where=b"]);
    let plain = read(TOP, &[]).unwrap();
    assert_eq!((plain.version.as_str(), plain.outputs.zstd_level.get()), ("1.10", 3));
    assert_ne!(plain.fingerprint(), recipe.fingerprint());
    assert_eq!(plain.fingerprint(), read(TOP, &["count=3"]).unwrap().fingerprint());
}

#[test]
fn what_the_command_line_sets_in_vain_is_told() {
    let said = |settings: &[&str]| read(TOP, settings).unwrap_err().to_string();
    for (setting, words) in [
        ("chanel=beta", "channel"),
        ("count=many", "`many` is not a number"),
        ("count", "--set NAME=VALUE"),
        ("arch=amd64", "set by the board"),
        ("channel=a\nb", "one line"),
        ("channel=${count}", "no other variable"),
    ] {
        let text = said(&[setting]);
        assert!(text.contains(words) && text.contains("--set"), "{setting}: {text}");
    }
    assert!(said(&["count=4", "count=5"]).contains("set twice"));
    let unused =
        read("extends: base.yaml\nname: t\nboard: b\ndescription: x\n", &["channel=beta"]).unwrap_err().to_string();
    assert!(unused.contains("no text of the recipe uses"), "{unused}");
}

#[test]
fn a_recipe_does_not_grow_without_bound() {
    let uses = "${v}".repeat(100_000);
    let top = format!("name: t\nboard: b\nvariables: {{v: {}}}\ndescription: \"{uses}\"\n", "x".repeat(4000));
    assert!(read(&top, &[]).unwrap_err().to_string().contains("beyond bounds"));
}
