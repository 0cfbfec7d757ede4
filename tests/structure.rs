//! The house: which crate may use which, what the programs of a node must not carry, no circles of modules, and how
//! large the programs may get. Exceptions are named here; one that is no longer needed fails the test, so that the list
//! shrinks.

mod harness;
#[path = "structure/modules.rs"]
mod modules;

use std::collections::{BTreeMap, BTreeSet};
use std::path::{Path, PathBuf};
use std::process::Command;

use fruit_device_programs::Programs;
use harness::{succeed, top};
use modules::{Modules, circles};
use serde_json::Value;

/// Crates that use one they should not: the user, and what it uses.
const EDGES: [(&str, &str); 0] = [];

/// Programs that run on a node, and what each may weigh there, in bytes for arm64.
const PROGRAMS: [(&str, u64); 3] =
    [("fruit-update", 3_000_000), ("fruit-agent", 1_500_000), ("fruit-peer", 10_000_000)];

/// Crates with a command line, and those that are made for one: a library takes values.
const COMMANDS: [&str; 3] = ["fruitbuild", "fruitctl", "fruit-dist"];
const OF_COMMANDS: [&str; 4] = ["clap", "clap_complete", "clap_mangen", "indicatif"];

/// Crates that programs of a node, and what is shared, must not carry; `fruit-peer` may have tokio.
const NOT_ON_A_NODE: [&str; 5] = ["tokio", "clap", "openssl-sys", "zstd-sys", "indicatif"];

/// A crate of ours.
struct Crate {
    name: String,
    /// `shared`, `node`, `workstation` or `fleet`.
    storey: String,
    manifest: PathBuf,
    /// Crates of ours that it uses, tests and benches aside.
    uses: BTreeSet<String>,
    /// Crates of others that it uses.
    others: BTreeSet<String>,
    /// Roots of its library and its programs.
    library: Option<PathBuf>,
    programs: Vec<PathBuf>,
}

fn cargo(arguments: &[&str]) -> String {
    let mut command = Command::new(std::env::var_os("CARGO").unwrap_or_else(|| "cargo".into()));
    command.current_dir(top()).args(arguments).env_remove("RUSTFLAGS");
    String::from_utf8(succeed(&mut command).stdout).unwrap()
}

fn metadata(more: &[&str]) -> Value {
    serde_json::from_str(&cargo(&[&["metadata", "--format-version", "1", "--locked"], more].concat())).unwrap()
}

fn text(value: &Value) -> String {
    value.as_str().unwrap().to_owned()
}

fn list(value: &Value) -> &[Value] {
    value.as_array().unwrap()
}

fn crates() -> Vec<Crate> {
    let metadata = metadata(&["--no-deps"]);
    let root = |package: &Value, kind: &str| -> Vec<PathBuf> {
        let targets = list(&package["targets"]).iter();
        targets.filter(|t| t["kind"][0] == kind).map(|t| PathBuf::from(text(&t["src_path"]))).collect()
    };
    let of = |package: &Value| {
        let manifest = PathBuf::from(text(&package["manifest_path"]));
        let storey = manifest.parent().and_then(Path::parent).and_then(Path::file_name).unwrap();
        let used = list(&package["dependencies"]).iter().filter(|d| d["kind"] != "dev");
        let (others, uses): (Vec<&Value>, Vec<&Value>) = used.partition(|d| d["path"].is_null());
        let names = |used: Vec<&Value>| used.into_iter().map(|d| text(&d["name"])).collect();
        Crate {
            name: text(&package["name"]),
            storey: storey.to_str().unwrap().to_owned(),
            manifest: manifest.clone(),
            uses: names(uses),
            others: names(others),
            library: root(package, "lib").pop(),
            programs: root(package, "bin"),
        }
    };
    list(&metadata["packages"]).iter().map(of).collect()
}

/// Compares what was found with the exceptions that are granted: neither may have more than the other.
fn same<T: Ord + std::fmt::Debug>(what: &str, found: BTreeSet<T>, granted: BTreeSet<T>) {
    let new: Vec<_> = found.difference(&granted).collect();
    assert!(new.is_empty(), "{what}: {new:#?}");
    let unneeded: Vec<_> = granted.difference(&found).collect();
    assert!(unneeded.is_empty(), "{what}: no longer needed among the exceptions: {unneeded:#?}");
}

