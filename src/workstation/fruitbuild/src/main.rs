use std::process::ExitCode;

use clap::Parser;
use fruit_output::{Finished, talk};
use fruitbuild::cli::{Cli, Verb};
use fruitbuild::failure::{Exit, Failure};
use fruitbuild::progress::Progress;
use fruitbuild::verbs;

fn main() -> ExitCode {
    // The sandbox of packages' scripts starts this program again.
    fruit_sandbox::entry();
    let code = match Cli::try_parse() {
        Ok(cli) => run(cli),
        Err(asked) => usage(&asked),
    };
    match fruit_output::finish("fruitbuild") {
        Finished::Incomplete if code == ExitCode::SUCCESS => ExitCode::from(Exit::General as u8),
        // What a shell gives for a program that SIGPIPE ended.
        Finished::ReaderGone if code == ExitCode::SUCCESS => ExitCode::from(128 + 13),
        _ => code,
    }
}

/// Help, the version, or what is wrong with the command line.
fn usage(asked: &clap::Error) -> ExitCode {
    if asked.use_stderr() {
        // Clap colours it where there is a terminal; nothing can be said about a failure here.
        let _ = asked.print();
    } else if let Err(error) = asked.print() {
        fruit_output::failed(error);
    }
    ExitCode::from(u8::try_from(asked.exit_code()).unwrap_or(2))
}

fn run(cli: Cli) -> ExitCode {
    let progress = Progress::new(cli.verbosity.quiet || cli.verbosity.json).with_details(cli.verbosity.verbose);
    let json = cli.verbosity.json;
    let result = match cli.verb {
        Verb::Setup { tests } => verbs::setup::setup(tests, &progress),
        Verb::Init(options) => verbs::init::init(&options, &progress),
        Verb::Check { recipe, settings } => verbs::check::check(&recipe, &settings, json, &progress),
        Verb::Lock { recipe, settings, sources } => verbs::lock::lock(&recipe, &settings, &sources, json, &progress),
        Verb::Build(options) => verbs::build::build(&options, json, &progress),
        Verb::Why { package, recipe } => verbs::why::why(&package, recipe.as_deref(), json),
        Verb::Diff { old, new, repository }
            if [&old, &new].into_iter().all(|path| verbs::verify::names_release(path)) =>
        {
            verbs::verify::diff(&old, &new, &repository, json)
        }
        Verb::Diff { old, new, .. } => verbs::diff::diff(&old, &new, json),
        Verb::Inspect { image, keys, .. } if verbs::verify::is_release(&image) => {
            verbs::verify::inspect(&image, &keys, json)
        }
        Verb::Inspect { image, largest, .. } => verbs::inspect::inspect(&image, largest, json),
        Verb::Run(options) => verbs::run::run(&options, &progress),
        Verb::Flash(options) => verbs::flash::flash(&options, json, &progress),
        Verb::Keys { what } => verbs::keys::keys(&what, json, &progress),
        Verb::Discard(options) => verbs::discard::discard(&options, json, &progress),
        Verb::Publish(options) => verbs::publish::publish(&options, json, &progress),
        Verb::Prune(options) => verbs::prune::prune(&options, json, &progress),
        Verb::Bundle(options) => verbs::publish::bundle(&options, json, &progress),
        Verb::Delta(options) => verbs::publish::delta(&options, json, &progress),
        Verb::Verify(options) => verbs::verify::verify(&options, json, &progress),
        Verb::Sign(options) => verbs::sign::sign(&options, json, &progress),
        Verb::Schema { kind } => {
            verbs::schema::schema(kind);
            Ok(())
        }
        Verb::ShellCompletions { shell } => {
            verbs::shell::completions(shell);
            Ok(())
        }
        Verb::Man { folder } => verbs::shell::man(&folder),
    };
    match result {
        Ok(()) => ExitCode::SUCCESS,
        Err(failure) => report(failure, json),
    }
}

fn report(failure: Failure, json: bool) -> ExitCode {
    let failure = failure.with_remedy();
    if json {
        let details = failure.details.clone().unwrap_or_default();
        fruit_output::outln!(
            "{:#}",
            serde_json::json!({"error": failure.message, "exit": failure.exit as u8, "details": details})
        );
    } else if failure.details.is_some() {
        talk(format_args!("{}", failure.message.trim_end()));
    } else {
        talk(format_args!("error: {failure}"));
    }
    ExitCode::from(failure.exit as u8)
}
