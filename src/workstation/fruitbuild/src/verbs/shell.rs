//! `fruitbuild shell-completions` and `fruitbuild man`, both made from the definition of the command line.

use std::collections::BTreeMap;
use std::io::Write;
use std::path::Path;

use clap::CommandFactory;
use fruit_base::AtPath;

use crate::cli::Cli;
use crate::failure::Failure;

pub fn completions(shell: clap_complete::Shell) {
    // Into memory first: the generator panics on a writer that fails.
    let mut script = Vec::new();
    clap_complete::generate(shell, &mut Cli::command(), "fruitbuild", &mut script);
    fruit_output::text(&script);
}

/// One page for the command, one for each verb.
///
/// # Errors
/// Files that cannot be written.
pub fn man(folder: &Path) -> Result<(), Failure> {
    std::fs::create_dir_all(folder).at(folder)?;
    for (name, text) in pages("fruitbuild", Cli::command()) {
        let path = folder.join(name);
        std::fs::File::create(&path).and_then(|mut file| file.write_all(&text)).at(&path)?;
    }
    Ok(())
}

/// The manual pages of a program and of its verbs, by file name.
pub fn pages(program: &str, mut command: clap::Command) -> BTreeMap<String, Vec<u8>> {
    command.build();
    let mut pages = BTreeMap::new();
    page(&mut pages, program, &command);
    pages
}

fn page(pages: &mut BTreeMap<String, Vec<u8>>, name: &str, command: &clap::Command) {
    let named = command.clone().name(name.to_owned()).bin_name(name.to_owned());
    let mut text = Vec::new();
    // Writing into memory does not fail.
    if clap_mangen::Man::new(named).title(name.to_uppercase()).render(&mut text).is_ok() {
        pages.insert(format!("{name}.1"), text);
    }
    for verb in command.get_subcommands().filter(|verb| verb.get_name() != "help" && !verb.is_hide_set()) {
        page(pages, &format!("{name}-{}", verb.get_name()), verb);
    }
}
