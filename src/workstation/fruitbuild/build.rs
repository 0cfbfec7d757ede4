//! Tells the program which source it is made from, for `--version`: `FRUITBUILD_SOURCE` of whoever makes releases, else what
//! git knows of the folder, else nothing.

use std::process::Command;

fn git(arguments: &[&str]) -> Option<String> {
    let output = Command::new("git").env("TZ", "UTC").args(arguments).output().ok()?;
    let text = String::from_utf8(output.stdout).ok()?.trim().to_owned();
    (output.status.success() && !text.is_empty()).then_some(text)
}

fn source() -> Option<String> {
    if let Ok(given) = std::env::var("FRUITBUILD_SOURCE") {
        return Some(given);
    }
    // A copy of the source inside somebody else's repository is not that repository's commit.
    git(&["ls-files", "--error-unmatch", "Cargo.toml"])?;
    // These change with each commit and checkout.
    for file in ["HEAD", "logs/HEAD"] {
        println!("cargo::rerun-if-changed={}", git(&["rev-parse", "--path-format=absolute", "--git-path", file])?);
    }
    git(&["log", "-1", "--date=format-local:%Y-%m-%d", "--format=%h %cd", "--abbrev=12"])
}

fn main() {
    println!("cargo::rerun-if-env-changed=FRUITBUILD_SOURCE");
    println!("cargo::rerun-if-changed=build.rs");
    let version = std::env::var("CARGO_PKG_VERSION").unwrap_or_default();
    let line = source().map_or_else(|| version.clone(), |source| format!("{version} ({source})"));
    println!("cargo::rustc-env=FRUITBUILD_VERSION={line}");
}
