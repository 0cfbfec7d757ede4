//! `cargo run -p fruit-dist -- reference`

use std::process::ExitCode;

use clap::{Parser, Subcommand};
use fruit_dist::{reference, source};
use fruitbuild::failure::{Failure, at};

#[derive(Parser)]
#[command(about = "Makes what goes out with fruitbuild itself")]
struct Cli {
    #[command(subcommand)]
    verb: Verb,
}

#[derive(Subcommand)]
enum Verb {
    /// Write docs/reference anew; the workspace must be built
    Reference,
}

fn main() -> ExitCode {
    let Verb::Reference = Cli::parse().verb;
    match write_reference() {
        Ok(()) => ExitCode::SUCCESS,
        Err(failure) => {
            eprintln!("error: {failure}");
            ExitCode::from(failure.exit as u8)
        }
    }
}

fn write_reference() -> Result<(), Failure> {
    let folder = source::top()?.join(reference::FOLDER);
    std::fs::create_dir_all(&folder).map_err(at(&folder))?;
    for (name, text) in reference::pages()? {
        let path = folder.join(name);
        std::fs::write(&path, text).map_err(at(&path))?;
    }
    Ok(())
}
