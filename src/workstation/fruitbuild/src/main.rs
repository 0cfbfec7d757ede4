use std::process::ExitCode;

use clap::Parser;
use fruitbuild::cli::{Cli, Verb};
use fruitbuild::failure::Failure;
use fruitbuild::progress::Progress;
use fruitbuild::verbs;

/// Ends in silence when nobody reads the output any more, as `| head` does: `println!` would panic.
fn end_with_the_reader() {
    let usual = std::panic::take_hook();
    std::panic::set_hook(Box::new(move |panic| {
        let closed = |text: &&String| text.starts_with("failed printing to stdout") && text.contains("Broken pipe");
        if panic.payload().downcast_ref::<String>().filter(closed).is_some() {
            // What a shell gives for a program that SIGPIPE ended.
            std::process::exit(128 + 13);
        }
        usual(panic);
    }));
}

fn main() -> ExitCode {
    end_with_the_reader();
    let cli = Cli::parse();
    let progress = Progress::new(cli.talk.quiet || cli.talk.json);
    let json = cli.talk.json;
    let result = match cli.verb {
        Verb::Setup { tests } => verbs::setup::setup(tests, &progress),
        Verb::Init(options) => verbs::init::init(&options, &progress),
        Verb::Check { recipe } => verbs::check::check(&recipe, json, &progress),
        Verb::Lock { recipe, sources } => verbs::lock::lock(&recipe, &sources, json, &progress),
        Verb::Build(options) => verbs::build::build(&options, json, &progress),
        Verb::Why { package, recipe } => verbs::why::why(&package, recipe.as_deref(), json),
        Verb::Diff { old, new } if verbs::verify::is_release(&old) && verbs::verify::is_release(&new) => {
            verbs::verify::diff(&old, &new, json)
        }
        Verb::Diff { old, new } => verbs::diff::diff(&old, &new, json),
        Verb::Inspect { image, .. } if verbs::verify::is_release(&image) => verbs::verify::inspect(&image, json),
        Verb::Inspect { image, largest } => verbs::inspect::inspect(&image, largest, json),
        Verb::Run(options) => verbs::run::run(&options, &progress),
        Verb::Flash(options) => verbs::flash::flash(&options, json, &progress),
        Verb::Keys { what } => verbs::keys::keys(&what, json, &progress),
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
        Err(failure) => report(&failure, json),
    }
}

fn report(failure: &Failure, json: bool) -> ExitCode {
    if json {
        let details = failure.details.clone().unwrap_or_default();
        println!("{:#}", serde_json::json!({"error": failure.message, "exit": failure.exit as u8, "details": details}));
    } else if failure.details.is_some() {
        eprintln!("{}", failure.message.trim_end());
    } else {
        eprintln!("error: {failure}");
    }
    ExitCode::from(failure.exit as u8)
}