#[test]
fn a_crate_uses_only_what_its_storey_stands_on() {
    let crates = crates();
    let storeys: BTreeMap<&str, &str> = crates.iter().map(|c| (c.name.as_str(), c.storey.as_str())).collect();
    let may = |user: &Crate, used: &str| match (user.storey.as_str(), storeys[used]) {
        (_, "shared") => true,
        // A program of a node uses none of its neighbours, only what is there to be shared.
        ("node", "node") => used == "fruit-device",
        // The operator's machine takes part in the network by the nodes' own program.
        ("fleet", "node") => user.name == "fruitctl" && ["fruit-device", "fruit-peer"].contains(&used),
        (user, used) => user == used && user != "shared",
    };
    let edges = crates.iter().flat_map(|user| user.uses.iter().map(move |used| (user, used)));
    let wrong = edges.filter(|(user, used)| !may(user, used));
    let wrong = wrong.map(|(user, used)| (user.name.clone(), used.clone())).collect();
    same("a crate uses one that it must not use", wrong, EDGES.map(|(a, b)| (a.to_owned(), b.to_owned())).into());
}

#[test]
fn only_commands_have_a_command_line() {
    let of_commands = |one: &Crate| OF_COMMANDS.iter().any(|name| one.others.contains(*name));
    let having = crates().into_iter().filter(of_commands).map(|one| one.name).collect();
    same("a library has a command line or bars", having, COMMANDS.map(str::to_owned).into());
}

#[test]
fn the_habits_of_the_workspace_hold_in_every_crate() {
    let without = crates().into_iter().filter(|one| {
        let manifest = std::fs::read_to_string(&one.manifest).unwrap();
        !manifest.contains("\n[lints]\nworkspace = true\n")
    });
    let without: Vec<String> = without.map(|one| one.name).collect();
    assert!(without.is_empty(), "crates whose manifests lack `lints.workspace`: {without:?}");
    let workspace = std::fs::read_to_string(top().join("Cargo.toml")).unwrap();
    for lint in ["missing_errors_doc", "print_stderr", "print_stdout", "undocumented_unsafe_blocks"] {
        assert!(workspace.contains(&format!("\n{lint} = \"warn\"\n")), "the workspace's lints lack {lint}");
    }
}

#[test]
fn programs_of_a_node_and_what_is_shared_carry_neither_a_runtime_nor_c() {
    let target = "aarch64-unknown-linux-musl";
    let all = metadata(&["--filter-platform", target]);
    // A crate in C says so by what it links, or by needing a compiler.
    let in_c = |package: &Value| {
        let needs = |d: &Value| d["kind"] == "build" && ["cc", "cmake", "pkg-config"].contains(&&*text(&d["name"]));
        !package["links"].is_null() || list(&package["dependencies"]).iter().any(needs)
    };
    let in_c = list(&all["packages"]).iter().filter(|p| in_c(p)).map(|p| (text(&p["name"]), text(&p["version"])));
    let in_c: BTreeSet<_> = in_c.filter(|(name, _)| name != "ring").collect();
    for program in crates().iter().filter(|c| ["node", "shared"].contains(&c.storey.as_str())) {
        // As it is built for a node: alone, with the features that only itself asks for.
        let edges = ["--edges", "normal", "--prefix", "none", "--target", target, "--format", "{p} {f}"];
        let tree = cargo(&[&["tree", "--locked", "--package", &program.name][..], &edges].concat());
        for line in tree.lines() {
            let mut words = line.split(' ');
            let (name, version) = (words.next().unwrap(), words.next().unwrap().trim_start_matches('v'));
            // It always asks for a compiler, and needs it for its code for NEON only.
            let pure = name == "blake3" && line.split([' ', ',']).any(|feature| feature == "pure");
            let peer = program.name == "fruit-peer" && name == "tokio";
            assert!(peer || !NOT_ON_A_NODE.contains(&name), "{} carries {name}", program.name);
            let in_c = in_c.contains(&(name.to_owned(), version.to_owned()));
            assert!(pure || !in_c, "{} carries C: {line}", program.name);
        }
    }
}

