//! `fruitbuild shell-completions` and `fruitbuild man`, both made from the definition of the command line.

use std::io::Write;
use std::path::Path;

use clap::CommandFactory;

use crate::cli::Cli;
use crate::failure::{Failure, at};

pub fn completions(shell: clap_complete::Shell) {
    // Into memory first: the generator panics on a writer that fails.
    let mut script = Vec::new();
    clap_complete::generate(shell, &mut Cli::command(), "fruitbuild", &mut script);
    fruit_output::text(&script);
}

/// One page for the command, one for each verb.
pub fn man(folder: &Path) -> Result<(), Failure> {
    std::fs::create_dir_all(folder).map_err(at(folder))?;
    let mut command = Cli::command();
    command.build();
    page(folder, "fruitbuild", &command)?;
    for verb in command.get_subcommands().filter(|verb| verb.get_name() != "help") {
        let name = format!("fruitbuild-{}", verb.get_name());
        page(folder, &name, &verb.clone().name(name.clone()).bin_name(name.clone()))?;
    }
    Ok(())
}

fn page(folder: &Path, name: &str, command: &clap::Command) -> Result<(), Failure> {
    let path = folder.join(format!("{name}.1"));
    let mut text = Vec::new();
    clap_mangen::Man::new(command.clone()).title(name.to_uppercase()).render(&mut text).map_err(at(&path))?;
    std::fs::File::create(&path).and_then(|mut file| file.write_all(&text)).map_err(at(&path))
}
