//! `cargo run -p fruit-dist -- release` and `cargo run -p fruit-dist -- reference`

#![allow(clippy::print_stdout, clippy::print_stderr)] // the command speaks here

use std::path::{Path, PathBuf};
use std::process::ExitCode;

use clap::{Parser, Subcommand, ValueEnum};
use fruit_base::AtPath;
use fruit_dist::source::Source;
use fruit_dist::{Host, Scope, reference, release, source};
use fruitbuild::failure::Failure;
use fruitbuild::progress::Progress;

#[derive(Parser)]
#[command(about = "Makes what goes out with fruitbuild itself")]
struct Cli {
    #[command(subcommand)]
    verb: Verb,
}

#[derive(Subcommand)]
enum Verb {
    /// Make a release: archives, Debian packages, SBOM and SHA256SUMS
    Release {
        /// Folder for the files
        #[arg(long, short, default_value = "dist")]
        out: PathBuf,
        /// Architecture of workstations; repeatable [default: all]
        #[arg(long, value_enum)]
        host: Vec<Host>,
    },
    /// Compile what the test of a release needs, ahead of it
    Compile,
    /// Write docs/reference anew; the workspace must be built
    Reference,
}

fn main() -> ExitCode {
    let done = match Cli::parse().verb {
        Verb::Release { out, host } => write_release(&out, host),
        Verb::Compile => compile_for_a_test(),
        Verb::Reference => write_reference(),
    };
    match done {
        Ok(()) => ExitCode::SUCCESS,
        Err(failure) => {
            eprintln!("error: {failure}");
            ExitCode::from(failure.exit as u8)
        }
    }
}

fn write_release(out: &Path, hosts: Vec<Host>) -> Result<(), Failure> {
    let hosts = if hosts.is_empty() { Host::value_variants().to_vec() } else { hosts };
    for path in release(&Source::here()?, &Scope::of_hosts(hosts), out, &Progress::new(false))? {
        println!("{}", path.display());
    }
    Ok(())
}

fn compile_for_a_test() -> Result<(), Failure> {
    fruit_dist::compile(&Source::here()?, &Scope::of_a_test(), &Progress::new(true))
}

fn write_reference() -> Result<(), Failure> {
    let folder = source::top()?.join(reference::FOLDER);
    std::fs::create_dir_all(&folder).at(&folder)?;
    for (name, text) in reference::pages()? {
        let path = folder.join(name);
        std::fs::write(&path, text).at(&path)?;
    }
    Ok(())
}
