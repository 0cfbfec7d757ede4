//! Tells the library where its source tree is, from which it compiles device programs.

fn main() {
    println!("cargo::rerun-if-env-changed=FRUITBUILD_SOURCE");
    println!("cargo::rerun-if-changed=build.rs");
    // A release runs where this folder is not, and must not name it.
    if std::env::var_os("FRUITBUILD_SOURCE").is_none() {
        let manifest = std::env::var("CARGO_MANIFEST_DIR").unwrap_or_default();
        println!("cargo::rustc-env=FRUITBUILD_TREE={manifest}/../../..");
    }
}
