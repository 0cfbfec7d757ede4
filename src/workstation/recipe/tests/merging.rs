//! `extends`: what the merged recipe says.

use std::path::PathBuf;

use fruit_recipe::{Diagnostics, Recipe, Search, load};
use tempfile::TempDir;

const BOARD: &str = "description: b\narchitecture: arm64\nkernel: {package: linux-image-arm64}\n\
                     bootloader: {tryboot: {}}\nconsole: [ttyS0]\n";

/// A folder with `recipes/` of the given files, and the board `b`.
fn project(files: &[(&str, &str)]) -> (TempDir, PathBuf) {
    let folder = tempfile::tempdir().unwrap();
    let recipes = folder.path().join("recipes");
    std::fs::create_dir_all(folder.path().join("boards")).unwrap();
    std::fs::write(folder.path().join("boards/b.yaml"), BOARD).unwrap();
    for (name, text) in files {
        let path = recipes.join(name);
        std::fs::create_dir_all(path.parent().unwrap()).unwrap();
        std::fs::write(path, text).unwrap();
    }
    (folder, recipes)
}

fn read(files: &[(&str, &str)]) -> Result<Recipe, Diagnostics> {
    let (_folder, recipes) = project(files);
    load(&recipes.join("top.yaml"), &Search::default())
}

fn texts<T: AsRef<str>>(all: &[T]) -> Vec<&str> {
    all.iter().map(T::as_ref).collect()
}

fn packages(recipe: &Recipe) -> Vec<String> {
    recipe.packages.iter().map(|p| p.to_string()).collect()
}

#[test]
fn lists_are_joined_inherited_first_and_each_entry_once() {
    let recipe = read(&[
        ("base.yaml", "packages: [bash, dash]\n"),
        ("net.yaml", "packages: [iproute2, bash]\n"),
        ("top.yaml", "extends: [base.yaml, net.yaml]\nname: t\nboard: b\npackages: [dash, curl]\n"),
    ])
    .unwrap();
    assert_eq!(packages(&recipe), ["bash", "dash", "iproute2", "curl"]);
}

#[test]
fn a_list_can_be_changed_or_replaced() {
    let base = ("base.yaml", "packages: [bash, dash, curl]\n");
    let with = |change: &str| {
        let top = format!("extends: base.yaml\nname: t\nboard: b\npackages: {change}\n");
        packages(&read(&[base, ("top.yaml", &top)]).unwrap())
    };
    assert_eq!(with("{remove: [dash]}"), ["bash", "curl"]);
    assert_eq!(with("{remove: [dash], add: [zsh]}"), ["bash", "curl", "zsh"]);
    assert_eq!(with("{only: [zsh]}"), ["zsh"]);
    assert_eq!(with("{only: []}"), Vec::<String>::new());
}

#[test]
fn mappings_merge_key_by_key_and_the_later_value_wins() {
    let recipe = read(&[
        ("base.yaml", "timezone: UTC\nprune: {docs: false, man: false}\noutputs: {zstd_level: 3}\nversion: 1.10\n"),
        ("top.yaml", "extends: base.yaml\nname: t\nboard: b\nprune: {man: true}\ntimezone: Europe/Paris\n"),
    ])
    .unwrap();
    assert!(!recipe.prune.docs && recipe.prune.man);
    assert_eq!(recipe.timezone.as_str(), "Europe/Paris");
    assert_eq!(recipe.outputs.zstd_level.get(), 3);
    // Not the number 1.1.
    assert_eq!(recipe.version.as_str(), "1.10");
}

#[test]
fn null_takes_an_inherited_user_away() {
    let recipe = read(&[
        ("base.yaml", "users: {pi: {uid: 1000}, web: {}}\n"),
        ("top.yaml", "extends: base.yaml\nname: t\nboard: b\nusers: {pi: null, db: {}}\n"),
    ])
    .unwrap();
    let names: Vec<_> = recipe.users.iter().map(|(name, _)| name.to_string()).collect();
    assert_eq!(names, ["web", "db"]);
}

#[test]
fn a_relative_path_belongs_to_the_file_it_stands_in() {
    let recipe = read(&[
        ("parts/docker.yaml", "repositories: {docker: {url: https://example.org/d, suite: s, key: keys/d.asc}}\n"),
        ("parts/keys/d.asc", "key"),
        ("top.yaml", "extends: parts/docker.yaml\nname: t\nboard: b\n"),
    ])
    .unwrap();
    let key = &recipe.repositories.get("docker").unwrap().key;
    assert!(key.resolve(&key.value).ends_with("recipes/parts/keys/d.asc"));
}

#[test]
fn a_base_is_found_in_the_folders_of_the_search() {
    let (_shipped, bases) = project(&[("base.yaml", "packages: [bash]\n")]);
    let (_own, recipes) = project(&[("top.yaml", "extends: base.yaml\nname: t\nboard: b\n")]);
    let search = Search { recipes: vec![bases], ..Search::default() };
    assert_eq!(packages(&load(&recipes.join("top.yaml"), &search).unwrap()), ["bash"]);
}

#[test]
fn a_value_knows_the_file_it_came_from() {
    let recipe = read(&[
        ("base.yaml", "\npackages:\n  - bash\n"),
        ("top.yaml", "extends: base.yaml\nname: t\nboard: b\npackages: [curl]\n"),
    ])
    .unwrap();
    let places: Vec<String> = recipe.packages.iter().map(|p| p.place.as_ref().unwrap().to_string()).collect();
    assert!(places[0].ends_with("base.yaml:3:5"), "{places:?}");
    assert!(places[1].ends_with("top.yaml:4:12"), "{places:?}");
    assert_eq!(recipe.sources.len(), 3);
}

