//! Where the bytes of an image go.

use serde_json::Value;

use super::measure::verdict;
use super::project::Project;

/// Prints the sizes of the last build of a recipe. Limits are in MiB: bytes to write to a card, and of the `.img.zst`.
pub fn print(project: &Project, recipe: &str, card: u64, compressed: Option<u64>) {
    let manifest = project.manifest(recipe);
    let written = number(&manifest["image"]["bytes_to_write"]);
    println!("\nsizes of {recipe}, MiB");
    println!("  {:8.1}  to write to a card (limit {card}: {})", mib(written), verdict(written <= card << 20));
    let zst = project.output(recipe, ".img.zst").metadata().expect("a compressed image").len();
    let limit =
        compressed.map_or_else(String::new, |limit| format!(" (limit {limit}: {})", verdict(zst <= limit << 20)));
    println!("  {:8.1}  compressed image{limit}", mib(zst));
    println!("  partitions");
    for partition in list(&manifest["partitions"]) {
        println!("  {:8.1}  {}", mib(number(&partition["used"])), text(&partition["name"]));
    }
    println!("  packages, unpacked and not yet pruned");
    let mut packages: Vec<_> =
        list(&manifest["packages"]).iter().map(|p| (number(&p["unpacked"]), text(&p["name"]))).collect();
    packages.sort_by(|a, b| b.cmp(a));
    let (shown, rest) = packages.split_at(packages.len().min(15));
    for (size, name) in shown {
        println!("  {:8.1}  {name}", mib(*size));
    }
    println!("  {:8.1}  {} others", mib(rest.iter().map(|(size, _)| size).sum()), rest.len());
    println!("  pruned by");
    for rule in list(&manifest["pruned"]) {
        println!("  {:8.1}  {}", mib(number(&rule["bytes"])), text(&rule["rule"]));
    }
}

fn mib(bytes: u64) -> f64 {
    bytes as f64 / f64::from(1 << 20)
}

fn list(value: &Value) -> &[Value] {
    value.as_array().map_or(&[], Vec::as_slice)
}

fn number(value: &Value) -> u64 {
    value.as_u64().unwrap_or(0)
}

fn text(value: &Value) -> &str {
    value.as_str().unwrap_or_default()
}