#[test]
fn no_modules_of_a_crate_use_each_other_in_a_circle() {
    for one in crates() {
        for root in one.library.iter().chain(&one.programs) {
            let circles = circles(&Modules::read(root).edges());
            assert!(circles.is_empty(), "{}: modules use each other in a circle: {circles:#?}", one.name);
        }
    }
}

#[test]
fn only_commands_know_exit_codes() {
    let mut found: BTreeSet<(String, String)> = BTreeSet::new();
    for one in crates() {
        let Some(root) = one.library else { continue };
        let modules = Modules::read(&root);
        let of_the_command = ["cli", "failure", "verbs"];
        // `exit` is the one of `std::process`; `Exit` is the command's own.
        let words: &[&str] = if one.name == "fruitbuild" { &["ExitCode", "Exit"] } else { &["ExitCode", "exit"] };
        let naming = words.iter().flat_map(|word| modules.naming(word));
        let naming = naming.map(|module| module.split("::").next().unwrap_or_default().to_owned());
        let others = naming.filter(|m| one.name != "fruitbuild" || !of_the_command.contains(&m.as_str()));
        found.extend(others.map(|module| (one.name.clone(), module)));
    }
    assert!(found.is_empty(), "libraries know exit codes: {found:#?}");
}

#[test]
fn nothing_outside_tests_unwraps() {
    for one in crates() {
        for root in one.library.iter().chain(&one.programs) {
            let modules = Modules::read(root);
            for word in ["unwrap", "expect", "unwrap_err", "expect_err", "unwrap_unchecked"] {
                let mut unwrapping = modules.naming(word);
                // Its method of that name waits for a text.
                unwrapping
                    .retain(|module| (&*one.name, word, module.as_str()) != ("fruit-emulate", "expect", "console"));
                assert!(unwrapping.is_empty(), "{}: `{word}` outside tests in {unwrapping:?}", one.name);
            }
        }
    }
}

/// Longest function of a verb, in lines: it reads its options, calls the libraries, and shows what came of it.
const VERB: usize = 50;

#[test]
fn functions_of_verbs_are_short() {
    let verbs = top().join("src/workstation/fruitbuild/src/verbs");
    let mut long = Vec::new();
    for entry in std::fs::read_dir(verbs).unwrap() {
        let path = entry.unwrap().path();
        let text = std::fs::read_to_string(&path).unwrap();
        // As rustfmt writes it: the end is a brace that is indented as the beginning is.
        let mut open: Option<(usize, String, String)> = None;
        for (number, line) in text.lines().enumerate() {
            let code = line.trim_start();
            let indent = &line[..line.len() - code.len()];
            let begins =
                ["fn ", "pub fn ", "pub(crate) fn ", "pub(super) fn "].iter().any(|word| code.starts_with(word));
            if open.is_none() && begins && !line.ends_with([';', '}']) {
                open = Some((number, format!("{indent}}}"), code.to_owned()));
            } else if let Some((first, end, name)) = &open
                && line == end
            {
                if number - first + 1 > VERB {
                    long.push(format!("{}:{}: {name}", path.display(), first + 1));
                }
                open = None;
            }
        }
    }
    assert!(long.is_empty(), "functions of more than {VERB} lines; their work belongs into a library: {long:#?}");
}

/// The programs are those of the images that other tests build: whoever comes first compiles them.
#[test]
fn programs_of_a_node_stay_small() {
    let sources = fruit_pipeline::sources::Sources::default();
    let cache = fruit_pipeline::sources::cache_folder(&sources).unwrap_or_else(|failure| panic!("{failure}"));
    let names = PROGRAMS.map(|(name, _)| name);
    let files = Programs::new(&cache).obtain(&names, "arm64", &fruit_progress::Silent).unwrap();
    for (name, most) in PROGRAMS {
        let size = files[name].metadata().unwrap().len();
        println!("{name} for arm64: {size} bytes");
        assert!(size <= most, "{name} for arm64 has {size} bytes, and may have {most}");
    }
}
