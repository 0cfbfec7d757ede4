//! The pages of `docs/reference`, made from the definitions that the programs themselves use.

mod command;
mod schema;

use std::collections::BTreeMap;
use std::process::Command;

use clap::CommandFactory;
use fruitbuild::cli::{Cli, SchemaKind};
use fruitbuild::failure::Failure;
use fruitbuild::verbs;

/// Where the pages are, below the top of the repository.
pub const FOLDER: &str = "docs/reference";

/// Every page by its file name.
///
/// # Errors
/// A program for nodes that is not built or does not start.
pub fn pages() -> Result<BTreeMap<String, String>, Failure> {
    let mut pages = BTreeMap::new();
    pages.insert("fruitbuild.md".to_owned(), command::page(Cli::command()));
    let programs: [(&str, &[&str]); 4] = [
        (
            "fruitctl",
            &[
                "fleet",
                "fleet init",
                "fleet join",
                "fleet rule",
                "fleet root",
                "fleet accept",
                "fleet seed",
                "fleet relay",
                "fleet sign",
                "operator",
                "operator add",
                "operator remove",
                "node",
                "node invite",
                "node pending",
                "node approve",
                "node show",
                "node list",
                "node remove",
                "ssh",
                "exec",
                "cp",
                "forward",
                "ssh-config",
                "net",
                "relay",
                "relay install",
                "release",
                "release add",
                "release show",
                "serve",
                "sync",
                "carry",
                "stack",
                "stack scan",
                "stack status",
                "stack config",
                "stack record",
                "stack serve",
                "stack simulate",
            ],
        ),
        ("fruit-update", &["install", "rollback", "cancel", "inhibit"]),
        ("fruit-agent", &[]),
        ("fruit-peer", &[]),
    ];
    for (program, verbs) in programs {
        pages.insert(format!("{program}.md"), help_page(program, verbs)?);
    }
    let schemas = [
        ("recipe.md", "Recipe files", SchemaKind::Recipe),
        ("board.md", "Board files", SchemaKind::Board),
        ("fruit-yaml.md", "fruit.yaml", SchemaKind::Node),
    ];
    for (file, title, kind) in schemas {
        pages.insert(file.to_owned(), schema::page(title, &verbs::schema::of(kind)));
    }
    Ok(pages)
}

/// What a program says of itself and of its main verbs. It stands beside this one when the workspace is built.
fn help_page(program: &str, verbs: &[&str]) -> Result<String, Failure> {
    let own = std::env::current_exe().map_err(|error| Failure::general(error.to_string()))?;
    // Tests are one folder further down.
    let beside = own.ancestors().skip(1).take(2).map(|folder| folder.join(program)).find(|file| file.is_file());
    let missing = || Failure::general(format!("{program} is not built; run: cargo build --workspace"));
    let file = beside.ok_or_else(missing)?;
    let mut page = format!("{}# {program}\n", command::NOTICE);
    for verb in std::iter::once(&"").chain(verbs) {
        let output = Command::new(&file)
            .args(verb.split(' ').filter(|word| !word.is_empty()))
            .arg("--help")
            .env("COLUMNS", "100")
            .output()
            .map_err(|error| Failure::general(format!("cannot run {program}: {error}")))?;
        if !output.status.success() {
            let said = String::from_utf8_lossy(&output.stderr);
            return Err(Failure::general(format!("{program} {verb} --help: {}\n{said}", output.status)));
        }
        if !verb.is_empty() {
            page.push_str(&format!("\n## {program} {verb}\n"));
        }
        page.push_str(&format!("\n```text\n{}\n```\n", String::from_utf8_lossy(&output.stdout).trim_end()));
    }
    Ok(page)
}
