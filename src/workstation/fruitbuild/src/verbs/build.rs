//! `fruitbuild build`

use fruit_pipeline::outputs::Outcome;

use crate::cli;
use crate::failure::Failure;
use crate::progress::Progress;

/// Makes the image of a recipe: `fruitbuild build`.
///
/// # Errors
/// The recipe is wrong, its packages cannot be locked, fetched or unpacked, or the image cannot be made or written.
pub fn build(options: &cli::Build, json: bool, progress: &Progress) -> Result<(), Failure> {
    let outcome = fruit_pipeline::build(&options.into(), progress)?;
    if json {
        outln!("{}", serde_json::to_string_pretty(&outcome).map_err(|error| Failure::general(error.to_string()))?);
    } else {
        print(&outcome, progress);
    }
    Ok(())
}

fn print(outcome: &Outcome, progress: &Progress) {
    if outcome.changed {
        progress.say(format!("{:>10}  {:>10}  partition", "MiB used", "of MiB"));
        let mib = |bytes: u64| bytes as f64 / f64::from(1 << 20);
        for p in &outcome.summary.partitions {
            progress.say(format!("{:>10.1}  {:>10.1}  {}", mib(p.used), mib(p.size), p.name));
        }
        progress.say(format!("{:>10}  pruned by", "MiB saved"));
        for rule in &outcome.summary.pruned {
            progress.say(format!("{:>10.1}  {}", mib(rule.bytes), rule.rule));
        }
        for kept in &outcome.summary.kept {
            let part = if kept.what.is_empty() { String::new() } else { format!(" ({})", kept.what) };
            progress.say(format!("{:>10}  {}{part}: {}", "kept", kept.rule, kept.because));
        }
        progress.say(format!("{:>10.1}  MiB to write to a card", outcome.mapped as f64 / f64::from(1 << 20)));
    }
    for output in &outcome.outputs {
        outln!("{}", output.path.display());
    }
}