#[test]
fn sections_of_other_crates_are_read_with_their_places() {
    #[derive(Debug, serde::Deserialize, PartialEq)]
    #[serde(deny_unknown_fields)]
    struct Agent {
        #[serde(default)]
        beat_seconds: u32,
        #[serde(default)]
        label: String,
        #[serde(default)]
        gpio: Option<Gpio>,
    }
    #[derive(Debug, serde::Deserialize, PartialEq)]
    #[serde(rename_all = "lowercase")]
    enum Gpio {
        Pl011,
        Chip(String),
    }
    let with = |agent: &str| {
        let top = format!("extends: base.yaml\nname: t\nboard: b\nagent:\n{agent}");
        let recipe = read(&[("base.yaml", "agent: {beat_seconds: 5}\n"), ("top.yaml", &top)]).unwrap();
        recipe.agent.read::<Agent>().map_err(|found| found.render(false))
    };
    let read_well = with("  label: 1.10\n  gpio: {chip: zero}\n").unwrap();
    assert_eq!(read_well, Agent { beat_seconds: 5, label: "1.10".into(), gpio: Some(Gpio::Chip("zero".into())) });
    assert_eq!(with("  gpio: pl011\n").unwrap().gpio, Some(Gpio::Pl011));

    for (text, line, message, help) in [
        ("  lable: x\n", 5, "unknown key `lable`", "did you mean `label`?"),
        ("  label: x\n  beat_seconds: often\n", 6, "expected u32, found the text `often`", ""),
        ("  beat_seconds: -1\n", 5, "invalid value: integer `-1`, expected u32", ""),
        ("  label: x\n  gpio: pl01\n", 6, "`pl01` is not one of the known words", "did you mean `pl011`?"),
        ("  label: [x]\n", 5, "expected a string, found a list", ""),
    ] {
        let shown = with(text).unwrap_err();
        assert!(shown.contains(message) && shown.contains(help), "{shown}");
        assert!(shown.contains(&format!("top.yaml:{line}:")), "{shown}");
    }
    // Nothing written: the defaults.
    let recipe = read(&[("top.yaml", "name: t\nboard: b\n")]).unwrap();
    assert!(!recipe.update.is_written());
    assert_eq!(recipe.agent.read::<Agent>().unwrap().beat_seconds, 0);
    assert_eq!(recipe.agent.value(), serde_json::json!({}));
}

#[test]
fn the_fingerprint_follows_the_meaning_and_not_the_spelling() {
    let print = |files: &[(&str, &str)]| read(files).unwrap().fingerprint();
    let one = print(&[("top.yaml", "name: t\nboard: b\npackages: [bash, dash]\n")]);
    let spelt = print(&[("top.yaml", "# other words\npackages:\n- 'bash'\n- dash\nboard: b\nname: \"t\"\n")]);
    let split = print(&[
        ("x/base.yaml", "packages: [bash]"),
        ("top.yaml", "extends: x/base.yaml\nname: t\nboard: b\npackages: [dash]"),
    ]);
    assert_eq!(String::from_utf8_lossy(&one), String::from_utf8_lossy(&spelt));
    assert_eq!(one, split);
    for other in [
        "name: t\nboard: b\npackages: [dash, bash]\n",
        "name: t\nboard: b\npackages: [bash, dash]\nagent: {x: 1}\n",
        "name: t\nboard: b\npackages: [bash, dash]\noutputs: {zstd_level: 1}\n",
    ] {
        assert_ne!(one, print(&[("top.yaml", other)]), "{other}");
    }
}

#[test]
fn a_long_chain_and_a_wide_fan_of_bases_end() {
    let chain: Vec<(String, String)> = (0..40)
        .map(|n| (format!("{n}.yaml"), format!("extends: {}.yaml\n", n + 1)))
        .chain([("top.yaml".into(), "extends: 0.yaml\nname: t\nboard: b\n".into())])
        .collect();
    let files: Vec<(&str, &str)> = chain.iter().map(|(n, t)| (n.as_str(), t.as_str())).collect();
    assert!(read(&files).unwrap_err().render(false).contains("recipes on top of each other"));

    // Every level names the next one eight times: 8^10 files if nothing counted them.
    let fan: Vec<(String, String)> = (0..10)
        .map(|n| (format!("{n}.yaml"), format!("extends: [{}]\n", vec![format!("{}.yaml", n + 1); 8].join(", "))))
        .chain([
            ("10.yaml".into(), "packages: []\n".into()),
            ("top.yaml".into(), "extends: 0.yaml\nname: t\nboard: b\n".into()),
        ])
        .collect();
    let files: Vec<(&str, &str)> = fan.iter().map(|(n, t)| (n.as_str(), t.as_str())).collect();
    assert!(read(&files).unwrap_err().has_errors());
}

#[test]
fn the_overlay_cap_comes_from_the_recipe_or_else_the_board() {
    let recipe = read(&[("top.yaml", "name: t\nboard: b\n")]).unwrap();
    assert_eq!(recipe.overlay_cap().to_string(), "50%");
    let recipe = read(&[("top.yaml", "name: t\nboard: b\nroot: {overlay: 64MiB}\n")]).unwrap();
    assert_eq!(recipe.overlay_cap().to_string(), "67108864");
    assert_eq!(texts(&[recipe.root.format.value]), ["erofs"]);
}
